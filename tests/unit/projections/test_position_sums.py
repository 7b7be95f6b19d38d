"""Positions as the sum of fills since the last stated balance: read at once, or added up in stretches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import Source, TradeType
from domain.events import AccountPositionAsserted, OrderFilled
from projections.event_rows import fill_row
from projections.event_source import PositionedEvent
from projections.order_fold import Row
from projections.position_sums import StretchSums, joined, noted, position_sums
from projections.tables import FILL_BOOKINGS
from projections.views_file import ViewsFile, connect_for_reading
from projections.views_fold import ChangedRows
from tests.unit.projections.logs import ACCOUNT, ACCOUNT_ID, START_NS, VENUE, LogBuilder, a_fill

PAIRS = ("BTC-USD", "HYPE-USDC")

amounts = st.integers(1, 500).map(lambda units: Decimal(units).scaleb(-2))
bookings = st.tuples(
    st.sampled_from(PAIRS),
    st.sampled_from(TradeType),
    amounts,
    st.sampled_from([Decimal("0"), Decimal("0.005"), Decimal("-0.001")]),
    st.sampled_from(["", "USDC", "HYPE", "BTC"]),
)
statements = st.tuples(st.sampled_from(PAIRS), amounts, st.sampled_from(["opening", "adjustment", "claim"]))
takings_back = st.integers(0, 30)
"""Which of the fills that count: the number is taken modulo how many do."""


def a_row(position: int, booking: tuple[str, TradeType, Decimal, Decimal, str]) -> Row:
    pair, side, amount, fee, token = booking
    fill = a_fill(
        fill_key=str(position), trading_pair=pair, trade_type=side, amount=amount, fee=fee, fee_token=token
    )
    event = LogBuilder().add(OrderFilled, "o1", fill=fill)
    assert isinstance(event, OrderFilled)
    return fill_row(position, event, fill)


def a_statement(position: int, pair: str, amount: Decimal, kind: str) -> PositionedEvent:
    return position, AccountPositionAsserted(
        originator_id=ACCOUNT_ID,
        originator_version=position,
        recorded_at_ns=START_NS,
        venue=VENUE,
        account=ACCOUNT,
        source=Source.QUERY,
        trading_pair=pair,
        amount=amount,
        entry_price=None,
        opening=kind == "opening",
        adjustment=kind == "adjustment",
    )


def arrived(booking: tuple[str, TradeType, Decimal, Decimal, str]) -> Decimal:
    """What a fill does to the position of its market."""
    pair, side, amount, fee, token = booking
    if side is TradeType.SELL:
        return -amount
    return amount - fee if token == pair.split("-")[0] else amount


def as_stored(directory: Path, rows: Sequence[Row], notes: Sequence[PositionedEvent]) -> dict[str, Decimal]:
    with ViewsFile.create(directory / "views.db", "a" * 32) as file:
        changed = ChangedRows(len(rows))
        changed.rows = [(FILL_BOOKINGS, list(rows))]
        file.write(changed, "")
        file.complete()
    with closing(connect_for_reading(directory / "views.db")) as connection:
        return {pair: amount for (_, _, pair), amount in position_sums(connection, notes, ()).items()}


@settings(max_examples=60, deadline=None)
@given(
    log=st.lists(st.one_of(bookings, statements, takings_back), max_size=30),
    cuts=st.lists(st.integers(1, 30), max_size=4),
    batch=st.integers(1, 7),
)
def test_stretches_add_up_to_what_all_rows_say_and_to_what_one_would_reckon(
    log: list[tuple[str, TradeType, Decimal, Decimal, str] | tuple[str, Decimal, str] | int],
    cuts: list[int],
    batch: int,
) -> None:
    reckoned: dict[str, Decimal] = {}
    rows: dict[int, Row] = {}
    counting: dict[int, tuple[str, TradeType, Decimal, Decimal, str]] = {}
    taken_back: dict[int, int] = {}
    notes: list[PositionedEvent] = []
    for position, what in enumerate(log, 1):
        if isinstance(what, int):
            if counting:
                booked = sorted(counting)[what % len(counting)]
                taken_back[position] = booked
                rows[booked] = (*rows[booked][:-2], position, START_NS)
                booking = counting.pop(booked)
                reckoned[booking[0]] = reckoned.get(booking[0], Decimal(0)) - arrived(booking)
        elif len(what) == 5:
            rows[position] = a_row(position, what)
            counting[position] = what
            reckoned[what[0]] = reckoned.get(what[0], Decimal(0)) + arrived(what)
        else:
            pair, amount, kind = what
            notes.append(a_statement(position, pair, amount, kind))
            if kind != "claim":
                reckoned[pair] = amount

    stretches = []
    ends = sorted({*(cut for cut in cuts if cut < len(log)), len(log)})
    for after, last in zip([0, *ends], ends, strict=False):
        sums = StretchSums()
        for first in range(after + 1, last + 1, batch):
            part = range(first, min(first + batch, last + 1))
            sums.add(
                [rows[position] for position in part if position in rows],
                [rows[taken_back[position]] for position in part if position in taken_back],
                noted([at for at in notes if at[0] in part]),
            )
        stretches.append(sums.result())
    added_up = {pair: amount for (_, _, pair), amount in joined(stretches).items()}

    with tempfile.TemporaryDirectory() as name:
        stored = as_stored(Path(name), [rows[position] for position in sorted(rows)], notes)
    for pair in PAIRS:
        assert added_up.get(pair, 0) == stored.get(pair, 0) == reckoned.get(pair, 0)
