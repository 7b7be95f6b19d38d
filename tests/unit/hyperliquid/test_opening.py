"""What the opening balance holds is not booked again, and nothing that came after it is left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events import AccountOpened, OrderFilled
from domain.inputs import StreamConnected
from tests.support.core import (
    BOOKS_BEGIN_MS,
    META,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)

PAIR = "BTC-USD"


def holding(size: str | Decimal, coin: str = "BTC") -> dict[str, Any]:
    return {"coin": coin, "szi": str(size), "entryPx": "43210.0"}


def chained(changes: list[tuple[int, Decimal]], start: Decimal = Decimal(0)) -> list[dict[str, Any]]:
    """Fills with these times (ms after the books begin) and signed changes, each by an order of its own."""
    rows, held = [], start
    for number, (after_ms, change) in enumerate(changes, 1):
        rows.append(
            fill_row(
                number,
                number,
                str(change.copy_abs()),
                side="B" if change > 0 else "A",
                time_ms=BOOKS_BEGIN_MS + after_ms,
                startPosition=str(held),
            )
        )
        held += change
    return rows


def opened(held: str | Decimal, fills: list[dict[str, Any]], **answers: Any) -> CoreSession:
    """A new ledger of an account with this position and these fills; nobody knows orders of old any more."""
    core = CoreSession()
    core.positions = [holding(held)] if Decimal(held) else []
    core.fills = fills
    core.answers |= {"orderStatus": {"status": "unknownOid"}, **answers}
    core.begin()
    core.show_fills(list(reversed(fills)), channel="userFills")
    core.connect()
    core.books()
    assert core.connector.ready
    core.assert_consistent()
    return core


def booked(core: CoreSession) -> list[str]:
    return [event.fill.trade_id for event in core.events_of(OrderFilled)]


def restarted(core: CoreSession) -> CoreSession:
    """The next session on the same ledger, told everything once more."""
    again = core.restarted()
    again.answers |= {name: core.answers[name] for name in ("orderStatus", "clearinghouseState")}
    again.open_orders, again.positions = core.open_orders, core.positions
    again.begin()
    again.show_fills(again.fills, channel="userFills")
    again.connect()
    again.show_fills(again.fills)
    return again


@pytest.mark.parametrize(
    ("held", "fills", "expected"),
    [
        pytest.param("1", [(-1, "1")], [], id="an-earlier-one-is-in-it"),
        pytest.param("1", [(0, "1")], [], id="in-the-same-ms-and-in-it"),
        pytest.param("0", [(0, "1")], ["1"], id="in-the-same-ms-and-after-it"),
        pytest.param("0", [(1, "1")], ["1"], id="a-later-one-is-after-it"),
        pytest.param("3", [(0, "1"), (0, "2"), (0, "-1"), (0, "5")], ["3", "4"], id="it-divides-the-ms"),
        pytest.param(
            "1", [(-9, "1"), (0, "2"), (0, "3"), (1, "-1")], ["2", "3", "4"], id="before-a-whole-ms"
        ),
        pytest.param("0", [(0, "1"), (0, "-1"), (1, "2")], ["3"], id="passed-twice-the-later-counts"),
        pytest.param("9", [(0, "1"), (2, "4")], ["2"], id="a-position-nobody-passed-comes-after-the-ms"),
    ],
)
def test_a_fill_is_in_the_opening_balance_or_in_the_books_and_never_in_both(
    held: str, fills: list[tuple[int, str]], expected: list[str]
) -> None:
    core = opened(held, chained([(after_ms, Decimal(change)) for after_ms, change in fills]))
    assert sorted(booked(core)) == expected
    assert restarted(core).events_of(OrderFilled) == []


_CHANGES = st.sampled_from([Decimal(number) for number in (-3, -2, -1, 1, 2, 3)])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_opening_and_fills_add_up_to_what_the_venue_holds(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 40]), min_size=1, max_size=12))
    changes = [data.draw(_CHANGES) for _ in gaps]
    included = data.draw(st.integers(0, len(gaps)))
    times: list[int] = []
    for gap in gaps:
        times.append((times[-1] if times else 0) + gap)
    # The state is as of its last fill: those it includes happened until then, all others not before.
    begin = times[included - 1] if included else times[0]
    rows = chained([(time - begin, change) for time, change in zip(times, changes, strict=True)])
    shuffled = data.draw(st.permutations(rows))
    core = opened(sum(changes[:included], Decimal(0)), sorted(shuffled, key=lambda row: row["time"]))
    assert core.connector.position(PAIR).amount == sum(changes, Decimal(0))
    assert len(booked(core)) == len(set(booked(core)))
    again = restarted(core)
    assert again.connector.position(PAIR).amount == sum(changes, Decimal(0))
    assert again.events_of(OrderFilled) == []


def test_an_order_of_another_program_that_had_executed_in_part_is_not_counted_twice() -> None:
    core = CoreSession()
    fills = chained([(-10, Decimal("0.4"))])
    core.positions, core.fills = [holding("0.4")], fills
    core.open_orders = [open_order_row(1, size="1.0", remaining="0.6", timestamp=BOOKS_BEGIN_MS - 20)]
    core.begin()
    core.show_fills(fills, channel="userFills")
    core.connect()
    core.books()
    order = core.view("external:hyperliquid:1")
    assert (order.amount, order.filled_amount) == (Decimal("0.6"), Decimal(0))
    assert order.state == "open"
    assert core.connector.position(PAIR).amount == Decimal("0.4")

    core.lose_stream()
    core.show_fills(fills, channel="userFills")
    core.connect()
    core.fill(1, 2, "0.6", startPosition="0.4")
    core.status(1, "filled", remaining="0.0", size="1.0")
    assert core.connector.position(PAIR).amount == 1
    assert core.view("external:hyperliquid:1").state == "filled"
    core.assert_consistent()


def test_of_an_old_order_whose_first_fills_nobody_tells_any_more_the_rest_is_what_the_books_know() -> None:
    core = CoreSession()
    core.positions = [holding("0.4")]
    core.open_orders = [open_order_row(1, size="1.0", remaining="0.5", timestamp=BOOKS_BEGIN_MS - 10**9)]
    # One fill fell between the account's state and the list of orders.
    core.fills = [fill_row(1, 7, "0.1", time_ms=BOOKS_BEGIN_MS + 3, startPosition="0.4")]
    core.ready()
    order = core.view("external:hyperliquid:1")
    assert (order.amount, order.filled_amount, order.remaining_amount) == (
        Decimal("0.6"),
        Decimal("0.1"),
        Decimal("0.5"),
    )
    assert core.connector.position(PAIR).amount == Decimal("0.5")


def test_an_order_placed_elsewhere_after_the_books_began_keeps_its_whole_amount() -> None:
    core = CoreSession().ready()
    core.answers["orderStatus"] = order_status_answer(1, "open", size="1.0", remaining="0.9")
    core.fill(1, 7, "0.1")
    order = core.view("external:hyperliquid:1")
    assert (order.amount, order.remaining_amount) == (Decimal(1), Decimal("0.9"))


def test_each_dex_has_an_opening_of_its_own_time() -> None:
    core = CoreSession(pairs=(PAIR, "xyz:TSLA-USD"))
    tesla = {"universe": [{"name": "xyz:TSLA", "szDecimals": 3, "maxLeverage": 10}]}
    core.answers["perpDexs"] = [None, {"name": "xyz"}]
    core.answers["meta"] = lambda body: tesla if body.get("dex") == "xyz" else META
    core.answers["orderStatus"] = {"status": "unknownOid"}
    later_ms = BOOKS_BEGIN_MS + 70

    def state(body: dict[str, Any]) -> dict[str, Any]:
        is_xyz = body.get("dex") == "xyz"
        core.positions = [holding("2.0", "xyz:TSLA")] if is_xyz else [holding("1.0")]
        return core.account_state() | {"time": later_ms if is_xyz else BOOKS_BEGIN_MS}

    core.answers["clearinghouseState"] = state
    core.fills = [
        fill_row(1, 1, "0.5", time_ms=later_ms - 10, startPosition="1.0"),
        fill_row(2, 2, "2.0", coin="xyz:TSLA", time_ms=later_ms - 10, startPosition="0.0"),
    ]
    core.begin()
    core.connect()
    assert core.events_of(AccountOpened)[0].exchange_time_ms == later_ms
    assert core.connector.position(PAIR).amount == Decimal("1.5")
    assert core.connector.position("xyz:TSLA-USD").amount == 2


def test_a_stream_lost_while_the_books_open_opens_them_with_the_next_state() -> None:
    core = CoreSession()
    core.answers["orderStatus"] = {"status": "unknownOid"}
    history = core.answers.pop("userFillsByTime")
    core.begin()
    core.connect()
    stale = core.take_query("userFillsByTime")
    core.lose_stream()
    core.positions = [holding("0.5")]
    core.fills = chained([(-1, Decimal("0.5"))])
    core.answers["userFillsByTime"] = history
    core.step(StreamConnected(stream="user"))
    core.answer(stale, [])
    assert len(core.events_of(AccountOpened)) == 1
    assert core.connector.position(PAIR).amount == Decimal("0.5")
    assert booked(core) == []


def test_a_trade_of_both_sides_by_one_account_is_not_torn_apart() -> None:
    """Its two fills tell the same position and together leave it where it was (seen in records of 2023)."""
    both = [
        fill_row(oid, 9, "0.3", side=side, time_ms=BOOKS_BEGIN_MS, startPosition="1.0")
        for oid, side in ((1, "B"), (2, "A"))
    ]
    core = opened("1.0", both)
    assert core.connector.position(PAIR).amount == 1
    assert booked(core) == []
