"""Reads about what this venue does not simulate: staking, multi-signature accounts, deployment auctions.

Clients that ask on start-up get the answer of an account that uses none of it, instead of a refusal.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.simulator.canonical import address
from adapters.simulator.engine import Unprocessable


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
