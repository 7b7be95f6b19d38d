"""`HyperliquidPerpetualConnector`: the sans-IO core of the connector.

Raw venue bytes in, events and effects out. It never opens a socket, signs, sleeps or reads a clock; the
gateway does that. The parts: `messages` and `answers` read, `outbox` sends, `resolution` finds out what
became of unknown outcomes, `recovery` establishes the truth after a start or a reconnect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from adapters.hyperliquid import actions, info_requests
from adapters.hyperliquid.answers import Accepted, Ambiguous, Entry
from adapters.hyperliquid.client_ids import cloid_for
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.late_news import LateNews
from adapters.hyperliquid.limits import LimitError, RequestLimits, WeightWindow
from adapters.hyperliquid.messages import (
    AccountState,
    AssetContext,
    BestPrices,
    BookSnapshot,
    HyperliquidMessages,
    Item,
    Kept,
    Liquidation,
    MessageError,
    TransferUpdate,
    UnknownStatus,
    VenueCancel,
    read_rate_limit,
    read_role,
    read_venue_time,
)
from adapters.hyperliquid.nonces import NonceSource
from adapters.hyperliquid.opening import Opening
from adapters.hyperliquid.outbox import Outbox
from adapters.hyperliquid.position_chain import PositionChain
from adapters.hyperliquid.price_rules import MarketKind, PriceRuleError, market_order_price
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.reason_codes import Refusal
from adapters.hyperliquid.reconciler import Reconciler
from adapters.hyperliquid.recovery import FillSearch, FundingSearch, Recovery
from adapters.hyperliquid.resolution import Resolver
from adapters.hyperliquid.stream_watch import StreamWatch
from adapters.hyperliquid.symbols import Market, SymbolError, SymbolMap
from domain.connector_base import EventDecoder
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
from domain.money import MONEY, ZERO
from domain.order_book import OrderBook
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.trading_rule import SignificantFigures, TradingRule, step_of_decimals
from domain.updates import Change, FundingUpdate, OrderUpdate, TradeUpdate

__all__ = ["VENUE", "HyperliquidOptions", "HyperliquidPerpetualConnector"]

VENUE = "hyperliquid"
COLLATERAL = "USDC"
MIN_NOTIONAL = Decimal(10)
"""Smallest order value in USDC (sheet 9.4)."""

MARGIN_MAX = Decimal(10**12)
"""Most USDC one margin change may move: its millionths still fit into what is signed."""

WEIGHT_PER_MINUTE_MIN = 200
"""With less weight the questions of the start do not fit between what is kept for cancels and orders."""

_BEFORE_SENDING = ("start", "metadata", "account")
"""What must be known before anything is sent."""

RETRY_NS = 2 * SECOND
BUDGET_CHECK_NS = 600 * SECOND
MISSING_FILL_NS = 2 * SECOND
CLOCK_SKEW_MS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class HyperliquidOptions:
    """What a person may set. Times in ms or ns as named; `slippage` is a fraction of the reference price.

    `order_ttl_ms` is how long after sending the venue may still accept an order (its `expiresAfter`); the
    shorter, the sooner an unknown outcome becomes a final answer. `weight_share` is this process's part of
    the weight per minute of its IP address. The books are compared with the venue every `reconcile_every_ns`;
    what is younger than `grace_ms` is not judged. What the venue says a position is, is put on record
    at most once per `assert_every_ns` and market.
    """

    trading_pairs: tuple[str, ...]
    signer: str | None = None
    order_ttl_ms: int = 10_000
    slippage: Decimal = Decimal("0.05")
    weight_share: float = 1.0  # deterministic: an option of the session; only its product's floor is used
    weight_per_minute: int = 1200
    retention_ns: int = 60 * SECOND
    not_found_limit: int = 3
    reconcile_every_ns: int = 60 * SECOND
    grace_ms: int = 5_000
    assert_every_ns: int = 3_600 * SECOND


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
        window = WeightWindow(weight_per_minute=options.weight_per_minute, share=options.weight_share)
        if window.limit < info_requests.WEIGHT_USER_ROLE:
            raise LimitError(
                f"a weight of {window.cancel_limit} per minute, part of it kept for cancels, is not enough"
                f" to ask whose account it is ({info_requests.WEIGHT_USER_ROLE}): allow at least 160"
            )
        self.options = options
        self._signer = None if options.signer is None else options.signer.lower()
        self._context = Context(
            account_address=self.account_address,
            tracker=self.tracker,
            account=self.account,
            nonces=NonceSource(),
            limits=RequestLimits(window),
            order_ttl_ms=options.order_ttl_ms,
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
        self._fills = FillSearch(self._context, self._queries)
        self._funding = FundingSearch(self._context, self._queries)
        self._findings = Findings(self._context, grace_ms=options.grace_ms)
        self._late_news = LateNews(
            self._context,
            self._queries,
            self._findings,
            is_of_our_books=self._is_of_our_books,
            begin_ms=lambda: self._books_begin_ms,
        )
        self._stream_watch = StreamWatch(self._context, "user")
        self._chain = PositionChain(
            self._context,
            self._fills,
            held=lambda pair: self.position(pair).amount,
            is_followed=self._is_perpetual,
            begin_ms=lambda: self._books_begin_ms,
            doubt=lambda: self._reconciler.suspect(),
        )
        self._outbox = Outbox(self._context, lambda order: self._resolver.look_into(order))
        self._resolver = Resolver(
            self._context,
            self._queries,
            self._fills.search,
            self._outbox.cancel,
            lambda: self._reconciler.suspect(),
        )
        self._recovery = Recovery(
            self._context,
            self._queries,
            self._fills,
            self._funding,
            self._resolver.look_into,
            self._on_account_state,
            self._on_recovered,
        )
        self._reconciler = Reconciler(
            self._context,
            self._queries,
            self._fills,
            self._funding,
            self._findings,
            positions=lambda: self.positions,
            amount_step=self._step_of_followed,
            dexes=lambda: self._recovery.dexes,
            begin_ms=lambda: self._books_begin_ms,
            list_orders=self._list_orders,
            agreed=lambda: self._settled("reconciliation"),
            every_ns=options.reconcile_every_ns,
            assert_every_ns=options.assert_every_ns,
        )
        self._flush_at_ns = 0
        self._repeats: dict[str, Callable[[], None]] = {}
        self._raw_meta: dict[str, bytes] = {}
        self._books_begin_ms = 0
        self._opening: Opening | None = None
        self._before_opening: list[OrderUpdate | TradeUpdate | FundingUpdate] = []
        self._newest_fill_ms = 0
        self._newest_funding_ms = 0
        self._books_opened = False
        self._clock_alerted = False
        self.reconnects = 0
        self.frames = 0

    @property
    def books_begin_ms(self) -> int:
        """Since when (venue time) the books of this account are kept; 0 while that is not known."""
        return self._books_begin_ms

    # -- life cycle ----------------------------------------------------------------------------------------

    def _on_started(self, started: Started) -> None:
        self._await("metadata", "account", "user_stream", "recovery", "reconciliation")
        self._context.nonces.observe(started.last_nonce)
        self._books_begin_ms = started.books_begin_ms
        self._newest_fill_ms = max(started.last_fill_time_ms, started.books_begin_ms)
        self._newest_funding_ms = max(started.last_funding_time_ms, started.books_begin_ms)
        self._move_recovery_marks()
        self.tracker.remember_fills(started.recent_fill_keys)
        self.account.restore(
            started.account_version,
            started.recent_funding_keys,
            started.recent_fill_keys,
            is_open=started.books_begin_ms > 0,
            unsettled_discrepancies=started.unsettled_discrepancies,
        )
        self._restore_positions(started)
        for events in started.open_orders:
            order = self.tracker.restore([self._decode_event(topic, state) for topic, state in events])
            self._take_up(order)
        self._ask_metadata()
        self._ask_venue_time()
        self._ask(info_requests.user_role(self.account_address), self._on_account_role)
        self._ask_budget()
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

    def _ask(self, request: info_requests.InfoRequest, handler: Callable[[bytes], None]) -> None:
        """Ask until there is an answer that `handler` can read."""

        def on_answer(body: bytes | None) -> None:
            if body is not None:
                try:
                    handler(body)
                    return
                except MessageError as error:
                    self._alert("unreadable_answer", f"{request.body.get('type')}: {error}")
            name = request.encode().decode()
            self._repeats[name] = lambda: self._ask(request, handler)
            self._set_deadline(RETRY_NS, "repeat", name)

        self._queries.ask(request, on_answer)

    # -- metadata ------------------------------------------------------------------------------------------

    def _ask_metadata(self) -> None:
        dexes = [pair.partition(":")[0] for pair in self.options.trading_pairs if ":" in pair]
        self._recovery.dexes = ("", *dict.fromkeys(dexes))
        wanted: list[tuple[str, info_requests.InfoRequest]] = [("meta", info_requests.meta())]
        if dexes:
            wanted.append(("perpDexs", info_requests.perp_dexs()))
            wanted += [(f"meta {dex}", info_requests.meta(dex)) for dex in dict.fromkeys(dexes)]
        wanted.append(("spotMeta", info_requests.spot_meta()))
        for name, request in wanted:
            self._ask(request, partial(self._on_metadata, name, len(wanted)))

    def _on_metadata(self, name: str, count: int, body: bytes) -> None:
        self._raw_meta[name] = body
        if len(self._raw_meta) < count:
            return
        raw = self._raw_meta
        try:
            symbols = SymbolMap.from_json(
                raw["meta"],
                perp_dexs=raw.get("perpDexs"),
                dex_metas={key.partition(" ")[2]: raw[key] for key in raw if key.startswith("meta ")},
                spot_meta=raw.get("spotMeta"),
            )
        except SymbolError as error:
            # It may be about any of the answers, so all of them are asked for again.
            self._alert("unreadable_metadata", str(error), level="error")
            self._raw_meta = {}
            self._repeats["metadata"] = self._ask_metadata
            self._set_deadline(RETRY_NS, "repeat", "metadata")
            return
        for unreadable in symbols.unreadable:
            self._alert("unreadable_market", unreadable)
        self._context.symbols = symbols
        self._context.messages = HyperliquidMessages(symbols, self.account_address)
        self.trading_rules = {market.trading_pair: _rule_of(market) for market in symbols}
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
        coins = [self.trading_rules[pair].instrument for pair in self.options.trading_pairs]
        self._effect(
            ConnectStreams(
                streams={
                    "user": tuple(
                        {"type": kind, "user": user}
                        for kind in ("orderUpdates", "userEvents", "userFills", "userFundings")
                    ),
                    "market": tuple(
                        {"type": kind, "coin": coin}
                        for coin in coins
                        for kind in ("l2Book", "bbo", "activeAssetCtx")
                    ),
                }
            )
        )

    def _ask_venue_time(self) -> None:
        asked_at_ms = self._context.now_ms
        self._ask(info_requests.exchange_status(), lambda body: self._on_exchange_status(asked_at_ms, body))

    def _on_exchange_status(self, asked_at_ms: int, body: bytes) -> None:
        self._context.venue_told_time(read_venue_time(body), asked_at_ms=asked_at_ms)
        offset_ms = self._context.venue_offset_ms
        is_off = abs(offset_ms) > CLOCK_SKEW_MS_MAX
        if is_off and not self._clock_alerted:
            self._alert("clock_skew", f"This clock and the venue's differ by {offset_ms} ms: use NTP.")
        self._clock_alerted = is_off

    def _ask_budget(self) -> None:
        """Take over the venue's count of actions: other processes and earlier volume are part of it."""
        self._ask(info_requests.user_rate_limit(self.account_address), self._on_budget)
        self._set_deadline(BUDGET_CHECK_NS, "budget")

    def _on_budget(self, body: bytes) -> None:
        used, cap = read_rate_limit(body)
        self._context.limits.address.synchronize(used=used, cap=cap)

    # -- whose account -------------------------------------------------------------------------------------

    def _on_account_role(self, body: bytes) -> None:
        role, master = read_role(body)
        address = self.account_address
        if role == "agent":
            self.halt(
                f"{address} is an agent (API wallet) of {master}, and an agent has no account of its own: "
                f"set venue.account to {master}"
            )
            return
        if role == "missing":
            message = f"The venue knows no account {address}: deposit first."
            self._alert("account_missing", message, level="error")
        owner = address
        if role in ("subAccount", "vault"):
            # Without this, orders of a sub-account would land on the main account (sheet 3.1, 3.5).
            self._context.acting_for = address
            owner = master or ""
        if self._signer is None or self._signer in (owner, ""):
            self._settled("account")
            return
        self._ask(info_requests.user_role(self._signer), lambda answer: self._on_signer_role(owner, answer))

    def _on_signer_role(self, owner: str, body: bytes) -> None:
        role, master = read_role(body)
        if role == "agent" and (not owner or master == owner):
            self._settled("account")
            return
        if not owner and role == "user":
            self._settled("account")  # a vault does not tell its leader; the venue checks on the first action
            return
        self.halt(
            f"the signing key's address {self._signer} is "
            f"{f'an agent of {master}' if role == 'agent' else f'no approved agent ({role})'}, "
            f"so it may not trade for {self.account_address}: approve it, or use another key"
        )

    # -- streams -------------------------------------------------------------------------------------------

    def _on_stream_connected(self, connected: StreamConnected) -> None:
        if connected.stream == "user":
            self._settled("user_stream")
            self._await("recovery")
            self._stream_watch.connected()
            self._books_opened = False
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

    def _on_stream_frame(self, frame: StreamFrame) -> None:
        self.frames += 1
        items = self._context.messages.read_frame(frame.data)
        if items and frame.stream == "user":
            self._stream_watch.heard()
        for item in items:
            self._take(item)

    def _on_recovered(self) -> None:
        self._settled("recovery")
        self._move_recovery_marks()
        for order in self.tracker.live_orders():
            if order.outcome_unknown:
                self._resolver.look_into(order)
        for order in self.tracker.incomplete_orders():
            if not order.is_external:
                self._resolver.look_into(order)
        self._late_news.caught_up()
        self._reconciler.recovered(self._recovery.states, books_opened=self._books_opened)

    def _list_orders(self) -> None:
        """A pass over everything begins."""
        self._late_news.forget()
        self._recovery.list_orders()
        self._ask_venue_time()

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
                if self._is_of_our_books(item, item.exchange_time_ms) and self.account.book_funding(item):
                    self._newest_funding_ms = self._later(self._newest_funding_ms, item.exchange_time_ms)
                    self._move_recovery_marks()
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
                self.account.notice_liquidation(item.detail)
                self._alert("liquidation", f"The venue liquidates: {item.detail}", level="error")
            case UnknownStatus():
                self._on_unknown_status(item)
            case TransferUpdate():
                self.account.book_ledger_update(
                    update_key=item.update_key,
                    kind=item.kind,
                    amount=item.amount,
                    token=item.token,
                    detail=item.detail,
                    exchange_time_ms=item.exchange_time_ms,
                )
            case Kept():
                if self.account.keep_message(item.why, item.message):
                    self._alert("message_kept", f"{item.why}: {item.message[:200]}")

    def _is_of_our_books(self, item: TradeUpdate | FundingUpdate, time_ms: int) -> bool:
        """Whether it happened after the books began; held back while their beginning is not known yet."""
        if not self._books_begin_ms:
            self._before_opening.append(item)
            return False
        if self._opening is not None and isinstance(item, TradeUpdate):
            return self._opening.is_followed_by(item.fill)
        return time_ms > self._books_begin_ms

    def _later(self, mark_ms: int, time_ms: int) -> int:
        """The later of both, but never the future: a garbled time must not hide what really comes next."""
        return max(mark_ms, min(time_ms, self._context.venue_now_ms))

    def _move_recovery_marks(self) -> None:
        """What is booked is complete up to its latest time only while no recovery is under way: the stream
        may have told the newest before what was missed."""
        if "recovery" not in self._waiting_for or not self._recovery.fills_from_ms:
            self._recovery.fills_from_ms = self._newest_fill_ms
            self._recovery.funding_from_ms = self._newest_funding_ms

    def _on_order_update(self, update: OrderUpdate) -> None:
        if self.tracker.find(update.venue_order_key, update.exchange_order_id) is None:
            if not self._books_begin_ms:
                self._before_opening.append(update)
                return
            if self._opening is not None:
                update = self._opening.rest_of(update)
        self.tracker.process_order_update(update)

    def _on_trade(self, update: TradeUpdate) -> None:
        fill = update.fill
        if self.account.has_fill(fill.fill_key) or self.tracker.was_booked(fill.fill_key):
            # Once for all: what the account has booked, an order that turns up later does not book again.
            self.tracker.duplicates_ignored += 1
            return
        order = self.tracker.find(update.venue_order_key, fill.exchange_order_id)
        # Orders of ours were placed after the books began; one placed elsewhere may be older than they are.
        is_ours = order is not None and not order.is_external
        if not is_ours and not self._is_of_our_books(update, fill.exchange_time_ms):
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
        try:
            if isinstance(item, BestPrices):
                moved = book.apply_best(item.bid, item.ask, item.exchange_time_ms)
            else:
                moved = book.apply_snapshot(item.bids, item.asks, item.exchange_time_ms)
        except ValueError as error:
            self._alert("unusable_prices", str(error))
            return
        if moved:
            self._books_moved[item.trading_pair] = None
            if self._waiting_for:
                self._settled(f"book of {item.trading_pair}")

    # -- account state -------------------------------------------------------------------------------------

    def _on_account_state(self, states: Mapping[str, AccountState]) -> None:
        """The state of every dex the account is followed on."""
        if not self._books_begin_ms:
            self._open_books(states)
        for update in (position for state in states.values() for position in state.positions):
            held = self.position(update.trading_pair)
            if update.leverage is not None and (update.leverage, update.is_cross) != (
                held.leverage,
                held.is_cross,
            ):
                self.account.leverage_changed(update.trading_pair, update.leverage, update.is_cross)

    def _open_books(self, states: Mapping[str, AccountState]) -> None:
        """A new ledger: what the account holds now is its opening balance, and the past is not ours."""
        held_back, self._before_opening = self._before_opening, []
        fills = [item.fill for item in held_back if isinstance(item, TradeUpdate)]
        self._books_opened = True
        opening = self._opening = Opening(states, fills, self._context.venue_now_ms)
        self._books_begin_ms = begin_ms = opening.begin_ms
        self.account.open(self.network, self._signer or "", begin_ms)
        for update in opening.positions:
            self.account.assert_position(update, opening=True)
        self._open_cash(states, begin_ms)
        self._newest_fill_ms = max(self._newest_fill_ms, begin_ms)
        self._newest_funding_ms = max(self._newest_funding_ms, begin_ms)
        self._move_recovery_marks()
        for item in held_back:
            self._take(item)

    def _open_cash(self, states: Mapping[str, AccountState], begin_ms: int) -> None:
        """The cash that the books begin with. A state without any may be that of a unified account, whose
        collateral is told elsewhere (sheet 5.6)."""
        cash = ZERO
        for state in states.values():
            if state.cash is None:
                return
            cash = MONEY.add(cash, state.cash)
        if cash:
            self.account.assert_balance(COLLATERAL, cash, opening=True, exchange_time_ms=begin_ms)

    def _after_changes(self, changes: list[Change]) -> None:
        super()._after_changes(changes)
        for change in changes:
            if isinstance(change.event, OrderReportedFilled) and change.view is not None:
                self._set_deadline(MISSING_FILL_NS, "missing_fills", change.view.client_order_id)

    def _book(self, fill: Fill) -> None:
        super()._book(fill)
        self._newest_fill_ms = self._later(self._newest_fill_ms, fill.exchange_time_ms)
        self._move_recovery_marks()
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
        if (dex if found else "") not in self._recovery.dexes or not self._is_perpetual(trading_pair):
            return None
        return self.trading_rules[trading_pair].amount_step

    # -- orders placed elsewhere ---------------------------------------------------------------------------

    def _on_order_looked_up(self, found: OrderLookedUp) -> None:
        super()._on_order_looked_up(found)
        if found.events:
            order = self.tracker.get(self._decode_event(*found.events[0]).originator_id)
            assert order is not None, "what was looked up is in memory"
            self._late_news.looked_up(order)

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
            self._queries.failed(failed.request_id)

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

        self._reconciler.leverage_asked(pair)
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
                self._fills.on_deadline(key)
            case "recovery":
                self._recovery.on_deadline(key)
            case "repeat":
                self._repeats.pop(key, lambda: None)()
            case "foreign":
                self._on_nothing_stored(key)
            case "chain":
                self._chain.on_deadline(key)
            case "missing_fills":
                order = self.tracker.get(key)
                if order is not None and order.missing_fill_amount:
                    self._resolver.look_into(order)
            case "funding":
                self._funding.on_deadline(key)
            case "alive":
                self._late_news.on_deadline(key)
            case "reconcile":
                self._reconciler.on_deadline(key)
            case "budget":
                self._ask_budget()

    # -- numbers and names ---------------------------------------------------------------------------------

    def _venue_order_key(self, client_order_id: str) -> str:
        return cloid_for(client_order_id)

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
