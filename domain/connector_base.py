"""`ConnectorBase`: what every venue's connector core has in common.

A core is sans-IO. It changes only in `step(input)`, and what it wants done comes back as effects. `buy`,
`sell`, `cancel` and `amend` may be called from any thread: they check, make a command, hand it to the shell
and return; the command is stepped later, in its turn, by the one loop that drives the core.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import msgspec

from domain.account import Account
from domain.client_order_id import (
    ClientOrderIdGenerator,
    InvalidClientOrderIdError,
    validate_user_order_id,
)
from domain.client_order_tracker import LOOKUP_PREFIXES, ClientOrderTracker
from domain.effects import Alert, Effect, LookUpOrder
from domain.enums import ClosingKind, OrderType, PositionAction, Source, TimeInForce, TradeType
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
from domain.events import (
    LedgerEvent,
    OrderAcknowledged,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderFilled,
)
from domain.in_flight_order import InFlightOrder, OrderView
from domain.inputs import (
    AmendOrder,
    CancelAll,
    CancelOrders,
    Input,
    LedgerStalled,
    OrderLookedUp,
    PlaceOrders,
    RequestAnswered,
    RequestFailed,
    Started,
    Stopping,
    StreamConnected,
    StreamFrame,
    StreamLost,
    TimerFired,
)
from domain.listeners import Committed, ErrorEventListener, OrderEventListener, TradeEventListener
from domain.money import MONEY, is_usable
from domain.order_book import OrderBook
from domain.order_params import OrderParams
from domain.outcome import Outcome
from domain.trading_rule import TradingRule
from domain.updates import Change, Stamp

__all__ = ["ConnectorBase", "EventDecoder", "OrderRequest"]

EventDecoder = Callable[[str, bytes], LedgerEvent]
"""Turns a stored event (topic, state) back into the event: the mapper of the ledger."""

_FROM_COMMAND = Source.COMMAND
_SOURCES: dict[type[Input], Source] = {
    StreamFrame: Source.STREAM,
    StreamConnected: Source.STREAM,
    StreamLost: Source.STREAM,
    RequestAnswered: Source.HTTP,
    RequestFailed: Source.HTTP,
    TimerFired: Source.TIMER,
    Started: Source.RECONCILIATION,
    OrderLookedUp: Source.RECONCILIATION,
}

_RESERVED_PREFIXES = ("account:", "external:", *LOOKUP_PREFIXES)
"""The ledger keeps other things under these, or finds orders by them."""

_TEXT_MAX = 200

PRICE_AGE_NS = 60_000_000_000
"""So old a book may be and still give the price that protects a MARKET order."""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. `amount` in base units; `price` in quote units, not needed for MARKET.

    `trigger_price` belongs to the stop and take-profit kinds. `client_order_id` may be any printable text
    that was never used in this ledger; left out, a unique one is made. `tag` is free text for the strategy.
    """

    trading_pair: str
    trade_type: TradeType
    amount: Decimal
    price: Decimal | None = None
    order_type: OrderType = OrderType.LIMIT
    position_action: PositionAction = PositionAction.NIL
    time_in_force: TimeInForce = TimeInForce.GTC
    trigger_price: Decimal | None = None
    client_order_id: str | None = None
    parent_id: str | None = None
    tag: str = ""


class ConnectorBase(ABC):
    """Identity, life cycle, readiness, orders, listeners and trading rules of one account at one venue.

    `decode_event` reads stored events (for orders that memory has let go of). `session_id` is 48 random bits
    drawn by the shell; with it and the inputs, a replay makes the same ids.
    """

    def __init__(
        self,
        *,
        venue: str,
        network: str,
        account: str,
        session_id: int,
        decode_event: EventDecoder,
        retention_ns: int = 60 * 1_000_000_000,
        not_found_limit: int = 3,
    ) -> None:
        self.venue = venue
        self.network = network
        self.account_address = account
        changes: list[Change] = []
        self.tracker = ClientOrderTracker(
            venue=venue,
            account=account,
            retention_ns=retention_ns,
            not_found_limit=not_found_limit,
            changes=changes,
        )
        self.account = Account(venue=venue, address=account, changes=changes)
        self.trading_rules: dict[str, TradingRule] = {}
        self.order_books: dict[str, OrderBook] = {}
        self.now_ns = 0
        self.sequence = 0
        self.halted_because = ""
        self.stopping = False
        self._stalled_because = ""
        self.alerts_raised = 0
        self.listener_errors = 0
        self._waiting_for: dict[str, None] = {"start": None}
        self._session = f"{session_id:012x}"
        self._ids = ClientOrderIdGenerator(session_id)
        self._issued: dict[str, None] = {}
        self._used_ids: dict[int, object] = {}
        self._is_recorded: Callable[[str], bool] | None = None
        self._decode_event = decode_event
        self._effects: list[Effect] = []
        self._books_moved: dict[str, None] = {}
        self._deadlines: list[tuple[int, int, str, str]] = []
        self._deadline_count = 0
        self._command_sink: Callable[[Input], None] | None = None
        self._order_listeners: list[OrderEventListener] = []
        self._trade_listeners: list[TradeEventListener] = []
        self._error_listeners: list[ErrorEventListener] = []
        self._handlers: dict[type[Input], Callable[[Any], None]] = {
            Started: self._on_started,
            Stopping: self._on_stopping,
            PlaceOrders: self._on_place_orders,
            CancelOrders: self._on_cancel_orders,
            CancelAll: self._on_cancel_all,
            AmendOrder: self._on_amend_order,
            StreamConnected: self._on_stream_connected,
            StreamLost: self._on_stream_lost,
            StreamFrame: self._on_stream_frame,
            RequestAnswered: self._on_request_answered,
            RequestFailed: self._on_request_failed,
            OrderLookedUp: self._on_order_looked_up,
            TimerFired: self._on_timer_fired,
            LedgerStalled: self._on_ledger_stalled,
        }

    # -- life cycle ----------------------------------------------------------------------------------------

    def attach(self, command_sink: Callable[[Input], None]) -> None:
        """Tell the core where its commands go: a thread-safe, non-blocking function of the shell."""
        self._command_sink = command_sink

    def reserve_ids(
        self, client_order_ids: Iterable[str], is_recorded: Callable[[str], bool] | None = None
    ) -> None:
        """Ids users chose in earlier sessions: they are refused for new orders.

        `is_recorded` says whether the ledger knows a text as an id. It is asked, in the caller's thread, for
        ids in the venue's own format: those of all orders ever made would not fit into memory.
        """
        self._is_recorded = is_recorded
        for client_order_id in client_order_ids:
            key = self._venue_order_key(client_order_id)
            self._used_ids[hash(key)] = self  # deterministic: read by `_claim` alone, outside the step

    @property
    def session_id(self) -> str:
        return self._session

    @property
    def ready(self) -> bool:
        """Whether the truth is established and orders are accepted."""
        return not self._waiting_for and not self.halted_because and not self.stopping

    @property
    def readiness(self) -> tuple[str, ...]:
        """What is still waited for; empty when nothing is."""
        return tuple(self._waiting_for)

    def _await(self, *what: str) -> None:
        for name in what:
            self._waiting_for[name] = None

    def _settled(self, what: str) -> None:
        self._waiting_for.pop(what, None)

    # -- orders: any thread --------------------------------------------------------------------------------

    def buy(
        self,
        trading_pair: str,
        amount: Decimal,
        price: Decimal | None = None,
        order_type: OrderType = OrderType.LIMIT,
        **options: Any,
    ) -> str:
        """Place a buy order; returns its client order id at once, before anything is sent.

        `amount` in base units, `price` in quote units; `options` are the other members of `OrderRequest`.
        An id returned means: the order will be in the ledger, whatever becomes of it. Raises an
        `OrderRefusedError` when the request cannot be an order; then nothing is recorded.
        """
        return self.place(
            (
                OrderRequest(
                    trading_pair=trading_pair,
                    trade_type=TradeType.BUY,
                    amount=amount,
                    price=price,
                    order_type=order_type,
                    **options,
                ),
            )
        )[0]

    def sell(
        self,
        trading_pair: str,
        amount: Decimal,
        price: Decimal | None = None,
        order_type: OrderType = OrderType.LIMIT,
        **options: Any,
    ) -> str:
        """Place a sell order; see `buy`."""
        return self.place(
            (
                OrderRequest(
                    trading_pair=trading_pair,
                    trade_type=TradeType.SELL,
                    amount=amount,
                    price=price,
                    order_type=order_type,
                    **options,
                ),
            )
        )[0]

    def place(self, requests: Sequence[OrderRequest]) -> tuple[str, ...]:
        """Place several orders, in one request where the venue can. All are checked before any is made."""
        if not requests:
            raise InvalidOrderError("empty_batch", "A batch needs at least one order.")
        self._check_trading()
        orders = []
        claimed: list[str] = []
        try:
            for request in requests:
                params = self._prepare(request)
                if request.client_order_id is not None:
                    self._claim(params)
                    claimed.append(params.venue_order_key)
                orders.append(params)
            # Before the command leaves: from then on another thread may step it and look the order up.
            for params in orders:
                self._issued[params.client_order_id] = None
            self._command(PlaceOrders(orders=tuple(orders)))
        except BaseException:
            # Nothing is recorded, so that the same ids may be tried again.
            for params in orders:
                self._issued.pop(params.client_order_id, None)
            for key in claimed:
                self._used_ids.pop(hash(key), None)  # deterministic: outside the step
            raise
        return tuple(params.client_order_id for params in orders)

    def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel. Raises `UnknownOrderError` or `OrderAlreadyDoneError`."""
        order = self._find_live(client_order_id)
        self._command(CancelOrders(client_order_ids=(client_order_id if order is None else order.id,)))

    def cancel_all(self, trading_pair: str | None = None) -> None:
        """Ask for a cancel of whatever is live, of one market or of all."""
        if trading_pair is not None:
            self._rule(trading_pair)
        self._command(CancelAll(trading_pair=trading_pair))

    def amend(self, client_order_id: str, price: Decimal, amount: Decimal) -> None:
        """Ask for new terms; `amount` is the new total, what already filled included.

        Raises like `buy` and `cancel`.
        """
        self._check_trading()
        order = self._find_live(client_order_id)
        if order is None:
            raise InvalidOrderError(
                "not_sent_yet", f"Order {client_order_id!r} is still on its way; amend it once it is open."
            )
        if order.exchange_order_id is None:
            raise InvalidOrderError(
                "not_acknowledged_yet",
                f"Order {client_order_id!r} is not acknowledged yet; amend it once it is open.",
            )
        if order.is_external:
            # Its replacement could not be told from any other order that is placed elsewhere.
            raise InvalidOrderError(
                "external_order",
                f"Order {client_order_id!r} was placed elsewhere; cancel it and place a new one.",
            )
        price, amount = self._number("price", price), self._number("amount", amount)
        rule = self._rule(order.trading_pair)
        price = rule.quantize_price(price, order.trade_type)
        amount = rule.quantize_amount(amount)
        self._check_rule(rule, price, amount, is_market=False)
        self._command(AmendOrder(client_order_id=order.id, price=price, amount=amount))

    def open_orders(self, trading_pair: str | None = None) -> list[OrderView]:
        """Every order that is not done. For the loop's own thread; walks all of them."""
        return [
            order.view()
            for order in self.tracker.live_orders()
            if trading_pair is None or order.trading_pair == trading_pair
        ]

    def order(self, client_order_id: str) -> OrderView | None:
        """An order in memory, live or recently done."""
        order = self._in_memory(client_order_id)
        return None if order is None else order.view()

    def order_book(self, trading_pair: str) -> OrderBook:
        """The book of a market the connector follows. Raises `UnknownTradingPairError` for others."""
        book = self.order_books.get(trading_pair)
        if book is None:
            raise UnknownTradingPairError(trading_pair, tuple(self.order_books)[:3])
        return book

    # -- checking a request --------------------------------------------------------------------------------

    def _check_trading(self) -> None:
        if self.halted_because:
            raise TradingHaltedError(self.halted_because)
        if self.stopping:
            raise TradingHaltedError("the process is shutting down")
        if self._waiting_for:
            raise NotReadyError(self.readiness)

    def _claim(self, params: OrderParams) -> None:
        """Take a user's id, once and for all; atomic, so that of two threads one is refused.

        What must not repeat is the id in the venue's format: two texts may lead to the same one.
        """
        token = object()
        client_order_id = params.client_order_id
        if self._is_recorded is not None and self._is_recorded(params.venue_order_key):
            raise DuplicateOrderIdError(client_order_id)
        # An id that ends in this session's random bits was made here; such ids are not all kept in memory.
        made_here = params.venue_order_key.endswith(self._session)
        known = client_order_id in self._issued or self.tracker.get(client_order_id) is not None
        key = hash(params.venue_order_key)  # deterministic: outside the step; what is claimed is an input
        if made_here or known or self._used_ids.setdefault(key, token) is not token:
            raise DuplicateOrderIdError(client_order_id)

    def _find_live(self, client_order_id: str) -> InFlightOrder | None:
        order = self._in_memory(client_order_id)
        if order is None:
            if client_order_id in self._issued:
                return None
            order = self._in_memory(client_order_id)
        if order is None:
            raise UnknownOrderError(client_order_id)
        if order.is_done:
            raise OrderAlreadyDoneError(client_order_id, order.state)
        return order

    def _in_memory(self, client_order_id: str) -> InFlightOrder | None:
        """By its id, or by the text that led to it: of an order placed before the ledger was kept the venue
        tells the id in its own format alone."""
        order = self.tracker.get(client_order_id)
        if order is None and isinstance(client_order_id, str):
            order = self.tracker.by_venue_key(self._venue_order_key(client_order_id))
        return order

    def _rule(self, trading_pair: str) -> TradingRule:
        rule = self.trading_rules.get(trading_pair)
        if rule is None:
            raise UnknownTradingPairError(trading_pair, self._near(trading_pair))
        return rule

    def _near(self, trading_pair: str) -> tuple[str, ...]:
        """Markets whose name is nearly this one, for the error message."""
        wanted = str(trading_pair)[:40].casefold().replace("/", "-").split("-")[0]
        return tuple(pair for pair in self.trading_rules if pair.casefold().split("-")[0] == wanted)[:3]

    @staticmethod
    def _number(name: str, value: object) -> Decimal:
        if isinstance(value, str):
            try:
                value = Decimal(value)
            except InvalidOperation:
                raise InvalidOrderError(
                    "not_a_number", f"The {name} {value!r:.40} is not a number."
                ) from None
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value) if abs(value) < 10**30 else Decimal("Infinity")
        if not isinstance(value, Decimal):
            raise InvalidOrderError(
                "not_a_decimal", f"Pass the {name} as Decimal or text, not {type(value).__name__}."
            )
        if not is_usable(value):
            raise InvalidOrderError("not_usable", f"The {name} {value!s:.40} is no number that trades.")
        if value <= 0:
            raise InvalidOrderError("not_positive", f"The {name} must be above zero, not {value!s:.40}.")
        return value

    def _check_age(self, book: OrderBook) -> None:
        """A market that says nothing while others do is noticed by no one else."""
        if book.told_at_ns is not None and self.now_ns - book.told_at_ns > PRICE_AGE_NS:
            age_s = (self.now_ns - book.told_at_ns) // 1_000_000_000
            raise OrderRefusedError(
                "stale_price",
                f"The last price of {book.trading_pair} is {age_s} s old: wait for its book or pass a price.",
            )

    @staticmethod
    def _check_rule(rule: TradingRule, price: Decimal, amount: Decimal, *, is_market: bool) -> None:
        refusal = rule.check_quantized(price, amount, is_market=is_market)
        if refusal is not None:
            raise OrderRefusedError(refusal.code, refusal.message)

    def _prepare(self, request: OrderRequest) -> OrderParams:
        """Check and quantize a request: prices and amounts move towards the safe side, never against it."""
        rule = self._rule(request.trading_pair)
        request = _with_choices(request)
        order_type, side = request.order_type, request.trade_type
        amount = self._number("amount", request.amount)
        book = self.order_books.get(request.trading_pair)
        mid = None if book is None else book.mid_price
        trigger: Decimal | None = None
        if order_type.is_trigger:
            if request.trigger_price is None:
                raise InvalidOrderError(
                    "trigger_price_missing", f"A {order_type} order needs a trigger price."
                )
            trigger = rule.quantize_price(self._number("trigger price", request.trigger_price), side)
        elif request.trigger_price is not None:
            raise InvalidOrderError("trigger_price_unused", f"A {order_type} order has no trigger price.")
        immediate = request.time_in_force is TimeInForce.IOC
        if immediate and (order_type is OrderType.LIMIT_MAKER or order_type.is_trigger):
            raise InvalidOrderError(
                "time_in_force", f"A {order_type} order rests; immediate-or-cancel does not."
            )
        asked = None if request.price is None else self._number("price", request.price)
        if asked is None:
            if not order_type.is_market:
                raise InvalidOrderError("price_missing", f"A {order_type} order needs a price.")
            reference = trigger if trigger is not None else mid
            if reference is None:
                raise OrderRefusedError(
                    "no_reference_price",
                    f"No price is known for {request.trading_pair} yet: wait for its book or pass a price.",
                )
            if trigger is None and book is not None:
                self._check_age(book)
            price = self._market_price(rule, side, reference, order_type)
        else:
            price = rule.quantize_price(asked, side)
        quantized = rule.quantize_amount(amount)
        refusal = rule.check_quantized(
            price,
            quantized,
            is_market=order_type.is_market,
            reduce_only_closes_all=self._closes_all(request, quantized),
        )
        if refusal is not None:
            raise OrderRefusedError(refusal.code, refusal.message)
        client_order_id = request.client_order_id
        if client_order_id is None:
            client_order_id = self._ids.next(self.now_ns)
        else:
            try:
                validate_user_order_id(client_order_id)
            except InvalidClientOrderIdError as error:
                raise InvalidOrderError("client_order_id", str(error)) from None
            if client_order_id.startswith(_RESERVED_PREFIXES):
                raise InvalidOrderError(
                    "client_order_id",
                    f"Ids that begin with {client_order_id.split(':')[0]}: are not for orders.",
                )
        return OrderParams(
            client_order_id=client_order_id,
            venue_order_key=self._venue_order_key(client_order_id),
            trading_pair=request.trading_pair,
            instrument=rule.instrument,
            order_type=order_type,
            trade_type=side,
            amount=quantized,
            price=price,
            position_action=request.position_action,
            time_in_force=TimeInForce.IOC if order_type is OrderType.MARKET else request.time_in_force,
            trigger_price=trigger,
            requested_amount=None if quantized == amount else amount,
            requested_price=None if asked is None or asked == price else asked,
            reference_price=mid,
            parent_id=None if request.parent_id is None else _plain_text("parent id", request.parent_id),
            tag=_plain_text("tag", request.tag),
        )

    def _command(self, command: Input) -> None:
        if self._command_sink is None:
            raise NotReadyError(("start",))
        self._command_sink(command)

    # -- what a venue's core adds --------------------------------------------------------------------------

    @abstractmethod
    def _venue_order_key(self, client_order_id: str) -> str:
        """The client id in the venue's own format; a pure function of the id."""

    @abstractmethod
    def _market_price(
        self, rule: TradingRule, side: TradeType, reference: Decimal, order_type: OrderType
    ) -> Decimal:
        """The protection limit of an order that executes at the market."""

    @abstractmethod
    def _closes_all(self, request: OrderRequest, amount: Decimal) -> bool:
        """Whether the order closes the whole position (then the minimum value does not bind)."""

    @abstractmethod
    def _on_started(self, started: Started) -> None:
        """Restore memory; begin to establish the truth."""

    @abstractmethod
    def _send_orders(self, orders: Sequence[InFlightOrder]) -> None:
        """Queue the requests that place these."""

    @abstractmethod
    def _send_cancels(self, orders: Sequence[InFlightOrder], reason_code: str) -> None:
        """Queue the requests that cancel these."""

    @abstractmethod
    def _send_amend(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> None:
        """Queue the request that changes this."""

    @abstractmethod
    def _on_stream_connected(self, connected: StreamConnected) -> None: ...

    @abstractmethod
    def _on_stream_lost(self, lost: StreamLost) -> None: ...

    @abstractmethod
    def _on_stream_frame(self, frame: StreamFrame) -> None: ...

    @abstractmethod
    def _on_request_answered(self, answered: RequestAnswered) -> None: ...

    @abstractmethod
    def _on_request_failed(self, failed: RequestFailed) -> None: ...

    @abstractmethod
    def _on_nothing_stored(self, key: str) -> None:
        """The ledger does not hold the order either: it was placed elsewhere."""

    @abstractmethod
    def _on_deadline(self, name: str, key: str) -> None:
        """A deadline set with `_set_deadline` has come."""

    @abstractmethod
    def _before_outcome(self) -> None:
        """Last thing of every step: queue what became possible."""

    @abstractmethod
    def _after_changes(self, changes: list[Change]) -> None:
        """See every event of the step, once, in order. Not called when there is none."""

    # -- the step ------------------------------------------------------------------------------------------

    def step(self, item: Input) -> Outcome:
        """Handle one input: the only way the core changes. Pure: the same inputs give the same outcomes."""
        kind, tracker = type(item), self.tracker
        self.now_ns = max(self.now_ns, item.at_ns)
        self.sequence = item.sequence
        self._stamp(_SOURCES.get(kind, _FROM_COMMAND))
        self._handlers[kind](item)
        self._before_outcome()
        for key in tracker.take_lookups():
            self._effects.append(LookUpOrder(key=key))
        if not self._stalled_because:
            # While events wait for the disk, an order that left memory could not be read back as it stands.
            tracker.evict_done(self.now_ns)
        changes = tracker.take_changes()
        if changes:
            self._after_changes(changes)
        effects, self._effects = self._effects, []
        if not self._books_moved:
            return Outcome(changes, effects)
        books = tuple(self._books_moved)
        self._books_moved.clear()
        return Outcome(changes, effects, books)

    def _stamp(self, source: Source) -> None:
        stamp = Stamp(self.now_ns, source, f"{self._session}:{self.sequence}")
        self.tracker.stamp = stamp
        self.account.stamp = stamp

    def _effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _alert(self, code: str, message: str, *, level: str = "warning", order: str = "") -> None:
        self.alerts_raised += 1
        self._effects.append(Alert(code=code, message=message, level=level, client_order_id=order))

    def halt(self, why: str) -> None:
        """Stop accepting orders. What is out stays tracked."""
        if why == self.halted_because:
            return
        self.halted_because = why
        self._alert("trading_halted", f"Trading is halted: {why}", level="error")

    # -- deadlines -----------------------------------------------------------------------------------------

    @property
    def next_wakeup_ns(self) -> int | None:
        """When the shell should feed `TimerFired`; None when nothing is due."""
        return self._deadlines[0][0] if self._deadlines else None

    def _set_deadline(self, delay_ns: int, name: str, key: str = "") -> None:
        self._deadline_count += 1
        heapq.heappush(self._deadlines, (self.now_ns + delay_ns, self._deadline_count, name, key))

    def _on_timer_fired(self, fired: TimerFired) -> None:
        while self._deadlines and self._deadlines[0][0] <= self.now_ns:
            _, _, name, key = heapq.heappop(self._deadlines)
            self._on_deadline(name, key)

    # -- commands ------------------------------------------------------------------------------------------

    def _on_place_orders(self, command: PlaceOrders) -> None:
        created = []
        for params in command.orders:
            # Known to the tracker before it is no longer announced: other threads find it in one of the two.
            created.append(self.tracker.create(params))
            self._issued.pop(params.client_order_id, None)
        why = self.halted_because or ("the process is shutting down" if self.stopping else "")
        if why:
            for order in created:
                self.tracker.refused(order, ClosingKind.FAILED, "not_sent_halted", why)
            return
        self._send_orders(created)

    def _on_cancel_orders(self, command: CancelOrders) -> None:
        orders = []
        for client_order_id in command.client_order_ids:
            order = self.tracker.get(client_order_id)
            if order is None:
                self._alert("cancel_unknown_order", f"No order {client_order_id!r} to cancel.")
            elif order.is_done:
                self.tracker.observe(order, "cancel_after_end", f"already {order.state}")
            else:
                orders.append(order)
        self._send_cancels(orders, command.reason_code)

    def _on_cancel_all(self, command: CancelAll) -> None:
        pair = command.trading_pair
        self._send_cancels(
            [o for o in self.tracker.live_orders() if pair is None or o.trading_pair == pair],
            command.reason_code,
        )

    def _on_amend_order(self, command: AmendOrder) -> None:
        order = self.tracker.get(command.client_order_id)
        if order is None:
            self._alert("amend_unknown_order", f"No order {command.client_order_id!r} to amend.")
        elif order.is_done:
            self.tracker.observe(order, "amend_after_end", f"already {order.state}")
        elif order.is_amending:
            self.tracker.observe(order, "amend_while_amending", "an earlier amend is not settled yet")
        else:
            self._send_amend(order, command.price, command.amount)

    def _on_stopping(self, stopping: Stopping) -> None:
        self.stopping = True
        if stopping.cancel_open_orders:
            self._send_cancels(
                [order for order in self.tracker.live_orders() if not order.is_external], "shutdown"
            )

    def _on_ledger_stalled(self, stalled: LedgerStalled) -> None:
        # A halt for another reason outlives the stall.
        is_only_stalled = self.halted_because == self._stalled_because
        self._stalled_because = stalled.reason
        if not is_only_stalled:
            return
        if stalled.reason:
            self.halt(stalled.reason)
        elif self.halted_because:
            self.halted_because = ""
            self._alert("trading_resumed", "What happens can be recorded again; trading resumes.")

    def _on_order_looked_up(self, found: OrderLookedUp) -> None:
        if found.events:
            self.tracker.restore([self._decode_event(topic, state) for topic, state in found.events])
        else:
            self._on_nothing_stored(found.key)

    # -- listeners: after the commit -----------------------------------------------------------------------

    def add_listener(self, listener: object) -> None:
        """Hear committed events, fills or alerts: whichever of the listener classes it is."""
        kinds = 0
        if isinstance(listener, OrderEventListener):
            self._order_listeners.append(listener)
            kinds += 1
        if isinstance(listener, TradeEventListener):
            self._trade_listeners.append(listener)
            kinds += 1
        if hasattr(listener, "on_alert"):
            self._error_listeners.append(listener)
            kinds += 1
        if not kinds:
            raise TypeError(f"{type(listener).__name__} is no order, trade or error event listener.")

    def remove_listener(self, listener: object) -> None:
        self._order_listeners = [heard for heard in self._order_listeners if heard is not listener]
        self._trade_listeners = [heard for heard in self._trade_listeners if heard is not listener]
        self._error_listeners = [heard for heard in self._error_listeners if heard is not listener]

    def notify_committed(self, committed: Committed, on_error: Callable[[object, Exception], None]) -> None:
        """Tell listeners about one durable event. What a listener raises goes to `on_error`."""
        view, event = committed.view, committed.event
        if view is None:
            return
        calls: list[tuple[object, Callable[..., None], tuple[object, ...]]]
        calls = [(heard, heard.on_order_update, (committed,)) for heard in self._order_listeners]
        if isinstance(event, OrderFilled):
            calls += [(heard, heard.on_order_filled, (view, event)) for heard in self._trade_listeners]
        specific = "" if committed.repeats else _specific_call(event, view)
        if specific:
            calls += [(heard, getattr(heard, specific), (view,)) for heard in self._order_listeners]
        for target, call, args in calls:
            try:
                call(*args)
            except Exception as error:
                self.listener_errors += 1
                on_error(target, error)

    def notify_alert(self, alert: Alert, on_error: Callable[[object, Exception], None]) -> None:
        for listener in self._error_listeners:
            try:
                listener.on_alert(alert.code, alert.message, alert.client_order_id)
            except Exception as error:
                self.listener_errors += 1
                on_error(listener, error)

    def status(self) -> Mapping[str, object]:
        """Figures a person wants on one line."""
        return {
            "ready": self.ready,
            "waiting_for": list(self.readiness),
            "halted_because": self.halted_because,
            "live_orders": self.tracker.live_count,
            "duplicates_ignored": self.tracker.duplicates_ignored + self.account.duplicates_ignored,
            "unknown_outcomes_resolved": self.tracker.unknown_outcomes_resolved,
        }


_CHOICES: tuple[tuple[str, type[StrEnum]], ...] = (
    ("order_type", OrderType),
    ("trade_type", TradeType),
    ("position_action", PositionAction),
    ("time_in_force", TimeInForce),
)


def _plain_text(name: str, value: object) -> str:
    """A text that survives the store, a log line and a terminal."""
    if not isinstance(value, str) or len(value) > _TEXT_MAX or not value.isprintable():
        raise InvalidOrderError(
            "not_plain_text",
            f"Pass the {name} as at most {_TEXT_MAX} printable characters, not {value!r:.40}.",
        )
    return value


def _with_choices(request: OrderRequest) -> OrderRequest:
    """The same request with the members of closed vocabularies in place of texts that name them."""
    given = {
        name: getattr(request, name) for name, kind in _CHOICES if type(getattr(request, name)) is not kind
    }
    if not given:
        return request
    chosen: dict[str, Any] = {}
    for name, kind in _CHOICES:
        if name in given:
            try:
                chosen[name] = kind(given[name])
            except ValueError:
                raise InvalidOrderError(
                    f"unknown_{name}", f"{given[name]!r:.40} is no {name}; choose from: {', '.join(kind)}."
                ) from None
    return msgspec.structs.replace(request, **chosen)


def _specific_call(event: LedgerEvent, view: OrderView) -> str:
    """Which listener method an event calls besides `on_order_update`."""
    match event:
        case OrderAcknowledged():
            return "on_order_created"
        case OrderFilled(fill=fill):
            # The fill that reaches the amount, and no later one.
            before = MONEY.subtract(view.filled_amount, fill.amount)
            return "on_order_completed" if before < view.amount <= view.filled_amount else ""
        case OrderCancelled():
            return "on_order_cancelled"
        case OrderFailed():
            return "on_order_failed"
        case OrderExpired():
            return "on_order_expired"
    return ""
