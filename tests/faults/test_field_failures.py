"""What users of order trackers reported, as they would say it: none of it may happen here.

Each test is one row of what goes wrong in the field: unknown taken for failed; out of order, twice, never;
restarts; numbers; reconciliation; set-up.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.cli.exit_codes import ExitCode
from adapters.cli.main import main
from domain.enums import OrderType, PositionAction, TimeInForce, TradeType
from domain.errors import NotReadyError, TradingHaltedError
from domain.events import AccountFillBooked, AccountFundingBooked, OrderCreated, OrderFilled
from domain.in_flight_order import OrderView
from domain.listeners import OrderEventListener
from domain.position import Position
from tests.support.core import (
    ACCOUNT,
    MASTER,
    START_MS,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)

UNKNOWN = {"status": "unknownOid"}


@pytest.fixture
def core() -> Iterator[CoreSession]:
    session = CoreSession().ready()
    yield session
    session.assert_consistent()


class Ends(OrderEventListener):
    """Counts how often an order was said to have ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def on_order_completed(self, order: OrderView) -> None:
        self.ends.append("completed")

    def on_order_cancelled(self, order: OrderView) -> None:
        self.ends.append("cancelled")

    def on_order_failed(self, order: OrderView) -> None:
        self.ends.append("failed")


def ends(core: CoreSession) -> list[str]:
    listener = Ends()
    core.connector.add_listener(listener)
    for committed in core.committed:
        core.connector.notify_committed(committed, lambda _, error: None)
    return listener.ends


# -- unknown taken for failed --------------------------------------------------------------------------------


def test_my_order_timed_out_was_reported_failed_and_then_it_filled(core: CoreSession) -> None:
    order = core.buy()
    core.fail(core.take_send(), "timed out")
    core.answers["orderStatus"] = UNKNOWN
    core.answer_reads()
    core.advance(10)
    assert core.state(order) == "pending_submit"
    assert ends(core) == []
    core.fill(5, 1, "1.0", cloid=order)
    assert core.state(order) == "filled"
    assert core.connector.position("BTC-USD").amount == 1
    assert core.sends == []


def test_my_accepted_orders_were_dropped_in_a_dns_outage_and_a_short_remained(core: CoreSession) -> None:
    orders = [core.sell() for _ in range(6)]
    while core.sends:
        core.fail(core.sends.pop(0), "temporary failure in name resolution")
    core.lose_stream(reason="temporary failure in name resolution")
    alive = dict(core.answers)
    core.answers = dict.fromkeys([*alive, "orderStatus"])
    core.advance(600)
    assert [core.state(order) for order in orders] == ["pending_submit"] * 6
    assert all(core.order(order).outcome_unknown for order in orders)
    core.answers = alive
    core.answers["orderStatus"] = lambda body: order_status_answer(
        orders.index(body["oid"]) + 1 if body["oid"] in orders else 0, "open", cloid=body["oid"], side="A"
    )
    core.open_orders = [
        open_order_row(number, cloid=order, side="A") for number, order in enumerate(orders, 1)
    ]
    core.connect()
    core.advance(30)
    assert [core.state(order) for order in orders] == ["open"] * 6


def test_any_exception_of_a_status_query_counted_as_not_found(core: CoreSession) -> None:
    order = core.open(5)
    core.open_orders = []
    core.answers["orderStatus"] = None
    core.advance(600)
    assert core.state(order) == "open"
    assert core.order(order).not_found_count == 0


def test_the_not_found_counter_was_never_reset_in_between(core: CoreSession) -> None:
    order = core.open(5)
    answers = iter([UNKNOWN, UNKNOWN, None, "open", UNKNOWN, UNKNOWN, "open"])

    def status(body: dict[str, Any]) -> Any:
        answer = next(answers, "open")
        return order_status_answer(5, "open", cloid=order) if answer == "open" else answer

    core.answers["orderStatus"] = status
    core.open_orders = []
    core.advance(300)
    assert core.state(order) == "open"


def test_my_cancel_timed_out_was_reported_cancelled_and_the_order_was_alive(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    core.fail(core.take_send())
    assert core.state(order) == "pending_cancel"
    assert ends(core) == []
    core.fill(5, 1, "1.0", cloid=order)
    assert core.state(order) == "filled"


def test_a_top_level_err_left_my_order_submitted_until_a_timeout(core: CoreSession) -> None:
    order = core.buy()
    core.answer_error("Insufficient margin to place order.")
    assert (core.state(order), core.view(order).reason_code) == ("failed", "insufficient_margin")
    for payload in (
        {"status": "err", "response": None},
        {"status": "err"},
        {"status": "err", "response": {}},
    ):
        order = core.buy()
        core.answer(core.take_send(), payload)
        assert core.state(order) == "failed"


# -- out of order, twice, never ------------------------------------------------------------------------------


def test_filled_then_a_stale_open_then_filled_completed_my_order_twice(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    core.status(5, "filled", cloid=order)
    core.status(5, "open", cloid=order)
    core.status(5, "filled", cloid=order)
    assert ends(core) == ["completed"]


def test_cancelled_then_open_then_cancelled_cancelled_my_order_twice(core: CoreSession) -> None:
    order = core.open(5)
    for status in ("canceled", "open", "canceled"):
        core.status(5, status, cloid=order)
    assert ends(core) == ["cancelled"]
    assert core.state(order) == "cancelled"


def test_fills_came_before_open_and_were_lost(core: CoreSession) -> None:
    order = core.buy()
    core.fill(5, 1, "0.4", cloid=order)
    core.fill(5, 2, "0.6", cloid=order)
    core.status(5, "open", cloid=order)
    core.answer_orders({"resting": {"oid": 5}})
    assert (core.state(order), core.view(order).filled_amount) == ("filled", 1)


def test_filled_came_before_the_fills_and_my_order_completed_with_zero_amounts(core: CoreSession) -> None:
    order = core.open(5)
    core.status(5, "filled", cloid=order, remaining="0.0")
    assert ends(core) == []
    core.fill(5, 1, "1.0", cloid=order)
    (completed,) = [c for c in core.committed if isinstance(c.event, OrderFilled)]
    assert completed.view is not None
    assert completed.view.average_fill_price == 43210
    assert ends(core) == ["completed"]


@pytest.mark.parametrize("status", ["canceled", "rejected", "scheduledCancel"])
def test_a_late_fill_after_the_end_was_dropped_or_opened_my_order_again(
    core: CoreSession, status: str
) -> None:
    order = core.open(5) if status != "rejected" else core.buy()
    core.status(5, status, cloid=order)
    core.fill(5, 1, "0.4", cloid=order)
    assert core.view(order).filled_amount == Decimal("0.4")
    assert core.connector.position("BTC-USD").amount == Decimal("0.4")
    if status != "rejected":
        assert core.order(order).is_done


def test_a_partial_fill_erased_my_pending_cancel(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    core.fill(5, 1, "0.4", cloid=order)
    assert core.state(order) == "pending_cancel"


def test_one_message_for_an_unknown_order_discarded_the_rest_of_its_batch(core: CoreSession) -> None:
    order = core.open(5)
    core.frame(
        "orderUpdates",
        [
            core.status_row(99, "open", cloid="0x" + "9" * 32),
            core.status_row(98, "wobbling"),
            core.status_row(5, "canceled", cloid=order),
        ],
    )
    assert core.state(order) == "cancelled"


def test_the_same_fill_over_stream_snapshot_and_query_was_booked_twice(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    core.fill(5, 1, "0.4", cloid=order, channel="userFills")
    core.open_orders = [open_order_row(5, cloid=order)]
    core.lose_stream()
    core.connect()
    assert len(core.events_of(OrderFilled)) == 1


def test_one_trade_id_on_two_of_my_orders_lost_one_fill(core: CoreSession) -> None:
    """A trade with oneself has one trade id and two fills."""
    buy, sell = core.open(5), core.sell()
    core.answer_orders({"resting": {"oid": 6}})
    core.fill(5, 1, "0.4", cloid=buy)
    core.fill(6, 1, "0.4", cloid=sell, side="A")
    assert [core.view(order).filled_amount for order in (buy, sell)] == [Decimal("0.4")] * 2
    assert core.connector.position("BTC-USD").amount == 0


def test_my_modify_got_a_new_id_and_the_old_legs_cancel_ended_my_order(core: CoreSession) -> None:
    order = core.open(5)
    core.amend(order, "43000", "2")
    core.status(5, "canceled", cloid=order)
    core.fill(6, 1, "0.5", cloid=order)
    core.fill(5, 2, "0.1", cloid=order)
    core.status(6, "open", cloid=order, price="43000.0", size="2.0")
    core.answer_orders({"resting": {"oid": 6}})
    view = core.view(order)
    assert (view.state, view.filled_amount, view.price) == ("partially_filled", Decimal("0.6"), 43000)
    assert ends(core) == []


def test_the_stream_reconnected_and_nobody_asked_for_what_happened_meanwhile(core: CoreSession) -> None:
    filled, cancelled, alive = core.open(5), core.open(6), core.open(7)
    core.lose_stream()
    core.fills.append(fill_row(5, 1, "1.0", cloid=filled, time_ms=START_MS + 20_000))
    core.open_orders = [open_order_row(7, cloid=alive)]
    core.answers["orderStatus"] = lambda body: order_status_answer(
        body["oid"], "canceled" if body["oid"] == 6 else "filled", remaining="0.0"
    )
    core.now_ns += 3_600_000_000_000
    core.connect()
    assert [core.state(order) for order in (filled, cancelled, alive)] == ["filled", "cancelled", "open"]
    assert core.connector.ready


def test_the_stream_was_connected_but_silent_and_my_fill_was_never_seen(core: CoreSession) -> None:
    order = core.open(5)
    core.fills.append(fill_row(5, 1, "1.0", cloid=order))
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "filled", cloid=order, remaining="0.0")
    core.advance(61)
    assert core.state(order) == "filled"


def test_the_fills_query_was_truncated_at_2000_rows_silently(core: CoreSession) -> None:
    order = core.open(5, "10")
    core.lose_stream()
    rows = [fill_row(5, tid, "0.001", cloid=order, time_ms=START_MS + tid) for tid in range(1, 3_001)]
    core.answers["userFillsByTime"] = lambda body: [r for r in rows if r["time"] >= body["startTime"]][:2_000]
    core.open_orders = [open_order_row(5, cloid=order)]
    core.connect()
    assert core.view(order).filled_amount == 3


# -- restart and storage, as far as the core goes ------------------------------------------------------------


def test_it_crashed_between_placing_and_persisting_and_my_order_was_an_orphan() -> None:
    core = CoreSession().ready()
    outcome_order: list[str] = []
    core.connector.buy("BTC-USD", Decimal(1), Decimal(43210), client_order_id="mine")
    outcome = core.step(core.inbox.pop())
    outcome_order += [change.event.topic for change in outcome.changes]
    # The events that announce the request come out of the same step as the request, to be durable first.
    assert outcome_order == ["order.created", "order.submitted"]
    assert core.stored["mine"][0].venue_order_key == core.take_send().action["orders"][0]["c"]
    again = core.restarted()
    again.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=body["oid"])
    again.ready()
    assert again.state("mine") == "open"


def test_a_cleanly_rejected_order_came_back_as_lost_and_was_polled_for_ever() -> None:
    core = CoreSession().ready()
    order = core.buy()
    core.answer_orders({"error": "Order has invalid size."})
    again = core.restarted().ready()
    again.advance(120)
    assert again.connector.tracker.get(order) is None
    assert again.queries == []
    assert again.sends == []


def test_a_warm_restart_flattened_or_doubled_my_position_with_an_invented_fill() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    again = core.restarted()
    again.positions = [{"coin": "BTC", "szi": "1.0", "entryPx": "43210.0"}]
    again.begin()
    again.show_fills(again.fills, channel="userFills")
    again.connect()
    again.books()
    assert again.connector.ready
    assert again.events_of(OrderFilled) == again.events_of(AccountFillBooked) == []
    assert again.connector.position("BTC-USD").amount == 1


def test_the_restart_placed_my_orders_again() -> None:
    core = CoreSession().ready()
    resting, sent = core.open(5), core.buy()
    again = core.restarted()
    again.answers["orderStatus"] = None
    again.open_orders = [open_order_row(5, cloid=resting)]
    again.ready()
    again.advance(600)
    assert again.state(sent) == "pending_submit"
    assert again.sends == []


def test_two_funding_payments_at_one_timestamp_became_one(core: CoreSession) -> None:
    for coin in ("BTC", "ETH"):
        core.frame(
            "user",
            {
                "funding": {
                    "time": START_MS + 1,
                    "coin": coin,
                    "usdc": "-1.0",
                    "szi": "1.0",
                    "fundingRate": "0.0000125",
                }
            },
        )
    assert len(core.events_of(AccountFundingBooked)) == 2


def test_every_fill_was_kept_in_memory_for_ever(core: CoreSession) -> None:
    for number in range(1, 200):
        order = core.open(number)
        core.fill(number, number, "1.0", cloid=order)
        core.now_ns += 1_000_000_000
    core.advance(120)
    assert core.connector.tracker.get(order) is None
    assert core.connector.tracker.live_count == 0


# -- numbers -------------------------------------------------------------------------------------------------


def test_my_integer_price_123456_was_rounded_to_123460(core: CoreSession) -> None:
    core.buy("1", "123456")
    assert core.take_send().action["orders"][0]["p"] == "123456"


def test_the_tick_came_from_the_decimals_of_the_mark_price(core: CoreSession) -> None:
    core.frame(
        "activeAssetCtx",
        {"coin": "ETH", "ctx": {"markPx": "2000.0", "oraclePx": "2000.0", "funding": "0.0"}},
        stream="market",
    )
    assert core.view(core.buy("1", "1999.97", pair="ETH-USD")).price == Decimal("1999.9")
    assert core.view(core.buy("10", "99.9871", pair="ETH-USD")).price == Decimal("99.98")


def test_a_whole_step_of_my_amount_was_lost_or_a_small_order_was_rounded_up(core: CoreSession) -> None:
    assert core.view(core.buy("0.00029", "43210")).amount == Decimal("0.00029")
    assert core.view(core.buy("1.000019", "43210")).amount == Decimal("1.00001")


def test_the_fee_sign_inverted_my_profit(core: CoreSession) -> None:
    buy = core.open(5)
    core.fill(5, 1, "1.0", cloid=buy, price="43000.0", fee="-4.3", closedPnl="0.0")
    sell = core.sell(position_action=PositionAction.CLOSE)
    core.answer_orders({"resting": {"oid": 6}})
    core.fill(6, 2, "1.0", cloid=sell, side="A", price="43100.0", fee="19.4", builderFee="1.0")
    position = core.connector.position("BTC-USD")
    assert (position.realised_pnl, position.fees.of("USDC")) == (Decimal(100), Decimal("15.1"))


def test_a_spot_purchase_paid_its_fee_in_the_base_token(core: CoreSession) -> None:
    # By another program: this one trades no spot.
    core.status(5, "open", coin="PURR/USDC", size="100.0", price="0.2")
    core.fill(5, 1, "100.0", coin="PURR/USDC", price="0.2", fee="0.07", feeToken="PURR")
    order = core.view("external:hyperliquid:5")
    assert (order.fees, order.state) == ({"PURR": Decimal("0.07")}, "filled")
    # What arrived is what is held, and the price of it is what was paid.
    position = core.connector.position("PURR-USDC")
    assert position.amount == Decimal("99.93")
    core.status(6, "open", coin="PURR/USDC", side="A", size="99.93", price="0.2")
    core.fill(6, 2, "99.93", side="A", coin="PURR/USDC", price="0.2", fee="0.014", feeToken="USDC")
    assert core.connector.position("PURR-USDC").amount == 0
    assert core.connector.position("PURR-USDC").realised_pnl == Decimal("-0.014")


def test_the_average_price_drifted(core: CoreSession) -> None:
    order = core.open(5, "1")
    for tid in range(1, 11):
        core.fill(5, tid, "0.1", cloid=order, price="43210.1")
    assert core.view(order).average_fill_price == Decimal("43210.1")
    assert core.view(order).filled_amount == 1


def calls_in(work: Callable[[], object]) -> int:
    """How many functions are called: the same work on every machine."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    # A collection of garbage may fall into the work, and calls whoever asked to be told of it.
    gc.disable()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_booking_a_fill_took_longer_with_every_fill_before_it() -> None:
    position = Position(trading_pair="BTC-USD")

    def book() -> None:
        position.apply_fill(Decimal("43210.1"), Decimal("0.1"), TradeType.BUY, Decimal("0.01"), "USDC")

    book()
    early = calls_in(book)
    size = len(msgspec.json.encode(position))
    for _ in range(5_000):
        book()
    assert calls_in(book) == early > 0
    # Nothing grows that a single call could walk over, but the digits of the sums.
    assert len(msgspec.json.encode(position)) < size + 20
    assert position.average_entry == Decimal("43210.1")


def test_two_requests_of_one_millisecond_had_the_same_nonce(core: CoreSession) -> None:
    for _ in range(8):
        core.buy()
    nonces = [sent.nonce for sent in core.sends]
    assert len(set(nonces)) == 8
    assert nonces == sorted(nonces)


def test_my_kpepe_fills_were_dropped(core: CoreSession) -> None:
    order = core.buy("1000000", "0.012", pair="kPEPE-USD")
    core.fill(5, 1, "1000000.0", cloid=order, coin="kPEPE", price="0.012")
    assert core.state(order) == "filled"
    assert core.connector.position("kPEPE-USD").amount == 1_000_000


# -- reconciliation ------------------------------------------------------------------------------------------


def test_repairs_differed_from_run_to_run() -> None:
    runs = []
    for _ in range(2):
        core = CoreSession().ready()
        core.fill(7, 1, "0.5")
        core.answer(core.take_query("orderStatus"), UNKNOWN)
        runs.append([(event.originator_id, event.topic) for event in core.events])
    assert runs[0] == runs[1]
    assert "external:hyperliquid:7" in dict(runs[0])


def test_a_failed_position_query_was_taken_for_flat(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    core.answers["clearinghouseState"] = None
    core.lose_stream()
    core.connect()
    core.advance(30)
    assert core.connector.position("BTC-USD").amount == 1
    assert "recovery" in core.connector.readiness


def test_i_closed_by_hand_and_the_bot_did_not_notice(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1.0", cloid=order)
    core.fill(9, 2, "1.0", side="A", dir="Close Long")
    core.answer(
        core.take_query("orderStatus"),
        order_status_answer(
            9, "filled", side="A", size="1.0", remaining="0.0", orderType="Market", tif="FrontendMarket"
        ),
    )
    assert core.connector.position("BTC-USD").amount == 0
    manual = core.view("external:hyperliquid:9")
    assert (manual.external, manual.state, manual.order_type) == (True, "filled", OrderType.MARKET)


def test_live_orders_were_marked_cancelled_because_the_query_was_truncated(core: CoreSession) -> None:
    orders = [core.open(oid) for oid in range(1, 6)]
    core.open_orders = [open_order_row(1, cloid=orders[0])]
    core.answers["orderStatus"] = lambda body: order_status_answer(body["oid"], "open")
    core.advance(600)
    assert [core.state(order) for order in orders] == ["open"] * 5


def test_fills_of_another_bot_on_my_account_were_booked_as_mine(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(7, 1, "0.5", cloid="0x" + "9" * 32)
    core.answer(core.take_query("orderStatus"), order_status_answer(7, "open", cloid="0x" + "9" * 32))
    assert core.view(order).filled_amount == 0
    assert [created.external for created in core.events_of(OrderCreated)] == [False, True]


# -- set-up --------------------------------------------------------------------------------------------------


def test_i_gave_the_agents_address_as_the_account_and_saw_nothing_but_zeros() -> None:
    core = CoreSession()
    core.answers["userRole"] = {"role": "agent", "data": {"user": MASTER}}
    core.begin()
    assert f"set venue.account to {MASTER}" in core.connector.halted_because
    with pytest.raises(TradingHaltedError):
        core.buy()


def test_the_orders_of_my_sub_account_landed_on_the_main_account() -> None:
    core = CoreSession(signer=MASTER)
    core.answers["userRole"] = {"role": "subAccount", "data": {"master": MASTER}}
    core.ready()
    core.buy(time_in_force=TimeInForce.IOC)
    core.connector.set_leverage("BTC-USD", 5)
    core.step_commands()
    assert {sent.acting_for for sent in core.sends} == {ACCOUNT}


def test_it_traded_before_it_knew_anything() -> None:
    core = CoreSession().begin()
    with pytest.raises(NotReadyError):
        core.buy()


def test_my_key_had_to_stand_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every user of the machine can read it. Nor does it stand in the config, which gets copied."""
    monkeypatch.chdir(tmp_path)
    assert main(["--help"]) == ExitCode.OK
    commands = re.findall(r"^    ([a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE)
    assert "run" in commands
    for command in commands:
        main([command, "--help"])
        with_a_value = re.findall(r"(--[a-z-]+)[ =][A-Z{]", capsys.readouterr().out)
        secrets = [name for name in with_a_value if re.search("key|secret|password|mnemonic", name)]
        assert secrets == [], command
    key = "0x" + "5e" * 32
    config = tmp_path / "orderledger.toml"
    config.write_text(
        f'[venue]\nnetwork = "testnet"\naccount_address = "{ACCOUNT}"\n[secrets]\nkey = "{key}"\n'
    )
    config.chmod(0o600)
    assert main(["run"]) == ExitCode.CONFIG
    said = "".join(capsys.readouterr())
    assert "secrets" in said
    assert key not in said
