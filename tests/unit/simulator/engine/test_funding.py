"""Hourly funding (sheet 10.3) and how it reads (sheet 5.8, 7.3)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import VenueOptions
from adapters.simulator.engine.funding import hourly_rate
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    HOUR_MS,
    NEXT_HOUR_MS,
    NTRN,
    Venue,
    limit,
)


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        ("0", "0.0000125"),
        ("0.0001", "0.0000125"),
        ("0.0005", "0.0000125"),
        ("0.001", "0.0000625"),
        ("-0.001", "-0.0000625"),
        ("0.4", "0.04"),
        ("-0.4", "-0.04"),
    ],
)
def test_the_hourly_rate_follows_the_premium(premium: str, rate: str) -> None:
    assert hourly_rate(Decimal(premium)) == Decimal(rate)


def test_the_worked_example_of_the_sheet() -> None:
    venue = Venue()
    venue.exchange.set_oracle_price("ETH", Decimal(3000))
    venue.open_long(ALICE, ETH, "2300", "1.5")
    before = venue.account_value(ALICE)
    venue.exchange.drain()
    venue.exchange.settle_funding(now_ms=venue.now, rates={"ETH": Decimal("0.0000125")})
    (row,) = venue.info("userFunding", user=ALICE, startTime=0)
    assert row["delta"] == {
        "type": "funding",
        "coin": "ETH",
        "usdc": "-0.05625",
        "szi": "1.5",
        "fundingRate": "0.0000125",
        "nSamples": None,
    }
    assert venue.account_value(ALICE) == before - Decimal("0.05625")
    (short,) = venue.info("userFunding", user=CAROL, startTime=0)
    assert (short["delta"]["usdc"], short["delta"]["szi"]) == ("0.05625", "-1.5")


def test_funding_is_settled_on_the_hour() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.advance(NEXT_HOUR_MS - 1)
    assert venue.info("userFunding", user=ALICE, startTime=0) == []
    venue.exchange.advance(NEXT_HOUR_MS + 5)
    (row,) = venue.info("userFunding", user=ALICE, startTime=0)
    assert row["time"] == NEXT_HOUR_MS
    assert row["delta"]["usdc"] == "-0.540125"


def test_a_long_absence_settles_every_hour_of_it() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.advance(NEXT_HOUR_MS + 23 * HOUR_MS)
    rows = venue.info("userFunding", user=ALICE, startTime=0)
    assert [row["time"] for row in rows] == [NEXT_HOUR_MS + n * HOUR_MS for n in range(24)]
    history = venue.info("fundingHistory", coin="BTC", startTime=0)
    assert len(history) == 24
    assert all(0 <= row["time"] - NEXT_HOUR_MS - n * HOUR_MS < 100 for n, row in enumerate(history))
    assert {row["fundingRate"] for row in history} == {"0.0000125"}


def test_automatic_funding_can_be_turned_off() -> None:
    venue = Venue(VenueOptions(automatic_funding=False))
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.advance(NEXT_HOUR_MS + HOUR_MS)
    assert venue.info("userFunding", user=ALICE, startTime=0) == []


def test_payments_are_truncated_to_whole_micro_dollars() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "0.00033")
    venue.exchange.settle_funding(now_ms=venue.now, rates={"BTC": Decimal("0.0000123")})
    exact = Decimal("0.00033") * 43210 * Decimal("0.0000123")
    assert exact == Decimal("0.000175389390")
    (paid,) = venue.info("userFunding", user=ALICE, startTime=0)
    assert paid["delta"]["usdc"] == "-0.000175"
    (received,) = venue.info("userFunding", user=CAROL, startTime=0)
    assert received["delta"]["usdc"] == "0.000175"


def test_payments_of_less_than_a_micro_dollar_leave_no_row() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "0.00033")
    venue.exchange.settle_funding(now_ms=venue.now, rates={"BTC": Decimal("0.00000001")})
    assert venue.info("userFunding", user=ALICE, startTime=0) == []


def test_cumulative_funding_is_positive_when_paid() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    rates = {"BTC": Decimal("0.0001")}
    venue.exchange.settle_funding(now_ms=venue.now, rates=rates)
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.settle_funding(now_ms=venue.now, rates=rates)
    position = venue.position(ALICE, "BTC")
    assert position is not None
    assert position["cumFunding"] == {"allTime": "12.963", "sinceOpen": "12.963", "sinceChange": "8.642"}
    venue.open_short(ALICE, BTC, "43210", "2")
    venue.open_long(ALICE, BTC, "43210", "1")
    position = venue.position(ALICE, "BTC")
    assert position is not None
    assert position["cumFunding"] == {"allTime": "12.963", "sinceOpen": "0.0", "sinceChange": "0.0"}


def test_isolated_positions_pay_from_their_own_margin() -> None:
    venue = Venue()
    venue.trade(ALICE, CAROL, NTRN, "0.45", "1000")
    before = venue.position(ALICE, "NTRN")
    venue.exchange.settle_funding(now_ms=venue.now, rates={"NTRN": Decimal("0.001")})
    after = venue.position(ALICE, "NTRN")
    assert before is not None
    assert after is not None
    paid = Decimal(before["leverage"]["rawUsd"]) - Decimal(after["leverage"]["rawUsd"])
    assert paid == Decimal("0.4512")


def test_the_user_channel_carries_one_object_per_payment() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.open_long(ALICE, ETH, "2300", "1")
    venue.exchange.drain()
    rates = {"BTC": Decimal("0.0001"), "ETH": Decimal("-0.0001")}
    venue.exchange.settle_funding(now_ms=venue.now, rates=rates)
    messages = venue.exchange.drain()
    events = [m.data for m in messages if m.kind == "userEvents" and m.user == ALICE]
    assert events[0] == {
        "funding": {
            "time": venue.now,
            "coin": "BTC",
            "usdc": "-4.321",
            "szi": "1.0",
            "fundingRate": "0.0001",
        }
    }
    assert [event["funding"]["coin"] for event in events if isinstance(event, dict)] == ["BTC", "ETH"]
    (fundings,) = [m.data for m in messages if m.kind == "userFundings" and m.user == ALICE]
    assert isinstance(fundings, dict)
    assert [row["usdc"] for row in fundings["fundings"]] == ["-4.321", "0.22984"]
    assert all(row["nSamples"] is None for row in fundings["fundings"])


def test_the_premium_is_sampled_from_the_impact_prices() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, True, "43642", "10"))
    venue.rest(BOB, limit(BTC, False, "43700", "10"))
    venue.exchange.advance(NEXT_HOUR_MS - 1)
    (context, *_) = venue.info("metaAndAssetCtxs")[1]
    assert context["premium"] == "0.00999769"
    assert context["impactPxs"] == ["43642.0", "43700.0"]
    assert context["funding"] == "0.00118721"
    venue.exchange.advance(NEXT_HOUR_MS)
    (row,) = venue.info("fundingHistory", coin="BTC", startTime=0)
    assert (row["premium"], row["fundingRate"]) == ("0.00999769", "0.00118721")


def test_a_premium_of_half_the_hour_counts_half() -> None:
    venue = Venue()
    venue.exchange.advance(NEXT_HOUR_MS)
    venue.exchange.advance(NEXT_HOUR_MS + HOUR_MS // 2)
    venue.rest(BOB, limit(BTC, True, "43642", "10"))
    venue.rest(BOB, limit(BTC, False, "43700", "10"))
    venue.exchange.advance(NEXT_HOUR_MS + HOUR_MS)
    row = venue.info("fundingHistory", coin="BTC", startTime=0)[-1]
    assert Decimal(row["premium"]) == pytest.approx(Decimal("0.00499884"), abs=Decimal("0.00001"))


def test_funding_reads_are_bounded_and_inclusive() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.exchange.advance(NEXT_HOUR_MS + 520 * HOUR_MS)
    assert len(venue.info("userFunding", user=ALICE, startTime=0)) == 500
    second = NEXT_HOUR_MS + HOUR_MS
    rows = venue.info("userFunding", user=ALICE, startTime=second, endTime=second + HOUR_MS)
    assert [row["time"] for row in rows] == [second, second + HOUR_MS]


def test_predicted_fundings_name_this_venue_only() -> None:
    rows = Venue().info("predictedFundings")
    assert rows[0] == [
        "BTC",
        [
            ["BinPerp", None],
            [
                "HlPerp",
                {
                    "fundingRate": "0.0000125",
                    "nextFundingTime": NEXT_HOUR_MS,
                    "fundingIntervalHours": 1,
                },
            ],
            ["BybitPerp", None],
        ],
    ]
