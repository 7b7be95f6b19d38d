"""Account arithmetic, leverage and isolated margin (sheet 5.6, 10.1, 4.2)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.engine import VenueOptions
from adapters.simulator.engine.options import MAINNET_PERPS, PerpSpec
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    NTRN,
    STRANGER,
    TSLA,
    Json,
    Venue,
    limit,
)


def leverage(venue: Venue, asset: int, value: int, *, is_cross: bool = True, user: str = ALICE) -> Json:
    return venue.act(user, {"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": value})


def isolated(venue: Venue, asset: int, micro_usd: int) -> Json:
    return venue.act(
        ALICE, {"type": "updateIsolatedMargin", "asset": asset, "isBuy": True, "ntli": micro_usd}
    )


def test_the_example_account_of_the_sheet() -> None:
    """4.5 BTC bought at 81285, now at 83926: account value 38252.7 at 10x."""
    perps = (PerpSpec("BTC", 5, 40, Decimal(81285), 56), *MAINNET_PERPS[1:])
    venue = Venue(VenueOptions(perps=perps))
    venue.exchange.create_account(STRANGER, usdc=Decimal("40000"))
    leverage(venue, BTC, 10, user=STRANGER)
    venue.open_long(STRANGER, BTC, "81285", "4.5")
    venue.mark("BTC", "83926")
    state = venue.info("clearinghouseState", user=STRANGER)
    fee = Decimal(venue.fills(STRANGER)[0]["fee"])
    equity = 40000 - fee + Decimal("4.5") * (83926 - 81285)
    summary = state["marginSummary"]
    assert Decimal(summary["accountValue"]) == equity
    assert summary["totalNtlPos"] == "377667.0"
    assert Decimal(summary["totalRawUsd"]) == equity - 377667
    assert summary["totalMarginUsed"] == "37766.7"
    assert state["crossMarginSummary"] == summary
    assert state["crossMaintenanceMarginUsed"] == "4720.8375"
    assert Decimal(state["withdrawable"]) == equity - Decimal("37766.7")
    (row,) = state["assetPositions"]
    assert row["type"] == "oneWay"
    assert row["position"]["unrealizedPnl"] == "11884.5"
    assert row["position"]["returnOnEquity"] == "0.3249061943"
    assert row["position"]["leverage"] == {"type": "cross", "value": 10}
    assert row["position"]["maxLeverage"] == 40
    liquidation = Decimal(row["position"]["liquidationPx"])
    expected = 83926 - (equity - Decimal("4720.8375")) / Decimal("4.5") / (1 - Decimal(1) / 80)
    assert abs(liquidation - expected) < Decimal("0.0001")


def test_withdrawable_keeps_a_tenth_of_the_notional() -> None:
    venue = Venue(usdc="10000")
    leverage(venue, BTC, 40)
    venue.open_long(ALICE, BTC, "43210", "1")
    state = venue.info("clearinghouseState", user=ALICE)
    assert Decimal(state["withdrawable"]) == venue.account_value(ALICE) - 4321


def test_an_account_without_positions_has_everything_free() -> None:
    state = Venue(usdc="1234.5").info("clearinghouseState", user=ALICE)
    zero = {"totalNtlPos": "0.0", "totalMarginUsed": "0.0"}
    assert state["marginSummary"] == {"accountValue": "1234.5", "totalRawUsd": "1234.5", **zero}
    assert state["withdrawable"] == "1234.5"
    assert state["assetPositions"] == []


def test_a_short_without_debt_has_a_liquidation_price_above() -> None:
    venue = Venue()
    venue.open_short(ALICE, ETH, "2300", "10")
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert Decimal(position["liquidationPx"]) > 2300


def test_an_over_collateralised_long_has_no_liquidation_price() -> None:
    venue = Venue()
    venue.open_long(ALICE, ETH, "2300", "1")
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["liquidationPx"] is None


def test_leverage_is_an_integer_up_to_the_markets_maximum() -> None:
    venue = Venue()
    assert leverage(venue, ETH, 25) == {"status": "ok", "response": {"type": "default"}}
    assert leverage(venue, ETH, 26)["status"] == "err"
    assert leverage(venue, ETH, 0)["status"] == "err"
    data = venue.info("activeAssetData", user=ALICE, coin="ETH")
    assert data["leverage"] == {"type": "cross", "value": 25}


def test_leverage_may_change_with_an_open_position_but_its_mode_may_not() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    assert leverage(venue, BTC, 10)["status"] == "ok"
    position = venue.position(ALICE, "BTC")
    assert position is not None
    assert position["marginUsed"] == "4321.0"
    assert leverage(venue, BTC, 10, is_cross=False) == {
        "status": "err",
        "response": "Cannot switch leverage type with open position.",
    }


def test_lower_leverage_needs_the_margin_for_it() -> None:
    venue = Venue(usdc="3000")
    venue.exchange.create_account(CAROL, usdc=Decimal(10**6))
    venue.open_long(ALICE, BTC, "43210", "1")
    assert leverage(venue, BTC, 2)["status"] == "err"
    assert leverage(venue, BTC, 40)["status"] == "ok"


def test_isolated_only_markets_refuse_cross() -> None:
    venue = Venue()
    assert leverage(venue, NTRN, 2)["status"] == "err"
    assert leverage(venue, NTRN, 2, is_cross=False)["status"] == "ok"
    (row,) = [row for row in venue.info("meta")["universe"] if row["name"] == "NTRN"]
    assert row["onlyIsolated"] is True


def test_an_isolated_position_carries_its_own_margin() -> None:
    venue = Venue(usdc="10000")
    leverage(venue, ETH, 5, is_cross=False)
    venue.open_long(ALICE, ETH, "2298.4", "1")
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["leverage"] == {"type": "isolated", "value": 5, "rawUsd": "-1838.72"}
    assert position["marginUsed"] == "459.68"
    state = venue.info("clearinghouseState", user=ALICE)
    fee = Decimal(venue.fills(ALICE)[0]["fee"])
    assert Decimal(state["crossMarginSummary"]["accountValue"]) == 10000 - fee - Decimal("459.68")
    assert Decimal(state["marginSummary"]["accountValue"]) == 10000 - fee
    venue.mark("ETH", "2398.4")
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["marginUsed"] == "559.68"


def test_closing_an_isolated_position_returns_its_margin() -> None:
    venue = Venue(usdc="10000")
    leverage(venue, ETH, 5, is_cross=False)
    venue.open_long(ALICE, ETH, "2300", "1")
    venue.open_short(ALICE, ETH, "2400", "0.5")
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["leverage"]["rawUsd"] == "-920.0"
    venue.open_short(ALICE, ETH, "2400", "0.5")
    fees = sum((Decimal(fill["fee"]) for fill in venue.fills(ALICE)), Decimal(0))
    assert venue.account_value(ALICE) == 10000 + 100 - fees


def test_isolated_margin_can_be_added_and_taken_out() -> None:
    venue = Venue(usdc="10000")
    leverage(venue, ETH, 5, is_cross=False)
    venue.open_long(ALICE, ETH, "2298.4", "1")
    assert isolated(venue, ETH, 2_500_000)["status"] == "ok"
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["marginUsed"] == "462.18"
    assert isolated(venue, ETH, -2_000_000)["status"] == "ok"
    assert isolated(venue, ETH, -2_000_000)["status"] == "err"
    assert isolated(venue, ETH, 100_000_000_000)["status"] == "err"


@pytest.mark.parametrize("has_position", [True, False])
def test_isolated_margin_needs_an_isolated_position(has_position: bool) -> None:
    venue = Venue()
    if has_position:
        venue.open_long(ALICE, ETH, "2298.4", "1")
    assert isolated(venue, ETH, 1_000_000) == {
        "status": "err",
        "response": "Position does not use isolated margin.",
    }


def test_topping_up_lowers_the_leverage_of_the_position() -> None:
    venue = Venue()
    leverage(venue, ETH, 10, is_cross=False)
    venue.open_long(ALICE, ETH, "2298.4", "1")
    venue.act(ALICE, {"type": "topUpIsolatedOnlyMargin", "asset": ETH, "leverage": "4"})
    position = venue.position(ALICE, "ETH")
    assert position is not None
    assert position["marginUsed"] == "574.6"


def test_topping_up_needs_an_isolated_position() -> None:
    venue = Venue()

    def top_up(asset: int, value: str) -> str:
        action = {"type": "topUpIsolatedOnlyMargin", "asset": asset, "leverage": value}
        return str(venue.act(ALICE, action)["response"])

    assert top_up(ETH, "4") == "Position does not use isolated margin."
    assert top_up(777, "4") == "Unknown asset."
    leverage(venue, ETH, 10, is_cross=False)
    venue.open_long(ALICE, ETH, "2298.4", "1")
    assert top_up(ETH, "0") == "Invalid leverage value."


def test_the_leverage_of_a_flat_isolated_market_can_be_read() -> None:
    venue = Venue()
    leverage(venue, ETH, 7, is_cross=False)
    data = venue.info("activeAssetData", user=ALICE, coin="ETH")
    assert data["leverage"] == {"type": "isolated", "value": 7, "rawUsd": "0.0"}


def test_an_opposing_position_adds_to_what_can_be_traded() -> None:
    venue = Venue(usdc="43210")
    leverage(venue, BTC, 10)
    venue.open_long(ALICE, BTC, "43210", "2")
    data = venue.info("activeAssetData", user=ALICE, coin="BTC")
    buy, sell = (Decimal(size) for size in data["maxTradeSzs"])
    assert Decimal("7.9") < buy < 8
    assert Decimal("11.9") < sell < 12
    assert "resting" in venue.sell(ALICE, BTC, "43210", str(sell))


def test_active_asset_data_says_what_can_be_traded() -> None:
    venue = Venue(usdc="4321")
    leverage(venue, BTC, 10)
    data = venue.info("activeAssetData", user=ALICE, coin="BTC")
    assert data == {
        "user": ALICE,
        "coin": "BTC",
        "leverage": {"type": "cross", "value": 10},
        "maxTradeSzs": ["1.0", "1.0"],
        "availableToTrade": ["4321.0", "4321.0"],
        "markPx": "43210.0",
    }


def test_what_can_be_traded_really_can() -> None:
    venue = Venue(usdc="4321")
    size = venue.info("activeAssetData", user=ALICE, coin="BTC")["maxTradeSzs"][0]
    assert "resting" in venue.buy(ALICE, BTC, "43210", size)
    venue.exchange.drain()
    bigger = str(Decimal(size) + Decimal("0.00001"))
    assert "error" in venue.buy(BOB, BTC, "43210", bigger)


def test_a_maker_without_margin_is_cancelled_instead_of_filled() -> None:
    venue = Venue(usdc="2500")
    venue.exchange.create_account(CAROL, usdc=Decimal(10**6))
    first = venue.rest(ALICE, limit(BTC, True, "43210", "1"))
    second = venue.rest(ALICE, limit(BTC, True, "43209", "1"))
    venue.exchange.drain()
    venue.sell(CAROL, BTC, "43209", "2", "Ioc")
    assert venue.status(ALICE, first) == "filled"
    assert venue.status(ALICE, second) == "marginCanceled"
    assert venue.szi(ALICE, "BTC") == "1.0"
    assert {"nonUserCancel": [{"coin": "BTC", "oid": second}]} in venue.events(ALICE)


def test_unified_accounts_hold_their_collateral_in_spot() -> None:
    venue = Venue(VenueOptions(abstraction="unifiedAccount"), usdc="10000")
    assert venue.info("userAbstraction", user=ALICE) == "unifiedAccount"
    state = venue.info("clearinghouseState", user=ALICE)
    assert state["marginSummary"]["accountValue"] == "0.0"
    assert venue.spot(ALICE, "USDC") == {
        "coin": "USDC",
        "token": 0,
        "total": "10000.0",
        "hold": "0.0",
        "entryNtl": "0.0",
    }
    venue.open_long(ALICE, BTC, "43210", "1")
    state = venue.info("clearinghouseState", user=ALICE)
    assert state["marginSummary"]["accountValue"] == "2160.5"
    fee = Decimal(venue.fills(ALICE)[0]["fee"])
    assert Decimal(venue.spot(ALICE, "USDC")["total"]) == 10000 - fee
    assert venue.spot(ALICE, "USDC")["hold"] == "2160.5"
    venue.open_short(ALICE, BTC, "43220", "1")
    fees = sum((Decimal(fill["fee"]) for fill in venue.fills(ALICE)), Decimal(0))
    assert Decimal(venue.spot(ALICE, "USDC")["total"]) == 10010 - fees
    assert venue.spot(ALICE, "USDC")["hold"] == "0.0"


@pytest.mark.parametrize("mode", ["unifiedAccount", "dexAbstraction"])
def test_pooled_accounts_trade_on_every_dex(mode: Any) -> None:
    venue = Venue(VenueOptions(abstraction=mode), usdc="1000")
    venue.trade(ALICE, BOB, TSLA, "250", "10")
    assert venue.szi(ALICE, "xyz:TSLA") == "10.0"
    assert "error" in venue.buy(ALICE, BTC, "43210", "0.4")
    assert "resting" in venue.buy(ALICE, BTC, "43210", "0.3")
    venue.trade(BOB, ALICE, TSLA, "251", "10")
    fees = sum((Decimal(fill["fee"]) for fill in venue.fills(ALICE)), Decimal(0))
    equity = venue.account_value(ALICE) + Decimal(venue.spot(ALICE, "USDC")["total"])
    assert equity == 1010 - fees
    assert venue.info("clearinghouseState", user=ALICE, dex="xyz")["withdrawable"] == str(equity)


def test_unified_collateral_limits_perps() -> None:
    venue = Venue(VenueOptions(abstraction="unifiedAccount"), usdc="1000")
    assert "error" in venue.buy(ALICE, BTC, "43210", "0.47")
    assert "resting" in venue.buy(ALICE, BTC, "43210", "0.46")
