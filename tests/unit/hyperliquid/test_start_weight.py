"""A start asks no more than is said of it, so that a config that is accepted leads to one that is through."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.hyperliquid.start_weight import start_waits_s
from tests.support.core import ACCOUNT, META, TRADER, CoreSession

WEIGHTS = range(200, 1_201, 20)


def started(weight: int, pairs: tuple[str, ...]) -> CoreSession:
    """An agent's core that has asked whatever it may, with every answer there at once."""
    core = CoreSession(options={"weight_per_minute": weight}, pairs=pairs, signer=TRADER)

    def role(body: dict[str, Any]) -> dict[str, Any]:
        return {"role": "agent", "data": {"user": ACCOUNT}} if body["user"] == TRADER else {"role": "user"}

    def markets(body: dict[str, Any]) -> dict[str, Any]:
        gold = {"name": f"{body.get('dex')}:GOLD", "szDecimals": 2, "maxLeverage": 10, "marginTableId": 10}
        return {**META, "universe": [gold]} if body.get("dex") else META

    core.answers |= {"userRole": role, "meta": markets, "historicalOrders": []}
    core.answers["perpDexs"] = [None, {"name": "one"}, {"name": "two"}, {"name": "three"}]
    core.begin()
    return core


def connect(core: CoreSession) -> None:
    core.connect()
    core.books()


@pytest.mark.parametrize("further", [(), ("one",), ("one", "two", "three")])
def test_a_start_with_weight_enough_does_not_wait(further: tuple[str, ...]) -> None:
    pairs = ("BTC-USD", *(f"{dex}:GOLD-USD" for dex in further))
    weight = next(weight for weight in WEIGHTS if not start_waits_s(weight, pairs))
    core = started(weight, pairs)
    connect(core)
    assert core.connector.ready, core.connector.readiness


@pytest.mark.parametrize("weight", range(200, 1_000, 20))
def test_a_start_with_little_weight_is_through_when_it_is_said_to_be(weight: int) -> None:
    core = started(weight, ("BTC-USD",))
    waited_s = 0
    while not core.streams:
        core.advance(10)
        waited_s += 10
    connect(core)
    core.advance(max(0, start_waits_s(weight, ("BTC-USD",)) - waited_s))
    assert core.connector.ready, core.connector.readiness
