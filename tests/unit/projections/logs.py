"""Logs to fold: a builder of events, a log in memory, and strategies for logs of any kind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
from hypothesis import strategies as st

from domain.enums import (
    ClosingKind,
    Liquidity,
    OrderType,
    PositionAction,
    Source,
    TimeInForce,
    TradeType,
)
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountOpened,
    AccountPositionAsserted,
    Fill,
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRequested,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
    OrderTriggered,
)
from projections.event_source import OnUnreadable, PositionedEvent

VENUE = "hyperliquid"
ACCOUNT = "0x14791697260e4c9a71f18484c9f997b308e59325"
ACCOUNT_ID = f"account:{VENUE}:{ACCOUNT}"
START_NS = 1_700_000_000_000_000_000


class LogBuilder:
    """Makes the next event of any aggregate, with versions and times that follow each other."""

    def __init__(self) -> None:
        self.events: list[LedgerEvent] = []
        self._versions: dict[str, int] = {}

    def add(self, event_type: type[LedgerEvent], originator_id: str, **members: Any) -> LedgerEvent:
        version = self._versions.get(originator_id, 0) + 1
        self._versions[originator_id] = version
        members.setdefault("source", Source.STREAM)
        event = event_type(
            originator_id=originator_id,
            originator_version=version,
            recorded_at_ns=START_NS + 1_000_000 * len(self.events),
            venue=VENUE,
            account=ACCOUNT,
            causation=f"s1:{len(self.events)}",
            **members,
        )
        self.events.append(event)
        return event

    def created(self, order_id: str, **members: Any) -> LedgerEvent:
        return self.add(
            OrderCreated,
            order_id,
            **{
                "source": Source.COMMAND,
                "trading_pair": "BTC-USD",
                "instrument": "BTC",
                "order_type": OrderType.LIMIT,
                "trade_type": TradeType.BUY,
                "amount": Decimal("1"),
                "price": Decimal("43000"),
                **members,
            },
        )

    def submitted(self, order_id: str) -> LedgerEvent:
        return self.add(
            OrderSubmitted, order_id, source=Source.COMMAND, attempt=1, nonce=len(self.events) + 1
        )

    def acknowledged(self, order_id: str, exchange_order_id: str | None = None) -> LedgerEvent:
        return self.add(OrderAcknowledged, order_id, exchange_order_id=exchange_order_id)

    def open_order(self, order_id: str, exchange_order_id: str, **members: Any) -> None:
        """The three events of an order that rests at the venue."""
        self.created(order_id, **members)
        self.submitted(order_id)
        self.acknowledged(order_id, exchange_order_id)

    def filled(self, order_id: str, **members: Any) -> LedgerEvent:
        return self.add(OrderFilled, order_id, fill=a_fill(**members))

    def corrected(self, was: LedgerEvent | tuple[str, Fill], now: Fill | None, **members: Any) -> LedgerEvent:
        """The correction of a fill: of what an event booked, or of what an aggregate (its id) has."""
        if isinstance(was, tuple):
            originator_id, fill = was
        else:
            assert isinstance(was, OrderFilled | AccountFillBooked)
            originator_id, fill = was.originator_id, was.fill
        return self.add(
            AccountFillCorrected if originator_id == ACCOUNT_ID else OrderFillCorrected,
            originator_id,
            **{
                "source": Source.RECONCILIATION,
                "was": fill,
                "now": now,
                "reason_code": "price_mismatch" if now is not None else "phantom_fill",
                "discrepancy_id": "D-1",
                **members,
            },
        )

    def found(self, discrepancy_id: str, **members: Any) -> LedgerEvent:
        return self.account(
            AccountDiscrepancyFound,
            **{
                "source": Source.RECONCILIATION,
                "discrepancy_id": discrepancy_id,
                "kind": "phantom_fill",
                "subject": "1001",
                "trading_pair": "BTC-USD",
                "ours": "buy 0.4 at 43000",
                "theirs": "nothing",
                "explanation": "The venue's complete history does not hold it.",
                "evidence": "[]",
                **members,
            },
        )

    def repaired(self, discrepancy_id: str, **members: Any) -> LedgerEvent:
        return self.account(
            AccountDiscrepancyRepaired,
            **{
                "source": Source.RECONCILIATION,
                "discrepancy_id": discrepancy_id,
                "reason": "Taken back.",
                "actor": "reconciliation",
                **members,
            },
        )

    def waived(self, discrepancy_id: str, **members: Any) -> LedgerEvent:
        return self.account(
            AccountDiscrepancyWaived,
            **{"discrepancy_id": discrepancy_id, "reason": "It does no harm.", "actor": "maria", **members},
        )

    def account(self, event_type: type[LedgerEvent], **members: Any) -> LedgerEvent:
        return self.add(event_type, ACCOUNT_ID, **members)


def a_fill(**members: Any) -> Fill:
    return Fill(
        **{
            "fill_key": "1001",
            "trade_id": "1001",
            "exchange_order_id": "77",
            "trading_pair": "BTC-USD",
            "trade_type": TradeType.BUY,
            "price": Decimal("43000"),
            "amount": Decimal("0.4"),
            "fee": Decimal("1.72"),
            "fee_token": "USDC",
            "liquidity": Liquidity.MAKER,
            "exchange_time_ms": 1_700_000_000_123,
            **members,
        }
    )


class Unreadable(Exception):
    """An event that cannot be decoded any more."""

    def __init__(self, event: LedgerEvent, position: int) -> None:
        super().__init__(f"event at position {position}: its state cannot be decoded")
        self.topic = event.topic
        self.originator_id = event.originator_id
        self.originator_version = event.originator_version
        self.position: int | None = position


class MemoryLog:
    """A log in memory that can grow while it is followed. Positions begin at 1."""

    def __init__(self, events: Sequence[LedgerEvent] = (), ledger_id: str = "a" * 32) -> None:
        self.ledger_id = ledger_id
        self.unreadable: set[int] = set()
        self._events: list[LedgerEvent] = []
        self._hashes = [b""]
        self._grown = threading.Condition()
        self.append(*events)

    def append(self, *events: LedgerEvent) -> None:
        with self._grown:
            for event in events:
                self._events.append(event)
                self._hashes.append(sha256(self._hashes[-1] + msgspec.msgpack.encode(event)).digest())
            self._grown.notify_all()

    @property
    def max_position(self) -> int:
        return len(self._events)

    def hash_at(self, position: int) -> str:
        return self._hashes[position].hex() if position <= len(self._events) else ""

    def events_of(self, originator_id: str, before_version: int) -> Sequence[LedgerEvent]:
        return [
            event
            for event in self._events
            if event.originator_id == originator_id and event.originator_version < before_version
        ]

    def events_until(self, originator_ids: Sequence[str], position: int) -> dict[str, list[PositionedEvent]]:
        found: dict[str, list[PositionedEvent]] = {originator_id: [] for originator_id in originator_ids}
        for at, event in enumerate(self._events[:position], 1):
            if event.originator_id in found:
                found[event.originator_id].append((at, event))
        return found

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnUnreadable
    ) -> MemorySubscription:
        return MemorySubscription(self, after_position, batch_size, on_unreadable)

    def wait_beyond(self, position: int, timeout: float | None, closed: threading.Event) -> None:
        with self._grown:
            self._grown.wait_for(lambda: self.max_position > position or closed.is_set(), timeout)

    def wake(self) -> None:
        with self._grown:
            self._grown.notify_all()


class MemorySubscription:
    def __init__(
        self, log: MemoryLog, after_position: int, batch_size: int, on_unreadable: OnUnreadable
    ) -> None:
        self._log = log
        self._position = after_position
        self._batch_size = batch_size
        self._on_unreadable = on_unreadable
        self._closed = threading.Event()

    def next_batch(self, timeout: float | None = None) -> Sequence[PositionedEvent]:
        self._log.wait_beyond(self._position, timeout, self._closed)
        first = self._position
        self._position = min(self._log.max_position, first + self._batch_size)
        batch: list[PositionedEvent] = []
        for position in range(first + 1, self._position + 1):
            event = self._log._events[position - 1]
            if position in self._log.unreadable:
                self._on_unreadable(Unreadable(event, position))
            else:
                batch.append((position, event))
        return batch

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._log.wake()


PAIRS = ("BTC-USD", "ETH-USD")
_sizes = st.integers(1, 400).map(lambda units: Decimal(units).scaleb(-2))
_prices = st.integers(1, 9_999).map(lambda units: Decimal(units).scaleb(-1))
_fees = st.integers(-50, 200).map(lambda units: Decimal(units).scaleb(-3))
_absurd = st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-1"), Decimal("1e999")])


@st.composite
def logs(
    draw: st.DrawFn, *, max_events: int = 40, poisoned: bool = True, created: bool = False
) -> list[LedgerEvent]:
    """Any events in any order: orders that were never created (unless `created`), twice the same fill, absurd
    numbers (`poisoned`), as well as what a venue really does."""
    builder = LogBuilder()
    for number in range(draw(st.integers(1, max_events))):
        order_id = f"order-{draw(st.integers(0, 4))}"
        if order_id not in builder._versions and (created or draw(st.booleans())):
            _create(draw, builder, order_id)
            continue
        kind = draw(st.sampled_from(_KINDS))
        kind(draw, builder, order_id, number)
        if poisoned and draw(st.integers(0, 15)) == 0:
            _poison(draw, builder, order_id, number)
    return builder.events


def _create(draw: st.DrawFn, builder: LogBuilder, order_id: str) -> None:
    builder.created(
        order_id,
        trading_pair=draw(st.sampled_from(PAIRS)),
        trade_type=draw(st.sampled_from(TradeType)),
        order_type=draw(st.sampled_from(OrderType)),
        position_action=draw(st.sampled_from(PositionAction)),
        time_in_force=draw(st.sampled_from(TimeInForce)),
        amount=draw(_sizes),
        price=draw(_prices),
        trigger_price=draw(st.none() | _prices),
        venue_order_key=draw(st.none() | st.just(f"0x{order_id}")),
        tag=draw(st.sampled_from(["", "maker"])),
        external=draw(st.booleans()),
    )


def _random_fill(draw: st.DrawFn, number: int) -> Fill:
    key = str(draw(st.integers(0, number)))
    return a_fill(
        fill_key=key,
        trade_id=key,
        exchange_order_id=draw(_exchange_ids),
        trading_pair=draw(st.sampled_from(PAIRS)),
        trade_type=draw(st.sampled_from(TradeType)),
        price=draw(_prices),
        amount=draw(_sizes),
        fee=draw(_fees),
        fee_token=draw(st.sampled_from(["USDC", "HYPE"])),
        liquidity=draw(st.sampled_from(Liquidity)),
        closed_pnl=draw(st.none() | _fees),
    )


_exchange_ids = st.sampled_from(["70", "71", "701", "9"])


def _fill_order(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
    builder.add(OrderFilled, order_id, fill=_random_fill(draw, number), exchange_time_ms=number)


def _order_event(event_type: type[LedgerEvent], **strategies: st.SearchStrategy[Any]) -> Any:
    def add(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
        members = {name: draw(strategy) for name, strategy in strategies.items()}
        builder.add(event_type, order_id, **members)

    return add


def _account_event(event_type: type[LedgerEvent], **strategies: st.SearchStrategy[Any]) -> Any:
    def add(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
        builder.account(event_type, **{name: draw(strategy) for name, strategy in strategies.items()})

    return add


def _account_fill(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
    builder.account(AccountFillBooked, fill=_random_fill(draw, number))


def _correct_fill(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
    """Mostly of what was booked, as it was booked; sometimes of what never was, or is booked otherwise."""
    booked = [
        (event.originator_id, fill)
        for event in builder.events
        for fill in (getattr(event, "fill", None), getattr(event, "now", None))
        if fill is not None
    ]
    owner, was = draw(st.sampled_from([*booked[-8:], (order_id, _random_fill(draw, number))]))
    if draw(st.integers(0, 7)) == 0:
        was = msgspec.structs.replace(was, amount=draw(_sizes))
    figures = msgspec.structs.replace(was, price=draw(_prices), amount=draw(_sizes), fee=draw(_fees))
    other = msgspec.structs.replace(_random_fill(draw, number), exchange_order_id=was.exchange_order_id)
    builder.corrected((owner, was), draw(st.sampled_from([None, figures, figures, other])))


def _discrepancy(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
    add = draw(st.sampled_from([builder.found, builder.found, builder.repaired, builder.waived]))
    add(draw(st.sampled_from(["D-1", "D-2"])))


def _poison(draw: st.DrawFn, builder: LogBuilder, order_id: str, number: int) -> None:
    absurd = draw(_absurd)
    fill = msgspec.structs.replace(_random_fill(draw, number), price=absurd)
    draw(
        st.sampled_from(
            [
                lambda: builder.created(order_id, amount=absurd),
                lambda: builder.add(OrderFilled, order_id, fill=fill),
                lambda: builder.account(AccountFillBooked, fill=fill),
                lambda: builder._versions.update({order_id: builder._versions.get(order_id, 0) + 1}),
            ]
        )
    )()


_reasons = st.sampled_from(["requested", "timeout", "post_only_would_cross", "not_found"])
_KINDS = (
    _fill_order,
    _fill_order,
    _account_fill,
    _correct_fill,
    _correct_fill,
    _discrepancy,
    _discrepancy,
    _order_event(OrderSubmitted, attempt=st.just(1), nonce=st.integers(1, 9)),
    _order_event(OrderSubmitUnknown, reason_code=_reasons, reason=st.just("no answer")),
    _order_event(OrderAcknowledged, exchange_order_id=st.none() | _exchange_ids),
    _order_event(OrderTriggered, exchange_order_id=_exchange_ids),
    _order_event(OrderCancelRequested, nonce=st.integers(1, 9)),
    _order_event(OrderCancelUnknown, reason_code=_reasons),
    _order_event(OrderCancelRefused, reason_code=_reasons),
    _order_event(OrderAmendRequested, price=_prices, amount=_sizes, leg_amount=_sizes, nonce=st.just(1)),
    _order_event(OrderAmended, price=_prices, leg_amount=_sizes, exchange_order_id=_exchange_ids),
    _order_event(OrderReportedFilled, exchange_order_id=_exchange_ids),
    _order_event(OrderCancelled, reason_code=_reasons, exchange_order_id=st.none() | _exchange_ids),
    _order_event(OrderFailed, reason_code=_reasons),
    _order_event(OrderExpired, reason_code=_reasons),
    _order_event(OrderNotFound, count=st.integers(1, 3)),
    _order_event(
        OrderObserved,
        why=st.just("still_open"),
        exchange_order_id=st.none() | _exchange_ids,
        closing_kind=st.none() | st.sampled_from(ClosingKind),
    ),
    _account_event(AccountOpened, network=st.just("testnet")),
    _account_event(
        AccountFundingBooked,
        funding_key=st.integers(0, 5).map(str),
        trading_pair=st.sampled_from(PAIRS),
        amount=_fees,
        token=st.just("USDC"),
        rate=_fees,
        position_size=_fees,
    ),
    _account_event(
        AccountLeverageChanged,
        trading_pair=st.sampled_from(PAIRS),
        leverage=st.integers(0, 50),
        is_cross=st.booleans(),
    ),
    _account_event(
        AccountPositionAsserted,
        trading_pair=st.sampled_from(PAIRS),
        amount=_fees,
        entry_price=st.none() | _prices,
        opening=st.booleans(),
        adjustment=st.booleans(),
    ),
    _account_event(
        AccountBalanceAsserted,
        token=st.just("USDC"),
        amount=_fees,
        opening=st.booleans(),
        adjustment=st.booleans(),
    ),
    _order_event(
        OrderReopened,
        exchange_order_id=_exchange_ids,
        reason_code=st.just("open"),
        discrepancy_id=st.just("D-1"),
    ),
    _account_event(
        AccountLedgerUpdateBooked,
        update_key=st.just("1"),
        kind=st.just("deposit"),
        amount=st.none() | _sizes,
        token=st.just("USDC"),
        detail=st.just("{}"),
    ),
    _account_event(AccountLiquidationNoticed, detail=st.just("{}")),
    _account_event(AccountMessageKept, why=st.just("no such channel"), message=st.just("{}")),
)
