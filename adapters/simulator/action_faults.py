"""Faults of actions: what happens to the market just before one, and what is made of its answer."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Any

from adapters.simulator.answers import statuses_of
from adapters.simulator.assets import Assets
from adapters.simulator.chain import Chain
from adapters.simulator.counterparty import CannotTrade, Counterparty
from adapters.simulator.faults import Fault
from adapters.simulator.limits import entries_in
from adapters.simulator.stream_faults import StreamFaults

_ARITHMETIC = Context(prec=48)
_RESPONSE_TYPE = {"cancel": "cancel", "cancelByCloid": "cancel", "order": "order", "batchModify": "order"}


class ActionFaults:
    """Carries out the faults that need the exchange to move or the answer to change."""

    def __init__(
        self, chain: Chain, assets: Assets, counterparty: Counterparty, stream: StreamFaults
    ) -> None:
        self._chain = chain
        self._assets = assets
        self._counterparty = counterparty
        self._stream = stream

    def before(self, faults: Sequence[Fault], account: str, action: Mapping[str, Any]) -> None:
        """Let the market do what these faults say, just before the action is executed."""
        for fault in faults:
            match fault.kind:
                case "fill_before_cancel":
                    self._fill(fault, account, action)
                case "reduce_only_shrink":
                    self._shrink(fault, account, action)

    async def instead(
        self, faults: Sequence[Fault], account: str, action: Mapping[str, Any], signer: str
    ) -> dict[str, Any] | None:
        """Return the answer of an action that `faults` keep from being executed as it is, else None."""
        for fault in faults:
            if fault.kind == "rejection":
                return _rejected(action, fault.params["text"], fault.params["level"])
            if fault.kind == "modify_leg_fails":
                return await self._cancel_leg_only(account, action, signer, fault.params["text"])
        return None

    def after(self, faults: Sequence[Fault], body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer's JSON body as these faults leave it."""
        for fault in faults:
            if fault.kind == "truncated_statuses" and statuses_of(body) is not None:
                body = copy.deepcopy(body)
                statuses = statuses_of(body)
                assert statuses is not None
                del statuses[fault.params["keep"] :]
        return body

    def _fill(self, fault: Fault, account: str, action: Mapping[str, Any]) -> None:
        if fault.params["stream_delay_ms"]:
            self._stream.delay_fills(account, fault.params["stream_delay_ms"])
        try:
            for entry in action["cancels"]:
                oid = entry["o"] if "o" in entry else entry["cloid"]
                try:
                    self._counterparty.fill(account, oid, fraction=fault.params["fraction"])
                except CannotTrade:
                    continue  # not resting: there is nothing to race for, the cancel will say so
        finally:
            self._stream.delay_fills(account, 0)

    def _shrink(self, fault: Fault, account: str, action: Mapping[str, Any]) -> None:
        coins = {
            asset.coin
            for order in action["orders"]
            if order["r"] and (asset := self._assets.by_id(order["a"])) is not None and not asset.is_spot
        }
        for coin in coins:
            self._take_from_position(account, coin, fault.params["fraction"])

    def _take_from_position(self, account: str, coin: str, fraction: Decimal) -> None:
        dex = coin.partition(":")[0] if ":" in coin else ""
        state = self._chain.read({"type": "clearinghouseState", "user": account, "dex": dex})
        size = next(
            (
                Decimal(row["position"]["szi"])
                for row in state["assetPositions"]
                if row["position"]["coin"] == coin
            ),
            Decimal(0),
        )
        with localcontext(_ARITHMETIC):
            taken = (abs(size) * fraction).quantize(self._assets.by_coin(coin).lot, rounding=ROUND_DOWN)
        if taken:
            self._chain.apply(
                lambda exchange, _: exchange.auto_deleverage(account, coin, taken, exchange.mark_price(coin))
            )

    async def _cancel_leg_only(
        self, account: str, action: Mapping[str, Any], signer: str, reason: str
    ) -> dict[str, Any]:
        single = action["type"] == "modify"
        errors = []
        for entry in (action,) if single else action["modifies"]:
            answer = await self._chain.execute(account, _cancel_of(entry), signer=signer)
            done = statuses_of(answer) == ["success"]
            errors.append(
                f"Error placing new order during modify: {reason}"
                if done
                else "Cannot modify canceled or filled order"
            )
        if single:
            return {"status": "err", "response": errors[0]}
        statuses = [{"error": error} for error in errors]
        return {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}


def _cancel_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    asset, oid = entry["order"]["a"], entry["oid"]
    if isinstance(oid, int):
        return {"type": "cancel", "cancels": [{"a": asset, "o": oid}]}
    return {"type": "cancelByCloid", "cancels": [{"asset": asset, "cloid": oid}]}


def _rejected(action: Mapping[str, Any], text: str, level: str) -> dict[str, Any]:
    shape = _RESPONSE_TYPE.get(action["type"])
    if level == "action" or shape is None:
        return {"status": "err", "response": text}
    count = entries_in(action) if level == "entry" else 1
    statuses = [{"error": text} for _ in range(count)]
    return {"status": "ok", "response": {"type": shape, "data": {"statuses": statuses}}}


def cloids_in(action: Mapping[str, Any]) -> Iterator[str]:
    """Every client order id an action mentions."""
    for order in action.get("orders", ()):
        yield from _present(order.get("c"))
    for cancel in action.get("cancels", ()):
        yield from _present(cancel.get("cloid"))
    for modify in (action, *action.get("modifies", ())):
        if "order" in modify:
            yield from _present(modify["order"].get("c"))
        yield from _present(modify.get("oid"))


def _present(cloid: Any) -> Iterator[str]:
    if isinstance(cloid, str):
        yield cloid
