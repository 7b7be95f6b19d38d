"""`funding`, `pnl`, `stats`: what trading came to, per market and in all, for the eye or as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from adapters.cli.asking import (
    Asked,
    add_asking_command,
    add_filter_options,
    asked,
    row_count,
    show,
    wanted,
)
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
from domain.money import decimal_text, is_usable, parse_decimal
from projections import FundingRow, Latency, PnlRow, StatsRow, pnl, pnl_between, pnl_totals, stats

__all__ = ["add_mark_options", "profit_rows", "register"]


def register(subparsers: Any) -> None:
    """Add the commands."""
    add = partial(add_asking_command, subparsers)
    funding = add("funding", "every funding payment", "array of payments", _funding)
    add_filter_options(funding, time_of="paid (the venue's time)")
    funding.add_argument("--limit", metavar="N", type=row_count, help="only the latest N")
    profit = add(
        "pnl",
        "profit, fees and funding per market and in all",
        "array of markets, then one row per account with a trading_pair of null",
        _pnl,
    )
    add_filter_options(profit, tag=True, time_of="booked (recorded)")
    add_mark_options(profit)
    statistics = add(
        "stats",
        "fill ratio, time to acknowledge, slippage, fees, refusals",
        "array of markets, then one of all with a trading_pair of null",
        _stats,
    )
    add_filter_options(statistics, state=True, tag=True, time_of="created")


def add_mark_options(parser: argparse.ArgumentParser) -> None:
    """`--mark` and `--opening-mark`."""
    for option, help_text in (
        ("--mark", "a mark price, for unrealised profit: the ledger holds none; may be given more than once"),
        ("--opening-mark", "with --since: the mark price then, of a market in which something was held"),
    ):
        parser.add_argument(
            option, metavar="PAIR=PRICE", action="append", default=[], type=_mark, help=help_text
        )


def profit_rows(options: argparse.Namespace, ask: Asked) -> list[PnlRow]:
    """Profit and loss per market: of everything, or of what was booked between `--since` and `--until`, which
    standard error names as positions."""
    market = wanted(options)
    since_ns, until_ns = market.pop("since_ns", None), market.pop("until_ns", None)
    marks = dict(options.mark)
    if since_ns is None and until_ns is None:
        rows = pnl(ask.views.positions(**market), marks)
        _say_unused(marks, rows)
        return rows
    end = ask.position if until_ns is None else ask.views.position_before(until_ns)
    begin = 0 if since_ns is None else min(ask.views.position_before(since_ns), end)
    print(f"from position {begin} to position {end}", file=sys.stderr)
    opening_marks = dict(options.opening_mark)
    rows = pnl_between(ask.views, ask.source, begin, end, marks, opening_marks, **market)
    _say_unused({**opening_marks, **marks}, rows)
    return rows


def _say_unused(marks: Mapping[str, Decimal], rows: Sequence[PnlRow]) -> None:
    """A mark price for no market of the answer is likely misspelled."""
    for pair in sorted(marks.keys() - {row.trading_pair for row in rows}):
        print(
            f"note: there is nothing in {printable(pair)} here: its mark price is not used", file=sys.stderr
        )


def _mark(text: str) -> tuple[str, Decimal]:
    pair, _, price = text.rpartition("=")
    try:
        mark = parse_decimal(price)
    except ValueError:
        mark = Decimal(0)
    if not pair or not is_usable(mark) or mark <= 0:
        raise argparse.ArgumentTypeError(f"not a mark price: {text!r} (such as BTC-USD=43210.5)")
    return pair, mark


def _funding(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        payments = ask.views.funding(limit=options.limit, **wanted(options))
    return show(options, payments, _funding_table, "funding payments")


def _pnl(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        markets = profit_rows(options, ask)
    return show(options, [*markets, *pnl_totals(markets)], _pnl_table, "positions")


def _stats(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        rows = stats(ask.views, **wanted(options))
    return show(options, rows, _stats_text, "orders")


def _funding_table(payments: Sequence[FundingRow]) -> str:
    columns = (
        Column("TIME (UTC)"),
        Column("PAIR"),
        Column("AMOUNT", right=True),
        Column("TOKEN"),
        Column("RATE", right=True),
        Column("POSITION", right=True),
    )
    rows = [
        (
            utc_time(
                payment.recorded_at_ns
                if payment.exchange_time_ms is None
                else payment.exchange_time_ms * 1_000_000
            ),
            payment.trading_pair,
            decimal_text(payment.amount),
            payment.token,
            decimal_text(payment.rate),
            decimal_text(payment.position_size),
        )
        for payment in payments
    ]
    return text_table(columns, rows, output_width())


def _pnl_table(rows: Sequence[PnlRow]) -> str:
    columns = (
        Column("PAIR"),
        Column("AMOUNT", right=True),
        Column("MARK", right=True),
        Column("REALISED", right=True),
        Column("UNREALISED", right=True),
        Column("FEES", right=True),
        Column("FUNDING", right=True),
        Column("NET", right=True),
    )
    cells = [
        (
            row.trading_pair or f"all of {short_account(row.account)}",
            "" if row.amount is None else decimal_text(row.amount),
            "" if row.trading_pair is None else rounded(row.mark_price),
            rounded(row.realised_pnl),
            rounded(row.unrealised_pnl),
            token_amounts(row.fees),
            rounded(row.funding),
            rounded(row.net_pnl),
        )
        for row in rows
    ]
    unpriced = [row for row in rows if row.unpriced_amount]
    notes = [
        f"{row.trading_pair}: {decimal_text(row.unpriced_amount or Decimal(0))} was closed at an entry "
        "nobody told; its profit is not in these figures.\n"
        for row in unpriced
    ]
    return text_table(columns, cells, output_width()) + _printable_lines(notes)


def _printable_lines(lines: Sequence[str]) -> str:
    return "".join(printable(line.rstrip("\n")) + "\n" for line in lines)


def _stats_text(rows: Sequence[StatsRow]) -> str:
    columns = (
        Column("PAIR"),
        Column("ORDERS", right=True),
        Column("FILLED", right=True),
        Column("FILL RATIO", right=True),
        Column("ACK MEDIAN", right=True),
        Column("ACK P99", right=True),
        Column("SLIPPAGE", right=True),
        Column("FEES", right=True),
        Column("REFUSED", right=True),
    )
    cells = [
        (
            row.trading_pair or "all",
            str(row.orders),
            f"{row.filled_orders}/{row.done_orders}",
            "-" if row.fill_ratio is None else f"{row.fill_ratio:.1%}",
            _milliseconds(row.acknowledgement, "median_ns"),
            _milliseconds(row.acknowledgement, "p99_ns"),
            "-" if row.slippage_bps is None else f"{row.slippage_bps:.2f} bp",
            token_amounts(row.fees),
            str(sum(row.reject_reasons.values())),
        )
        for row in rows
    ]
    notes = [
        f"refused, {reason.replace('_', ' ')}: {count}\n"
        for reason, count in sorted(rows[-1].reject_reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    if unknown := rows[-1].unknown_orders:
        notes.append(f"outcome unknown: {unknown}\n")
    if external := rows[-1].external_orders:
        notes.append(f"placed elsewhere, not in these figures: {external}\n")
    return text_table(columns, cells, output_width()) + _printable_lines(notes)


def _milliseconds(latency: Latency | None, which: str) -> str:
    if latency is None:
        return "-"
    return f"{Decimal(getattr(latency, which)).scaleb(-6):.1f} ms"
