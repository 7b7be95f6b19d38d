"""How many actions are out at a time: what falls 100 nonces behind, the venue refuses."""

from __future__ import annotations

from tests.support.core import START_MS, CoreSession, fill_row, open_order_row


def with_open_orders(count: int) -> tuple[CoreSession, list[str]]:
    core = CoreSession()
    core.answers["userRateLimit"] = {"nRequestsUsed": 0, "nRequestsCap": 1_000_000}
    core.ready()
    ids = []
    for oid in range(1_000, 1_000 + count):
        ids.append(core.open(oid))
        core.advance(0.1)
    return core, ids


def cancels_out(core: CoreSession) -> int:
    return sum(send.action["type"] == "cancelByCloid" for send in core.sends)


def test_cancels_one_by_one_gather_behind_a_few_under_way() -> None:
    core, ids = with_open_orders(120)
    for client_order_id in ids:
        core.cancel(client_order_id)
    assert cancels_out(core) <= 8
    sent = 0
    while core.sends:
        request = core.take_send("cancelByCloid")
        count = len(request.action["cancels"])
        sent += count
        core.answer_cancels(*["success"] * count, request=request)
        assert cancels_out(core) <= 8
    assert sent == len(ids)
    assert core.connector.tracker.live_count == 0


def test_amends_wait_for_answers_too() -> None:
    core, ids = with_open_orders(20)
    for client_order_id in ids:
        core.amend(client_order_id, "43200", "1")
    assert len(core.sends) <= 8
    oid = 5_000
    while core.sends:
        oid += 1
        core.answer_orders({"resting": {"oid": oid}}, request=core.take_send("batchModify"))
    assert {str(core.view(i).price) for i in ids} == {"43200"}


def test_a_cancel_refused_for_its_nonce_is_sent_again_while_the_order_lives() -> None:
    core = CoreSession().ready()
    client_order_id = core.open(1_001)
    order = core.order(client_order_id)
    core.answers["orderStatus"] = {
        "status": "order",
        "order": {
            "order": open_order_row(1_001, cloid=order.venue_order_key),
            "status": "open",
            "statusTimestamp": START_MS,
        },
    }
    core.cancel(client_order_id)
    core.answer_error(f"Invalid nonce: nonce too low {START_MS} < {START_MS + 1}")
    core.advance(1)
    core.answer_cancels("success")
    assert core.state(client_order_id) == "cancelled"


def test_my_own_order_is_asked_about_although_hundreds_of_others_are_too() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.answers.pop("orderStatus", None)
    listed = core.answers.pop("frontendOpenOrders")
    core.lose_stream()
    core.fills += [fill_row(10_000 + n, n, "0.1", time_ms=core.now_ms) for n in range(1, 360)]
    core.connect()
    core.advance(1)
    core.open_orders = []
    core.answers["frontendOpenOrders"] = listed
    core.answer(core.take_query("frontendOpenOrders"), [])
    asked = [query.body["oid"] for query in core.queries if query.body["type"] == "orderStatus"]
    assert len(asked) > 200, "more than patient questions may use of the weight"
    assert 5 in asked or order in asked


def test_a_full_page_of_which_nothing_can_be_read_is_not_stepped_through() -> None:
    core = CoreSession().ready()
    asked: list[dict[str, object]] = []

    def garbage(body: dict[str, object]) -> list[dict[str, int]]:
        asked.append(body)
        return [{"nothing": n} for n in range(2_000)]

    core.answers["userFillsByTime"] = garbage
    core.lose_stream()
    core.connect()
    core.advance(25)
    assert len(asked) == 1
    assert not core.connector.ready
    core.answers["userFillsByTime"] = []
    core.advance(10)
    assert core.connector.ready
