"""Reduce-only orders never increase or flip a position (sheet 4.7)."""

from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, CAROL, Venue, limit

TEXT = "Reduce only order would increase position. asset=0"


def long_of(size: str) -> Venue:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", size)
    venue.exchange.drain()
    return venue


def test_flat_accounts_cannot_reduce() -> None:
    venue = Venue()
    assert venue.order(ALICE, limit(BTC, False, "43300", "0.01", reduce_only=True)) == {"error": TEXT}
    assert venue.info("historicalOrders", user=ALICE)[0]["status"] == "reduceOnlyRejected"


def test_the_side_of_the_position_cannot_be_reduced_by_adding() -> None:
    venue = long_of("0.1")
    assert venue.order(ALICE, limit(BTC, True, "43000", "0.01", reduce_only=True)) == {"error": TEXT}


def test_an_order_larger_than_the_position_is_shrunk_to_it() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.25", reduce_only=True))
    (row,) = venue.info("openOrders", user=ALICE)
    assert (row["oid"], row["sz"], row["origSz"], row["reduceOnly"]) == (oid, "0.1", "0.25", True)


def test_a_taker_that_reduces_never_flips() -> None:
    venue = long_of("0.1")
    venue.rest(BOB, limit(BTC, True, "43200", "1"))
    status = venue.order(ALICE, limit(BTC, False, "43200", "0.25", "Ioc", reduce_only=True))
    assert status["filled"]["totalSz"] == "0.1"
    assert venue.position(ALICE, "BTC") is None
    assert venue.status(ALICE, status["filled"]["oid"]) == "filled"


def test_a_resting_order_shrinks_with_the_position() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.1", reduce_only=True))
    venue.trade(BOB, ALICE, BTC, "43200", "0.04")
    assert venue.order_row(ALICE, oid)["sz"] == "0.06"
    assert venue.order_row(ALICE, oid)["origSz"] == "0.1"


def test_a_resting_order_ends_when_the_position_is_closed() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.1", reduce_only=True))
    venue.exchange.drain()
    venue.trade(BOB, ALICE, BTC, "43200", "0.1")
    events = venue.events(ALICE)
    assert venue.status(ALICE, oid) == "reduceOnlyCanceled"
    assert events
    assert not any("nonUserCancel" in event for event in events)


def test_the_end_of_a_reduce_only_order_is_delivered_in_the_block_of_the_closing_fill() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.1", reduce_only=True))
    venue.rest(BOB, limit(BTC, True, "43200", "0.1"))
    venue.exchange.drain()
    venue.sell(ALICE, BTC, "43200", "0.1", "Ioc")
    (update,) = venue.drained("orderUpdates", user=ALICE)
    assert (oid, "reduceOnlyCanceled") in [(row["order"]["oid"], row["status"]) for row in update]


def test_a_flip_ends_resting_reduce_only_orders() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.1", reduce_only=True))
    venue.trade(BOB, ALICE, BTC, "43200", "0.3")
    assert venue.status(ALICE, oid) == "reduceOnlyCanceled"


def test_a_new_order_beyond_the_position_displaces_an_older_one() -> None:
    venue = long_of("0.1")
    oldest = venue.rest(ALICE, limit(BTC, False, "43300", "0.06", reduce_only=True))
    middle = venue.rest(ALICE, limit(BTC, False, "43301", "0.04", reduce_only=True))
    newest = venue.rest(ALICE, limit(BTC, False, "43302", "0.05", reduce_only=True))
    assert venue.status(ALICE, oldest) == "reduceOnlyCanceled"
    assert venue.status(ALICE, middle) == "open"
    assert venue.status(ALICE, newest) == "open"


def test_a_position_that_shrinks_takes_from_the_oldest_orders_first() -> None:
    venue = long_of("0.1")
    oldest = venue.rest(ALICE, limit(BTC, False, "43300", "0.05", reduce_only=True))
    newest = venue.rest(ALICE, limit(BTC, False, "43301", "0.05", reduce_only=True))
    venue.trade(BOB, ALICE, BTC, "43200", "0.03")
    assert venue.order_row(ALICE, oldest)["sz"] == "0.02"
    assert venue.order_row(ALICE, newest)["sz"] == "0.05"
    venue.trade(BOB, ALICE, BTC, "43200", "0.03")
    assert venue.status(ALICE, oldest) == "reduceOnlyCanceled"
    assert venue.order_row(ALICE, newest)["sz"] == "0.04"


def test_the_order_that_closes_the_position_ends_as_filled() -> None:
    venue = long_of("0.1")
    oid = venue.rest(ALICE, limit(BTC, False, "43300", "0.1", reduce_only=True))
    venue.buy(BOB, BTC, "43300", "0.1", "Ioc")
    assert venue.status(ALICE, oid) == "filled"
    assert venue.position(ALICE, "BTC") is None


def test_the_minimum_binds_partial_closes_but_not_the_last_one() -> None:
    venue = long_of("0.0003")
    venue.rest(BOB, limit(BTC, True, "43200", "1"))
    partial = venue.order(ALICE, limit(BTC, False, "43200", "0.0001", "Ioc", reduce_only=True))
    assert partial == {"error": "Order must have minimum value of $10. asset=0"}
    venue.order(ALICE, limit(BTC, False, "43200", "0.00025", "Ioc", reduce_only=True))
    assert venue.szi(ALICE, "BTC") == "0.00005"
    last = venue.order(ALICE, limit(BTC, False, "43200", "0.00005", "Ioc", reduce_only=True))
    assert last["filled"]["totalSz"] == "0.00005"


def test_reduce_only_orders_need_no_margin() -> None:
    venue = Venue(usdc="2200")
    venue.exchange.create_account(CAROL, usdc=venue.account_value(CAROL) * 100)
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.mark("BTC", "42600")
    assert "error" in venue.buy(ALICE, BTC, "42600", "0.01")
    assert "resting" in venue.order(ALICE, limit(BTC, False, "43300", "1", reduce_only=True))
