"""The per-address request budget (sheet 9.2)."""

import pytest

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, Venue, limit


def used(venue: Venue) -> int:
    count: int = venue.info("userRateLimit", user=ALICE)["nRequestsUsed"]
    return count


def test_a_batch_counts_its_entries() -> None:
    venue = Venue()
    venue.orders(ALICE, *[limit(BTC, True, "43000", "0.01")] * 7)
    venue.act(ALICE, {"type": "noop"})
    venue.act(ALICE, {"type": "cancel", "cancels": [{"a": BTC, "o": 1}] * 3})
    assert used(venue) == 11


def test_failed_entries_count() -> None:
    venue = Venue()
    venue.buy(ALICE, BTC, "43000", "0.0001")
    venue.buy(ALICE, BTC, "43000.5", "0.01")
    assert used(venue) == 2


def test_volume_adds_to_the_budget() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    assert venue.info("userRateLimit", user=ALICE) == {
        "cumVlm": "432.1",
        "nRequestsUsed": 1,
        "nRequestsCap": 10_432,
        "nRequestsSurplus": 0,
    }


def exhausted() -> Venue:
    venue = Venue(VenueOptions(address_budget=5))
    for _ in range(5):
        assert venue.act(ALICE, {"type": "noop"})["status"] == "ok"
    return venue


def test_an_exhausted_budget_allows_one_action_each_ten_seconds() -> None:
    venue = exhausted()
    assert venue.act(ALICE, {"type": "noop"})["status"] == "ok"
    text = (
        "Too many cumulative requests sent (7 > 5) for cumulative volume traded $0. "
        "Place taker orders to free up 1 request per USDC traded."
    )
    assert venue.act(ALICE, {"type": "noop"}) == {"status": "err", "response": text}
    assert used(venue) == 6
    venue.exchange.advance(venue.now + 10_000)
    assert venue.act(ALICE, {"type": "noop"})["status"] == "ok"
    assert venue.act(ALICE, {"type": "noop"})["status"] == "err"


def test_a_refused_action_places_nothing() -> None:
    venue = exhausted()
    venue.act(ALICE, {"type": "noop"})
    answer = venue.act(
        ALICE, {"type": "order", "orders": [limit(BTC, True, "43000", "0.01")], "grouping": "na"}
    )
    assert answer["status"] == "err"
    assert venue.info("openOrders", user=ALICE) == []


def test_cancels_have_a_larger_budget() -> None:
    venue = exhausted()
    venue.act(ALICE, {"type": "noop"})
    cancel = {"type": "cancel", "cancels": [{"a": BTC, "o": 1}]}
    assert [venue.act(ALICE, cancel)["status"] for _ in range(5)] == ["ok", "ok", "ok", "ok", "err"]


def test_other_addresses_have_budgets_of_their_own() -> None:
    venue = exhausted()
    venue.act(ALICE, {"type": "noop"})
    assert venue.act(BOB, {"type": "noop"})["status"] == "ok"


def test_request_weight_can_be_bought() -> None:
    venue = exhausted()
    assert venue.act(ALICE, {"type": "reserveRequestWeight", "weight": 100})["status"] == "ok"
    assert str(venue.account_value(ALICE)) == "999999.95"
    assert venue.info("userRateLimit", user=ALICE)["nRequestsCap"] == 105
    assert venue.act(ALICE, {"type": "noop"})["status"] == "ok"


def test_stale_actions_are_charged_from_outside() -> None:
    venue = Venue()
    venue.exchange.charge_requests(ALICE, 5)
    assert used(venue) == 5


@pytest.mark.parametrize("how", ["option", "account"])
def test_the_budget_can_be_lifted(how: str) -> None:
    venue = Venue(VenueOptions(address_budget=None if how == "option" else 1))
    if how == "account":
        venue.exchange.create_account(ALICE, is_venue_operated=True)
    assert all(venue.act(ALICE, {"type": "noop"})["status"] == "ok" for _ in range(20))
