"""Comparisons keep the period that a config may set with its request weight, and go on whatever is traded."""

from __future__ import annotations

import pytest

from adapters.hyperliquid.pass_weights import shortest_period_s
from tests.support.core import CoreSession

MINUTE_S = 60
PASSES_S = 20 * MINUTE_S


def ready(weight: int, every_s: int = MINUTE_S) -> CoreSession:
    """A core with this request weight per minute, after however long its start takes."""
    core = CoreSession(
        options={
            "weight_per_minute": weight,
            "reconcile_every_ns": every_s * 10**9,
            "thorough_every_ns": MINUTE_S * 10**9,
        }
    )
    core.answers["userRateLimit"] = {"nRequestsUsed": 0, "nRequestsCap": 10_000_000}
    core.begin()
    while not core.streams:
        core.advance(1)
    core.connect()
    core.books()
    while not core.connector.ready:
        core.advance(1)
    return core


@pytest.mark.parametrize("weight", [200, 250, 300, 350, 400, 500, 600, 800, 1_000])
def test_each_comparison_is_through_before_the_next_one_is_due(weight: int) -> None:
    every_s = shortest_period_s(MINUTE_S, 1, weight)
    core = ready(weight, every_s)
    core.advance(2 * MINUTE_S)  # what the start asked is part of the first minute
    before, late = core.connector._reconciler.passes, core.alert_codes().count("reconciliation_late")
    core.advance(PASSES_S)
    assert core.connector._reconciler.passes - before >= PASSES_S // every_s - 1
    assert core.alert_codes().count("reconciliation_late") == late


@pytest.mark.parametrize("weight", [200, 250, 300, 400, 600])
@pytest.mark.parametrize("with_cancels", [False, True])
def test_comparisons_go_on_beside_orders_and_cancels_that_use_all_there_is(
    weight: int, with_cancels: bool
) -> None:
    core = ready(weight)
    before, oid = core.connector._reconciler.passes, 10_000
    for _ in range(PASSES_S):
        for _ in range(2 + weight // 100):
            oid += 1
            order = core.buy("0.01", "43000")
            if not core.sends:
                core.cancel(order)
                break
            core.answer_orders({"resting": {"oid": oid}})
            if with_cancels:
                core.cancel(order)
                core.answer_cancels("success")
            else:
                core.status(oid, "canceled", cloid=order, time_ms=core.now_ms)
        core.advance(1)
    least = PASSES_S // (6 * MINUTE_S) if weight < 400 else PASSES_S // (2 * MINUTE_S)
    assert core.connector._reconciler.passes - before >= least
