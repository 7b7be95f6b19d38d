"""Whatever traders do, the venue's books balance: random actions, checked through the reads alone."""

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.crowd import Crowd


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 120),
    keeps_oid=st.booleans(),
    remainder=st.sampled_from(["canceled", "filled"]),
)
def test_the_books_balance_after_anything_that_traders_do(
    seed: int, steps: int, keeps_oid: bool, remainder: Literal["canceled", "filled"]
) -> None:
    options = VenueOptions(trigger_keeps_oid=keeps_oid, ioc_remainder_status=remainder)
    crowd = Crowd(options, seed)
    for step in range(steps):
        crowd.step()
        if step % 10 == 0:
            crowd.check()
    crowd.check()


def test_a_long_run_sees_everything_that_can_become_of_an_order() -> None:
    crowd = Crowd(VenueOptions(address_budget=None), seed=7)
    for step in range(3000):
        crowd.step()
        if step % 150 == 0:
            crowd.check()
    crowd.check()
    assert crowd.seen >= {
        "open",
        "filled",
        "canceled",
        "triggered",
        "selfTradeCanceled",
        "marginCanceled",
        "reduceOnlyCanceled",
        "siblingFilledCanceled",
        "liquidatedCanceled",
        "iocCancelRejected",
        "badAloPxRejected",
        "perpMarginRejected",
        "reduceOnlyRejected",
        "minTradeNtlRejected",
        "insufficientSpotBalanceRejected",
        "marketOrderNoLiquidityRejected",
        "Open Long",
        "Open Short",
        "Close Long",
        "Close Short",
        "Long > Short",
        "Short > Long",
        "Buy",
        "Sell",
        "Liquidated Cross Long",
        "Liquidated Cross Short",
        "Liquidated Isolated Long",
        "Liquidated Isolated Short",
    }
