"""Average cost, flips, realised PnL, and the fill rows that show them (sheet 8, 10.2)."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.engine.markets import Universe
from adapters.simulator.engine.numbers import arithmetic
from adapters.simulator.engine.options import VenueOptions
from adapters.simulator.engine.positions import PerpWallet, Position
from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, CAROL, ETH, SOL, Venue, limit


def test_the_worked_example_of_the_sheet() -> None:
    venue = Venue()
    venue.mark("SOL", "100")
    venue.open_long(ALICE, SOL, "100", "2")
    venue.open_long(ALICE, SOL, "130", "1")
    position = venue.position(ALICE, "SOL")
    assert position is not None
    assert (position["szi"], position["entryPx"]) == ("3.0", "110.0")
    venue.open_short(ALICE, SOL, "125", "1")
    venue.open_short(ALICE, SOL, "90", "3")
    rows = [(f["startPosition"], f["dir"], f["closedPnl"]) for f in venue.fills(ALICE)]
    assert rows == [
        ("0.0", "Open Long", "0.0"),
        ("2.0", "Open Long", "0.0"),
        ("3.0", "Close Long", "15.0"),
        ("2.0", "Long > Short", "-40.0"),
    ]
    position = venue.position(ALICE, "SOL")
    assert position is not None
    assert (position["szi"], position["entryPx"]) == ("-1.0", "90.0")


def test_the_other_side_of_the_same_trades() -> None:
    venue = Venue()
    venue.open_short(ALICE, ETH, "2300", "1")
    venue.open_long(ALICE, ETH, "2290", "0.4")
    venue.open_long(ALICE, ETH, "2310", "1")
    rows = [(f["side"], f["startPosition"], f["dir"], f["closedPnl"]) for f in venue.fills(ALICE)]
    assert rows == [
        ("A", "0.0", "Open Short", "0.0"),
        ("B", "-1.0", "Close Short", "4.0"),
        ("B", "-0.6", "Short > Long", "-6.0"),
    ]


def test_a_fill_row_has_exactly_the_members_of_the_sheet() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43210", "0.01"))
    venue.buy(ALICE, BTC, "43210", "0.01", "Ioc")
    (row,) = venue.fills(ALICE)
    assert list(row) == [
        "coin",
        "px",
        "sz",
        "side",
        "time",
        "startPosition",
        "dir",
        "closedPnl",
        "hash",
        "oid",
        "crossed",
        "fee",
        "tid",
        "feeToken",
        "twapId",
    ]
    assert (row["crossed"], row["twapId"], row["feeToken"]) == (True, None, "USDC")
    (maker,) = venue.fills(BOB)
    assert (maker["crossed"], maker["tid"], maker["hash"]) == (False, row["tid"], row["hash"])


def test_a_closed_position_vanishes() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "0.01")
    venue.open_short(ALICE, BTC, "43210", "0.01")
    state = venue.info("clearinghouseState", user=ALICE)
    assert state["assetPositions"] == []
    assert state["marginSummary"]["totalNtlPos"] == "0.0"


def test_fees_and_funding_never_enter_the_entry_price() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.settle_funding(now_ms=venue.now, rates={"BTC": Decimal("0.001")})
    venue.open_short(ALICE, BTC, "43220", "0.5", against=CAROL)
    position = venue.position(ALICE, "BTC")
    assert position is not None
    assert position["entryPx"] == "43210.0"
    assert venue.fills(ALICE)[-1]["closedPnl"] == "5.0"


@pytest.mark.parametrize("is_cross", [True, False])
@settings(deadline=None, max_examples=60)
@given(
    trades=st.lists(
        st.tuples(
            st.integers(-50, 50).filter(bool).map(lambda n: Decimal(n) / 100),
            st.integers(5000, 15000).map(lambda n: Decimal(n) / 100),
        ),
        max_size=20,
    )
)
def test_realised_and_unrealised_pnl_explain_all_cash(
    is_cross: bool, trades: list[tuple[Decimal, Decimal]]
) -> None:
    with arithmetic():
        market = Universe(VenueOptions()).perp_by_asset(SOL)
        assert market is not None
        wallet = PerpWallet("")
        position = Position(market, is_cross, 10)
        realised = Decimal(0)
        for signed, price in trades:
            before = position.szi
            change = wallet.trade(position, signed, price)
            assert change.start == before
            assert position.szi == before + signed
            realised += change.closed_pnl
        equity = wallet.cash + position.isolated_value
        explained = realised + position.unrealized_pnl
        # Each closing fill rounds its PnL to a micro-dollar.
        assert abs(equity - explained) <= len(trades) * Decimal("0.000001")
        assert is_cross is False or position.isolated_usd == 0
        assert position.szi != 0 or (position.entry_px == 0 and position.isolated_usd == 0)
