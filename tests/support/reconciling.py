"""A small venue and a small ledger beside it, for comparing one with the other.

`VenueHistory` is the truth of one account: orders, executions, funding, transfers, and the positions and cash
that follow from them. `Bookkeeper` is what a ledger made of it: a tracker and an account, fed by hand, whose
events fold into `Books`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker, external_order_id
from domain.discrepancies import (
    BookedFill,
    Books,
    Discrepancy,
    OrderAnswer,
    Transfer,
    VenueReport,
    Window,
)
from domain.enums import Liquidity, Source, TradeType
from domain.event_codec import decode_event, encode_events
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountPositionAsserted,
    Fill,
    LedgerEvent,
    OrderEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.in_flight_order import InFlightOrder
from domain.order_params import OrderParams
from domain.position import Position
from domain.repairs import apply_discrepancy
from domain.updates import (
    Change,
    FundingUpdate,
    OrderDetails,
    OrderUpdate,
    PositionUpdate,
    Stamp,
    TradeUpdate,
    UpdateStatus,
)

__all__ = [
    "BEGIN_MS",
    "NOW_MS",
    "STEPS",
    "Bookkeeper",
    "VenueHistory",
    "VenueOrder",
    "books_of",
    "settle",
]

BEGIN_MS = 1_700_000_000_000
NOW_MS = BEGIN_MS + 3_600_000
STEPS = {"BTC-USD": Decimal("0.001"), "ETH-USD": Decimal("0.01")}
OPENING_CASH = Decimal("10000")


class VenueOrder(msgspec.Struct):
    """An order as the venue has it. `client_order_id` None: placed elsewhere."""

    oid: str
    client_order_id: str | None
    trading_pair: str
    trade_type: TradeType
    price: Decimal
    amount: Decimal
    placed_ms: int
    status: UpdateStatus = UpdateStatus.OPEN
    ended_ms: int | None = None
    fills: list[Fill] = msgspec.field(default_factory=list)

    @property
    def key(self) -> str | None:
        return None if self.client_order_id is None else f"key-{self.client_order_id}"

    @property
    def filled(self) -> Decimal:
        return sum((fill.amount for fill in self.fills), Decimal(0))

    def details(self) -> OrderDetails:
        return OrderDetails(
            trading_pair=self.trading_pair,
            instrument=self.trading_pair.partition("-")[0],
            trade_type=self.trade_type,
            price=self.price,
            amount=self.amount,
        )

    def update(self) -> OrderUpdate:
        """What the venue says about it now."""
        ended = self.status is not UpdateStatus.OPEN
        return OrderUpdate(
            status=self.status,
            exchange_order_id=self.oid,
            venue_order_key=self.key,
            exchange_time_ms=self.ended_ms if ended else self.placed_ms,
            reason_code=f"venue_{self.status}" if ended else "",
            reason=self.status.value if ended else "",
            remaining_amount=self.amount - self.filled,
            details=self.details(),
        )


class VenueHistory:
    """What happened to an account since its books began, flat and with `OPENING_CASH`."""

    def __init__(self) -> None:
        self.orders: list[VenueOrder] = []
        self.ownerless: list[Fill] = []
        self.fundings: list[FundingUpdate] = []
        self.transfers: list[Transfer] = []
        self.leverage: dict[str, tuple[int, bool]] = dict.fromkeys(STEPS, (20, True))
        self.positions: dict[str, Decimal] = dict.fromkeys(STEPS, Decimal(0))
        self.cash = OPENING_CASH
        self.now_ms = BEGIN_MS
        self.placed = 0

    def _later(self) -> int:
        self.now_ms += 1_000
        return self.now_ms

    def place(
        self,
        client_order_id: str | None = "ol-1",
        amount: str | Decimal = "10",
        *,
        trading_pair: str = "BTC-USD",
        trade_type: TradeType = TradeType.BUY,
        price: str | Decimal = "100",
    ) -> VenueOrder:
        self.placed += 1
        order = VenueOrder(
            oid=str(1000 + self.placed),
            client_order_id=client_order_id,
            trading_pair=trading_pair,
            trade_type=trade_type,
            price=Decimal(price),
            amount=Decimal(amount),
            placed_ms=self._later(),
        )
        self.orders.append(order)
        return order

    def fill(self, order: VenueOrder, amount: str | Decimal, **members: Any) -> Fill:
        fill = self._execution(
            order.oid, order.trading_pair, order.trade_type, order.price, Decimal(amount), **members
        )
        order.fills.append(fill)
        if order.filled >= order.amount:
            order.status, order.ended_ms = UpdateStatus.FILLED, fill.exchange_time_ms
        return fill

    def fill_without_order(
        self, trading_pair: str, trade_type: TradeType, amount: str | Decimal, **members: Any
    ) -> Fill:
        oid = str(900_000 + len(self.ownerless))
        fill = self._execution(oid, trading_pair, trade_type, Decimal(90), Decimal(amount), **members)
        self.ownerless.append(fill)
        return fill

    def _execution(
        self,
        oid: str,
        pair: str,
        side: TradeType,
        price: Decimal,
        amount: Decimal,
        *,
        time_ms: int | None = None,
        **members: Any,
    ) -> Fill:
        count = sum(len(order.fills) for order in self.orders) + len(self.ownerless)
        fill = Fill(
            fill_key=f"{pair}:{oid}:{count}",
            trade_id=str(count),
            exchange_order_id=oid,
            trading_pair=pair,
            trade_type=side,
            price=price,
            amount=amount,
            fee=Decimal("0.012345"),
            fee_token="USDC",
            liquidity=Liquidity.TAKER,
            exchange_time_ms=self._later() if time_ms is None else time_ms,
            start_position=self.positions[pair],
            **members,
        )
        self.positions[pair] += side.sign * amount
        self.cash -= side.sign * amount * price + fill.fee
        return fill

    def end(self, order: VenueOrder, status: UpdateStatus = UpdateStatus.CANCELLED) -> None:
        order.status, order.ended_ms = status, self._later()

    def pay_funding(self, pair: str = "BTC-USD", amount: str | Decimal = "-1.5") -> FundingUpdate:
        time_ms = self._later()
        update = FundingUpdate(
            funding_key=f"{pair}:{time_ms}",
            trading_pair=pair,
            amount=Decimal(amount),
            token="USDC",
            rate=Decimal("0.0000125"),
            position_size=self.positions[pair],
            exchange_time_ms=time_ms,
        )
        self.cash += update.amount
        self.fundings.append(update)
        return update

    def transfer(self, amount: str | Decimal = "50") -> Transfer:
        time_ms = self._later()
        transfer = Transfer(
            f"{time_ms}:0x1:deposit", "deposit", Decimal(amount), "USDC", "{}", time_ms, Decimal(amount)
        )
        self.cash += Decimal(amount)
        self.transfers.append(transfer)
        return transfer

    def order(self, client_order_id: str) -> VenueOrder:
        return next(order for order in self.orders if order.client_order_id == client_order_id)

    def trades(self) -> list[TradeUpdate]:
        """Every execution in the order of time."""
        owned = [TradeUpdate(fill=f, venue_order_key=o.key) for o in self.orders for f in o.fills]
        ownerless = [TradeUpdate(fill=fill, ownerless=True) for fill in self.ownerless]
        return sorted((*owned, *ownerless), key=lambda update: update.fill.exchange_time_ms)

    def report(self, *, taken_at_ms: int = NOW_MS, **members: Any) -> VenueReport:
        """What the venue answers to everything; every order that is not listed is asked about."""
        window = Window(BEGIN_MS + 1, BEGIN_MS + 1, taken_at_ms)
        told: dict[str, Any] = {
            "taken_at_ms": taken_at_ms,
            "open_orders": [o.update() for o in self.orders if o.status is UpdateStatus.OPEN],
            "asked": {
                order.client_order_id or external_order_id("hyperliquid", order.oid): OrderAnswer(
                    order.update()
                )
                for order in self.orders
                if order.status is not UpdateStatus.OPEN
            },
            "details": {order.oid: order.update() for order in self.orders if order.client_order_id is None},
            "fills": self.trades(),
            "fills_window": window,
            "fundings": list(self.fundings),
            "fundings_window": window,
            "transfers": list(self.transfers),
            "transfers_window": window,
            "positions": [
                PositionUpdate(
                    trading_pair=pair,
                    amount=amount,
                    entry_price=Decimal(100),
                    leverage=self.leverage[pair][0],
                    is_cross=self.leverage[pair][1],
                )
                for pair, amount in self.positions.items()
                if amount
            ],
            "positions_at_ms": taken_at_ms,
            "cash": self.cash,
            "cash_token": "USDC",
            "steps": STEPS,
        }
        return VenueReport(**(told | members))


class Bookkeeper:
    """A tracker and an account with one list of changes, and the log they made."""

    def __init__(self) -> None:
        changes: list[Change] = []
        self.tracker = ClientOrderTracker(venue="hyperliquid", account="0xaa", changes=changes)
        self.account = Account(venue="hyperliquid", address="0xaa", changes=changes)
        self.log: list[LedgerEvent] = []
        self.at(BEGIN_MS)
        self.account.open("testnet", "", BEGIN_MS)
        self.account.assert_balance("USDC", OPENING_CASH, opening=True, exchange_time_ms=BEGIN_MS)
        for pair in STEPS:
            self.account.leverage_changed(pair, 20, True)
        self.collect()

    def at(self, time_ms: int, source: Source = Source.STREAM) -> None:
        self.tracker.stamp = self.account.stamp = Stamp(time_ms * 1_000_000, source, f"test:{time_ms}")

    def collect(self) -> list[LedgerEvent]:
        """What was recorded since the last call: each aggregate's versions without a hole."""
        new = [change.event for change in self.tracker.take_changes()]
        versions: dict[str, int] = {}
        for event in self.log:
            versions[event.originator_id] = event.originator_version
        for event in new:
            assert event.originator_version == versions.get(event.originator_id, 0) + 1
            versions[event.originator_id] = event.originator_version
        self.log += new
        return new

    # -- what a live process would have recorded -----------------------------------------------------------

    def created(self, order: VenueOrder) -> InFlightOrder:
        """Meant to be placed, and not sent."""
        assert order.client_order_id is not None
        self.at(order.placed_ms, Source.COMMAND)
        held = self.tracker.create(
            OrderParams(
                client_order_id=order.client_order_id,
                venue_order_key=order.key or "",
                trading_pair=order.trading_pair,
                instrument=order.trading_pair.partition("-")[0],
                order_type=order.details().order_type,
                trade_type=order.trade_type,
                amount=order.amount,
                price=order.price,
            )
        )
        self.collect()
        return held

    def send(self, order: VenueOrder) -> None:
        """`sent`, for those who need no answer either."""
        self.sent(order)

    def sent(self, order: VenueOrder, *, expires_at_ms: int | None = None) -> InFlightOrder:
        """Created and sent; no answer."""
        held = self.created(order)
        expiry_ms = order.placed_ms + 10_000 if expires_at_ms is None else expires_at_ms
        self.tracker.submitted(held, nonce=order.placed_ms, expires_at_ms=expiry_ms)
        self.collect()
        return held

    def placed(self, order: VenueOrder) -> InFlightOrder:
        """Created, sent and acknowledged."""
        held = self.sent(order)
        self.tracker.process_order_update(
            msgspec.structs.replace(
                order.update(),
                status=UpdateStatus.OPEN,
                exchange_time_ms=order.placed_ms,
                reason_code="",
                reason="",
            )
        )
        self.collect()
        return held

    def adopted(self, order: VenueOrder) -> None:
        """Placed elsewhere, and known."""
        self.at(order.placed_ms)
        self.tracker.adopt(f"oid:{order.oid}", order.oid, order.details())
        self.collect()

    def filled(self, fill: Fill) -> None:
        self.at(fill.exchange_time_ms)
        if self.tracker.find(None, fill.exchange_order_id) is None:
            self.account.book_fill(fill)
        else:
            self.tracker.process_trade_update(TradeUpdate(fill=fill))
        self.collect()

    def ended(self, order: VenueOrder) -> None:
        assert order.ended_ms is not None
        self.at(order.ended_ms)
        self.tracker.process_order_update(order.update())
        self.collect()

    def told(self, update: OrderUpdate) -> None:
        """A status, at the time at which the books are."""
        self.tracker.process_order_update(update)
        self.collect()

    def paid(self, update: FundingUpdate) -> None:
        self.at(update.exchange_time_ms)
        self.account.book_funding(update)
        self.collect()

    def transferred(self, transfer: Transfer) -> None:
        self.at(transfer.exchange_time_ms)
        self.account.book_ledger_update(
            update_key=transfer.update_key,
            kind=transfer.kind,
            amount=transfer.amount,
            token=transfer.token,
            detail=transfer.detail,
            exchange_time_ms=transfer.exchange_time_ms,
        )
        self.collect()

    def follow(self, venue: VenueHistory, *, but: Collection[str] = ()) -> None:
        """Record everything that happened, as it happened, but for the orders, executions, payments and
        transfers with these ids, and the ends with `end:<id>`."""
        for order in venue.orders:
            if order.oid in but:
                continue
            if order.client_order_id is None:
                self.adopted(order)
            else:
                self.placed(order)
        for update in venue.trades():
            if update.fill.fill_key not in but:
                self.filled(update.fill)
        for order in venue.orders:
            if order.status is not UpdateStatus.OPEN and not {order.oid, f"end:{order.oid}"} & set(but):
                self.ended(order)
        for payment in venue.fundings:
            if payment.funding_key not in but:
                self.paid(payment)
        for transfer in venue.transfers:
            if transfer.update_key not in but:
                self.transferred(transfer)

    def books(self) -> Books:
        return books_of(self.log)


def books_of(log: Sequence[LedgerEvent]) -> Books:
    """What a log holds, folded from its stored form."""
    events = [decode_event(topic, state) for topic, state in encode_events(log)]
    histories: dict[str, list[LedgerEvent]] = {}
    fills: dict[tuple[str, str | None], Fill] = {}
    fundings: list[FundingUpdate] = []
    transfers: list[Transfer] = []
    positions: dict[str, Position] = {}
    cash = Decimal(0)

    def position(pair: str) -> Position:
        return positions.setdefault(pair, Position(trading_pair=pair))

    def book(fill: Fill, owner: str | None) -> None:
        nonlocal cash
        assert (fill.fill_key, owner) not in fills
        fills[fill.fill_key, owner] = fill
        position(fill.trading_pair).apply_fill(fill.price, fill.amount, fill.trade_type)
        cash += _cash_of(fill)

    def take_back(fill: Fill, owner: str | None) -> None:
        nonlocal cash
        assert fills.pop((fill.fill_key, owner)) == fill
        position(fill.trading_pair).undo_fill(fill.price, fill.amount, fill.trade_type)
        cash -= _cash_of(fill)

    for event in events:
        owner = event.originator_id if isinstance(event, OrderEvent) else None
        if isinstance(event, OrderEvent):
            histories.setdefault(event.originator_id, []).append(event)
        if isinstance(event, OrderFilled | AccountFillBooked):
            book(event.fill, owner)
        elif isinstance(event, OrderFillCorrected | AccountFillCorrected):
            take_back(event.was, owner)
            if event.now is not None:
                book(event.now, owner)
        elif isinstance(event, AccountFundingBooked):
            cash += event.amount
            fundings.append(FundingUpdate.of_booked(event))
        elif isinstance(event, AccountLedgerUpdateBooked):
            cash += event.amount or 0
            transfers.append(
                Transfer(
                    event.update_key,
                    event.kind,
                    event.amount,
                    event.token,
                    event.detail,
                    event.exchange_time_ms or 0,
                    event.amount,
                )
            )
        elif isinstance(event, AccountBalanceAsserted) and (event.opening or event.adjustment):
            cash = event.amount
        elif isinstance(event, AccountPositionAsserted) and (event.opening or event.adjustment):
            position(event.trading_pair).assert_opening(event.amount, event.entry_price)
        elif isinstance(event, AccountLeverageChanged):
            position(event.trading_pair).apply_leverage(event.leverage, event.is_cross)
    return Books(
        books_begin_ms=BEGIN_MS,
        orders={key: InFlightOrder.fold(history) for key, history in histories.items()},
        fills=[BookedFill(fill, owner) for (_, owner), fill in fills.items()],
        fundings=fundings,
        transfers=transfers,
        positions=positions,
        cash=cash,
    )


def _cash_of(fill: Fill) -> Decimal:
    fee = fill.fee if fill.fee_token == "USDC" else Decimal(0)
    return -fill.trade_type.sign * fill.amount * fill.price - fee


def settle(
    found: Iterable[Discrepancy], log: Sequence[LedgerEvent], *, repair: bool = True, actor: str = "a test"
) -> list[LedgerEvent]:
    """Apply findings to a tracker and an account restored from a log; the events that came of it."""
    changes: list[Change] = []
    tracker = ClientOrderTracker(venue="hyperliquid", account="0xaa", changes=changes)
    account = Account(venue="hyperliquid", address="0xaa", changes=changes)
    tracker.stamp = account.stamp = Stamp(NOW_MS * 1_000_000, Source.RECONCILIATION, "test:reconcile")
    histories: dict[str, list[LedgerEvent]] = {}
    version = 0
    unsettled: dict[str, None] = {}
    for event in log:
        if isinstance(event, OrderEvent):
            histories.setdefault(event.originator_id, []).append(event)
        if isinstance(event, AccountEvent):
            version = event.originator_version
        if isinstance(event, AccountDiscrepancyFound):
            unsettled[event.discrepancy_id] = None
        elif isinstance(event, AccountDiscrepancyRepaired):
            unsettled.pop(event.discrepancy_id, None)
    for history in histories.values():
        tracker.restore(history)
    books = books_of(log)
    account.restore(
        version,
        [payment.funding_key for payment in books.fundings],
        [booked.fill.fill_key for booked in books.fills if booked.client_order_id is None],
        is_open=True,
        unsettled_discrepancies=unsettled,
    )
    for one in found:
        apply_discrepancy(one, tracker, account, actor=actor, repair=repair)
    assert tracker.held_count == 0
    return [change.event for change in tracker.take_changes()]
