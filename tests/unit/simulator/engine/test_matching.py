"""Price-time priority and time in force (sheet 4.1, 4.7)."""

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    Venue,
    cloid,
    limit,
)


def test_a_taker_trades_at_the_resting_price() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    status = venue.buy(BOB, BTC, "43300", "0.01", "Ioc")
    assert status["filled"]["avgPx"] == "43200.0"
    assert status["filled"]["totalSz"] == "0.01"


def test_the_best_price_comes_first_whenever_it_came() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43210", "0.01"))
    venue.rest(CAROL, limit(BTC, False, "43205", "0.01"))
    venue.buy(BOB, BTC, "43300", "0.015", "Ioc")
    assert [(fill["px"], fill["sz"]) for fill in venue.fills(BOB)] == [
        ("43205.0", "0.01"),
        ("43210.0", "0.005"),
    ]


def test_the_oldest_order_at_a_price_comes_first() -> None:
    venue = Venue()
    first = venue.rest(ALICE, limit(BTC, True, "43200", "0.01"))
    second = venue.rest(CAROL, limit(BTC, True, "43200", "0.01"))
    venue.sell(BOB, BTC, "43200", "0.01", "Ioc")
    assert venue.status(ALICE, first) == "filled"
    assert venue.status(CAROL, second) == "open"


def test_an_order_partly_filled_keeps_its_place() -> None:
    venue = Venue()
    first = venue.rest(ALICE, limit(BTC, True, "43200", "0.02"))
    venue.rest(CAROL, limit(BTC, True, "43200", "0.01"))
    venue.sell(BOB, BTC, "43200", "0.01", "Ioc")
    venue.sell(BOB, BTC, "43200", "0.01", "Ioc")
    assert venue.status(ALICE, first) == "filled"


def test_gtc_rests_what_it_cannot_fill() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    status = venue.buy(BOB, BTC, "43200", "0.03")
    oid = status["resting"]["oid"]
    (row,) = venue.info("openOrders", user=BOB)
    assert row == {
        "coin": "BTC",
        "side": "B",
        "limitPx": "43200.0",
        "sz": "0.02",
        "oid": oid,
        "timestamp": venue.now,
        "origSz": "0.03",
    }


def test_a_gtc_that_fills_in_part_may_be_configured_to_answer_filled() -> None:
    venue = Venue(VenueOptions(partial_gtc_answer="filled"))
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    status = venue.buy(BOB, BTC, "43200", "0.03")
    assert status["filled"]["totalSz"] == "0.01"
    assert venue.open_oids(BOB) == [status["filled"]["oid"]]


def test_an_ioc_drops_its_remainder() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    status = venue.buy(BOB, BTC, "43200", "0.03", "Ioc")
    assert status["filled"]["totalSz"] == "0.01"
    assert venue.open_oids(BOB) == []
    oid = status["filled"]["oid"]
    assert venue.status(BOB, oid) == "canceled"
    assert venue.order_row(BOB, oid)["sz"] == "0.02"


def test_the_remainder_of_an_ioc_may_be_recorded_as_filled() -> None:
    venue = Venue(VenueOptions(ioc_remainder_status="filled"))
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    oid = venue.buy(BOB, BTC, "43200", "0.03", "Ioc")["filled"]["oid"]
    assert venue.status(BOB, oid) == "filled"
    assert venue.order_row(BOB, oid)["sz"] == "0.02"


def test_an_ioc_that_finds_nothing_is_refused_and_recorded() -> None:
    venue = Venue()
    status = venue.order(BOB, limit(ETH, True, "2300", "1", "Ioc", cloid=cloid(7)))
    assert status == {"error": "Order could not immediately match against any resting orders. asset=1"}
    assert venue.status(BOB, cloid(7)) == "iocCancelRejected"
    assert venue.updates(BOB)[-1][1] == "iocCancelRejected"


def test_a_market_order_without_liquidity_says_so() -> None:
    venue = Venue()
    status = venue.buy(BOB, BTC, "45000", "0.01", "FrontendMarket")
    assert status == {"error": "No liquidity available for market order. asset=0"}


def test_a_frontend_market_order_reads_as_market() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43200", "0.01"))
    oid = venue.buy(BOB, BTC, "45000", "0.01", "FrontendMarket")["filled"]["oid"]
    row = venue.order_row(BOB, oid)
    assert (row["orderType"], row["tif"]) == ("Market", "FrontendMarket")


def test_a_post_only_order_that_would_match_is_refused_with_the_bbo() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(ETH, True, "1923.1", "1"))
    venue.rest(ALICE, limit(ETH, False, "1923.2", "1"))
    status = venue.buy(BOB, ETH, "1923.2", "1", "Alo")
    text = "Post only order would have immediately matched, bbo was 1923.1@1923.2. asset=1"
    assert status == {"error": text}
    assert venue.open_oids(BOB) == []


def test_a_post_only_order_behind_the_spread_rests() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(ETH, False, "1923.2", "1"))
    assert "resting" in venue.buy(BOB, ETH, "1923.1", "1", "Alo")


def test_an_own_resting_order_is_cancelled_instead_of_traded_with() -> None:
    venue = Venue()
    own = venue.rest(BOB, limit(BTC, False, "43200", "0.01"))
    venue.rest(ALICE, limit(BTC, False, "43201", "0.01"))
    status = venue.buy(BOB, BTC, "43300", "0.01", "Ioc")
    assert status["filled"]["avgPx"] == "43201.0"
    assert venue.status(BOB, own) == "selfTradeCanceled"
    assert len(venue.fills(BOB)) == 1


def test_an_ioc_that_meets_only_its_own_order_is_refused() -> None:
    venue = Venue()
    own = venue.rest(BOB, limit(BTC, False, "43200", "0.01"))
    assert "error" in venue.buy(BOB, BTC, "43300", "0.01", "Ioc")
    assert venue.status(BOB, own) == "selfTradeCanceled"
    assert venue.fills(BOB) == []


def test_sub_accounts_of_one_master_may_trade_with_each_other() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    venue.act(
        ALICE, {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 10_000_000_000}
    )
    venue.trade(ALICE, sub, BTC, "43210", "0.01")
    assert venue.szi(ALICE, "BTC") == "0.01"
    assert venue.szi(sub, "BTC") == "-0.01"


def test_orders_of_one_action_meet_each_other_in_sequence() -> None:
    venue = Venue()
    statuses = venue.orders(
        ALICE, limit(BTC, False, "43300", "0.01", "Alo"), limit(BTC, True, "43300", "0.01", "Alo")
    )
    assert "resting" in statuses[0]
    assert statuses[1]["error"].startswith("Post only order would have immediately matched")


def test_oids_increase_and_need_more_than_32_bits() -> None:
    venue = Venue()
    oids = [venue.rest(ALICE, limit(BTC, True, "43000", "0.01")) for _ in range(3)]
    assert oids == sorted(oids)
    assert oids[0] > 2**32


def test_every_match_has_its_own_tid_and_all_of_one_action_share_hash_and_time() -> None:
    venue = Venue()
    for price in ("43200", "43201", "43202"):
        venue.rest(ALICE, limit(BTC, False, price, "0.01"))
    venue.buy(BOB, BTC, "43300", "0.03", "Ioc")
    fills = venue.fills(BOB)
    assert len({fill["tid"] for fill in fills}) == 3
    assert len({(fill["hash"], fill["time"], fill["oid"]) for fill in fills}) == 1
    assert [fill["tid"] for fill in fills] == [fill["tid"] for fill in venue.fills(ALICE)]
    assert all(0 < fill["tid"] < 2**50 for fill in fills)
    assert len(fills[0]["hash"]) == 66


def test_the_same_seed_and_calls_give_the_same_venue() -> None:
    def run(seed: int) -> object:
        venue = Venue(seed=seed)
        venue.trade(ALICE, BOB, BTC, "43210", "0.01")
        venue.exchange.advance(venue.now + 10_000_000)
        return [(m.kind, m.user, m.coin, m.data) for m in venue.exchange.drain()], venue.fills(ALICE)

    assert run(5) == run(5)
    assert run(5) != run(6)
