"""`HyperliquidPerpetualConnector`: the sans-IO core of the connector.

Raw venue bytes in, events and effects out. It never opens a socket, signs, sleeps or reads a clock; the
gateway does that. The parts: `messages` and `answers` read, `outbox` sends, `preliminaries` asks for what has
to be known first, `live_books` says what comes into the books, `resolution` finds out what became of unknown
outcomes, `recovery` establishes the truth after a start or a reconnect, `reconciler` compares the books with
the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.hyperliquid import actions, info_requests
from adapters.hyperliquid.answers import Accepted, Ambiguous, Entry
from adapters.hyperliquid.client_ids import cloid_for
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.dexes import dexes_of
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.history_search import FillSearch, FundingSearch
from adapters.hyperliquid.late_news import LateNews
from adapters.hyperliquid.leverage_questions import LeverageQuestions
from adapters.hyperliquid.limits import LimitError, RequestLimits, WeightWindow
from adapters.hyperliquid.live_books import COLLATERAL, LiveBooks
from adapters.hyperliquid.messages import (
    AssetContext,
    BestPrices,
    BookSnapshot,
    Item,
    Kept,
    Liquidation,
    MessageError,
    TransferUpdate,
    UnknownStatus,
    VenueCancel,
)
from adapters.hyperliquid.nonces import NonceSource
from adapters.hyperliquid.outbox import Outbox
from adapters.hyperliquid.position_chain import PositionChain
from adapters.hyperliquid.preliminaries import RETRY_NS, Preliminaries
from adapters.hyperliquid.price_rules import MarketKind, PriceRuleError, market_order_price
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.reason_codes import Refusal
from adapters.hyperliquid.reconciler import Reconciler
from adapters.hyperliquid.recovery import Recovery
from adapters.hyperliquid.resolution import Resolver
from adapters.hyperliquid.stream_watch import StreamWatch
from adapters.hyperliquid.symbols import Market
from adapters.hyperliquid.thorough import Thorough
from domain.connector_base import EventDecoder, OrderRequest
from domain.effects import ConnectStreams
from domain.enums import ClosingKind, OrderType, RequestState, Source, Submission, TradeType
from domain.errors import OrderRefusedError
from domain.events import Fill, OrderReportedFilled
from domain.funding import FundingInfo, next_funding_time_ms
from domain.in_flight_order import InFlightOrder
from domain.inputs import (
    OrderLookedUp,
    RequestAnswered,
    RequestFailed,
    SetLeverage,
    SetScheduledCancel,
    Started,
    StreamConnected,
    StreamFrame,
    StreamLost,
    UpdateMargin,
)
from domain.money import MONEY
from domain.order_book import OrderBook
from domain.order_params import OrderParams
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.trading_rule import SignificantFigures, TradingRule, step_of_decimals
from domain.updates import Change, FundingUpdate, OrderUpdate, TradeUpdate

__all__ = ["VENUE", "HyperliquidOptions", "HyperliquidPerpetualConnector"]

VENUE = "hyperliquid"
MIN_NOTIONAL = Decimal(10)
"""Smallest order value in USDC (sheet 9.4)."""

MARGIN_MAX = Decimal(10**12)
"""Most USDC one margin change may move: its millionths still fit into what is signed."""

WEIGHT_PER_MINUTE_MIN = 200
"""With less weight the questions of the start do not fit between what is kept for cancels and orders."""

CLOCKS_APART_MS = 60_000
"""So far ahead of the venue's clock, as far as it is known, a price may be dated."""

_BEFORE_SENDING = ("start", "metadata", "account")
"""What must be known before anything is sent."""

MISSING_FILL_NS = 2 * SECOND


@dataclass(frozen=True, slots=True)
class HyperliquidOptions:
    """What a person may set. Times in ms or ns as named; `slippage` is a fraction of the reference price.

    An order that was live counts as gone when the venue has not known it `not_found_limit` times in a row and
    for `not_found_span_ns`, and shows no end and no fill of it. 0, as in recordings of versions that had no
    such option: the times alone count. `asks_leverage`: what became of a leverage change without an answer is
    asked for, also on a flat market.

    `order_ttl_ms` is how long after sending the venue may still accept an order (its `expiresAfter`); the
    shorter, the sooner an unknown outcome becomes a final answer. The books are compared with the venue every
    `reconcile_every_ns`; what is younger than `grace_ms` is not judged. What the venue says a position is, is
    put on record at most once per `assert_every_ns` and market. Of these comparisons at most one per
    `thorough_every_ns` is thorough: it asks for funding and transfers as well, and compares the cash. 0, as
    in recordings of versions that had no such option: funding is asked for every time, transfers are neither
    asked for nor followed, and neither the cash nor what is booked and not told is compared.

    An order or amend that could not be sent within `order_wait_ms`, because request limits or earlier
    requests held it up, is never sent; 0, as in recordings of versions that had no such option: it waits as
    long as it takes. `weight_share` is this process's part of the weight per minute of its IP address.
    Without `weight_slices`, as in recordings of versions that had no such option, what is not kept for
    cancels goes to orders and reads as they come, rows count when they are there, and HTTP 429 slows nothing
    down.
    """

    trading_pairs: tuple[str, ...]
    signer: str | None = None
    order_ttl_ms: int = 10_000
    order_wait_ms: int = 5_000
    slippage: Decimal = Decimal("0.05")
    weight_share: float = 1.0  # deterministic: an option of the session; only its product's floor is used
    weight_per_minute: int = 1200
    weight_slices: bool = True
    retention_ns: int = 60 * SECOND
    not_found_limit: int = 3
    not_found_span_ns: int = 30 * SECOND
    asks_leverage: bool = True
    reconcile_every_ns: int = 60 * SECOND
    grace_ms: int = 5_000
    assert_every_ns: int = 3_600 * SECOND
    thorough_every_ns: int = 60 * SECOND


class HyperliquidPerpetualConnector(PerpetualDerivativeBase):
    """One account on Hyperliquid."""

    def __init__(
        self,
        options: HyperliquidOptions,
        *,
        network: str,
        account: str,
        session_id: int,
        decode_event: EventDecoder,
    ) -> None:
        super().__init__(
            venue=VENUE,
            network=network,
            account=account.lower(),
            session_id=session_id,
            decode_event=decode_event,
            retention_ns=options.retention_ns,
            not_found_limit=options.not_found_limit,
        )
        window = WeightWindow(
            weight_per_minute=options.weight_per_minute,
            share=options.weight_share,
            slices=options.weight_slices,
        )
        if window.read_limit < info_requests.WEIGHT_USER_ROLE:
            raise LimitError(
                f"a weight of {window.cancel_limit} per minute, parts of it kept for cancels and orders, is"
                f" not enough to ask whose account it is ({info_requests.WEIGHT_USER_ROLE}): allow at least"
                f" {WEIGHT_PER_MINUTE_MIN}"
            )
        self.options = options
        signer = None if options.signer is None else options.signer.lower()
        self._context = Context(
            account_address=self.account_address,
            tracker=self.tracker,
            account=self.account,
            nonces=NonceSource(),
            limits=RequestLimits(window),
            order_ttl_ms=options.order_ttl_ms,
            order_wait_ms=options.order_wait_ms,
            dexes=dexes_of(options.trading_pairs),
            now_ns=lambda: self.now_ns,
            effect=self._effect,
            alert=self._alert,
            halt=self.halt,
            why_halted=lambda: self.halted_because,
            stamp=self._stamp,
            set_deadline=self._set_deadline_once,
            take=self._take,
        )
        self._queries = Queries(self._context)
        self._preliminaries = Preliminaries(
            self._context,
            self._queries,
            signer=signer,
            on_markets=self._on_markets,
            on_account=lambda: self._settled("account"),
        )
        self._books = LiveBooks(
            self._context,
            network=network,
            signer=signer or "",
            position=self.position,
            is_catching_up=lambda: "recovery" in self._waiting_for,
        )
        self._fills = FillSearch(self._context, self._queries)
        self._funding = FundingSearch(self._context, self._queries)
        self._findings = Findings(self._context, grace_ms=options.grace_ms)
        self._late_news = LateNews(
            self._context,
            self._queries,
            self._findings,
            is_of_our_books=self._books.has_room_for,
            begin_ms=lambda: self._books.begin_ms,
        )
        self._thorough = Thorough.of(
            self._context,
            self._queries,
            self._findings,
            every_ns=options.thorough_every_ns,
            positions=lambda: self.positions,
            amount_step=self._step_of_followed,
            begin_ms=lambda: self._books.begin_ms,
        )
        self._stream_watch = StreamWatch(self._context, "user")
        self._chain = PositionChain(
            self._context,
            self._fills,
            held=lambda pair: self.position(pair).amount,
            is_followed=self._is_perpetual,
            begin_ms=lambda: self._books.begin_ms,
            doubt=lambda: self._reconciler.suspect(),
        )
        self._outbox = Outbox(self._context, lambda order: self._resolver.look_into(order))
        self._resolver = Resolver(
            self._context,
            self._queries,
            self._fills.search,
            self._outbox.cancel,
            lambda: self._reconciler.suspect(),
            missing_span_ns=options.not_found_span_ns,
        )
        self._leverage = LeverageQuestions(
            self._context, self._queries, self.position, is_asked=options.asks_leverage
        )
        self._recovery = Recovery(
            self._context,
            self._queries,
            self._fills,
            self._funding,
            None if self._thorough is None else self._thorough.transfers,
            self._books,
            self._resolver.look_into,
            self._on_recovered,
        )
        self._reconciler = Reconciler(
            self._context,
            self._queries,
            self._fills,
            self._funding,
            self._findings,
            self._thorough,
            positions=lambda: self.positions,
            amount_step=self._step_of_followed,
            begin_ms=lambda: self._books.begin_ms,
            list_orders=self._list_orders,
            agreed=lambda: self._settled("reconciliation"),
            every_ns=options.reconcile_every_ns,
            assert_every_ns=options.assert_every_ns,
        )
        self._flush_at_ns = 0
        self._dated_ahead: dict[str, None] = {}
        """Markets whose prices are left out for their time, which has been said."""
        self.reconnects = 0
        self.frames = 0

    @property
    def books_begin_ms(self) -> int:
        """Since when (venue time) the books of this account are kept; 0 while that is not known."""
        return self._books.begin_ms

    # -- life cycle ----------------------------------------------------------------------------------------

    def _on_started(self, started: Started) -> None:
        self._await("metadata", "account", "user_stream", "recovery", "reconciliation")
        self._context.nonces.observe(started.last_nonce)
        self._books.restore(started)
        self.tracker.remember_fills(started.recent_fill_keys)
        self.account.restore(
            started.account_version,
            started.recent_funding_keys,
            started.recent_fill_keys,
            is_open=started.books_begin_ms > 0,
            ledger_update_keys=started.recent_transfer_keys,
            unsettled_discrepancies=started.unsettled_discrepancies,
        )
        self._restore_positions(started)
        self._findings.waived_ids = frozenset(started.waived_discrepancies)
        if self._thorough is not None:
            self._thorough.cash.restore(started.cash)
        for events in started.open_orders:
            order = self.tracker.restore([self._decode_event(topic, state) for topic, state in events])
            self._take_up(order)
        self._preliminaries.begin()
        self._settled("start")

    def _take_up(self, order: InFlightOrder) -> None:
        """An order of an earlier session: what was under way then has an unknown outcome now."""
        if order.submission is Submission.NONE:
            self.tracker.refused(
                order, ClosingKind.FAILED, "not_sent_restart", "the process ended before it was sent"
            )
            return
        reason = "the process ended before the answer came"
        self.tracker.submit_unknown(order, "restart", reason)
        if order.cancel is RequestState.REQUESTED:
            self.tracker.cancel_unknown(order, "restart", reason)
        if order.amend is RequestState.REQUESTED:
            self.tracker.amend_unknown(order, "restart", reason)

    # -- markets -------------------------------------------------------------------------------------------

    def _on_markets(self) -> None:
        self.trading_rules = {market.trading_pair: _rule_of(market) for market in self._context.symbols}
        unknown = [pair for pair in self.options.trading_pairs if pair not in self.trading_rules]
        if unknown:
            near = "; ".join(f"{pair} (near: {', '.join(self._near(pair)) or 'none'})" for pair in unknown)
            self.halt(f"the venue does not list {near}")
            return
        for pair in self.options.trading_pairs:
            self.order_books[pair] = OrderBook(pair)
            self._await(f"book of {pair}")
        self._settled("metadata")
        self._connect()

    def _connect(self) -> None:
        user = self.account_address
        kinds = ["orderUpdates", "userEvents", "userFills", "userFundings"]
        if self._thorough is not None:
            kinds.append("userNonFundingLedgerUpdates")
        coins = [self.trading_rules[pair].instrument for pair in self.options.trading_pairs]
        self._effect(
            ConnectStreams(
                streams={
                    "user": tuple({"type": kind, "user": user} for kind in kinds),
                    "market": tuple(
                        {"type": kind, "coin": coin}
                        for coin in coins
                        for kind in ("l2Book", "bbo", "activeAssetCtx")
                    ),
                }
            )
        )

    # -- streams -------------------------------------------------------------------------------------------

    def _on_stream_connected(self, connected: StreamConnected) -> None:
        if connected.stream == "user":
            self._settled("user_stream")
            self._await("recovery")
            self._stream_watch.connected()
            self._books.were_opened = False
            if self._thorough is not None:
                self._thorough.cash.connected()
            self._reconciler.recovery_begins()
            self._recovery.start()

    def _on_stream_lost(self, lost: StreamLost) -> None:
        self._alert("stream_lost", f"The {lost.stream} stream is down: {lost.reason}")
        if lost.stream == "user":
            self.reconnects += 1
            self._await("user_stream", "recovery")
            self._stream_watch.lost()
            self._late_news.stream_lost()
            self._reconciler.stream_lost()
            self._recovery.stop()
        elif lost.stream == "market":
            # Prices age from here on; nothing is valued or protected by them until they are told anew.
            self._await(*(f"book of {pair}" for pair in self.order_books))
            for book in self.order_books.values():
                book.expect_anew()
            self._dated_ahead.clear()

    def _on_stream_frame(self, frame: StreamFrame) -> None:
        self.frames += 1
        items = self._context.messages.read_frame(frame.data)
        if items and frame.stream == "user":
            self._stream_watch.heard()
        for item in items:
            self._take(item)

    def _on_recovered(self) -> None:
        self._settled("recovery")
        self._books.move_marks()
        for order in self.tracker.live_orders():
            if order.outcome_unknown:
                self._resolver.look_into(order)
        for order in self.tracker.incomplete_orders():
            if not order.is_external:
                self._resolver.look_into(order)
        self._late_news.caught_up()
        self._reconciler.recovered(self._recovery.states, books_opened=self._books.were_opened)

    def _list_orders(self) -> None:
        """A pass over everything begins."""
        self._late_news.forget()
        self._recovery.list_orders()
        self._preliminaries.ask_venue_time()

    # -- everything the venue says -------------------------------------------------------------------------

    def _take(self, item: Item) -> None:
        """The one door for updates, from whichever channel they come."""
        known = len(self.tracker.changes)
        is_by_asking = self._is_by_asking()
        if not (is_by_asking and self._late_news.take(item)):
            self._apply(item)
        if len(self.tracker.changes) > known and is_by_asking:
            match item:
                case OrderUpdate():
                    self._stream_watch.told_by_asking(item.exchange_time_ms)
                case TradeUpdate():
                    self._stream_watch.told_by_asking(item.fill.exchange_time_ms)

    def _is_by_asking(self) -> bool:
        stamp = self.tracker.stamp
        return stamp is not None and stamp.source is Source.QUERY

    def _apply(self, item: Item) -> None:
        match item:
            case BestPrices() | BookSnapshot():
                self._on_prices(item)
            case OrderUpdate():
                self._on_order_update(item)
            case TradeUpdate():
                self._on_trade(item)
            case FundingUpdate():
                self._books.take_funding(item)
            case AssetContext():
                self.funding_info[item.trading_pair] = FundingInfo(
                    trading_pair=item.trading_pair,
                    rate=item.funding_rate,
                    mark_price=item.mark_price,
                    index_price=item.index_price,
                    next_funding_time_ms=next_funding_time_ms(self._context.venue_now_ms),
                )
            case VenueCancel():
                order = self.tracker.by_exchange_id(item.exchange_order_id)
                if order is not None and not order.is_done:
                    self._resolver.look_into(order)
            case Liquidation():
                # It may be told to whom takes the position over, as such fills are (sheet 8).
                is_ours = item.account in ("", self.account.address)
                if is_ours and self.account.notice_liquidation(item.detail):
                    self._alert("liquidation", f"The venue liquidates: {item.detail}", level="error")
            case UnknownStatus():
                self._on_unknown_status(item)
            case TransferUpdate():
                self._books.take_transfer(item)
            case Kept():
                if self.account.keep_message(item.why, item.message):
                    self._alert("message_kept", f"{item.why}: {item.message[:200]}")

    def _on_order_update(self, update: OrderUpdate) -> None:
        if self.tracker.find(update.venue_order_key, update.exchange_order_id) is None:
            rest = self._books.rest_of(update)
            if rest is None:
                return
            update = rest
        self.tracker.process_order_update(update)

    def _on_trade(self, update: TradeUpdate) -> None:
        fill = update.fill
        if self.account.has_fill(fill.fill_key) or self.tracker.was_booked(fill.fill_key):
            # Once for all: what the account has booked, an order that turns up later does not book again.
            self.tracker.duplicates_ignored += 1
            return
        order = self.tracker.find(update.venue_order_key, fill.exchange_order_id)
        # Orders were placed from here after the books began; one found at the venue may be older than they.
        is_ours = order is not None and order.was_placed_from_here
        if not is_ours and not self._books.has_room_for(update, fill.exchange_time_ms):
            return
        if order is None and update.ownerless:
            self.account.book_fill(fill)
            return
        self.tracker.process_trade_update(update)

    def _on_unknown_status(self, item: UnknownStatus) -> None:
        order = self.tracker.find(item.venue_order_key, item.exchange_order_id)
        message = f"The venue sent an order status this version does not know: {item.status!r}."
        if order is None:
            self.account.keep_message("unknown order status", f"{item.exchange_order_id}: {item.status}")
        elif order.has_observed(item.status, item.exchange_order_id, None):
            self.tracker.duplicates_ignored += 1
            return
        else:
            self.tracker.observe(
                order, "unknown_status", status=item.status, exchange_order_id=item.exchange_order_id
            )
            self._resolver.look_into(order)
        self._alert("unknown_status", message, order="" if order is None else order.id)

    def _on_prices(self, item: BestPrices | BookSnapshot) -> None:
        book = self.order_books.get(item.trading_pair)
        if book is None:
            return
        if item.exchange_time_ms > self._context.venue_now_ms + CLOCKS_APART_MS:
            # Nothing true would be newer: taken in, it would be the last price for as long as it says.
            if item.trading_pair not in self._dated_ahead:
                self._dated_ahead[item.trading_pair] = None
                self._alert(
                    "unusable_prices",
                    f"{item.trading_pair}: prices of {item.exchange_time_ms} ms, a time to come, are left out"
                    " until usable ones arrive.",
                )
            return
        try:
            if isinstance(item, BestPrices):
                moved = book.apply_best(item.bid, item.ask, item.exchange_time_ms)
            else:
                moved = book.apply_snapshot(item.bids, item.asks, item.exchange_time_ms)
        except ValueError as error:
            self._alert("unusable_prices", str(error))
            return
        self._dated_ahead.pop(item.trading_pair, None)
        if moved:
            book.told_at_ns = self.now_ns
            self._books_moved[item.trading_pair] = None
            if self._waiting_for:
                self._settled(f"book of {item.trading_pair}")

    # -- what is booked ------------------------------------------------------------------------------------

    def _after_changes(self, changes: list[Change]) -> None:
        super()._after_changes(changes)
        for change in changes:
            if self._thorough is not None:
                self._thorough.take(change.event)
            if isinstance(change.event, OrderReportedFilled) and change.view is not None:
                self._set_deadline(MISSING_FILL_NS, "missing_fills", change.view.client_order_id)

    def _book(self, fill: Fill) -> None:
        super()._book(fill)
        self._books.booked_fill(fill)
        self._chain.booked(fill)
        self._reconciler.booked(fill)
        # Volume adds to the address budget: one action per USDC traded (sheet 9.2).
        self._context.limits.address.cap += int(MONEY.multiply(fill.price, fill.amount))

    def _is_perpetual(self, trading_pair: str) -> bool:
        rule = self.trading_rules.get(trading_pair)
        if rule is None:
            return False
        return self._context.symbols.by_coin(rule.instrument).kind is MarketKind.PERP

    def _step_of_followed(self, trading_pair: str) -> Decimal | None:
        """The amount step of a market whose position fills alone move, and which is asked about."""
        dex, found, _ = trading_pair.partition(":")
        if (dex if found else "") not in self._context.dexes or not self._is_perpetual(trading_pair):
            return None
        return self.trading_rules[trading_pair].amount_step

    # -- orders placed elsewhere ---------------------------------------------------------------------------

    def _on_order_looked_up(self, found: OrderLookedUp) -> None:
        super()._on_order_looked_up(found)
        if found.events:
            order = self.tracker.get(self._decode_event(*found.events[0]).originator_id)
            assert order is not None, "what was looked up is in memory"
            self._late_news.looked_up(order)
            if self._thorough is not None:
                self._thorough.fills.looked_up(order)

    def _on_nothing_stored(self, key: str) -> None:
        if key.startswith("key:"):
            self.tracker.hold_by_exchange_id(key)
            return
        if self.tracker.adopt_held(key):
            return
        held = self.tracker.held_for(key)
        fill = next((item.fill for item in held if isinstance(item, TradeUpdate)), None)
        if fill is None:
            for update in self.tracker.drop_held(key):
                self.account.keep_message("update of an order nobody knows", str(update))
            return
        self._queries.ask(
            info_requests.order_status(self.account_address, int(fill.exchange_order_id)),
            lambda body: self._on_foreign_status(key, fill.exchange_order_id, body),
        )

    def _on_foreign_status(self, key: str, exchange_order_id: str, body: bytes | None) -> None:
        if not self.tracker.held_for(key):
            return
        try:
            update = None if body is None else self._context.messages.read_order_status(body).update
        except MessageError:
            body = None
        if body is None:
            self._set_deadline(RETRY_NS, "foreign", key)
        elif isinstance(update, OrderUpdate) and update.details is not None:
            # It may be one of ours after all, whose exchange id nobody had told yet.
            if self.tracker.find(update.venue_order_key, exchange_order_id) is None:
                self.tracker.adopt(key, exchange_order_id, update.details)
            self._take(update)
        else:
            self.tracker.adopt_held_fills(key)

    # -- requests ------------------------------------------------------------------------------------------

    def _on_request_answered(self, answered: RequestAnswered) -> None:
        if not self._outbox.answered(answered.request_id, answered.status, answered.body):
            self._queries.answered(answered.request_id, answered.status, answered.body)

    def _on_request_failed(self, failed: RequestFailed) -> None:
        if not self._outbox.failed(failed.request_id, failed.reason, was_sent=failed.sent):
            self._queries.failed(failed.request_id, failed.reason, was_sent=failed.sent)

    def _send_orders(self, orders: Sequence[InFlightOrder]) -> None:
        self._outbox.place(orders)

    def _send_cancels(self, orders: Sequence[InFlightOrder], reason_code: str) -> None:
        for order in orders:
            self._outbox.cancel(order, reason_code)

    def _send_amend(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> None:
        self._outbox.amend(order, price, amount)

    def _before_outcome(self) -> None:
        waiting = self._waiting_for
        self._context.may_send = not waiting or waiting.keys().isdisjoint(_BEFORE_SENDING)
        for order in self.tracker.take_reopened():
            self._resolver.look_into(order)
        self._late_news.note_booked()
        self._findings.tell()
        self._outbox.flush()
        self._queries.flush()

    # -- leverage, margin, dead man's switch ---------------------------------------------------------------

    def _on_set_leverage(self, command: SetLeverage) -> None:
        pair, leverage, is_cross = command.trading_pair, command.leverage, command.is_cross
        action = actions.update_leverage(
            asset=self.trading_rules[pair].asset_id, is_cross=is_cross, leverage=leverage
        )

        def on_done(entry: Entry) -> None:
            self._reconciler.leverage_asked(pair)
            if isinstance(entry, Accepted):
                self.account.leverage_changed(pair, leverage, is_cross)
            else:
                self._account_action_failed(f"Leverage {leverage} of {pair}", entry)
            self._leverage.answered(pair, change, entry)

        self._reconciler.leverage_asked(pair)
        change = self._leverage.changing(pair)
        self._outbox.account_action(action, on_done)

    def _on_update_margin(self, command: UpdateMargin) -> None:
        amount = command.amount
        what = f"Isolated margin {amount} of {command.trading_pair}"
        if amount.copy_abs() > MARGIN_MAX:
            self._alert("account_action_invalid", f"{what}: above {MARGIN_MAX}", level="error")
            return
        asset = self.trading_rules[command.trading_pair].asset_id
        self._account_action(what, lambda: actions.update_isolated_margin(asset=asset, amount=amount))

    def _on_set_scheduled_cancel(self, command: SetScheduledCancel) -> None:
        what = f"Scheduled cancel at {command.at_ms}"
        self._account_action(what, lambda: actions.schedule_cancel(command.at_ms))

    def _account_action(self, what: str, build: Callable[[], actions.Action]) -> None:
        try:
            action = build()
        except ValueError as error:
            self._alert("account_action_invalid", f"{what}: {error}", level="error")
            return
        self._outbox.account_action(action, lambda entry: self._account_action_failed(what, entry))

    def _account_action_failed(self, what: str, entry: Entry) -> None:
        if isinstance(entry, Refusal):
            self._alert("account_action_refused", f"{what}: {entry.text}", level="error")
        elif isinstance(entry, Ambiguous):
            self._alert("account_action_unknown", f"{what}: no clear answer ({entry.text})", level="error")

    # -- deadlines -----------------------------------------------------------------------------------------

    def _set_deadline_once(self, delay_ns: int, name: str, key: str = "") -> None:
        """Set a deadline; of those that only say "send what is waiting" the earliest is enough."""
        if name == "flush":
            at_ns = self.now_ns + delay_ns
            if self.now_ns < self._flush_at_ns <= at_ns:
                return
            self._flush_at_ns = at_ns
        self._set_deadline(delay_ns, name, key)

    def _on_deadline(self, name: str, key: str) -> None:
        match name:
            case "watch":
                self._resolver.watch(key)
            case "ask":
                self._resolver.on_deadline(key)
            case "fills":
                self._fills.on_deadline()
            case "recovery":
                self._recovery.on_deadline(key)
            case "repeat" | "budget":
                self._preliminaries.on_deadline(name, key)
            case "foreign":
                self._on_nothing_stored(key)
            case "chain":
                self._chain.on_deadline(key)
            case "missing_fills":
                order = self.tracker.get(key)
                if order is not None and order.missing_fill_amount:
                    self._resolver.look_into(order)
            case "funding":
                self._funding.on_deadline()
            case "transfers" if self._thorough is not None:
                self._thorough.transfers.on_deadline()
            case "leverage":
                self._leverage.on_deadline(key)
            case "alive":
                self._late_news.on_deadline(key)
            case "reconcile":
                self._reconciler.on_deadline(key)

    # -- numbers and names ---------------------------------------------------------------------------------

    def _venue_order_key(self, client_order_id: str) -> str:
        return cloid_for(client_order_id)

    def _prepare(self, request: OrderRequest) -> OrderParams:
        rule = self.trading_rules.get(request.trading_pair)
        if rule is not None and not self._is_perpetual(request.trading_pair):
            raise OrderRefusedError(
                "spot_not_offered",
                f"{request.trading_pair} is a spot market: only perpetuals are traded here.",
            )
        return super()._prepare(request)

    def _market_price(
        self, rule: TradingRule, side: TradeType, reference: Decimal, order_type: OrderType
    ) -> Decimal:
        market = self._context.symbols.by_coin(rule.instrument)
        try:
            return market_order_price(reference, side, self.options.slippage, market.sz_decimals, market.kind)
        except PriceRuleError as error:
            raise OrderRefusedError("no_market_price", str(error)) from None

    def status(self) -> dict[str, Any]:
        return {
            **super().status(),
            "open_cases": self._resolver.open_cases,
            "reconciliations": self._reconciler.passes,
            "discrepancies_found": self._findings.found_count,
            "discrepancies_repaired": self._findings.repaired_count,
            "discrepancies_open": len(self.account.unsettled_discrepancies),
            "reconnects": self.reconnects,
            "frames": self.frames,
        }


def _rule_of(market: Market) -> TradingRule:
    """The rules of one market (sheet 2.1, 9.4)."""
    step = step_of_decimals(market.sz_decimals)
    return TradingRule(
        trading_pair=market.trading_pair,
        instrument=market.coin,
        asset_id=market.asset,
        amount_step=step,
        min_order_size=step,
        price_rule=SignificantFigures(
            figures=5, max_decimals=max(0, market.kind.price_decimals_max - market.sz_decimals)
        ),
        quote_token=market.quote,
        collateral_token=COLLATERAL if market.kind is MarketKind.PERP else market.quote,
        max_leverage=market.max_leverage or 1,
        min_notional=MIN_NOTIONAL,
        only_isolated=market.only_isolated,
        is_delisted=market.is_delisted,
    )
