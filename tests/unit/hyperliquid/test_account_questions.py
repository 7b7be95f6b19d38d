"""By which of its names the venue is asked about an order."""

from __future__ import annotations

from adapters.hyperliquid.account_questions import OrderToAsk
from tests.support.tracker import TrackerSession, details


def test_an_order_is_asked_for_by_its_exchange_id_once_it_has_one() -> None:
    session = TrackerSession()
    placed, opened = session.sent("ol-1"), session.opened("ol-2")
    assert OrderToAsk.of(placed).target == "key-ol-1"
    assert OrderToAsk.of(opened).target == int(opened.exchange_order_id or "")


def test_an_order_that_may_have_been_amended_is_asked_for_by_its_client_id() -> None:
    session = TrackerSession()
    order = session.opened("ol-1")
    session.amending(order, "20")
    assert OrderToAsk.of(order).target == "key-ol-1"


def test_an_order_placed_elsewhere_has_no_client_id_to_ask_for() -> None:
    session = TrackerSession()
    session.stamp()
    order = session.tracker.create_external("77", details("10"))
    asked = OrderToAsk.of(order)
    assert asked.target == 77
    assert list(asked.names()) == ["77"]
