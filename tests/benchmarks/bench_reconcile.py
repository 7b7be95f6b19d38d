"""How long a reconciliation takes besides the venue's own time: 10,000 orders and 50,000 fills.

The ledger is a real one in a file, its views are current. What the venue says is made here, so that no second
of it is waiting: all that is booked, and a hundredth of the fills that is not. Timed is all that the command
does with it: finding what to ask about, reading the books, comparing, and repairing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from adapters.cli.ledger_books import AccountBooks
from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from domain.account import Account, account_id
from domain.client_order_tracker import ClientOrderTracker
from domain.discrepancies import Discrepancy, VenueReport, Window
from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import (
    AccountBalanceAsserted,
    AccountOpened,
    Fill,
    LedgerEvent,
    OrderAcknowledged,
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderSubmitted,
)
from domain.reconciliation import find_discrepancies
from domain.repairs import apply_discrepancy
from domain.updates import Change, OrderUpdate, PositionUpdate, Stamp, TradeUpdate, UpdateStatus
from projections import catch_up, views_path_for

ORDERS = 10_000
FILLS_PER_ORDER = 5
RECONCILE_S_MAX = 5.0

_Result = TypeVar("_Result")
_VENUE = "hyperliquid"
_ACCOUNT = "0x14791697260e4c9a71f18484c9f997b308e59325"
_PAIR = "BTC-USD"
_BEGIN_MS = 1_700_000_000_000
_END_MS = _BEGIN_MS + 86_400_000
_LIVE_EVERY = 10
_UNBOOKED_EVERY = 100


def run() -> dict[str, Any]:
    """Seconds for each part and for all of it, once for a ledger that agrees, once with 500 missing fills."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        views = views_path_for(path)
        with OrderLedger.open(path) as ledger:
            events = list(_events())
            for start in range(0, len(events), 5_000):
                ledger.append(events[start : start + 5_000])
            catch_up(LedgerEventSource(ledger), views)
            equal, found = _reconciled(ledger, views, _report(unbooked=False))
            assert not found, found[:3]
            different, found = _reconciled(ledger, views, _report(unbooked=True))
            assert len(found) == ORDERS * FILLS_PER_ORDER // _UNBOOKED_EVERY, len(found)
            repair_s, recorded = _timed(lambda: _repaired(ledger, views, found))
    total = max(sum(equal.values()), sum(different.values()))
    return {
        "orders": ORDERS,
        "fills": ORDERS * FILLS_PER_ORDER,
        **{f"{part}_s": round(seconds, 3) for part, seconds in different.items()},
        "reconcile_s": round(total, 3),
        "reconcile_s_max": RECONCILE_S_MAX,
        "findings": len(found),
        "repair_s": round(repair_s, 3),
        "repair_events": recorded,
        "ok": total <= RECONCILE_S_MAX,
    }


def _reconciled(
    ledger: OrderLedger, views: Path, report: VenueReport
) -> tuple[dict[str, float], list[Discrepancy]]:
    with AccountBooks(ledger, views, venue=_VENUE, account=_ACCOUNT) as reader:
        asking_s, _ = _timed(lambda: (reader.unfinished_orders(), reader.known_names()))
        reading_s, books = _timed(lambda: reader.read(report))
    comparing_s, found = _timed(lambda: find_discrepancies(books, report))
    return {"what_to_ask": asking_s, "reading": reading_s, "comparing": comparing_s}, found


def _repaired(ledger: OrderLedger, views: Path, found: list[Discrepancy]) -> int:
    changes: list[Change] = []
    account = Account(venue=_VENUE, address=_ACCOUNT, changes=changes)
    tracker = ClientOrderTracker(venue=_VENUE, account=_ACCOUNT, changes=changes)
    account.stamp = tracker.stamp = Stamp(_END_MS * 1_000_000, Source.RECONCILIATION, "reconcile")
    report = _report(unbooked=True)
    with AccountBooks(ledger, views, venue=_VENUE, account=_ACCOUNT) as reader:
        books = reader.read(report)
        reader.restore(account, books)
        for history in reader.order_events(books.orders).values():
            tracker.restore(history)
    pending = []
    for each in found:
        apply_discrepancy(each, tracker, account)
        pending.append(ledger.submit([change.event for change in tracker.take_changes()]))
    return sum(len(future.result().positions) for future in pending)


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


# What is booked, and what the venue says


def _events() -> Iterator[LedgerEvent]:
    account = account_id(_VENUE, _ACCOUNT)
    opening: list[tuple[type[LedgerEvent], dict[str, Any]]] = [
        (AccountOpened, {"network": "simulator", "exchange_time_ms": _BEGIN_MS}),
        (AccountBalanceAsserted, {"token": "USDC", "amount": Decimal(1_000_000), "opening": True}),
    ]
    yield from _history(account, opening)
    for number in range(ORDERS):
        facts: list[tuple[type[LedgerEvent], dict[str, Any]]] = [
            (
                OrderCreated,
                {
                    "trading_pair": _PAIR,
                    "instrument": "BTC",
                    "order_type": OrderType.LIMIT,
                    "trade_type": _side(number),
                    "amount": Decimal(1),
                    "price": Decimal(43_000),
                },
            ),
            (OrderSubmitted, {"attempt": 1, "nonce": _BEGIN_MS + number}),
            (OrderAcknowledged, {"exchange_order_id": str(number), "exchange_time_ms": _BEGIN_MS}),
        ]
        facts += ((OrderFilled, {"fill": fill}) for fill in _fills(number) if not _is_unbooked(fill))
        if number % _LIVE_EVERY:
            facts.append((OrderCancelled, {"reason_code": "requested", "exchange_order_id": str(number)}))
        yield from _history(_order_id(number), facts)


def _history(
    originator_id: str, facts: list[tuple[type[LedgerEvent], dict[str, Any]]]
) -> Iterator[LedgerEvent]:
    for version, (kind, members) in enumerate(facts, 1):
        yield kind(
            originator_id=originator_id,
            originator_version=version,
            recorded_at_ns=_BEGIN_MS * 1_000_000,
            venue=_VENUE,
            account=_ACCOUNT,
            source=Source.STREAM,
            causation="s1:1",
            **members,
        )


def _order_id(number: int) -> str:
    return f"0x{number:032x}"


def _side(number: int) -> TradeType:
    return TradeType.BUY if number % 2 else TradeType.SELL


def _fills(number: int) -> Iterator[Fill]:
    for part in range(FILLS_PER_ORDER):
        trade = number * FILLS_PER_ORDER + part
        yield Fill(
            fill_key=f"BTC:{number}:{trade}",
            trade_id=str(trade),
            exchange_order_id=str(number),
            trading_pair=_PAIR,
            trade_type=_side(number),
            price=Decimal(43_000 + part),
            amount=Decimal("0.1"),
            fee=Decimal("0.645"),
            fee_token="USDC",
            liquidity=Liquidity.MAKER,
            exchange_time_ms=_BEGIN_MS + 1 + trade,
            direction="Open Long",
            transaction_hash=f"0x{trade:064x}",
        )


def _is_unbooked(fill: Fill) -> bool:
    return int(fill.trade_id) % _UNBOOKED_EVERY == 0


def _report(*, unbooked: bool) -> VenueReport:
    window = Window(_BEGIN_MS, _BEGIN_MS, _END_MS)
    fills = [
        TradeUpdate(fill=fill, venue_order_key=_order_id(number))
        for number in range(ORDERS)
        for fill in _fills(number)
        if unbooked or not _is_unbooked(fill)
    ]
    position, cash = Decimal(0), Decimal(1_000_000)
    for update in fills:
        fill = update.fill
        signed = fill.amount if fill.trade_type is TradeType.BUY else -fill.amount
        position += signed
        cash -= signed * fill.price + fill.fee
    return VenueReport(
        taken_at_ms=_END_MS,
        open_orders=[
            OrderUpdate(
                status=UpdateStatus.OPEN,
                exchange_order_id=str(number),
                venue_order_key=_order_id(number),
                exchange_time_ms=_BEGIN_MS,
            )
            for number in range(0, ORDERS, _LIVE_EVERY)
        ],
        fills=fills,
        fills_window=window,
        fundings=(),
        fundings_window=window,
        transfers=(),
        transfers_window=window,
        positions=[PositionUpdate(trading_pair=_PAIR, amount=position, entry_price=None)],
        positions_at_ms=_END_MS,
        cash=cash,
        cash_token="USDC",
        steps={_PAIR: Decimal("0.00001")},
    )


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
