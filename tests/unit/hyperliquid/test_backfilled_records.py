"""Books out of fills that the venue itself told, as it was recorded in 2023."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.hyperliquid.backfilling import Backfill, backfill
from adapters.hyperliquid.messages import HyperliquidMessages
from adapters.hyperliquid.symbols import SymbolMap
from adapters.hyperliquid.venue_report import AccountHistory
from domain.discrepancies import VenueReport, Window
from domain.events import AccountPositionAsserted, Fill, OrderFilled
from domain.fill_chain import order_fills_by_start_position, position_after
from domain.position import Position
from domain.updates import PositionUpdate, TradeUpdate

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "hyperliquid" / "info"
pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not beside the checkout"
)


def recorded(name: str) -> dict[str, object]:
    entry: dict[str, object] = json.loads((RECORDED / name).read_text())[0]
    return entry


def told() -> tuple[str, frozenset[str], list[TradeUpdate]]:
    """Whose fills, which pairs are perpetuals, and the fills, oldest first."""
    symbols = SymbolMap.from_json(json.dumps(recorded("get_info.json")["response"]).encode())
    entry = recorded("get_user_fills_by_time.json")
    request, answer = entry["request"], json.dumps(entry["response"]).encode()
    assert isinstance(request, dict)
    account = str(request["user"])
    rows = HyperliquidMessages(symbols, account).read_fills(answer)
    updates = [row for row in rows if isinstance(row, TradeUpdate)]
    assert len(updates) == len(rows)
    updates.sort(key=lambda update: update.fill.exchange_time_ms)
    return account, frozenset(market.trading_pair for market in symbols), updates


def made_of(account: str, perps: frozenset[str], updates: list[TradeUpdate]) -> Backfill:
    """The books, if the present is where each market's fills lead to."""
    by_pair: dict[str, list[Fill]] = {}
    for update in updates:
        by_pair.setdefault(update.fill.trading_pair, []).append(update.fill)
    ends = {
        pair: position_after(order_fills_by_start_position(fills).fills[-1])
        for pair, fills in by_pair.items()
    }
    first_ms, last_ms = updates[0].fill.exchange_time_ms, updates[-1].fill.exchange_time_ms
    window = Window(first_ms, first_ms, last_ms)
    report = VenueReport(
        taken_at_ms=last_ms,
        open_orders=(),
        fills=updates,
        fills_window=window,
        fundings=(),
        fundings_window=window,
        transfers=(),
        transfers_window=window,
        positions=[
            PositionUpdate(trading_pair=pair, amount=amount, entry_price=None)
            for pair, amount in ends.items()
            if amount
        ],
        positions_at_ms=last_ms,
    )
    history = AccountHistory(report=report, orders=(), placed_ms={}, perps=perps, balances={})
    return backfill(
        history, venue="hyperliquid", network="mainnet", account=account.lower(), begin_ms=first_ms - 1
    )


def test_the_books_of_recorded_fills_hold_the_venues_own_positions() -> None:
    account, perps, updates = told()
    made = made_of(account, perps, updates)
    # The recorded list is cut, and one market of it has a hole.
    assert made.findings == [
        "SUI-USD: fills of -116.4 in all are missing between 1683245760157 and 1683245762536 (ms): the venue "
        "does not tell them.",
        "SUI-USD: the books end at 116.4, and the venue says 0.",
    ]
    assert len(made.positions) == 15
    assert {row.trading_pair for row in made.positions if row.amount != row.venue} == {"SUI-USD"}
    assert all(row.opening for row in made.positions)
    positions: dict[str, Position] = {}
    for event in made.events:
        if isinstance(event, AccountPositionAsserted) and event.opening:
            position = positions[event.trading_pair] = Position(trading_pair=event.trading_pair)
            position.assert_opening(event.amount, event.entry_price)
        elif isinstance(event, OrderFilled):
            fill = event.fill
            positions[fill.trading_pair].apply_fill(
                fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl
            )
    assert {pair: position.amount for pair, position in positions.items()} == {
        row.trading_pair: row.amount for row in made.positions
    }
