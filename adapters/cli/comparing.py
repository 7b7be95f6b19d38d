"""Whether the books match the venue: the views against the venue's own answers, to the last digit.

Reads the venue's JSON directly and not through the connector's readers, so that a mistake of theirs cannot
hide itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from adapters.cli.exit_codes import CommandError, ExitCode
from domain.money import MONEY, ZERO, decimal_text
from projections import Views

__all__ = ["Difference", "compare_with_venue"]

_FILLS_PAGE = 2_000


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on which the ledger and the venue do not agree; None where a side has nothing."""

    what: str
    key: str
    ledger: str | None
    venue: str | None


async def compare_with_venue(
    http_url: str, account: str, views_path: Path, *, instruments: Mapping[str, str], since_ms: int = 0
) -> list[Difference]:
    """Compare open orders, every fill, fees and positions. `instruments` maps a trading pair to its coin.

    `since_ms` (venue time) is when the books begin: earlier fills are in the opening balance, and those of
    that very millisecond may be (then the position shows which are). Raises `CommandError` when the venue
    cannot be asked; a failed question is never taken for an empty answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def ask(**body: Any) -> Any:
            try:
                async with session.post(f"{http_url}/info", json=body) as response:
                    if response.status != 200:
                        raise CommandError(
                            f"The venue answered {body['type']} with HTTP {response.status}.",
                            ExitCode.UNREACHABLE,
                        )
                    return msgspec.json.decode(await response.read())
            except aiohttp.ClientError as error:
                raise CommandError(f"The venue cannot be asked: {error}.", ExitCode.UNREACHABLE) from None

        orders = await ask(type="frontendOpenOrders", user=account)
        state = await ask(type="clearinghouseState", user=account)
        fills: dict[str, dict[str, Any]] = {}
        start_ms = since_ms
        while True:
            page = await ask(type="userFillsByTime", user=account, startTime=start_ms)
            fills |= {f"{row['coin']}:{row['oid']}:{row['tid']}": row for row in page}
            if len(page) < _FILLS_PAGE:
                break
            last = max(row["time"] for row in page)
            start_ms = last if last > start_ms else start_ms + 1
    with Views(views_path) as views, views.frozen():
        booked = _fills(views, instruments)
        fills = {key: row for key, row in fills.items() if row["time"] > since_ms or key in booked}
        return [
            *_differing("open order", _open_orders(views), _venue_orders(orders)),
            *_differing("fill", booked, _venue_fills(fills)),
            *_differing("fees", _fees(views), _venue_fees(fills)),
            *_differing("position", _positions(views, instruments), _venue_positions(state)),
        ]


def _differing(what: str, ours: dict[str, str], theirs: dict[str, str]) -> list[Difference]:
    return [
        Difference(what=what, key=key, ledger=ours.get(key), venue=theirs.get(key))
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _number(value: str | Decimal) -> str:
    return decimal_text(Decimal(value))


def _side(side: str) -> str:
    return "buy" if side == "B" else "sell"


def _open_orders(views: Views) -> dict[str, str]:
    return {
        row.exchange_order_id or row.client_order_id: (
            f"{row.instrument} {row.trade_type} {_number(row.remaining_amount)} at {_number(row.price)}"
        )
        for row in views.open_orders()
    }


def _venue_orders(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {
        str(row["oid"]): (
            f"{row['coin']} {_side(row['side'])} {_number(row['sz'])} at {_number(row['limitPx'])}"
        )
        for row in rows
    }


def _fills(views: Views, instruments: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{instruments.get(row.trading_pair, row.trading_pair)}:{row.exchange_order_id}:{row.trade_id}": (
            f"{row.trade_type} {_number(row.amount)} at {_number(row.price)} "
            f"fee {_number(row.fee)} {row.fee_token}"
        )
        for row in views.fills()
    }


def _venue_fills(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        key: (
            f"{_side(row['side'])} {_number(row['sz'])} at {_number(row['px'])} "
            f"fee {_number(row['fee'])} {row['feeToken']}"
        )
        for key, row in rows.items()
    }


def _fees(views: Views) -> dict[str, str]:
    totals: dict[str, Decimal] = {}
    for row in views.positions():
        for token, amount in row.fees.items():
            totals[token] = MONEY.add(totals.get(token, ZERO), amount)
    return {token: decimal_text(amount) for token, amount in totals.items() if amount}


def _venue_fees(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    totals: dict[str, Decimal] = {}
    for row in rows.values():
        totals[row["feeToken"]] = MONEY.add(totals.get(row["feeToken"], ZERO), Decimal(row["fee"]))
    return {token: decimal_text(amount) for token, amount in totals.items() if amount}


def _positions(views: Views, instruments: Mapping[str, str]) -> dict[str, str]:
    return {
        instruments.get(row.trading_pair, row.trading_pair): _number(row.amount)
        for row in views.positions()
        if row.amount
    }


def _venue_positions(state: dict[str, Any]) -> dict[str, str]:
    rows = (entry["position"] for entry in state["assetPositions"])
    return {row["coin"]: _number(row["szi"]) for row in rows if Decimal(row["szi"])}
