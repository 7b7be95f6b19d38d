"""`HyperliquidPerpetualConnector`: the sans-IO core of the connector.

Raw venue bytes in, events and effects out. It never opens a socket, signs, sleeps or reads a clock; the
gateway does that. The parts: `messages` and `answers` read, `outbox` sends, `resolution` finds out what
became of unknown outcomes, `recovery` establishes the truth after a start or a reconnect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from adapters.hyperliquid import actions, info_requests
from adapters.hyperliquid.answers import Accepted, Ambiguous, Entry
from adapters.hyperliquid.client_ids import cloid_for
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.limits import RequestLimits, WeightWindow
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
    read_role,
    read_venue_time,
)
from adapters.hyperliquid.nonces import NonceSource
from adapters.hyperliquid.outbox import Outbox
from adapters.hyperliquid.price_rules import MarketKind, PriceRuleError, market_order_price
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.reason_codes import Refusal
from adapters.hyperliquid.recovery import SWEEP_NS, FillSearch, Recovery
from adapters.hyperliquid.resolution import Resolver
from adapters.hyperliquid.symbols import Market, SymbolError, SymbolMap
from domain.connector_base import EventDecoder
from domain.effects import ConnectStreams
from domain.enums import ClosingKind, OrderType, RequestState, Submission, TradeType
from domain.errors import OrderRefusedError
from domain.events import Fill
from domain.funding import FundingInfo, next_funding_time_ms
from domain.in_flight_order import InFlightOrder
from domain.inputs import (
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
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.trading_rule import SignificantFigures, TradingRule, step_of_decimals
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate

__all__ = ["VENUE", "HyperliquidOptions", "HyperliquidPerpetualConnector"]

VENUE = "hyperliquid"
MIN_NOTIONAL = Decimal(10)
"""Smallest order value in USDC (sheet 9.4)."""

RETRY_NS = 2 * SECOND
CHAIN_CHECK_NS = SECOND
MISSING_FILL_NS = 2 * SECOND
CLOCK_SKEW_MS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class HyperliquidOptions:
    """What a person may set. Times in ms or ns as named; `slippage` is a fraction of the reference price.

    `order_ttl_ms` is how long after sending the venue may still accept an order (its `expiresAfter`); the
    shorter, the sooner an unknown outcome becomes a final answer. `weight_share` is this process's part of
    the weight per minute of its IP address.
    """

    trading_pairs: tuple[str, ...]
    signer: str | None = None
    order_ttl_ms: int = 10_000
    slippage: Decimal = Decimal("0.05")
    weight_share: float = 1.0
    weight_per_minute: int = 1200
    retention_ns: int = 60 * SECOND
    not_found_limit: int = 3
    sweep_ns: int = SWEEP_NS


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
        self.options = options
        self._signer = None if options.signer is None else options.signer.lower()
        self._context = Context(
            account_address=self.account_address,
            tracker=self.tracker,
            account=self.account,
            nonces=NonceSource(),
            limits=RequestLimits(
                WeightWindow(weight_per_minute=options.weight_per_minute, share=options.weight_share)
            ),
            order_ttl_ms=options.order_ttl_ms,
            now_ns=lambda: self.now_ns,
            effect=self._effect,
            alert=self._alert,
            halt=self.halt,
            stamp=self._stamp,
            set_deadline=self._set_deadline_once,
            take=self._take,
        )
        self._queries = Queries(self._context)
        self._fills = FillSearch(self._context, self._queries)
        self._outbox = Outbox(self._context, lambda order: self._resolver.look_into(order))
        self._resolver = Resolver(self._context, self._queries, self._fills.search, self._outbox.cancel)
        self._recovery = Recovery(
            self._context,
            self._queries,
            self._fills,
            self._resolver.look_into,
            self._on_account_state,
            self._on_recovered,
        )
        self._flush_at_ns = 0
        self._repeats: dict[str, Callable[[], None]] = {}
        self._raw_meta: dict[str, bytes] = {}
        self._books_begin_ms = 0
        self._before_opening: list[TradeUpdate | FundingUpdate] = []
        self._chain_check_set = False
        self.reconnects = 0
        self.frames = 0

    @property
    def books_begin_ms(self) -> int:
        """Since when (venue time) the books of this account are kept; 0 while that is not known."""
        return self._books_begin_ms

    # -- life cycle ----------------------------------------------------------------------------------------

    def _on_started(self, started: Started) -> None:
        self._await("metadata", "account", "user_stream", "recovery")
        self._context.nonces.observe(started.last_nonce)
        self._books_begin_ms = started.books_begin_ms
        self._recovery.fills_from_ms = max(started.last_fill_time_ms, started.books_begin_ms)
        self._recovery.funding_from_ms = max(started.last_funding_time_ms, started.books_begin_ms)
        self.tracker.remember_fills(started.recent_fill_keys)
        self.account.restore(
            started.account_version,
            started.recent_funding_keys,
            started.recent_fill_keys,
            is_open=started.books_begin_ms > 0,
        )
        self._restore_positions(started)
        for events in started.open_orders:
            order = self.tracker.restore([self._decode_event(topic, state) for topic, state in events])
            self._take_up(order)
        self._ask_metadata()
        self._ask(info_requests.exchange_status(), self._on_exchange_status)
        self._ask(info_requests.user_role(self.account_address), self._on_account_role)
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
                except (MessageError, SymbolError) as error:
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
        symbols = SymbolMap.from_json(
            raw["meta"],
            perp_dexs=raw.get("perpDexs"),
            dex_metas={key.partition(" ")[2]: raw[key] for key in raw if key.startswith("meta ")},
            spot_meta=raw.get("spotMeta"),
        )
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

    def _on_exchange_status(self, body: bytes) -> None:
        offset_ms = read_venue_time(body) - self._context.now_ms
        self._context.venue_offset_ms = offset_ms
        if abs(offset_ms) > CLOCK_SKEW_MS_MAX:
            self._alert("clock_skew", f"This clock and the venue's differ by {offset_ms} ms: use NTP.")

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
            self._recovery.start()

    def _on_stream_lost(self, lost: StreamLost) -> None:
        self._alert("stream_lost", f"The {lost.stream} stream is down: {lost.reason}")
        if lost.stream == "user":
            self.reconnects += 1
            self._await("user_stream", "recovery")
            self._recovery.stop()

    def _on_stream_frame(self, frame: StreamFrame) -> None:
        self.frames += 1
        for item in self._context.messages.read_frame(frame.data):
            self._take(item)

    def _on_recovered(self) -> None:
        self._settled("recovery")
        for order in self.tracker.live_orders():
            if order.outcome_unknown:
                self._resolver.look_into(order)
        self._set_deadline_once(self.options.sweep_ns, "sweep")

    # -- everything the venue says -------------------------------------------------------------------------

    def _take(self, item: Item) -> None:
        """The one door for updates, from whichever channel they come."""
        match item:
            case BestPrices():
                self._on_best(item)
            case BookSnapshot():
                self._on_book(item)
            case OrderUpdate():
                order = self.tracker.process_order_update(item)
                if order is not None and order.missing_fill_amount:
                    self._set_deadline(MISSING_FILL_NS, "missing_fills", order.id)
            case TradeUpdate():
                self._on_trade(item)
            case FundingUpdate():
                if self._is_of_our_books(item, item.exchange_time_ms) and self.account.book_funding(item):
                    self._recovery.funding_from_ms = max(
                        self._recovery.funding_from_ms, item.exchange_time_ms
                    )
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
                self.account.keep_message("transfer", item.detail)
            case Kept():
                self.account.keep_message(item.why, item.message)
                self._alert("message_kept", f"{item.why}: {item.message[:200]}")

    def _is_of_our_books(self, item: TradeUpdate | FundingUpdate, time_ms: int) -> bool:
        """Whether it happened after the books began; held back while their beginning is not known yet."""
        if not self._books_begin_ms:
            self._before_opening.append(item)
            return False
        return time_ms > self._books_begin_ms

    def _on_trade(self, update: TradeUpdate) -> None:
        fill = update.fill
        order = self.tracker.find(update.venue_order_key, fill.exchange_order_id)
        if order is None and not self._is_of_our_books(update, fill.exchange_time_ms):
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
        elif not order.has_observed(item.status, item.exchange_order_id, None):
            self.tracker.observe(order, "unknown_status", item.status)
        self._alert("unknown_status", message, order="" if order is None else order.id)

    def _on_best(self, best: BestPrices) -> None:
        book = self.order_books.get(best.trading_pair)
        if book is not None and book.apply_best(best.bid, best.ask, best.exchange_time_ms):
            self._book_moved(best.trading_pair)

    def _on_book(self, snapshot: BookSnapshot) -> None:
        book = self.order_books.get(snapshot.trading_pair)
        if book is not None and book.apply_snapshot(snapshot.bids, snapshot.asks, snapshot.exchange_time_ms):
            self._book_moved(snapshot.trading_pair)

    def _book_moved(self, trading_pair: str) -> None:
        self._books_moved[trading_pair] = None
        self._settled(f"book of {trading_pair}")

    # -- account state -------------------------------------------------------------------------------------

    def _on_account_state(self, state: AccountState) -> None:
        if not self._books_begin_ms:
            self._open_books(state)
        for update in state.positions:
            held = self.position(update.trading_pair)
            if update.leverage is not None and (update.leverage, update.is_cross) != (
                held.leverage,
                held.is_cross,
            ):
                self.account.leverage_changed(update.trading_pair, update.leverage, update.is_cross)

    def _open_books(self, state: AccountState) -> None:
        """A new ledger: what the account holds now is its opening balance, and the past is not ours."""
        self._books_begin_ms = state.exchange_time_ms
        self.account.open(self.network, self._signer or "", state.exchange_time_ms)
        for update in state.positions:
            self.account.assert_position(update, opening=True)
        self._recovery.fills_from_ms = max(self._recovery.fills_from_ms, self._books_begin_ms)
        self._recovery.funding_from_ms = max(self._recovery.funding_from_ms, self._books_begin_ms)
        held_back, self._before_opening = self._before_opening, []
        for item in held_back:
            self._take(item)

    def _book(self, fill: Fill) -> None:
        super()._book(fill)
        self._recovery.fills_from_ms = max(self._recovery.fills_from_ms, fill.exchange_time_ms)
        # Volume adds to the address budget: one action per USDC traded (sheet 9.2).
        self._context.limits.address.cap += int(MONEY.multiply(fill.price, fill.amount))

    def _on_broken_chain(self, fill: Fill) -> None:
        if not self._chain_check_set:
            self._chain_check_set = True
            self._set_deadline(CHAIN_CHECK_NS, "chain")

    # -- orders placed elsewhere ---------------------------------------------------------------------------

    def _on_nothing_stored(self, key: str) -> None:
        if self.tracker.adopt_held(key):
            return
        held = self.tracker.held_for(key)
        fill = next((item.fill for item in held if isinstance(item, TradeUpdate)), None)
        if fill is None:
            self.tracker.adopt_held_fills(key)
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
        self._outbox.flush()
        self._queries.flush()

    # -- leverage, margin, dead man's switch ---------------------------------------------------------------

    def _on_set_leverage(self, command: SetLeverage) -> None:
        pair, leverage, is_cross = command.trading_pair, command.leverage, command.is_cross
        action = actions.update_leverage(
            asset=self.trading_rules[pair].asset_id, is_cross=is_cross, leverage=leverage
        )

        def on_done(entry: Entry) -> None:
            if isinstance(entry, Accepted):
                self.account.leverage_changed(pair, leverage, is_cross)
            else:
                self._account_action_failed(f"Leverage {leverage} of {pair}", entry)

        self._outbox.account_action(action, on_done)

    def _on_update_margin(self, command: UpdateMargin) -> None:
        action = actions.update_isolated_margin(
            asset=self.trading_rules[command.trading_pair].asset_id, amount=command.amount
        )
        what = f"Isolated margin {command.amount} of {command.trading_pair}"
        self._outbox.account_action(action, lambda entry: self._account_action_failed(what, entry))

    def _on_set_scheduled_cancel(self, command: SetScheduledCancel) -> None:
        action = actions.schedule_cancel(command.at_ms)
        what = f"Scheduled cancel at {command.at_ms}"
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
                self._chain_check_set = False
                self._fills.search(max(0, self._recovery.fills_from_ms - 60_000), lambda: None)
            case "missing_fills":
                order = self.tracker.get(key)
                if order is not None and order.missing_fill_amount:
                    self._resolver.look_into(order)
            case "sweep":
                if "recovery" not in self.readiness:
                    self._recovery.sweep()
                    self._set_deadline(self.options.sweep_ns, "sweep")

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
        collateral_token="USDC" if market.kind is MarketKind.PERP else market.quote,
        max_leverage=market.max_leverage or 1,
        min_notional=MIN_NOTIONAL,
        only_isolated=market.only_isolated,
        is_delisted=market.is_delisted,
    )
