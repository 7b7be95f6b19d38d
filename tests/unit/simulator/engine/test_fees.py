"""What fills cost (sheet 8 and 10.4)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import VenueOptions
from adapters.simulator.engine.options import BASE_FEE_TIERS, FeeRates, FeeTier
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    HYPE_SPOT,
    START_MS,
    TSLA,
    Json,
    Venue,
    limit,
)

BUILDER = "0x" + "bb" * 20
DAY_MS = 86_400_000


def test_perp_fees_are_truncated_to_six_decimals() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, ETH, "2304.3", "0.0289")
    notional = Decimal("2304.3") * Decimal("0.0289")
    assert notional * Decimal("0.00015") == Decimal("0.0099891405")
    (maker,), (taker,) = venue.fills(BOB), venue.fills(ALICE)
    assert maker["fee"] == "0.009989"
    assert taker["fee"] == "0.029967"


def test_base_makers_pay_too() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "40000", "1")
    assert venue.fills(ALICE)[0]["fee"] == "18.0"
    assert venue.fills(BOB)[0]["fee"] == "6.0"
    assert venue.account_value(BOB) == Decimal(1_000_000) - 6 - (Decimal(43210) - 40000)


def test_a_rebate_is_a_negative_fee() -> None:
    venue = Venue()
    rebate = FeeRates(Decimal("0.00024"), Decimal("-0.00003"), Decimal("0.00025"), Decimal(0))
    venue.exchange.create_account(BOB, fee_rates=rebate)
    venue.trade(ALICE, BOB, BTC, "43210", "1")
    assert venue.fills(BOB)[0]["fee"] == "-1.2963"
    assert venue.account_value(BOB) == Decimal("1000001.2963")
    fees = venue.info("userFees", user=BOB)
    assert (fees["userCrossRate"], fees["userAddRate"]) == ("0.00024", "-0.00003")


def test_fee_tiers_follow_the_volume_of_the_fourteen_days_before() -> None:
    tiers = (BASE_FEE_TIERS[0], FeeTier(Decimal(40_000), BASE_FEE_TIERS[1].rates))
    venue = Venue(VenueOptions(fee_tiers=tiers))
    venue.trade(ALICE, BOB, BTC, "43210", "1")
    venue.trade(ALICE, BOB, BTC, "43210", "1")
    assert venue.fills(ALICE)[1]["fee"] == venue.fills(ALICE)[0]["fee"]
    venue.exchange.advance(START_MS + DAY_MS)
    assert venue.info("userFees", user=ALICE)["userCrossRate"] == "0.0004"
    venue.trade(ALICE, CAROL, BTC, "43210", "1")
    assert venue.fills(ALICE)[2]["fee"] == "17.284"
    venue.exchange.advance(START_MS + 17 * DAY_MS)
    assert venue.info("userFees", user=ALICE)["userCrossRate"] == "0.00045"


def test_builder_markets_cost_double() -> None:
    venue = Venue()
    for user in (ALICE, BOB):
        venue.act(
            user,
            {
                "type": "sendAsset",
                "destination": user,
                "sourceDex": "",
                "destinationDex": "xyz",
                "token": "USDC",
                "amount": "10000",
                "fromSubAccount": "",
                "nonce": 1,
            },
        )
    venue.trade(ALICE, BOB, TSLA, "250", "10")
    assert venue.fills(ALICE)[0]["fee"] == "2.25"
    assert venue.fills(ALICE)[0]["coin"] == "xyz:TSLA"


def approve(venue: Venue, rate: str) -> Json:
    return venue.act(ALICE, {"type": "approveBuilderFee", "maxFeeRate": rate, "builder": BUILDER, "nonce": 1})


def test_a_builder_is_paid_on_top_and_the_fee_includes_it() -> None:
    venue = Venue()
    assert approve(venue, "0.05%") == {"status": "ok", "response": {"type": "default"}}
    assert venue.info("maxBuilderFee", user=ALICE, builder=BUILDER) == 50
    venue.rest(BOB, limit(BTC, False, "40000", "1"))
    venue.orders(ALICE, limit(BTC, True, "40000", "1", "Ioc"), builder={"b": BUILDER, "f": 50})
    (fill,) = venue.fills(ALICE)
    assert (fill["fee"], fill["builderFee"]) == ("38.0", "20.0")
    assert venue.account_value(BUILDER) == 20


def test_a_resting_order_remembers_its_builder() -> None:
    venue = Venue()
    approve(venue, "0.01%")
    venue.orders(ALICE, limit(BTC, True, "40000", "1"), builder={"b": BUILDER, "f": 10})
    venue.sell(BOB, BTC, "40000", "1", "Ioc")
    assert venue.fills(ALICE)[0]["builderFee"] == "4.0"
    assert "builderFee" not in venue.fills(BOB)[0]


@pytest.mark.parametrize("fee", [51, 100])
def test_a_builder_needs_an_approval_of_that_rate(fee: int) -> None:
    venue = Venue()
    approve(venue, "0.05%")
    action = {
        "type": "order",
        "orders": [limit(BTC, True, "40000", "1")],
        "grouping": "na",
        "builder": {"b": BUILDER, "f": fee},
    }
    assert venue.act(ALICE, action) == {
        "status": "err",
        "response": "Builder fee has not been approved.",
    }
    assert venue.open_oids(ALICE) == []


def test_builder_fees_have_a_maximum() -> None:
    venue = Venue()
    approve(venue, "1%")
    action = {
        "type": "order",
        "orders": [limit(BTC, True, "40000", "1")],
        "grouping": "na",
        "builder": {"b": BUILDER, "f": 101},
    }
    assert venue.act(ALICE, action)["status"] == "err"


def test_spot_buys_pay_in_the_base_token_and_sells_in_the_quote_token() -> None:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"USDC": Decimal(1000)})
    venue.exchange.create_account(BOB, spot={"HYPE": Decimal(100)})
    venue.trade(ALICE, BOB, HYPE_SPOT, "31.255", "10")
    (bought,), (sold,) = venue.fills(ALICE), venue.fills(BOB)
    assert (bought["fee"], bought["feeToken"]) == ("0.007", "HYPE")
    assert (sold["fee"], sold["feeToken"]) == ("0.12502", "USDC")
    assert venue.spot(ALICE, "HYPE")["total"] == "9.993"
    assert venue.spot(BOB, "USDC")["total"] == "312.42498"


def test_the_fee_schedule_reads_as_the_sheet_says() -> None:
    fees = Venue().info("userFees", user=ALICE)
    assert fees["userCrossRate"] == "0.00045"
    assert fees["userAddRate"] == "0.00015"
    assert fees["feeSchedule"]["tiers"]["vip"][0] == {
        "ntlCutoff": "5000000.0",
        "cross": "0.0004",
        "add": "0.00012",
        "spotCross": "0.0006",
        "spotAdd": "0.0003",
    }
    assert len(fees["dailyUserVlm"]) == 15
    assert fees["dailyUserVlm"][-1]["date"] == "2023-11-14"


def test_daily_volume_tells_taker_from_maker() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "40000", "1")
    today = venue.info("userFees", user=ALICE)["dailyUserVlm"][-1]
    assert (today["userCross"], today["userAdd"], today["exchange"]) == ("40000.0", "0.0", "40000.0")
    today = venue.info("userFees", user=BOB)["dailyUserVlm"][-1]
    assert (today["userCross"], today["userAdd"]) == ("0.0", "40000.0")
