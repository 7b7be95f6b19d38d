"""What callers may ask for, what is refused before anything is recorded, and how requests leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from adapters.hyperliquid.client_ids import cloid_for
from adapters.hyperliquid.limits import LimitError
from domain.connector_base import OrderRequest
from domain.enums import OrderType, PositionAction, TimeInForce, TradeType
from domain.errors import (
    DuplicateOrderIdError,
    InvalidOrderError,
    NotReadyError,
    OrderAlreadyDoneError,
    OrderRefusedError,
    TradingHaltedError,
    UnknownOrderError,
    UnknownTradingPairError,
)
from domain.events import AccountLeverageChanged, OrderCreated, OrderEvent, OrderFilled
from domain.in_flight_order import OrderView
from domain.inputs import CancelOrders, LedgerStalled, Stopping
from domain.listeners import Committed, OrderEventListener, TradeEventListener
from tests.support.core import CoreSession, open_order_row, order_status_answer


@pytest.fixture
def core() -> Iterator[CoreSession]:
    session = CoreSession().ready()
    yield session
    session.assert_consistent()


def untouched(core: CoreSession) -> bool:
    """Whether nothing was recorded and nothing will be."""
    return not core.inbox and not core.events_of(OrderCreated) and not core.sends


# -- bad requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "-Infinity", "-1", "0", "1e21", "1e-400000", "abc", ""]
)
@pytest.mark.parametrize("as_text", [True, False])
def test_an_amount_that_is_no_amount_is_refused(core: CoreSession, amount: str, as_text: bool) -> None:
    if not as_text and amount in ("abc", ""):
        return
    with pytest.raises(OrderRefusedError):
        core.connector.buy("BTC-USD", amount if as_text else Decimal(amount), Decimal(43210))
    assert untouched(core)


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-1", "0", "1e21", "1e-400000", "1e999999999"])
def test_a_price_that_is_no_price_is_refused(core: CoreSession, price: str) -> None:
    with pytest.raises(OrderRefusedError):
        core.connector.buy("BTC-USD", Decimal(1), Decimal(price))
    assert untouched(core)


@pytest.mark.parametrize("number", [0.1, True, None, [1], b"1"])
def test_a_number_of_another_type_is_refused_and_says_which_to_pass(
    core: CoreSession, number: object
) -> None:
    with pytest.raises(InvalidOrderError, match="Pass the amount as Decimal or text"):
        core.connector.buy("BTC-USD", number, Decimal(43210))  # type: ignore[arg-type]
    assert untouched(core)


def test_whole_numbers_and_texts_are_numbers(core: CoreSession) -> None:
    order = core.connector.buy("BTC-USD", "0.5", 43210)  # type: ignore[arg-type]
    core.step_commands()
    assert core.view(order).amount == Decimal("0.5")


@pytest.mark.parametrize(
    ("pair", "near"), [("BTC-USDC", "BTC-USD"), ("btc/usd", "BTC-USD"), ("KPEPE-USD", "kPEPE-USD")]
)
def test_an_unknown_market_is_refused_and_near_ones_are_named(
    core: CoreSession, pair: str, near: str
) -> None:
    with pytest.raises(UnknownTradingPairError, match=f"Did you mean {near}"):
        core.connector.buy(pair, Decimal(1), Decimal(1))
    assert untouched(core)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"order_type": OrderType.STOP_LIMIT}, "trigger_price_missing"),
        ({"trigger_price": Decimal(1)}, "trigger_price_unused"),
        ({"order_type": OrderType.LIMIT_MAKER, "time_in_force": TimeInForce.IOC}, "time_in_force"),
        ({"order_type": "limitt"}, "unknown_order_type"),
        ({"time_in_force": "fok"}, "unknown_time_in_force"),
        ({"position_action": 5}, "unknown_position_action"),
        ({"client_order_id": ""}, "client_order_id"),
        ({"client_order_id": "a\nb"}, "client_order_id"),
        ({"client_order_id": "x" * 300}, "client_order_id"),
    ],
)
def test_a_combination_that_can_never_be_right_is_refused(
    core: CoreSession, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(OrderRefusedError) as refused:
        core.connector.buy("BTC-USD", Decimal(1), Decimal(43210), **options)
    assert refused.value.reason_code == code
    assert untouched(core)


def test_choices_may_be_given_as_texts(core: CoreSession) -> None:
    order = core.buy(order_type="limit_maker", position_action="open", time_in_force="gtc")
    assert core.view(order).order_type is OrderType.LIMIT_MAKER
    assert core.take_send().action["orders"][0]["t"] == {"limit": {"tif": "Alo"}}


def test_a_limit_order_without_a_price_is_refused(core: CoreSession) -> None:
    with pytest.raises(InvalidOrderError, match="needs a price"):
        core.connector.buy("BTC-USD", Decimal(1))
    assert untouched(core)


def test_a_market_order_without_any_known_price_is_refused() -> None:
    core = CoreSession().ready()
    with pytest.raises(OrderRefusedError, match="No price is known for kPEPE-USD"):
        core.connector.buy("kPEPE-USD", Decimal(1), order_type=OrderType.MARKET)


def test_an_order_in_a_spot_market_is_refused(core: CoreSession) -> None:
    with pytest.raises(OrderRefusedError, match="PURR-USDC is a spot market: only perpetuals") as refused:
        core.connector.buy("PURR-USDC", Decimal(100), Decimal("0.2"))
    assert (refused.value.reason_code, untouched(core)) == ("spot_not_offered", True)


def test_an_order_below_the_minimum_value_is_refused_unless_it_closes_the_position(
    core: CoreSession,
) -> None:
    with pytest.raises(OrderRefusedError) as refused:
        core.connector.buy("BTC-USD", Decimal("0.0002"), Decimal(43210))
    assert refused.value.reason_code == "notional_below_minimum"
    order = core.open(5, "0.001")
    core.fill(5, 1, "0.0001", cloid=order)
    core.sell("0.0001", position_action=PositionAction.CLOSE)
    with pytest.raises(OrderRefusedError):
        core.sell("0.00005", position_action=PositionAction.CLOSE)


def test_prices_and_amounts_move_to_the_safe_side_and_what_was_asked_for_is_kept(core: CoreSession) -> None:
    buy, sell = core.buy("0.123456", "43210.77"), core.sell("0.123456", "43210.77")
    assert [(core.view(order).price, core.view(order).amount) for order in (buy, sell)] == [
        (Decimal(43210), Decimal("0.12345")),
        (Decimal(43211), Decimal("0.12345")),
    ]
    created = core.stored[buy][0]
    assert (created.requested_price, created.requested_amount) == (Decimal("43210.77"), Decimal("0.123456"))


def test_a_whole_number_price_is_valid_however_many_figures_it_has(core: CoreSession) -> None:
    assert core.view(core.buy("1", "123456")).price == 123456


def test_nothing_is_asked_of_a_core_that_no_shell_drives() -> None:
    from adapters.hyperliquid.connector import HyperliquidOptions, HyperliquidPerpetualConnector
    from domain.event_codec import decode_event

    connector = HyperliquidPerpetualConnector(
        HyperliquidOptions(trading_pairs=("BTC-USD",)),
        network="testnet",
        account="0x" + "1" * 40,
        session_id=1,
        decode_event=decode_event,
    )
    with pytest.raises(NotReadyError, match="start"):
        connector.buy("BTC-USD", Decimal(1), Decimal(1))
    with pytest.raises(NotReadyError):
        connector.cancel_all()


def test_a_weight_limit_that_could_never_ask_anything_is_refused_at_once() -> None:
    with pytest.raises(LimitError, match="allow at least"):
        CoreSession(options={"weight_per_minute": 180})
    CoreSession(options={"weight_per_minute": 200})


# -- ids -----------------------------------------------------------------------------------------------------


def test_an_id_is_used_once_and_a_second_order_with_it_is_refused_before_anything_is_recorded(
    core: CoreSession,
) -> None:
    assert core.buy(client_order_id="mine") == "mine"
    count = len(core.events)
    with pytest.raises(DuplicateOrderIdError, match="'mine'"):
        core.buy(client_order_id="mine")
    assert len(core.events) == count


def test_an_id_stays_used_after_its_order_left_memory(core: CoreSession) -> None:
    order = core.buy(client_order_id="mine")
    core.answer_orders({"error": "Order has invalid size."})
    core.advance(61)
    assert core.connector.tracker.get(order) is None
    with pytest.raises(DuplicateOrderIdError):
        core.buy(client_order_id="mine")


def test_an_id_the_connector_made_cannot_be_used_again_even_after_its_order_left_memory(
    core: CoreSession,
) -> None:
    order = core.buy()
    core.answer_orders({"error": "Order has invalid size."})
    core.advance(61)
    for again in (order, order.upper().replace("0X", "0x")):
        with pytest.raises(DuplicateOrderIdError):
            core.buy(client_order_id=again)


def test_two_ids_that_lead_to_one_client_id_of_the_venue_collide(core: CoreSession) -> None:
    core.buy(client_order_id="0x" + "AB" * 16)
    with pytest.raises(DuplicateOrderIdError):
        core.buy(client_order_id="0x" + "ab" * 16)


def test_ids_of_earlier_sessions_are_refused() -> None:
    core = CoreSession()
    core.connector.reserve_ids(["mine"])
    core.ready()
    with pytest.raises(DuplicateOrderIdError):
        core.buy(client_order_id="mine")


def test_a_text_whose_cloid_the_ledger_knows_is_refused() -> None:
    core = CoreSession()
    core.connector.reserve_ids([], lambda text: text == cloid_for("mine"))
    core.ready()
    with pytest.raises(DuplicateOrderIdError, match="'mine'"):
        core.buy(client_order_id="mine")
    core.buy(client_order_id="another")


def test_an_order_is_found_and_cancelled_by_the_text_that_leads_to_its_cloid(core: CoreSession) -> None:
    order = core.open(77, client_order_id=cloid_for("mine"))
    assert core.connector.order("mine") == core.view(order)
    core.cancel("mine")
    assert core.take_send("cancelByCloid").action["cancels"] == [{"asset": 0, "cloid": order}]


def test_a_refused_batch_gives_its_ids_back(core: CoreSession) -> None:
    requests = [
        OrderRequest(
            trading_pair="BTC-USD",
            trade_type=TradeType.BUY,
            amount=Decimal(amount),
            price=Decimal(43210),
            client_order_id=name,
        )
        for name, amount in (("first", "1"), ("second", "-1"))
    ]
    with pytest.raises(InvalidOrderError):
        core.connector.place(requests)
    assert untouched(core)
    core.buy(client_order_id="first")


def test_of_two_threads_with_one_id_exactly_one_is_refused(core: CoreSession) -> None:
    refused: list[Exception] = []
    start = threading.Barrier(8)

    def place(number: int) -> None:
        start.wait()
        try:
            core.connector.buy("BTC-USD", Decimal(1), Decimal(43210), client_order_id="mine")
        except DuplicateOrderIdError as error:
            refused.append(error)

    threads = [threading.Thread(target=place, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert len(core.inbox) == 1
    core.step_commands()


def test_orders_of_one_instant_have_distinct_ids(core: CoreSession) -> None:
    assert len({core.buy() for _ in range(50)}) == 50


# -- cancels and amends that make no sense -------------------------------------------------------------------


def test_a_cancel_of_an_unknown_order_is_refused(core: CoreSession) -> None:
    with pytest.raises(UnknownOrderError, match="nothing-of-the-kind"):
        core.connector.cancel("nothing-of-the-kind")
    core.step(CancelOrders(client_order_ids=("nothing-of-the-kind",)))
    assert core.alert_codes() == ["cancel_unknown_order"]


def test_a_cancel_of_a_finished_order_is_refused(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    with pytest.raises(OrderAlreadyDoneError, match="already filled"):
        core.connector.cancel(order)


def test_a_cancel_that_is_overtaken_by_the_end_is_observed_and_not_sent(core: CoreSession) -> None:
    order = core.open(5)
    core.connector.cancel(order)
    core.fill(5, 1, "1.0", cloid=order)
    core.step_commands()
    assert core.sends == []
    assert core.stored[order][-1].why == "cancel_after_end"


def test_an_order_still_on_its_way_can_be_cancelled_but_not_amended(core: CoreSession) -> None:
    order = core.connector.buy("BTC-USD", Decimal(1), Decimal(43210))
    with pytest.raises(InvalidOrderError, match="still on its way"):
        core.connector.amend(order, Decimal(1), Decimal(1))
    core.connector.cancel(order)
    core.step_commands()
    assert [sent.action["type"] for sent in core.sends] == ["order", "cancelByCloid"]


def test_an_order_that_is_not_acknowledged_cannot_be_amended(core: CoreSession) -> None:
    order = core.buy()
    with pytest.raises(InvalidOrderError, match="not acknowledged"):
        core.connector.amend(order, Decimal(43210), Decimal(2))


def test_an_order_placed_elsewhere_can_be_cancelled_but_not_amended(core: CoreSession) -> None:
    core.status(7, "open")
    external = "external:hyperliquid:7"
    with pytest.raises(InvalidOrderError, match="placed elsewhere"):
        core.connector.amend(external, Decimal(43210), Decimal(2))
    core.cancel(external)
    assert core.take_send().action == {"type": "cancel", "cancels": [{"a": 0, "o": 7}]}


def test_a_cancel_of_an_order_in_a_market_that_is_not_followed_is_said_and_stops_nothing(
    core: CoreSession,
) -> None:
    core.status(7, "open", coin="xyz:TSLA")
    core.status(8, "open")
    core.connector.cancel_all()
    core.step_commands()
    assert core.take_send("cancel").action["cancels"] == [{"a": 0, "o": 8}]
    assert core.alert_codes() == ["cancel_impossible"]


def test_cancel_all_takes_one_market_or_all(core: CoreSession) -> None:
    bitcoin, ether = core.open(5), core.open(6, price="2000", pair="ETH-USD")
    core.connector.cancel_all("ETH-USD")
    core.step_commands()
    assert core.take_send("cancelByCloid").action["cancels"] == [{"asset": 1, "cloid": ether}]
    core.connector.cancel_all()
    core.step_commands()
    cloids = [entry["cloid"] for entry in core.take_send("cancelByCloid").action["cancels"]]
    assert bitcoin in cloids
    with pytest.raises(UnknownTradingPairError):
        core.connector.cancel_all("NO-PAIR")


# -- leaving -------------------------------------------------------------------------------------------------


def test_a_batch_is_one_action(core: CoreSession) -> None:
    orders = core.place("1", "2", "3")
    (sent,) = core.sends
    assert [entry["c"] for entry in sent.action["orders"]] == list(orders)


def test_a_batch_beyond_the_venues_limit_is_split(core: CoreSession) -> None:
    core.place(*["1"] * 201)
    assert [len(sent.action["orders"]) for sent in core.sends] == [200, 1]


def test_an_empty_batch_is_refused(core: CoreSession) -> None:
    with pytest.raises(InvalidOrderError, match="at least one"):
        core.connector.place([])


def test_single_orders_leave_at_once_and_under_load_they_gather(core: CoreSession) -> None:
    orders = [core.buy() for _ in range(60)]
    assert [len(sent.action["orders"]) for sent in core.sends] == [1] * 8
    first = core.take_send()
    core.answer_orders({"resting": {"oid": 1}}, request=first)
    assert len(core.sends[-1].action["orders"]) == 39
    core.answer_orders({"resting": {"oid": 2}}, request=core.take_send())
    assert len(core.sends[-1].action["orders"]) == 13
    sent = [entry["c"] for sent in [first, *core.sends] for entry in sent.action["orders"]]
    assert set(sent) <= set(orders)
    assert len({order for order in orders if core.state(order) == "pending_create"}) == 0


def test_cancels_leave_before_orders_that_wait(core: CoreSession) -> None:
    resting = core.open(5)
    core.exhaust_budget()
    waiting = core.buy()
    core.cancel(resting)
    assert [sent.action["type"] for sent in core.sends] == ["cancelByCloid"]
    assert core.state(waiting) == "pending_create"


def test_what_waits_for_the_limits_leaves_by_the_timer(core: CoreSession) -> None:
    core.exhaust_budget()
    core.advance(6)
    order = core.buy()
    assert core.sends == []
    core.advance(3.9)
    assert core.sends == []
    core.advance(0.2)
    assert core.take_send().action["orders"][0]["c"] == order


@pytest.mark.parametrize(("used", "waits"), [(9_990, True), (9_980, False)])
def test_an_expired_action_costs_the_budget_five_times_as_the_venue_counts(used: int, waits: bool) -> None:
    core = CoreSession()
    core.answers["userRateLimit"] = {"nRequestsUsed": used, "nRequestsCap": 10_000}
    core.ready()
    core.place("1", "2")
    core.answer_error("Action already expired")
    core.buy()
    assert (core.sends == []) is waits
    core.assert_consistent()


# -- halts ---------------------------------------------------------------------------------------------------


def test_a_configuration_fault_halts_and_says_so_once_however_many_orders_it_hits(core: CoreSession) -> None:
    orders = core.place("1", "2", "3")
    core.answer_error("User or API Wallet 0x0000000000000000000000000000000000000001 does not exist.")
    assert [core.state(order) for order in orders] == ["failed"] * 3
    assert core.alert_codes() == ["trading_halted"]
    with pytest.raises(TradingHaltedError, match="does not exist"):
        core.buy()


def test_what_waits_when_trading_halts_never_leaves(core: CoreSession) -> None:
    resting = core.open(5)
    core.exhaust_budget()
    waiting = core.buy()
    core.amend(resting, "43000", "2")
    core.cancel(resting)
    core.answer_error("Vault may not perform this action.", request=core.take_send("cancelByCloid"))
    assert (core.state(waiting), core.view(waiting).reason_code) == ("failed", "not_sent_halted")
    assert "amend_while_halted" in [getattr(event, "why", "") for event in core.stored[resting]]
    core.advance(30)
    assert core.sends == []


def test_an_order_accepted_just_before_a_halt_is_recorded_and_failed(core: CoreSession) -> None:
    order = core.connector.buy("BTC-USD", Decimal(1), Decimal(43210))
    core.step(LedgerStalled(reason="disk full"))
    core.step_commands()
    assert (core.state(order), core.view(order).reason_code) == ("failed", "not_sent_halted")
    assert core.sends == []


def test_a_stalled_ledger_halts_trading_until_it_writes_again(core: CoreSession) -> None:
    core.step(LedgerStalled(reason="the recorder cannot write: disk full"))
    assert core.connector.halted_because == "the recorder cannot write: disk full"
    with pytest.raises(TradingHaltedError, match="disk full"):
        core.buy()
    core.step(LedgerStalled(reason="disk still full"))
    core.step(LedgerStalled(reason=""))
    assert core.alert_codes() == ["trading_halted", "trading_halted", "trading_resumed"]
    assert core.connector.ready
    core.buy()


def test_a_ledger_that_recovers_does_not_lift_a_halt_for_another_reason(core: CoreSession) -> None:
    core.buy()
    core.answer_error("User or API Wallet 0x0000000000000000000000000000000000000001 does not exist.")
    core.step(LedgerStalled(reason="disk full"))
    core.step(LedgerStalled(reason=""))
    assert "does not exist" in core.connector.halted_because


def test_nothing_leaves_memory_while_the_ledger_cannot_write(core: CoreSession) -> None:
    order = core.open(5)
    core.step(LedgerStalled(reason="disk full"))
    core.status(5, "canceled", cloid=order)
    core.advance(300)
    assert core.state(order) == "cancelled"
    core.step(LedgerStalled(reason=""))
    assert core.connector.tracker.get(order) is None


def test_a_nonce_from_the_far_future_halts_and_leaves_no_order_waiting_for_ever() -> None:
    from domain.inputs import Started

    core = CoreSession(
        started=Started(session_id="000000abcdef", ledger_position=0, last_nonce=2_000_000_000_000)
    ).ready()
    order = core.buy()
    assert "nonce" in core.connector.halted_because
    assert (core.state(order), core.view(order).reason_code) == ("failed", "not_sent_halted")
    core.assert_consistent()


def test_stopping_cancels_what_is_open_and_takes_nothing_new(core: CoreSession) -> None:
    mine = core.open(5)
    core.status(7, "open")
    core.step(Stopping(cancel_open_orders=True))
    assert core.take_send("cancelByCloid").action["cancels"] == [{"asset": 0, "cloid": mine}]
    assert core.sends == []
    with pytest.raises(TradingHaltedError, match="shutting down"):
        core.buy()


# -- leverage, margin, dead man's switch ---------------------------------------------------------------------


def test_leverage_is_recorded_when_the_venue_accepts_it(core: CoreSession) -> None:
    core.connector.set_leverage("ETH-USD", 7)
    core.step_commands()
    sent = core.take_send("updateLeverage")
    assert sent.action == {"type": "updateLeverage", "asset": 1, "isCross": True, "leverage": 7}
    core.answer(sent, {"status": "ok", "response": {"type": "default"}})
    (changed,) = core.events_of(AccountLeverageChanged)
    assert (changed.trading_pair, changed.leverage) == ("ETH-USD", 7)
    assert core.connector.position("ETH-USD").leverage == 7


@pytest.mark.parametrize("payload", [{"status": "err", "response": "Cannot switch leverage type"}, None])
def test_leverage_the_venue_did_not_confirm_is_an_alert_and_no_fact(
    core: CoreSession, payload: object
) -> None:
    core.connector.set_leverage("ETH-USD", 7)
    core.step_commands()
    sent = core.take_send("updateLeverage")
    if payload is None:
        core.fail(sent)
    else:
        core.answer(sent, payload)
    assert core.events_of(AccountLeverageChanged) == []
    assert core.alerts[-1].level == "error"
    with pytest.raises(OrderRefusedError):
        core.connector.set_leverage("ETH-USD", 26)


@pytest.mark.parametrize("amount", ["0.0000001", "1e25"])
def test_a_margin_that_cannot_be_sent_is_an_alert_and_stops_nothing(core: CoreSession, amount: str) -> None:
    core.connector.update_isolated_margin("ETH-USD", Decimal(amount))
    core.step_commands()
    assert core.alert_codes() == ["account_action_invalid"]
    core.connector.schedule_cancel(-1)
    core.step_commands()
    assert core.alert_codes() == ["account_action_invalid"] * 2
    assert core.sends == []


def test_margin_and_the_dead_mans_switch_are_sent(core: CoreSession) -> None:
    core.connector.update_isolated_margin("ETH-USD", Decimal("2.5"))
    core.connector.schedule_cancel(None)
    core.step_commands()
    assert core.take_send("updateIsolatedMargin").action["ntli"] == 2_500_000
    sent = core.take_send("scheduleCancel")
    core.answer_error(
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000.", request=sent
    )
    assert core.alert_codes() == ["account_action_refused"]


# -- listeners -----------------------------------------------------------------------------------------------


class Heard(OrderEventListener, TradeEventListener):
    """Writes down what it hears, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.updates: list[Committed] = []

    def on_order_created(self, order: OrderView) -> None:
        self.calls.append("created")

    def on_order_filled(self, order: OrderView, filled: OrderFilled) -> None:
        self.calls.append(f"filled {filled.fill.amount}")

    def on_order_completed(self, order: OrderView) -> None:
        self.calls.append("completed")

    def on_order_cancelled(self, order: OrderView) -> None:
        self.calls.append("cancelled")

    def on_order_failed(self, order: OrderView) -> None:
        self.calls.append("failed")

    def on_order_expired(self, order: OrderView) -> None:
        self.calls.append("expired")

    def on_order_update(self, committed: Committed) -> None:
        self.updates.append(committed)

    def on_alert(self, code: str, message: str, client_order_id: str) -> None:
        self.calls.append(f"alert {code}")


def tell(core: CoreSession, *listeners: object) -> list[Exception]:
    """Tell listeners everything that was committed, as the shell does; what they raised comes back."""
    errors: list[Exception] = []
    for listener in listeners:
        core.connector.add_listener(listener)
    for committed in core.committed:
        core.connector.notify_committed(committed, lambda _, error: errors.append(error))
    return errors


def test_a_strategy_hears_of_its_order_in_the_order_of_the_log(core: CoreSession) -> None:
    order = core.buy()
    core.fill(5, 1, "0.4", cloid=order)
    core.answer_orders({"resting": {"oid": 5}})
    core.fill(5, 2, "0.6", cloid=order)
    heard = Heard()
    assert tell(core, heard) == []
    assert heard.calls == ["created", "filled 0.4", "filled 0.6", "completed"]
    positions = [committed.position for committed in heard.updates]
    assert positions == sorted(set(positions))
    order_events = [c for c in core.committed if isinstance(c.event, OrderEvent)]
    assert heard.updates == order_events


def test_an_order_completes_once_even_when_it_is_overfilled(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    core.fill(5, 2, "0.5", cloid=order)
    core.status(5, "filled", cloid=order)
    heard = Heard()
    tell(core, heard)
    assert heard.calls.count("completed") == 1


def test_an_order_is_created_once_even_when_it_turns_out_to_live_after_all(core: CoreSession) -> None:
    gone = core.open(5)
    core.answers |= {"orderStatus": {"status": "unknownOid"}, "historicalOrders": []}
    core.advance(95)
    core.open_orders = [open_order_row(5, cloid=gone)]
    core.answers["orderStatus"] = order_status_answer(5, "open", cloid=gone)
    core.advance(60)
    assert core.state(gone) == "open"
    assert core.topics(gone).count("order.acknowledged") == 2
    heard = Heard()
    tell(core, heard)
    assert heard.calls == ["created", "cancelled"]
    assert heard.updates[-1].view is not None
    assert heard.updates[-1].view.state == "open"


def test_a_dormant_order_is_created_once_though_its_exchange_id_is_told_later(core: CoreSession) -> None:
    dormant = core.buy(order_type=OrderType.STOP_MARKET, trigger_price=Decimal(44000))
    core.answer_orders("waitingForTrigger")
    core.status(5, "open", cloid=dormant)
    assert core.topics(dormant).count("order.acknowledged") == 2
    heard = Heard()
    tell(core, heard)
    assert heard.calls == ["created"]


def test_an_order_thought_never_to_have_been_is_created_when_it_shows(core: CoreSession) -> None:
    order = core.buy()
    core.fail(core.take_send())
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.advance(40)
    core.status(5, "open", cloid=order)
    heard = Heard()
    tell(core, heard)
    assert heard.calls == ["failed", "created"]


def test_an_order_reported_filled_completes_with_its_last_fill_and_not_before(core: CoreSession) -> None:
    order = core.open(5)
    core.status(5, "filled", cloid=order, remaining="0.0")
    heard = Heard()
    tell(core, heard)
    assert "completed" not in heard.calls
    before = len(core.committed)
    core.fill(5, 1, "1.0", cloid=order)
    for committed in core.committed[before:]:
        core.connector.notify_committed(committed, lambda _, error: None)
    assert heard.calls[-2:] == ["filled 1.0", "completed"]


@pytest.mark.parametrize(
    ("statuses", "call"),
    [
        (["canceled", "open", "canceled"], "cancelled"),
        (["iocCancelRejected", "iocCancelRejected"], "expired"),
        (["rejected", "rejected"], "failed"),
    ],
)
def test_every_end_is_told_once(core: CoreSession, statuses: list[str], call: str) -> None:
    order = core.buy()
    for status in statuses:
        core.status(5, status, cloid=order)
    heard = Heard()
    tell(core, heard)
    assert heard.calls == [call]


def test_a_listener_that_raises_stops_neither_the_ledger_nor_the_others(core: CoreSession) -> None:
    class Broken(OrderEventListener):
        def on_order_update(self, committed: Committed) -> None:
            raise RuntimeError("a bug of the strategy")

    core.open(5)
    heard = Heard()
    errors = tell(core, Broken(), heard)
    assert [str(error) for error in errors] == ["a bug of the strategy"] * len(heard.updates)
    assert core.connector.listener_errors == len(errors)
    assert heard.calls == ["created"]


def test_alerts_reach_whoever_listens_for_them(core: CoreSession) -> None:
    heard = Heard()
    core.connector.add_listener(heard)
    core.lose_stream()
    for alert in core.alerts:
        core.connector.notify_alert(alert, lambda _, error: None)
    assert heard.calls == ["alert stream_lost"]
    core.connector.remove_listener(heard)
    core.connector.notify_alert(core.alerts[0], lambda _, error: None)
    assert heard.calls == ["alert stream_lost"]
    with pytest.raises(TypeError, match="no order, trade or error event listener"):
        core.connector.add_listener(object())


# -- reading -------------------------------------------------------------------------------------------------


def test_open_orders_are_those_that_are_not_done(core: CoreSession) -> None:
    bitcoin, ether = core.open(5), core.open(6, price="2000", pair="ETH-USD")
    done = core.open(7)
    core.status(7, "canceled", cloid=done)
    assert {view.client_order_id for view in core.connector.open_orders()} == {bitcoin, ether}
    assert [view.client_order_id for view in core.connector.open_orders("ETH-USD")] == [ether]
    view = core.connector.order(done)
    assert view is not None
    assert view.state == "cancelled"
    assert core.connector.order("nothing") is None


def test_the_status_counts_what_a_person_wants_to_know(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    core.fill(5, 1, "0.4", cloid=order)
    status = core.connector.status()
    assert status["ready"] is True
    assert status["live_orders"] == 1
    assert status["positions"] == {"BTC-USD": "0.4"}
    assert status["duplicates_ignored"] == 1
    core.buy()
    core.fail(core.take_send())
    assert core.connector.status()["open_cases"] == 1
    core.answer(core.take_query("orderStatus"), order_status_answer(9, "open"))
    with pytest.raises(UnknownTradingPairError):
        core.connector.order_book("kPEPE-USD")
    assert core.connector.order_book("BTC-USD").mid_price == 43210
