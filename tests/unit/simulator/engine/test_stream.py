"""What is pushed, grouped by block, and the first frames of subscriptions (sheet 7.2, 7.3)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.engine import PendingAction, Unprocessable, VenueOptions
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    HYPE_SPOT,
    STRANGER,
    Json,
    Venue,
    cloid,
    limit,
)


def snapshot(venue: Venue, **subscription: Any) -> Any:
    """The only frame of a subscription's snapshot, None if there is none."""
    frames = venue.exchange.snapshot(subscription, now_ms=venue.now)
    assert len(frames) <= 1
    return frames[0] if frames else None


def test_an_action_gives_one_array_of_order_updates_per_user() -> None:
    venue = Venue()
    venue.orders(ALICE, limit(BTC, True, "43000", "0.01"), limit(BTC, True, "43001", "0.01", cloid=cloid(1)))
    (data,) = venue.drained("orderUpdates", user=ALICE)
    assert [row["status"] for row in data] == ["open", "open"]
    assert data[1] == {
        "order": {
            "coin": "BTC",
            "side": "B",
            "limitPx": "43001.0",
            "sz": "0.01",
            "oid": data[0]["order"]["oid"] + 1,
            "timestamp": venue.now,
            "origSz": "0.01",
            "cloid": cloid(1),
        },
        "status": "open",
        "statusTimestamp": venue.now,
    }


def test_a_partial_fill_of_a_resting_order_is_no_order_update() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, True, "43000", "0.02"))
    venue.exchange.drain()
    venue.sell(BOB, BTC, "43000", "0.01", "Ioc")
    assert venue.updates(ALICE) == []


def test_an_order_that_ends_at_once_is_open_and_filled_in_one_frame() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43210", "1"))
    venue.exchange.drain()
    venue.buy(ALICE, BTC, "43210", "0.01")
    (data,) = venue.drained("orderUpdates", user=ALICE)
    assert [(row["status"], row["order"]["sz"]) for row in data] == [("open", "0.01"), ("filled", "0.0")]


def test_the_open_before_an_immediate_end_can_be_left_out() -> None:
    venue = Venue(VenueOptions(open_before_immediate_end=False))
    venue.rest(BOB, limit(BTC, False, "43210", "1"))
    venue.exchange.drain()
    venue.buy(ALICE, BTC, "43210", "0.01")
    assert [status for _, status in venue.updates(ALICE)] == ["filled"]


def test_the_fills_of_an_action_come_together_on_both_channels() -> None:
    venue = Venue()
    for price in ("43200", "43201"):
        venue.rest(BOB, limit(BTC, False, price, "0.01"))
    venue.exchange.drain()
    venue.buy(ALICE, BTC, "43201", "0.02", "Ioc")
    messages = venue.exchange.drain()
    (fills,) = [m.data for m in messages if m.kind == "userFills" and m.user == ALICE]
    (events,) = [m.data for m in messages if m.kind == "userEvents" and m.user == ALICE]
    assert isinstance(fills, dict)
    assert fills["user"] == ALICE
    assert "isSnapshot" not in fills
    assert events == {"fills": fills["fills"]}
    assert fills["fills"] == venue.fills(ALICE)
    assert len(fills["fills"]) == 2


def test_trades_are_pushed_with_the_aggressors_side() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, True, "43200", "0.01"))
    venue.exchange.drain()
    venue.sell(ALICE, BTC, "43200", "0.01", "Ioc")
    ((trade,),) = venue.drained("trades", coin="BTC")
    assert (trade["side"], trade["users"]) == ("A", [BOB, ALICE])
    assert trade["tid"] == venue.fills(ALICE)[0]["tid"]


def test_the_bbo_is_pushed_only_when_it_changed() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, True, "43200", "0.01"))
    assert venue.drained("bbo", coin="BTC") == [
        {"coin": "BTC", "time": venue.now, "bbo": [{"px": "43200.0", "sz": "0.01", "n": 1}, None]}
    ]
    venue.rest(BOB, limit(BTC, True, "43100", "0.01"))
    messages = venue.exchange.drain()
    assert [m.kind for m in messages if m.coin == "BTC"] == ["l2Book", "activeAssetCtx"]


def test_states_are_pushed_once_per_drain() -> None:
    venue = Venue()
    for _ in range(3):
        venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    kinds = [m.kind for m in venue.exchange.drain() if m.user == ALICE]
    assert kinds.count("openOrders") == 1
    assert kinds.count("orderUpdates") == 3


def test_what_was_drained_does_not_come_again() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    assert venue.exchange.drain()
    assert venue.exchange.drain() == []


def test_user_events_arrive_on_the_user_channel() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    (message,) = [m for m in venue.exchange.drain() if m.kind == "userEvents" and m.user == ALICE]
    assert message.channel == "user"
    assert message.frame()["channel"] == "user"


def test_account_states_follow_a_fill() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    messages = {m.kind: m.data for m in venue.exchange.drain() if m.user == ALICE}
    state = messages["clearinghouseState"]
    assert state == {
        "dex": "",
        "user": ALICE,
        "clearinghouseState": venue.info("clearinghouseState", user=ALICE),
    }
    assert messages["openOrders"] == {"dex": "", "user": ALICE, "orders": []}
    assert messages["spotState"] == {"user": ALICE, "spotState": {"balances": []}}


def test_mark_prices_move_contexts_and_accounts() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "0.01")
    venue.exchange.drain()
    venue.mark("BTC", "43300")
    messages = venue.exchange.drain()
    (context,) = [m.data for m in messages if m.kind == "activeAssetCtx"]
    assert isinstance(context, dict)
    assert context["coin"] == "BTC"
    assert context["ctx"]["markPx"] == "43300.0"
    assert {m.user for m in messages if m.kind == "clearinghouseState"} == {ALICE, CAROL}


def test_leverage_changes_are_pushed() -> None:
    venue = Venue()
    venue.act(ALICE, {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 7})
    (data,) = venue.drained("activeAssetData", user=ALICE, coin="BTC")
    assert data["leverage"] == {"type": "cross", "value": 7}
    assert data == venue.info("activeAssetData", user=ALICE, coin="BTC")


def test_transfers_are_pushed() -> None:
    venue = Venue()
    venue.act(ALICE, {"type": "usdSend", "destination": BOB, "amount": "5", "time": 1})
    for user in (ALICE, BOB):
        rows = venue.info("userNonFundingLedgerUpdates", user=user, startTime=0)
        assert rows[-1]["delta"]["type"] == "internalTransfer"
    (data,) = venue.drained("userNonFundingLedgerUpdates", user=BOB)
    assert data == {"user": BOB, "nonFundingLedgerUpdates": rows[-1:]}


def test_notifications_are_pushed() -> None:
    venue = Venue()
    venue.exchange.notify(ALICE, "hello")
    assert venue.drained("notification", user=ALICE) == [{"notification": "hello"}]


# -- first frames -------------------------------------------------------------


def traded() -> Venue:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    venue.rest(ALICE, limit(BTC, True, "43000", "0.02"))
    venue.exchange.settle_funding(now_ms=venue.now, rates={"BTC": Decimal("0.0001")})
    return venue


def test_fills_start_with_a_snapshot() -> None:
    venue = traded()
    frame = snapshot(venue, type="userFills", user=ALICE)
    assert frame["channel"] == "userFills"
    assert frame["data"] == {
        "isSnapshot": True,
        "user": ALICE,
        "fills": venue.info("userFills", user=ALICE),
    }


def test_fundings_and_ledger_start_with_a_snapshot() -> None:
    venue = traded()
    data = snapshot(venue, type="userFundings", user=ALICE)["data"]
    assert (data["isSnapshot"], data["fundings"][0]["usdc"]) == (True, "-0.04321")
    data = snapshot(venue, type="userNonFundingLedgerUpdates", user=ALICE)["data"]
    assert (data["isSnapshot"], data["nonFundingLedgerUpdates"][0]["delta"]["type"]) == (True, "deposit")


def test_order_updates_start_with_nothing_unless_configured() -> None:
    assert snapshot(traded(), type="orderUpdates", user=ALICE) is None
    venue = Venue(VenueOptions(order_updates_snapshot=True))
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.02"))
    frame = snapshot(venue, type="orderUpdates", user=ALICE)
    assert [row["order"]["oid"] for row in frame["data"]] == [oid]
    assert snapshot(venue, type="orderUpdates", user=BOB) is None


def test_trades_start_with_nothing_unless_configured() -> None:
    assert snapshot(traded(), type="trades", coin="BTC") is None
    venue = Venue(VenueOptions(trades_snapshot=True))
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    assert len(snapshot(venue, type="trades", coin="BTC")["data"]) == 1


@pytest.mark.parametrize("kind", ["userEvents", "notification"])
def test_event_subscriptions_start_with_nothing(kind: str) -> None:
    assert snapshot(traded(), type=kind, user=ALICE) is None


def test_books_start_whole_and_fast_ones_with_five_levels() -> None:
    venue = Venue()
    for number in range(25):
        venue.rest(ALICE, limit(BTC, True, str(43000 - number), "0.01"))
    frame = snapshot(venue, type="l2Book", coin="BTC")
    assert frame == {"channel": "l2Book", "data": venue.info("l2Book", coin="BTC")}
    assert len(snapshot(venue, type="l2Book", coin="BTC", fast=True)["data"]["levels"][0]) == 5
    assert len(snapshot(venue, type="l2Book", coin="BTC", nSigFigs=3)["data"]["levels"][0]) == 2


@pytest.mark.parametrize(
    ("subscription", "channel", "member"),
    [
        ({"type": "allMids"}, "allMids", "mids"),
        ({"type": "bbo", "coin": "BTC"}, "bbo", "bbo"),
        ({"type": "candle", "coin": "BTC", "interval": "1h"}, "candle", "o"),
        ({"type": "activeAssetCtx", "coin": "BTC"}, "activeAssetCtx", "ctx"),
        ({"type": "activeAssetCtx", "coin": "@107"}, "activeSpotAssetCtx", "ctx"),
        ({"type": "activeAssetCtx", "coin": "PURR/USDC"}, "activeSpotAssetCtx", "ctx"),
        ({"type": "activeAssetData", "user": ALICE, "coin": "BTC"}, "activeAssetData", "leverage"),
        ({"type": "clearinghouseState", "user": ALICE}, "clearinghouseState", "clearinghouseState"),
        ({"type": "openOrders", "user": ALICE, "dex": ""}, "openOrders", "orders"),
        ({"type": "spotState", "user": ALICE}, "spotState", "spotState"),
        ({"type": "twapStates", "user": ALICE}, "twapStates", "states"),
        ({"type": "userHistoricalOrders", "user": ALICE}, "userHistoricalOrders", "orderHistory"),
        ({"type": "userTwapSliceFills", "user": ALICE}, "userTwapSliceFills", "twapSliceFills"),
        ({"type": "userTwapHistory", "user": ALICE}, "userTwapHistory", "history"),
        (
            {"type": "allDexsClearinghouseState", "user": ALICE},
            "allDexsClearinghouseState",
            "clearinghouseStates",
        ),
        ({"type": "allDexsAssetCtxs"}, "allDexsAssetCtxs", "ctxs"),
        ({"type": "assetCtxs"}, "assetCtxs", "ctxs"),
        ({"type": "webData3", "user": ALICE}, "webData3", "userState"),
    ],
)
def test_states_start_with_what_is(subscription: Json, channel: str, member: str) -> None:
    frame = snapshot(traded(), **subscription)
    assert frame["channel"] == channel
    assert member in frame["data"]


@pytest.mark.parametrize(
    "subscription",
    [
        {"type": "user", "user": ALICE},
        {"type": "webData2", "user": ALICE},
        {"type": "trades"},
        {"type": "trades", "coin": "NOPE"},
        {"type": "orderUpdates"},
        {"type": "userFills", "user": "me"},
        {"type": "candle", "coin": "BTC", "interval": "7m"},
        {"type": "activeAssetData", "user": ALICE, "coin": "@107"},
        {},
    ],
)
def test_subscriptions_that_do_not_exist_are_unprocessable(subscription: Json) -> None:
    venue = Venue()
    with pytest.raises(Unprocessable):
        venue.exchange.snapshot(subscription, now_ms=venue.now)


def test_unknown_users_can_be_watched() -> None:
    venue = Venue()
    assert snapshot(venue, type="userFills", user=STRANGER)["data"]["fills"] == []
    assert snapshot(venue, type="openOrders", user=STRANGER)["data"]["orders"] == []


def test_candles_are_pushed_for_every_interval() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    bars = venue.drained("candle", coin="BTC")
    assert {bar["i"] for bar in bars} >= {"1m", "1h", "1d", "1w", "1M"}
    assert bars[0] == snapshot(venue, type="candle", coin="BTC", interval="1m")["data"]


def test_spot_contexts_have_their_own_channel() -> None:
    venue = Venue()
    venue.exchange.create_account(BOB, spot={"HYPE": Decimal(10)})
    venue.exchange.drain()
    venue.rest(BOB, limit(HYPE_SPOT, False, "32", "1"))
    (message,) = [m for m in venue.exchange.drain() if m.kind == "activeAssetCtx"]
    assert (message.coin, message.channel) == ("@107", "activeSpotAssetCtx")


# -- blocks -------------------------------------------------------------------


def pending(user: str, action: Json) -> PendingAction:
    return PendingAction(user, action, user)


def order_action(*entries: Json) -> Json:
    return {"type": "order", "orders": list(entries), "grouping": "na"}


def test_cancels_beat_takers_of_their_block() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, False, "43210", "0.01"))
    taker = pending(BOB, order_action(limit(BTC, True, "43210", "0.01", "Ioc")))
    cancel = pending(ALICE, {"type": "cancel", "cancels": [{"a": BTC, "o": oid}]})
    answers: list[Any] = venue.exchange.execute_block([taker, cancel], now_ms=venue.now + 1)
    assert "error" in answers[0]["response"]["data"]["statuses"][0]
    assert answers[1]["response"]["data"]["statuses"] == ["success"]


def test_post_only_orders_come_before_cancels_and_takers() -> None:
    venue = Venue()
    taker = pending(BOB, order_action(limit(BTC, True, "43210", "0.02", "Ioc")))
    maker = pending(ALICE, order_action(limit(BTC, False, "43210", "0.02", "Alo")))
    answers: list[Any] = venue.exchange.execute_block([taker, maker], now_ms=venue.now + 1)
    assert "filled" in answers[0]["response"]["data"]["statuses"][0]
    assert "resting" in answers[1]["response"]["data"]["statuses"][0]


def test_arrival_decides_within_a_class() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, False, "43210", "0.01"))
    first = pending(CAROL, order_action(limit(BTC, True, "43210", "0.01", "Ioc")))
    second = pending(BOB, order_action(limit(BTC, True, "43210", "0.01", "Ioc")))
    answers: list[Any] = venue.exchange.execute_block([first, second], now_ms=venue.now + 1)
    assert ["filled" in answer["response"]["data"]["statuses"][0] for answer in answers] == [True, False]


def test_a_block_gives_one_order_update_frame_per_user() -> None:
    venue = Venue()
    actions = [pending(ALICE, order_action(limit(BTC, True, "43000", "0.01"))) for _ in range(3)]
    venue.exchange.execute_block(actions, now_ms=venue.now + 1)
    (data,) = venue.drained("orderUpdates", user=ALICE)
    assert len(data) == 3


def test_a_misshapen_action_leaves_its_block_alone() -> None:
    venue = Venue()
    good = pending(ALICE, order_action(limit(BTC, True, "43000", "0.01")))
    answers = venue.exchange.execute_block([pending(ALICE, {"type": "?"}), good], now_ms=venue.now + 1)
    assert isinstance(answers[0], Unprocessable)
    assert isinstance(answers[1], dict)
    assert answers[1]["status"] == "ok"


def test_modifies_that_may_take_are_takers() -> None:
    venue = Venue()
    bid = venue.rest(ALICE, limit(ETH, True, "2200", "1"))
    ask = venue.rest(BOB, limit(ETH, False, "2300", "1"))
    entry = {"oid": bid, "order": limit(ETH, True, "2299", "1")}
    modify = pending(ALICE, {"type": "batchModify", "modifies": [entry]})
    cancel = pending(BOB, {"type": "cancel", "cancels": [{"a": ETH, "o": ask}]})
    maker = pending(CAROL, order_action(limit(ETH, False, "2298", "1", "Alo")))
    answers: list[Any] = venue.exchange.execute_block([modify, cancel, maker], now_ms=venue.now + 1)
    assert "post only" in answers[0]["response"]["data"]["statuses"][0]["error"].lower()
    assert answers[1]["response"]["data"]["statuses"] == ["success"]
