"""What the core makes of messages: garbage among good ones, orders and fills of others, money that moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.symbols import SymbolMap
from domain.enums import Liquidity, OrderType
from domain.errors import OrderRefusedError
from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    AccountLiquidationNoticed,
    AccountMessageKept,
    OrderCreated,
    OrderFilled,
)
from domain.inputs import RequestAnswered, StreamFrame
from tests.support.core import (
    ACCOUNT,
    START_MS,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)

FOREIGN = "0x" + "9" * 32


@pytest.fixture
def core() -> Iterator[CoreSession]:
    session = CoreSession().ready()
    yield session
    session.assert_consistent()


def kept(core: CoreSession) -> list[str]:
    return [event.why for event in core.events_of(AccountMessageKept)]


# -- garbage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"Websocket connection established.",
        b"[]",
        b"null",
        b'{"channel":5}',
        b'{"channel":"orderUpdates","data":"nonsense"}',
        b'{"channel":"orderUpdates","data":null}',
        b'{"channel":"user","data":[]}',
        b'{"channel":"userFills","data":{"fills":5}}',
        b'{"channel":"error","data":"Invalid subscription"}',
        b'{"channel":"bbo","data":{"coin":"BTC","time":1,"bbo":[{"px":"?","sz":"1","n":1},null]}}',
    ],
)
def test_a_message_that_cannot_be_read_is_kept_and_the_rest_goes_on(core: CoreSession, data: bytes) -> None:
    order = core.open(5)
    core.raw_frame(data)
    assert len(kept(core)) == 1
    assert core.alert_codes() == ["message_kept"]
    core.fill(5, 1, "1.0", cloid=order)
    assert core.state(order) == "filled"


def test_a_channel_nobody_asked_for_says_nothing(core: CoreSession) -> None:
    count = len(core.events)
    core.raw_frame(b'{"channel":"pong"}')
    core.frame("webData3", {"anything": 1})
    assert len(core.events) == count


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        5,
        "text",
        {},
        {"order": {}, "status": "open"},
        {"order": {"coin": "BTC"}, "status": 5},
        CoreSession.status_row(6, "open", side="X"),
        CoreSession.status_row(6, "open", price="1e5"),
        CoreSession.status_row(6, "open", size="9" * 40),
        CoreSession.status_row(-6, "open"),
    ],
)
def test_one_garbled_order_update_does_not_take_its_neighbours_with_it(
    core: CoreSession, garbage: object
) -> None:
    first, last = core.open(5), core.open(7)
    rows = [
        core.status_row(5, "canceled", cloid=first),
        garbage,
        core.status_row(7, "canceled", cloid=last),
    ]
    core.frame("orderUpdates", rows)
    assert [core.state(order) for order in (first, last)] == ["cancelled", "cancelled"]
    assert len(kept(core)) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"sz": "0.0"},
        {"sz": "-1"},
        {"px": "NaN"},
        {"px": "1" + "0" * 30},
        {"sz": "0." + "0" * 40 + "1"},
        {"fee": "1e5"},
        {"time": "yesterday"},
        {"time": -1},
        {"time": 10**18},
        {"oid": None},
        {"oid": 10**30},
        {"side": "Z"},
        {"startPosition": "many"},
    ],
)
def test_one_garbled_fill_does_not_take_its_neighbours_with_it(
    core: CoreSession, members: dict[str, Any]
) -> None:
    order = core.open(5)
    rows = [
        fill_row(5, 1, "0.1", cloid=order),
        fill_row(5, 2, "0.2", cloid=order) | members,
        fill_row(5, 3, "0.3", cloid=order),
    ]
    core.show_fills(rows)
    assert core.view(order).filled_amount == Decimal("0.4")
    assert len(kept(core)) == 1


def test_a_status_the_table_does_not_know_is_observed_once_and_asked_about(core: CoreSession) -> None:
    order = core.open(5)
    for _ in range(3):
        core.status(5, "sleeping", cloid=order)
    assert core.topics(order).count("order.observed") == 1
    assert core.alert_codes() == ["unknown_status"]
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "sleeping", cloid=order))
    assert core.queries == []
    assert core.state(order) == "open"


def test_a_status_the_venue_has_added_since_is_read_by_its_ending(core: CoreSession) -> None:
    first, second = core.open(5), core.buy()
    core.status(5, "volcanoCanceled", cloid=first)
    core.status(6, "fullMoonRejected", cloid=second)
    assert [core.state(order) for order in (first, second)] == ["cancelled", "failed"]


def test_an_unknown_status_of_an_unknown_order_is_kept(core: CoreSession) -> None:
    core.status(99, "sleeping")
    assert kept(core) == ["unknown order status"]


def test_members_nobody_knows_are_ignored(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order, novelty={"a": [1]}, dir="Sideways")
    assert core.view(order).filled_amount == Decimal("0.4")


def test_prices_no_book_can_have_are_said_and_stop_nothing(core: CoreSession) -> None:
    for price in ("0.0", "-1.0"):
        core.best("BTC", bid=price)
    book = {"coin": "BTC", "time": core.now_ms, "levels": [[{"px": "0", "sz": "1", "n": 1}], []]}
    core.frame("l2Book", book, stream="market")
    assert core.alert_codes() == ["unusable_prices"] * 3
    assert core.connector.order_book("BTC-USD").mid_price == 43210


def test_a_price_of_a_time_to_come_does_not_stop_the_clock_of_its_market(core: CoreSession) -> None:
    garbled = {"coin": "BTC", "time": core.now_ms * 10, "bbo": [None, None]}
    core.frame("bbo", garbled, stream="market")
    assert core.alert_codes() == ["unusable_prices"]
    core.best("BTC", bid="43219.0", ask="43221.0")
    assert core.connector.order_book("BTC-USD").mid_price == 43220


def test_prices_of_a_time_to_come_are_said_once_for_each_market_until_a_usable_one_arrives(
    core: CoreSession,
) -> None:
    def ahead(coin: str) -> int:
        """How many alerts many frames with such prices lead to."""
        known = len(core.alerts)
        for frame in range(200):
            data = {"coin": coin, "time": core.now_ms + 120_000 + frame, "bbo": [None, None]}
            core.frame("bbo", data, stream="market")
        return core.alert_codes()[known:].count("unusable_prices")

    assert (ahead("BTC"), ahead("ETH"), ahead("BTC")) == (1, 1, 0)
    core.best("BTC")
    assert (ahead("BTC"), ahead("ETH")) == (1, 0)
    core.lose_stream("market")
    assert (ahead("BTC"), ahead("ETH")) == (1, 1)


def test_a_market_stream_that_begins_again_is_believed_whatever_its_times(core: CoreSession) -> None:
    ahead = {"coin": "BTC", "time": core.now_ms + 30_000, "bbo": [{"px": "43000", "sz": "1", "n": 1}] * 2}
    core.frame("bbo", ahead, stream="market")
    core.lose_stream("market")
    assert not core.connector.ready
    core.best("BTC", bid="43219.0", ask="43221.0")
    assert core.connector.order_book("BTC-USD").mid_price == 43220
    core.best("ETH", bid="2000", ask="2001")
    assert core.connector.ready


def test_a_market_order_is_not_priced_from_a_book_that_says_nothing_any_more(core: CoreSession) -> None:
    core.best("BTC")
    for _ in range(13):
        core.advance(5)
        core.best("ETH", bid="2000", ask="2001")
    with pytest.raises(OrderRefusedError, match=r"BTC-USD is 65 s old: wait.*or pass a price") as refused:
        core.connector.buy("BTC-USD", Decimal(1), order_type=OrderType.MARKET)
    assert refused.value.reason_code == "stale_price"
    core.best("BTC")
    assert core.connector.buy("BTC-USD", Decimal(1), order_type=OrderType.MARKET)


def test_prices_of_a_market_that_is_not_followed_are_nobodys(core: CoreSession) -> None:
    outcome = core.frame("bbo", {"coin": "kPEPE", "time": 1, "bbo": [None, None]}, stream="market")
    assert outcome.books == ()


def test_a_garbled_time_does_not_hide_what_really_comes_next(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.1", cloid=order, time_ms=START_MS * 2)
    asked: list[int] = []
    core.answers["userFillsByTime"] = lambda body: asked.append(body["startTime"]) or []
    core.open_orders = [open_order_row(5, cloid=order)]
    core.lose_stream()
    core.connect()
    assert asked == [core.now_ms - 60_000]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_bytes_come_the_core_goes_on(data: st.DataObject) -> None:
    """Frames and answers cut, flipped and made up: never an error, and never a fact about the order."""
    session = CoreSession().ready()
    order = session.open(5)
    good = json.dumps(
        {
            "channel": "orderUpdates",
            "data": [session.status_row(5, "open", cloid=order), session.status_row(6, "open")],
        }
    ).encode()
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["cut", "flip", "bytes", "json"]))
        if kind == "cut":
            body = good[: data.draw(st.integers(0, len(good)))]
        elif kind == "flip":
            at = data.draw(st.integers(0, len(good) - 1))
            body = good[:at] + data.draw(st.binary(max_size=3)) + good[at + 1 :]
        elif kind == "bytes":
            body = data.draw(st.binary(max_size=40))
        else:
            value = st.recursive(
                st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["oid", "fills", "order", "status", "sz"]), inner)
                ),
                max_leaves=8,
            )
            channel = st.sampled_from(["orderUpdates", "user", "userFills", "userFundings", "bbo", "l2Book"])
            body = json.dumps({"channel": data.draw(channel), "data": data.draw(value)}).encode()
        if data.draw(st.booleans()):
            session.step(StreamFrame(stream="user", data=body))
        else:
            session.buy()
            request = session.sends.pop().request_id
            status = data.draw(st.sampled_from([200, 200, 422, 500]))
            session.step(RequestAnswered(request_id=request, status=status, body=body))
    session.assert_consistent()
    assert session.view(order).filled_amount == 0


# -- orders and fills of others ------------------------------------------------------------------------------


def test_an_order_placed_elsewhere_is_discovered_and_followed(core: CoreSession) -> None:
    core.status(7, "open", cloid=FOREIGN, size="2.0", price="43000.0")
    external = "external:hyperliquid:7"
    view = core.view(external)
    assert (view.external, view.amount, view.price, view.state) == (True, 2, 43000, "open")
    core.fill(7, 1, "0.5", cloid=FOREIGN)
    core.status(7, "canceled", cloid=FOREIGN)
    assert (core.state(external), core.view(external).filled_amount) == ("cancelled", Decimal("0.5"))
    assert core.connector.position("BTC-USD").amount == Decimal("0.5")


def test_a_fill_of_another_program_is_not_booked_as_ours(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(7, 1, "0.5", cloid=FOREIGN)
    assert core.view(order).filled_amount == 0
    query = core.take_query("orderStatus")
    assert query.body["oid"] == 7
    core.answer(query, order_status_answer(7, "open", cloid=FOREIGN, size="2.0"))
    assert core.view("external:hyperliquid:7").filled_amount == Decimal("0.5")
    assert core.view("external:hyperliquid:7").amount == 2


def test_a_fill_of_an_order_the_venue_no_longer_knows_defines_it(core: CoreSession) -> None:
    core.fill(7, 1, "0.5")
    core.fill(7, 2, "0.25")
    core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
    view = core.view("external:hyperliquid:7")
    assert (view.amount, view.filled_amount, view.state) == (Decimal("0.75"), Decimal("0.75"), "filled")


def test_a_fill_whose_order_cannot_be_asked_for_waits_and_is_not_lost(core: CoreSession) -> None:
    core.fill(7, 1, "0.5")
    core.fail(core.take_query("orderStatus"))
    core.advance(2)
    core.answer(core.take_query("orderStatus"), {"status": "order"})
    core.advance(2)
    core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
    assert core.connector.position("BTC-USD").amount == Decimal("0.5")


def test_orders_of_another_program_that_share_a_client_id_are_two_orders(core: CoreSession) -> None:
    core.status(7, "canceled", cloid=FOREIGN)
    core.status(8, "open", cloid=FOREIGN)
    assert core.state("external:hyperliquid:7") == "cancelled"
    assert core.state("external:hyperliquid:8") == "open"


def test_a_late_message_for_a_foreign_order_that_left_memory_loads_it_again(core: CoreSession) -> None:
    core.status(7, "canceled", cloid=FOREIGN)
    core.advance(61)
    assert core.connector.tracker.get("external:hyperliquid:7") is None
    core.status(7, "open", cloid=FOREIGN, time_ms=START_MS + 50)
    core.fill(7, 1, "0.5", cloid=FOREIGN)
    assert core.state("external:hyperliquid:7") == "cancelled"
    assert core.connector.position("BTC-USD").amount == Decimal("0.5")
    assert len(core.events_of(OrderCreated)) == 1


def test_a_stop_for_the_whole_position_placed_elsewhere_is_open_until_it_ends(core: CoreSession) -> None:
    core.open_orders = [
        open_order_row(
            7, size="0.0", orderType="Stop Market", tif=None, isTrigger=True, triggerPx="40000.0", side="A"
        )
    ]
    core.lose_stream()
    core.connect()
    assert core.state("external:hyperliquid:7") == "open"


def test_an_order_listed_twice_is_one_order(core: CoreSession) -> None:
    core.open_orders = [open_order_row(7), open_order_row(7)]
    core.lose_stream()
    core.connect()
    assert len(core.events_of(OrderCreated)) == 1


def test_the_ledger_answers_a_look_up_after_more_has_come(core: CoreSession) -> None:
    core.answer_lookups = False
    core.status(7, "open", cloid=FOREIGN)
    core.status(7, "canceled", cloid=FOREIGN)
    core.fill(7, 1, "0.5", cloid=FOREIGN)
    assert core.events_of(OrderCreated) == []
    core.answer_lookups = True
    core.raw_frame(b'{"channel":"pong"}')
    assert core.state("external:hyperliquid:7") == "cancelled"
    assert core.view("external:hyperliquid:7").filled_amount == Decimal("0.5")


# -- fills without an order ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"dir": "Auto-Deleveraging"},
        {"dir": "Liquidated Isolated Long"},
        {"dir": "Settlement"},
        {
            "dir": "Close Long",
            "liquidation": {
                "liquidatedUser": ACCOUNT.upper().replace("0X", "0x"),
                "markPx": "1",
                "method": "market",
            },
        },
    ],
)
def test_a_fill_that_no_order_explains_is_booked_on_the_account_once(
    core: CoreSession, members: dict[str, Any]
) -> None:
    for _ in range(2):
        core.fill(77, 1, "0.5", side="A", **members)
    core.show_fills(core.fills, channel="userFills")
    (booked,) = core.events_of(AccountFillBooked)
    assert booked.fill.liquidation is ("liquidation" in members)
    assert core.connector.position("BTC-USD").amount == Decimal("-0.5")
    assert core.connector.status()["duplicates_ignored"] == 2


def test_a_liquidation_of_the_other_side_is_an_ordinary_fill_of_ours(core: CoreSession) -> None:
    order = core.open(5)
    liquidation = {"liquidatedUser": "0x" + "2" * 40, "markPx": "1", "method": "market"}
    core.fill(5, 1, "0.5", cloid=order, liquidation=liquidation)
    assert core.view(order).filled_amount == Decimal("0.5")
    assert not core.events_of(OrderFilled)[0].fill.liquidation


@pytest.mark.parametrize("fill_first", [True, False])
def test_a_fill_without_an_owner_is_booked_once_even_when_its_order_shows_up(
    core: CoreSession, fill_first: bool
) -> None:
    def fill() -> None:
        core.fill(77, 1, "0.5", side="A", dir="Auto-Deleveraging")

    def order() -> None:
        core.status(77, "open", side="A", size="0.5")

    for step in (fill, order) if fill_first else (order, fill):
        step()
    core.show_fills(core.fills, channel="userFills")
    core.advance(61)
    core.show_fills(core.fills, channel="userFills")
    assert len(core.events_of(AccountFillBooked)) + len(core.events_of(OrderFilled)) == 1
    assert core.connector.position("BTC-USD").amount == Decimal("-0.5")


def test_an_own_order_keeps_its_fill_whatever_its_direction_text_says(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.5", cloid=order, dir="Settlement")
    assert core.view(order).filled_amount == Decimal("0.5")
    assert core.events_of(AccountFillBooked) == []


def test_dust_conversions_of_one_instant_are_told_apart(core: CoreSession) -> None:
    for start in ("0.5", "0.4"):
        core.fill(77, 0, "0.1", side="A", dir="Spot Dust Conversion", startPosition=start)
    assert len(core.events_of(AccountFillBooked)) == 2


def test_a_liquidation_is_recorded_and_alerted(core: CoreSession) -> None:
    core.frame("user", {"liquidation": {"lid": 1, "liquidator": "0x1", "liquidated_user": ACCOUNT}})
    (noticed,) = core.events_of(AccountLiquidationNoticed)
    assert "lid" in noticed.detail
    assert [alert.level for alert in core.alerts] == ["error"]


def test_a_liquidation_told_twice_is_one(core: CoreSession) -> None:
    for _ in range(2):
        core.frame(
            "user", {"liquidation": {"lid": 1, "liquidator": "0x1", "liquidated_user": ACCOUNT.upper()}}
        )
    assert len(core.events_of(AccountLiquidationNoticed)) == 1
    assert core.alert_codes() == ["liquidation"]


def test_a_liquidation_of_somebody_else_is_none_of_ours(core: CoreSession) -> None:
    core.frame("user", {"liquidation": {"lid": 1, "liquidator": ACCOUNT, "liquidated_user": "0x" + "9" * 40}})
    assert (core.events_of(AccountLiquidationNoticed), core.alerts) == ([], [])


def test_a_liquidation_record_that_says_not_whom_counts_as_ours(core: CoreSession) -> None:
    core.frame("user", {"liquidation": {"lid": 1}})
    assert core.alert_codes() == ["liquidation"]


# -- numbers and names ---------------------------------------------------------------------------------------


def test_fills_of_a_coin_with_a_small_letter_are_booked_under_its_own_name(core: CoreSession) -> None:
    order = core.buy("1000000", "0.012", pair="kPEPE-USD")
    sent = core.take_send()
    assert (sent.action["orders"][0]["a"], sent.action["orders"][0]["s"]) == (2, "1000000")
    core.answer_orders({"resting": {"oid": 5}}, request=sent)
    core.fill(5, 1, "1000000.0", cloid=order, coin="kPEPE", price="0.012")
    assert core.state(order) == "filled"
    assert core.connector.position("kPEPE-USD").amount == 1_000_000


@pytest.mark.parametrize(("crossed", "liquidity"), [(True, Liquidity.TAKER), (False, Liquidity.MAKER)])
def test_liquidity_is_what_the_venue_says_and_not_the_sign_of_the_fee(
    core: CoreSession, crossed: bool, liquidity: Liquidity
) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.5", cloid=order, crossed=crossed, fee="0.5", builderFee="0.1")
    (filled,) = core.events_of(OrderFilled)
    assert (filled.fill.liquidity, filled.fill.fee) == (liquidity, Decimal("0.5"))
    assert filled.fill.builder_fee == Decimal("0.1")
    assert core.view(order).fees == {"USDC": Decimal("0.5")}


def test_a_perpetual_listed_since_the_metadata_was_read_has_the_name_it_will_have(core: CoreSession) -> None:
    for tid, coin in enumerate(("NEWCOIN", "dex:NEWCOIN")):
        core.fill(77 + tid, tid, "3.0", coin=coin)
        core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
        assert core.connector.position(f"{coin}-USD").amount == 3
    listed = {"universe": [{"name": "NEWCOIN", "szDecimals": 0, "maxLeverage": 3}]}
    assert SymbolMap.from_json(json.dumps(listed).encode()).by_coin("NEWCOIN").trading_pair == "NEWCOIN-USD"


@pytest.mark.parametrize("coin", ["@321", "NEW/USDC"])
def test_a_spot_market_the_metadata_does_not_list_keeps_the_venues_name(core: CoreSession, coin: str) -> None:
    core.fill(77, 1, "3.0", coin=coin)
    core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
    assert core.connector.position(coin).amount == 3


@pytest.mark.parametrize("opening", [b'{"channel":"user","data":', b"", b'{"channel":"bbo","data":{"coin":'])
def test_brackets_within_brackets_without_end_stop_nothing(core: CoreSession, opening: bytes) -> None:
    for bracket in (b"[", b'{"a":'):
        core.raw_frame(opening + bracket * 100_000)
        core.raw_frame(opening + bracket * 100_000, stream="market")
    order = core.buy()
    core.answer_raw(core.take_send(), b'{"status":"ok","response":' + b"[" * 100_000)
    assert core.view(order).outcome_unknown
    core.answer_raw(core.take_query("orderStatus"), b"[" * 100_000)
    assert core.view(order).outcome_unknown


# -- funding -------------------------------------------------------------------------------------------------


def funding(coin: str = "BTC", usdc: str = "-1.5", time_ms: int = START_MS + 3_600_000) -> dict[str, Any]:
    return {"time": time_ms, "coin": coin, "usdc": usdc, "szi": "1.0", "fundingRate": "0.0000125"}


def test_a_funding_payment_over_stream_snapshot_and_query_is_booked_once(core: CoreSession) -> None:
    core.frame("user", {"funding": funding()})
    core.frame("userFundings", {"user": ACCOUNT, "isSnapshot": True, "fundings": [funding()]})
    core.answers["userFunding"] = [
        {"time": START_MS + 3_600_000, "hash": "0x1", "delta": {"type": "funding", **funding()}}
    ]
    core.lose_stream()
    core.connect()
    (booked,) = core.events_of(AccountFundingBooked)
    assert (booked.amount, booked.token, booked.rate) == (Decimal("-1.5"), "USDC", Decimal("0.0000125"))
    assert core.connector.position("BTC-USD").funding == Decimal("-1.5")


def test_two_funding_payments_of_one_instant_are_two(core: CoreSession) -> None:
    core.frame("userFundings", {"user": ACCOUNT, "fundings": [funding("BTC"), funding("ETH", "0.5")]})
    assert [event.trading_pair for event in core.events_of(AccountFundingBooked)] == ["BTC-USD", "ETH-USD"]


def test_funding_is_paged_like_fills(core: CoreSession) -> None:
    rows = [
        {
            "time": START_MS + hour,
            "hash": "0x1",
            "delta": {"type": "funding", **funding(time_ms=START_MS + hour)},
        }
        for hour in range(1, 701)
    ]
    core.answers["userFunding"] = lambda body: [r for r in rows if r["time"] >= body["startTime"]][:500]
    core.lose_stream()
    core.connect()
    assert len(core.events_of(AccountFundingBooked)) == 700


def test_funding_that_is_no_number_is_kept_and_its_neighbours_are_booked(core: CoreSession) -> None:
    rows = [funding("BTC", "lots"), funding("ETH", "0.5")]
    core.frame("userFundings", {"user": ACCOUNT, "fundings": rows})
    assert len(core.events_of(AccountFundingBooked)) == 1
    assert len(kept(core)) == 1


def test_rates_and_marks_are_known_from_the_market_stream(core: CoreSession) -> None:
    context = {"markPx": "43215.0", "oraclePx": "43220.0", "funding": "0.0000125"}
    core.frame("activeAssetCtx", {"coin": "BTC", "ctx": context}, stream="market")
    assert core.connector.mark_price("BTC-USD") == 43215
    assert core.connector.index_price("BTC-USD") == 43220
    assert core.connector.mark_price("ETH-USD") is None
