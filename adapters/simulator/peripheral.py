"""What this venue has no part of: staking, multi-signature accounts, deployment auctions, the EVM side.

Clients that ask about it on start-up get the answer of an account that uses none of it, instead of a refusal.
Their actions that have a counterpart the exchange does know are translated into that.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.simulator.canonical import address
from adapters.simulator.engine import ActionError, Unprocessable

_ABSTRACTIONS: Mapping[str, str] = {"i": "disabled", "u": "unifiedAccount", "p": "portfolioMargin"}
"""The account modes as agents abbreviate them."""


def _nothing_staked(_user: str) -> dict[str, Any]:
    return {
        "delegated": "0.0",
        "undelegated": "0.0",
        "totalPendingWithdrawal": "0.0",
        "nPendingWithdrawals": 0,
    }


def _no_rows(_user: str) -> list[Any]:
    return []


def _nothing(_user: str) -> None:
    return None


def _no_deployment(_user: str) -> dict[str, Any]:
    return {"states": [], "gasAuction": _idle_auction()}


def _idle_auction() -> dict[str, Any]:
    return {
        "startTimeSeconds": 0,
        "durationSeconds": 111_600,
        "startGas": "500.0",
        "currentGas": "500.0",
        "endGas": None,
    }


_BY_USER: Mapping[str, Callable[[str], Any]] = {
    "delegatorSummary": _nothing_staked,
    "delegations": _no_rows,
    "delegatorRewards": _no_rows,
    "delegatorHistory": _no_rows,
    "userToMultiSigSigners": _nothing,
    "userDexAbstraction": _nothing,
    "spotDeployState": _no_deployment,
}


def answers(kind: str) -> bool:
    """Whether reads of this ``type`` are answered here rather than by the exchange."""
    return kind in _BY_USER or kind == "perpDeployAuctionStatus"


def answer(request: Mapping[str, Any]) -> Any:
    """The JSON answer to a request of such a type; raises Unprocessable if its user is missing."""
    if request["type"] == "perpDeployAuctionStatus":
        return _idle_auction()
    if "user" not in request:
        raise Unprocessable
    return _BY_USER[request["type"]](address(request["user"], "user"))


def translated(action: dict[str, Any], account: str) -> dict[str, Any]:
    """Return the action the exchange is to execute for this one, which is mostly the same.

    Raises Unprocessable for a mode nobody knows, ActionError for a delegation: nobody has anything staked.
    """
    match action["type"]:
        case "evmUserModify":
            return {"type": "noop"}
        case "agentSetAbstraction":
            mode = _ABSTRACTIONS.get(action["abstraction"])
            if mode is None:
                raise Unprocessable
            return _set_abstraction(account, mode)
        case "agentEnableDexAbstraction":
            return _set_abstraction(account, "dexAbstraction")
        case "userDexAbstraction":
            return _set_abstraction(account, "dexAbstraction" if action["enabled"] else "disabled")
        case "tokenDelegate":
            raise ActionError("Insufficient staking balance.")
        case _:
            return action


def _set_abstraction(account: str, mode: str) -> dict[str, Any]:
    return {"type": "userSetAbstraction", "user": account, "abstraction": mode}
