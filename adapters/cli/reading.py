"""`orders`, `open-orders`, `positions`, `fills`, `history`: what the ledger holds, for the eye or as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from adapters.cli.asking import (
    add_asking_command,
    add_filter_options,
    asked,
    row_count,
    show,
    wanted,
)
from adapters.cli.exact_json import exact_json
from adapters.cli.exit_codes import ExitCode
from adapters.cli.text_table import (
    Column,
    output_width,
    printable,
    rounded,
    short_account,
    text_table,
    token_amounts,
    utc_time,
)
from domain.enums import OrderState, OrderType
from domain.money import decimal_text
from projections import FillRow, OrderHistory, OrderRow, PositionRow

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the commands."""
    add = partial(add_asking_command, subparsers)
    orders = add("orders", "every order with its state", "array of orders", _orders)
    add_filter_options(orders, state=True, tag=True, time_of="created")
    open_orders = add(
        "open-orders", "orders not done, unknown outcomes included", "array of orders", _open_orders
    )
    add_filter_options(open_orders, state=True, tag=True, time_of="created")
    positions = add(
        "positions", "position, entry and realised profit per market", "array of positions", _positions
    )
    add_filter_options(positions, tag=True, time_of="changed last")
    fills = add("fills", "every execution", "array of fills", _fills)
    add_filter_options(fills, tag=True, time_of="executed (the venue's time)")
    for parser in (orders, open_orders, fills):
        parser.add_argument("--limit", metavar="N", type=row_count, help="only the latest N")
    history = add(
        "history",
        "everything that happened to one order",
        'object with "order", "events" and "fills"',
        _history,
    )
    add_filter_options(history, market=False, state=True, time_of="recorded (fills: executed)")
    history.add_argument(
        "order", metavar="ORDER", help="a client order id, an exchange order id, or the beginning of one"
    )


# The commands


def _orders(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        orders = ask.views.orders(limit=options.limit, **wanted(options))
    return show(options, orders, _order_table, "orders")


def _open_orders(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        orders = ask.views.open_orders(limit=options.limit, **wanted(options))
    return show(options, orders, _order_table, "open orders")


def _positions(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        positions = ask.views.positions(**wanted(options))
    return show(options, positions, _position_table, "positions")


def _fills(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        fills = ask.views.fills(limit=options.limit, **wanted(options))
    return show(options, fills, _fill_table, "fills")


def _history(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        history = ask.views.history(ask.find_order(options.order), **wanted(options))
    if options.json:
        sys.stdout.write(exact_json(history) + "\n")
    else:
        sys.stdout.write(_history_text(history))
    return ExitCode.OK


# For the eye

_NAME = Column("ORDER", shortest=len("390478339497"))
"""An order's exchange id is never cut: it is what the order is asked for by."""


def _name(client_order_id: str | None, exchange_order_id: str | None) -> str:
    """The shorter of the two names an order can be asked for by."""
    return min((name for name in (exchange_order_id, client_order_id) if name), key=len, default="-")


def _state_text(order: OrderRow) -> str:
    because = f" ({order.reason_code.replace('_', ' ')})" if order.reason_code else ""
    if order.outcome_unknown:
        return f"{order.state}, OUTCOME UNKNOWN{because}"
    if order.missing_fill_amount:
        return f"{order.state}, fills missing for {decimal_text(order.missing_fill_amount)}"
    if order.done and order.state is not OrderState.FILLED:
        return f"{order.state}{because}"
    return order.state


def _order_table(orders: Sequence[OrderRow]) -> str:
    columns = (
        Column("CREATED (UTC)"),
        _NAME,
        Column("PAIR"),
        Column("SIDE"),
        Column("TYPE", shortest=len(OrderType.LIMIT)),
        Column("PRICE", right=True),
        Column("FILLED", right=True),
        Column("STATE", shortest=len(OrderState.PARTIALLY_FILLED), wrapped=True),
    )
    return text_table(
        columns,
        [
            (
                utc_time(order.created_at_ns),
                _name(order.client_order_id, order.exchange_order_id),
                order.trading_pair,
                order.trade_type,
                order.order_type,
                decimal_text(order.price),
                f"{decimal_text(order.filled_amount)}/{decimal_text(order.amount)}",
                _state_text(order),
            )
            for order in orders
        ],
        output_width(),
    )


def _fill_table(fills: Sequence[FillRow]) -> str:
    columns = (
        Column("TIME (UTC)"),
        _NAME,
        Column("PAIR"),
        Column("SIDE"),
        Column("AMOUNT", right=True),
        Column("PRICE", right=True),
        Column("FEE", right=True),
        Column("ROLE"),
        Column("PNL", right=True),
    )
    return text_table(
        columns,
        [
            (
                utc_time(fill.exchange_time_ms * 1_000_000),
                _name(fill.client_order_id, fill.exchange_order_id),
                fill.trading_pair,
                fill.trade_type,
                decimal_text(fill.amount),
                decimal_text(fill.price),
                f"{decimal_text(fill.fee)} {fill.fee_token}",
                "liquidation" if fill.liquidation else fill.liquidity,
                rounded(fill.closed_pnl),
            )
            for fill in fills
        ],
        output_width(),
    )


def _position_table(positions: Sequence[PositionRow]) -> str:
    accounts = {(position.venue, position.account) for position in positions}
    venues = {position.venue for position in positions}
    columns = [
        Column("PAIR"),
        Column("AMOUNT", right=True),
        Column("AVERAGE ENTRY", right=True),
        Column("REALISED PNL", right=True),
        Column("FEES", right=True),
        Column("FUNDING", right=True),
        Column("VOLUME", right=True),
        Column("LEVERAGE", right=True),
    ]
    if len(accounts) > 1:
        columns.insert(0, Column("ACCOUNT"))
    rows = []
    for position in positions:
        row = [
            position.trading_pair,
            decimal_text(position.amount),
            rounded(position.average_entry),
            rounded(position.realised_pnl),
            token_amounts(position.fees),
            rounded(position.funding),
            rounded(position.volume),
            "-"
            if position.leverage is None
            else f"{position.leverage}x {'cross' if position.is_cross else 'isolated'}",
        ]
        if len(accounts) > 1:
            row.insert(0, f"{position.venue} " * (len(venues) > 1) + short_account(position.account))
        rows.append(row)
    return text_table(columns, rows, output_width())


def _history_text(history: OrderHistory) -> str:
    order = history.order
    lines = [f"order {history.client_order_id}"]
    if order is None:
        lines.append("  its first event could not be folded, so there is no state to show")
    else:
        names = [f"exchange id {order.exchange_order_id}"] if order.exchange_order_id else []
        if order.venue_order_key != order.client_order_id:
            names.append(f"known to the venue as {order.venue_order_key}")
        lines += [f"  {name}" for name in names]
        trigger = f", trigger {decimal_text(order.trigger_price)}" if order.trigger_price is not None else ""
        tag = f", tag {order.tag}" if order.tag else ""
        lines += [
            f"  {order.trade_type} {decimal_text(order.amount)} {order.trading_pair}, {order.order_type} at "
            f"{decimal_text(order.price)}{trigger}{tag}",
            f"  {order.venue} {order.account}" + (", placed elsewhere" if order.external else ""),
            f"  {_state_text(order)}: filled {decimal_text(order.filled_amount)} of "
            f"{decimal_text(order.amount)}"
            + (f" at {rounded(order.average_fill_price)}" if order.filled_amount else "")
            + (f", fees {token_amounts(order.fees)}" if order.fees else "")
            + (f" ({order.reason})" if order.reason else ""),
        ]
    columns = (
        Column("TIME (UTC)"),
        Column("POSITION", right=True),
        Column("STATE", shortest=len(OrderState.PENDING_SUBMIT)),
        Column("WHAT HAPPENED", shortest=30, wrapped=True),
    )
    rows = [
        (utc_time(event.recorded_at_ns), str(event.position), event.state or "(parked)", event.summary)
        for event in history.events
    ]
    return "\n".join(map(printable, lines)) + "\n\n" + text_table(columns, rows, output_width())
