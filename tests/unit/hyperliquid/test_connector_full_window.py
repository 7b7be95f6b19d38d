"""With the request limit used up: cancels leave, open fates are asked about, and what waits too long never
leaves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.effects import Query, SendAction
from domain.enums import OrderType
from domain.events import OrderFailed, OrderObserved
from domain.inputs import StreamConnected
from tests.support.core import START_MS, CoreSession, fill_row, open_order_row

MINUTE = 60
HTTP_429 = b"null"


def busy(orders: int = 2_000, **options: int) -> tuple[CoreSession, list[str]]:
    """A core that has sent orders, each answered at once, until the limit let no more leave; or so many."""
    core = CoreSession(options=options)
    core.answers["userRateLimit"] = {"nRequestsUsed": 0, "nRequestsCap": 1_000_000}
    core.ready()
    placed: list[str] = []
    for oid in range(5_000, 5_000 + orders):
        placed.append(core.buy("0.01", "43000"))
        if not core.sends:
            core.cancel(placed.pop())
            break
        core.answer_orders({"resting": {"oid": oid}})
        core.advance(0.01)
    return core, placed


def used(core: CoreSession) -> int:
    return core.connector._context.limits.window.used(core.now_ns)


def cancels_sent(core: CoreSession) -> int:
    return sum(isinstance(effect, SendAction) and effect.urgent for effect in core.effects)


def asked(core: CoreSession, kind: str) -> int:
    return sum(isinstance(effect, Query) and effect.body["type"] == kind for effect in core.effects)


# -- cancels -------------------------------------------------------------------------------------------------


def test_answers_with_thousands_of_rows_do_not_take_what_is_kept_for_cancels() -> None:
    core, placed = busy(700)
    for kind in ("historicalOrders", "userFillsByTime", "userFunding", "userNonFundingLedgerUpdates"):
        core.answers.pop(kind, None)
    core.lose_stream()
    core.step(StreamConnected(stream="user"))
    begin_ns = core.now_ns
    while core.now_ns - begin_ns < 2 * MINUTE * 10**9:
        for query in list(core.queries):
            core.queries.remove(query)
            match query.body["type"]:
                case "historicalOrders":
                    rows = [core.status_row(oid, "canceled") for oid in range(800_000, 802_000)]
                    core.answer(query, rows)
                case "userFillsByTime":
                    begin_ms = int(query.body["startTime"])
                    full = range(2_000) if begin_ms < START_MS + 1_000 else range(1)
                    core.answer(query, [fill_row(900_000, n, "0.001", time_ms=begin_ms + n) for n in full])
                case _:
                    core.answer(query, [])
            assert used(core) <= 1_100, "the last hundred is for cancels"
        core.advance(1)
    sent = cancels_sent(core)
    core.cancel(placed[0])
    assert cancels_sent(core) == sent + 1


def test_cancels_leave_at_once_while_orders_wait() -> None:
    core, placed = busy()
    waiting = core.buy()
    core.cancel(placed[0])
    assert (core.state(waiting), cancels_sent(core)) == ("pending_create", 1)


# -- how long an order may wait ------------------------------------------------------------------------------


def test_an_order_that_could_not_be_sent_in_time_fails_and_is_never_sent() -> None:
    core, _ = busy()
    order = core.connector.buy("BTC-USD", Decimal("0.01"), order_type=OrderType.MARKET)
    core.step_commands()
    sends = len(core.sends)
    core.advance(4.999)
    assert core.state(order) == "pending_create"
    core.advance(0.001)
    assert (core.state(order), core.view(order).reason_code) == ("failed", "not_sent_too_late")
    assert "never sent" in core.view(order).reason
    assert "5000 ms" in core.view(order).reason
    assert not core.order(order).outcome_unknown
    core.advance(2 * MINUTE)
    assert len(core.sends) == sends
    assert core.topics(order) == ["order.created", "order.failed"]
    core.assert_consistent()


def test_orders_that_wait_for_answers_to_earlier_ones_grow_old_too() -> None:
    core = CoreSession().ready()
    orders = [core.buy() for _ in range(8)]
    core.advance(1)
    late = core.place("0.1", "0.2")
    core.advance(4.5)
    newer = core.buy()
    core.advance(0.5)
    assert [core.view(order).reason_code for order in late] == ["not_sent_too_late"] * 2
    core.answer_orders({"resting": {"oid": 1}}, request=core.sends.pop(0))
    assert [core.state(order) for order in orders[:2]] == ["open", "pending_submit"]
    assert core.state(newer) == "pending_submit", "what is young enough leaves"
    core.assert_consistent()


def test_an_amend_that_could_not_be_sent_in_time_changes_nothing() -> None:
    core, placed = busy()
    core.amend(placed[0], "42000", "0.01")
    core.advance(5)
    last = core.stored[placed[0]][-1]
    assert isinstance(last, OrderObserved)
    assert last.why == "amend_not_sent_too_late"
    assert core.view(placed[0]).price == 43_000
    sends = len(core.sends)
    core.advance(2 * MINUTE)
    assert len(core.sends) == sends
    core.amend(placed[0], "42000", "0.01")
    assert core.take_send("batchModify"), "nothing of it is left: the next one leaves"
    core.assert_consistent()


def test_a_cancel_is_sent_however_old_it_is() -> None:
    core = CoreSession().ready()
    orders = [core.open(oid) for oid in range(1_000, 1_009)]
    for order in orders:
        core.cancel(order)
    core.advance(10)
    core.answer_cancels("success")
    assert cancels_sent(core) == 9
    assert not core.events_of(OrderFailed)


def used_up() -> CoreSession:
    """A core whose address has no actions left, but one in ten seconds."""
    core = CoreSession()
    core.answers["userRateLimit"] = {"nRequestsUsed": 10_000, "nRequestsCap": 10_000}
    return core.ready()


def test_with_its_actions_used_up_an_order_waits_for_the_one_in_ten_seconds() -> None:
    core = used_up()
    core.open(1)
    core.advance(1)
    second = core.buy()
    core.advance(8.999)
    assert core.state(second) == "pending_create"
    core.advance(0.001)
    assert core.state(second) == "pending_submit"
    core.assert_consistent()


def test_with_its_actions_used_up_one_who_cancels_often_can_still_place() -> None:
    core = used_up()
    resting = [core.open(1)]
    for oid in range(2, 6):
        core.advance(9)
        core.cancel(resting.pop())
        core.answer_cancels("success")
        order = core.buy()
        core.advance(1)
        core.answer_orders({"resting": {"oid": oid}})
        resting.append(order)
        assert core.state(order) == "open"


def test_with_its_actions_used_up_an_order_grows_old_too() -> None:
    core = used_up()
    core.open(1)
    order = core.place(*["0.01"] * 60)[-1]
    late = core.place(*["0.01"] * 60)[-1]
    core.advance(10)
    assert core.state(order) == "pending_submit"
    core.advance(4.999)
    assert core.state(late) == "pending_create"
    core.advance(0.001)
    assert (core.state(late), core.view(late).reason_code) == ("failed", "not_sent_too_late")


def test_an_order_waits_as_long_as_it_takes_where_a_recording_knew_no_limit() -> None:
    core, _ = busy(order_wait_ms=0)
    order = core.buy()
    core.advance(2 * MINUTE)
    assert core.state(order) == "pending_submit"


# -- open fates ----------------------------------------------------------------------------------------------


class Amending:
    """Amends that use all there is: of each of thirty orders in every second."""

    def __init__(self) -> None:
        self.core, placed = busy()
        self.orders = placed[:30]
        self.oid = 9_000
        while self.amend_all() == len(self.orders):
            self.core.advance(1)

    def amend_all(self, lost: str = "") -> int:
        """As far as the limit permits. Each amend is answered as it leaves, but those of `lost`; how many
        were."""
        core, oid = self.core, self.oid
        for order in self.orders:
            core.amend(order, str(42_000 + oid % 500), "0.01")
        while request := next((sent for sent in core.sends if self.order_of(sent) != lost), None):
            core.sends.remove(request)
            self.oid += 1
            core.answer_orders({"resting": {"oid": self.oid}}, request=request)
        core.open_orders = [
            open_order_row(int(live.exchange_order_id or 0), cloid=live.venue_order_key, size="0.01")
            for live in core.connector.tracker.live_orders()
        ]
        return self.oid - oid

    def order_of(self, sent: SendAction) -> str:
        order = self.core.connector.tracker.by_venue_key(sent.action["modifies"][0]["order"]["c"])
        assert order is not None
        return order.id


def test_an_unknown_outcome_is_asked_about_at_once_while_amends_use_all_there_is() -> None:
    amending = Amending()
    core = amending.core
    core.answers.pop("orderStatus", None)
    while not core.sends:
        core.advance(1)
        amending.amend_all(lost=amending.orders[0])
    before = asked(core, "orderStatus")
    core.fail(core.take_send("batchModify"))
    assert asked(core, "orderStatus") == before + 1


def test_reads_go_on_beside_amends_that_use_all_there_is() -> None:
    amending = Amending()
    before = asked(amending.core, "frontendOpenOrders")
    for _ in range(2 * MINUTE):
        amending.core.advance(1)
        amending.amend_all()
    assert asked(amending.core, "frontendOpenOrders") == before + 2, "once a minute as ever"


# -- HTTP 429 ------------------------------------------------------------------------------------------------


def test_after_a_429_orders_wait_and_cancels_do_not() -> None:
    core = CoreSession().ready()
    resting = core.open()
    refused = core.buy()
    core.answers.pop("orderStatus", None)
    core.answer_raw(core.take_send(), HTTP_429, status=429)
    assert core.order(refused).outcome_unknown
    assert asked(core, "orderStatus") == 1, "what became of it is asked all the same"
    order = core.buy()
    core.cancel(resting)
    assert [request.urgent for request in core.sends] == [True]
    assert core.alert_codes().count("rate_limited") == 1
    core.advance(1.999)
    assert core.state(order) == "pending_create"
    core.advance(0.001)
    assert core.state(order) == "pending_submit"
    core.assert_consistent()


def test_each_429_in_a_row_makes_the_wait_longer() -> None:
    core = CoreSession(options={"order_wait_ms": 100_000}).ready()
    core.buy()
    for hold_s in (2, 4, 8):
        core.answer_raw(core.take_send("order"), HTTP_429, status=429)
        core.buy()
        core.advance(hold_s - 0.001)
        assert not core.sends
        core.advance(0.001)
    core.answer_orders({"resting": {"oid": 1}})
    core.buy()
    core.answer_raw(core.take_send("order"), HTTP_429, status=429)
    core.buy()
    core.advance(2)
    assert core.sends, "after a good answer it begins anew"


def test_orders_refused_together_make_one_wait() -> None:
    core = CoreSession().ready()
    for _ in range(8):
        core.buy()
    for request in list(core.sends):
        core.sends.remove(request)
        core.answer_raw(request, HTTP_429, status=429)
    core.buy()
    core.advance(2)
    assert len(core.sends) == 1
    assert core.alert_codes().count("rate_limited") == 1


def test_a_read_that_is_refused_makes_orders_wait_and_is_asked_again_by_itself() -> None:
    core = CoreSession().ready()
    core.answers.pop("frontendOpenOrders")
    core.advance(MINUTE)
    before = asked(core, "frontendOpenOrders")
    for _ in range(2):
        core.answer_raw(core.take_query("frontendOpenOrders"), HTTP_429, status=429)
        core.advance(1.999)
        assert not [query for query in core.queries if query.body["type"] == "frontendOpenOrders"]
        core.buy()
        assert not core.sends
        core.advance(0.001)
        core.answer_orders({"resting": {"oid": 1}})
    assert core.alert_codes().count("rate_limited") == 2
    assert asked(core, "frontendOpenOrders") == before + 2
    core.answer(core.take_query("frontendOpenOrders"), [])
    core.advance(30)
    assert asked(core, "frontendOpenOrders") == before + 2, "an answer that is good ends it"


def test_a_question_about_an_open_fate_that_is_refused_is_asked_again_without_the_hold() -> None:
    core = CoreSession().ready()
    order = core.buy()
    core.answers.pop("orderStatus", None)
    core.fail(core.take_send())
    core.answer_raw(core.take_query("orderStatus"), HTTP_429, status=429)
    assert not core.queries, "it has its own pace"
    core.advance(1)
    assert core.take_query("orderStatus")
    assert core.order(order).outcome_unknown


# -- what a failed read weighs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "was_sent", "weight"),
    [("connection_refused", False, 0), ("http_502: <html>", True, 20), ("timeout", True, 120)],
)
def test_a_read_without_an_answer_weighs_what_the_venue_may_have_counted(
    reason: str, was_sent: bool, weight: int
) -> None:
    core = CoreSession().ready()
    core.answers.pop("userFillsByTime")
    core.lose_stream()
    core.step(StreamConnected(stream="user"))
    query = core.take_query("userFillsByTime")
    before = used(core)
    core.answers["historicalOrders"] = None
    core.fail(query, reason, sent=was_sent)
    assert used(core) == before - 120 + weight
