from __future__ import annotations

import json
import random
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import Liquidity, TradeType
from domain.events import Fill
from domain.fill_chain import FillChain, fills_after, order_fills_by_start_position, position_after
from domain.money import MONEY
from domain.position import Position

BUY, SELL = TradeType.BUY, TradeType.SELL
RECORDED = Path(__file__).parents[4] / "shared/data/hyperliquid/info/get_user_fills_by_time.json"
is_recorded = pytest.mark.skipif(
    not RECORDED.exists(), reason="the recorded answers of the venue are not on this machine"
)


Number = int | str | Decimal


def fill(key: str, start: Number | None, change: Number, time_ms: int = 0, **changes: object) -> Fill:
    """A fill that changes the position by `change`, signed."""
    signed = Decimal(change)
    plain = Fill(
        fill_key=key,
        trade_id=key,
        exchange_order_id="1",
        trading_pair="SUI-USD",
        trade_type=BUY if signed > 0 else SELL,
        price=Decimal("1.5"),
        amount=signed.copy_abs(),
        fee=Decimal(0),
        fee_token="USDC",
        liquidity=Liquidity.TAKER,
        exchange_time_ms=time_ms,
        start_position=None if start is None else Decimal(start),
    )
    return msgspec.structs.replace(plain, **changes)


def keys(chain: FillChain) -> str:
    return "".join(each.fill_key for each in chain.fills)


def places(chain: FillChain) -> list[tuple[int, str]]:
    """Where fills are missing, and how much."""
    return [(gap.index, str(gap.missing_amount)) for gap in chain.gaps]


def follows_from_start_to_end(fills: tuple[Fill, ...]) -> bool:
    return all(position_after(one) == other.start_position for one, other in pairwise(fills))


def test_fills_of_one_millisecond_are_put_in_the_order_of_their_positions() -> None:
    chain = order_fills_by_start_position(
        [fill("a", 3, -1), fill("b", 0, 1), fill("c", 2, 5), fill("d", 1, 2)]
    )
    assert keys(chain) == "bdac"
    assert chain.gaps == ()


def test_the_venue_s_time_comes_before_the_position() -> None:
    chain = order_fills_by_start_position([fill("a", 0, 1, time_ms=7), fill("b", 5, -5, time_ms=6)])
    assert keys(chain) == "ba"
    assert chain.gaps == ()


def test_a_position_passed_twice_within_a_millisecond_is_walked_through_both_times() -> None:
    chain = order_fills_by_start_position(
        [fill("a", 1, -1), fill("b", 0, 1), fill("c", 0, 4), fill("d", 4, -4), fill("e", 0, -7)]
    )
    assert follows_from_start_to_end(chain.fills)
    assert chain.gaps == ()
    assert chain.fills[-1].fill_key == "e"


def test_a_round_trip_begins_where_the_next_millisecond_needs_it_to() -> None:
    round_trip = [fill("a", 1, -1), fill("b", 0, 1)]
    another = [fill("c", 2, -2, time_ms=1), fill("d", 0, 2, time_ms=1)]
    assert keys(order_fills_by_start_position([*round_trip, fill("z", 1, 3, time_ms=1)])) == "abz"
    assert keys(order_fills_by_start_position([*round_trip, fill("z", 0, 3, time_ms=1)])) == "baz"
    assert keys(order_fills_by_start_position([*round_trip, *another])) == "badc"
    assert keys(order_fills_by_start_position(round_trip, closing=Decimal(0))) == "ba"
    assert keys(order_fills_by_start_position(round_trip, opening=Decimal(1))) == "ab"


def test_a_missing_fill_leaves_a_gap_that_tells_how_much_and_when() -> None:
    first, last = fill("a", 0, 3, time_ms=1000), fill("c", 1, 4, time_ms=2000)
    (gap,) = order_fills_by_start_position([last, first]).gaps
    assert gap.expected == 3
    assert gap.found == 1
    assert gap.missing_amount == -2
    assert (gap.after, gap.before) == (first, last)
    assert (gap.since_ms, gap.until_ms, gap.index) == (1000, 2000, 1)


def test_a_gap_within_a_millisecond_is_found() -> None:
    chain = order_fills_by_start_position(
        [fill("a", 0, 3), fill("c", 7, 4), fill("d", 11, -1)], Decimal(0), Decimal(10)
    )
    assert keys(chain) == "acd"
    assert places(chain) == [(1, "4")]


def test_the_parts_of_a_broken_millisecond_join_what_stands_before_and_after() -> None:
    chain = order_fills_by_start_position(
        [
            fill("a", 0, 9, time_ms=0),
            fill("b", 2, 1, time_ms=1),
            fill("c", 9, -4, time_ms=1),
            fill("d", 3, 5, time_ms=2),
        ]
    )
    assert keys(chain) == "acbd"
    assert places(chain) == [(2, "-3")]


@pytest.mark.parametrize(
    ("fills", "closing", "order", "gaps"),
    [
        # The trail that goes on from the opening is first, though another begins at the same position.
        ([fill("b", -3, -3), fill("c", -3, 2), fill("a", 0, -3)], -1, "abc", [(2, "3")]),
        # The opening is passed on the way, but only the end of the trail meets the closing.
        ([fill("b", 0, 2), fill("a", -1, 1)], 2, "ab", [(0, "-1")]),
        # Neither trail meets the opening; the one that meets the closing is last.
        ([fill("b", 7, 1), fill("a", 2, 2)], 8, "ab", [(0, "2"), (1, "3")]),
    ],
)
def test_the_parts_of_a_broken_millisecond_are_laid_so_that_few_gaps_remain(
    fills: list[Fill], closing: int, order: str, gaps: list[tuple[int, str]]
) -> None:
    chain = order_fills_by_start_position(fills, Decimal(0), Decimal(closing))
    assert keys(chain) == order
    assert places(chain) == gaps


def test_fills_missing_at_either_end_are_found_where_the_ends_are_known() -> None:
    only = fill("a", 2, 3, time_ms=5)
    assert order_fills_by_start_position([only]).gaps == ()
    chain = order_fills_by_start_position([only], opening=Decimal(0), closing=Decimal(4))
    assert places(chain) == [(0, "2"), (1, "-1")]
    assert [(gap.since_ms, gap.until_ms) for gap in chain.gaps] == [(None, 5), (5, None)]


def test_without_any_fill_a_changed_position_is_a_gap() -> None:
    assert order_fills_by_start_position([]) == FillChain((), ())
    chain = order_fills_by_start_position([], opening=Decimal(1), closing=Decimal(4))
    assert places(chain) == [(0, "3")]
    assert [(gap.after, gap.before) for gap in chain.gaps] == [(None, None)]


def test_a_fill_given_twice_counts_once() -> None:
    one, other = fill("a", 0, 3), fill("b", 3, 1)
    assert order_fills_by_start_position([one, other, one]).fills == (one, other)


@pytest.mark.parametrize(("start", "order"), [("-5", "bs"), ("5", "sb"), ("0", "sb")])
def test_the_two_fills_of_a_trade_with_itself_change_nothing_together(start: str, order: str) -> None:
    legs = [fill("s", start, -3, trade_id="t"), fill("b", start, 3, trade_id="t")]
    chain = order_fills_by_start_position([*legs, fill("z", start, 1)])
    assert chain.gaps == ()
    assert order in keys(chain)
    assert sorted(keys(chain)) == ["b", "s", "z"]
    assert order_fills_by_start_position(legs, opening=Decimal(start), closing=Decimal(start)).gaps == ()


def test_equal_and_opposite_fills_of_two_trades_are_not_taken_for_one() -> None:
    chain = order_fills_by_start_position(
        [fill("a", 0, 3), fill("b", 3, -3), fill("c", 0, -3), fill("d", -3, 3)]
    )
    assert chain.gaps == ()
    assert follows_from_start_to_end(chain.fills)


def test_a_spot_purchase_is_followed_by_what_its_fee_left() -> None:
    bought = fill("a", 0, 10, trading_pair="HYPE-USDC", fee=Decimal("0.007"), fee_token="HYPE")
    sold = fill("b", "9.993", -9, trading_pair="HYPE-USDC")
    assert position_after(bought) == Decimal("9.993")
    assert order_fills_by_start_position([sold, bought]).gaps == ()


def test_fills_of_several_markets_are_refused() -> None:
    with pytest.raises(ValueError, match="several markets"):
        order_fills_by_start_position([fill("a", 0, 1), fill("b", 1, 1, trading_pair="OP-USD")])


def test_a_fill_that_does_not_tell_its_position_is_refused() -> None:
    with pytest.raises(ValueError, match="fill a does not tell"):
        order_fills_by_start_position([fill("a", None, 1)])


changes = st.integers(-3, 3).filter(bool).map(Decimal)
histories = st.lists(st.tuples(changes, st.integers(0, 2)), min_size=1, max_size=25)


def executed(start: int, history: list[tuple[Decimal, int]]) -> list[Fill]:
    """Fills as a venue executes them: each with the signed change it makes and the time since the last."""
    fills: list[Fill] = []
    position, time_ms = Decimal(start), 1_700_000_000_000
    for number, (change, pause_ms) in enumerate(history):
        time_ms += pause_ms
        fills.append(fill(f"{number * 7919 % 101:03d}-{number}", position, change, time_ms))
        position = position_after(fills[-1])
    return fills


@given(st.integers(-3, 3), histories, st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_complete_history_is_chained_without_a_gap_however_it_arrives(
    start: int, history: list[tuple[Decimal, int]], shuffler: random.Random, ends_known: bool
) -> None:
    fills = executed(start, history)
    ends = (Decimal(start), position_after(fills[-1])) if ends_known else (None, None)
    arrived = [*fills, fills[0]]
    shuffler.shuffle(arrived)
    chain = order_fills_by_start_position(arrived, *ends)
    assert chain.gaps == ()
    assert follows_from_start_to_end(chain.fills)
    times = [each.exchange_time_ms for each in chain.fills]
    assert times == sorted(times)
    assert sorted(keys(chain)) == sorted("".join(each.fill_key for each in fills))
    assert chain == order_fills_by_start_position(fills, *ends)


@given(st.integers(-3, 3), histories, st.sets(st.integers(0, 24), min_size=1, max_size=6))
@settings(deadline=None, max_examples=150)
def test_the_gaps_add_up_to_what_is_missing(
    start: int, history: list[tuple[Decimal, int]], lost: set[int]
) -> None:
    fills = executed(start, history)
    kept = [each for number, each in enumerate(fills) if number not in lost]
    opening, closing = Decimal(start), position_after(fills[-1])
    chain = order_fills_by_start_position(kept, opening, closing)
    missing = sum((change for number, (change, _) in enumerate(history) if number in lost), Decimal(0))
    assert sum((gap.missing_amount for gap in chain.gaps), Decimal(0)) == missing
    for gap in chain.gaps:
        assert gap.after is (chain.fills[gap.index - 1] if gap.index else None)
        assert gap.before is (chain.fills[gap.index] if gap.index < len(chain.fills) else None)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=25), st.sets(st.integers(0, 24), max_size=8))
@settings(deadline=None, max_examples=150)
def test_where_no_position_repeats_each_gap_stands_where_its_fills_were_lost(
    pauses: list[int], lost: set[int]
) -> None:
    fills = executed(0, [(Decimal(number + 1), pause) for number, pause in enumerate(pauses)])
    kept = [each for number, each in enumerate(fills) if number not in lost]
    expected: dict[int, Decimal] = {}
    for number, each in enumerate(fills):
        if number in lost:
            index = sum(earlier not in lost for earlier in range(number))
            expected[index] = MONEY.add(expected.get(index, Decimal(0)), each.amount)
    chain = order_fills_by_start_position(reversed(kept), Decimal(0), position_after(fills[-1]))
    assert chain.fills == tuple(kept)
    assert {gap.index: gap.missing_amount for gap in chain.gaps} == expected


def test_many_fills_of_one_millisecond_are_chained() -> None:
    fills = executed(0, [(Decimal(1 + number % 3) * (-1) ** number, 0) for number in range(5_000)])
    chain = order_fills_by_start_position(reversed(fills), Decimal(0))
    assert len(chain.fills) == 5_000
    assert chain.gaps == ()


def recorded_fills() -> dict[str, list[Fill]]:
    """The recorded fills by market. They are of 2023: without trade ids, newest first, the oldest cut off."""
    markets: dict[str, list[Fill]] = {}
    for number, row in enumerate(json.loads(RECORDED.read_text())[0]["response"]):
        recorded = Fill(
            fill_key=f"{row['oid']}:{number}",
            trade_id="",
            exchange_order_id=str(row["oid"]),
            trading_pair=f"{row['coin']}-USD",
            trade_type=BUY if row["side"] == "B" else SELL,
            price=Decimal(row["px"]),
            amount=Decimal(row["sz"]),
            fee=Decimal(row["fee"]),
            fee_token="USDC",
            liquidity=Liquidity.UNKNOWN,
            exchange_time_ms=row["time"],
            start_position=Decimal(row["startPosition"]),
            closed_pnl=Decimal(row["closedPnl"]),
        )
        markets.setdefault(recorded.trading_pair, []).append(recorded)
    return markets


@is_recorded
def test_the_recorded_fills_of_the_venue_chain_and_the_one_that_is_cut_off_is_noticed() -> None:
    markets = recorded_fills()
    assert len(markets) == 15
    gaps = {pair: order_fills_by_start_position(fills).gaps for pair, fills in markets.items()}
    # The oldest row of the record is a purchase from the account itself; the other leg was cut off.
    (cut_off,) = gaps.pop("SUI-USD")
    assert cut_off.missing_amount == Decimal("-116.4")
    assert all(not found for found in gaps.values())


@is_recorded
def test_a_position_folded_from_the_recorded_fills_agrees_with_the_venue_s_own() -> None:
    """Amounts agree at every step; profit wherever the venue of 2023 computed it as it does today.

    Then it truncated the entry to six figures and let closing fills move it. So its `closedPnl` can be
    compared for the first close after an entry that is known from the record, to within two units of the
    sixth figure of the entry (or the sixth decimal, if that is coarser).
    """
    compared = 0
    for pair, fills in recorded_fills().items():
        chain = order_fills_by_start_position(fills)
        breaks = {0, *(gap.index for gap in chain.gaps)}
        position = Position(trading_pair=pair)
        is_first_close = True
        previous: Fill | None = None
        for index, each in enumerate(chain.fills):
            start = each.start_position
            assert start is not None
            if index in breaks:
                position = Position(trading_pair=pair)
                position.assert_opening(start, None)
            is_second_leg = previous is not None and (previous.exchange_time_ms, previous.start_position) == (
                each.exchange_time_ms,
                start,
            )
            assert position.amount == start or is_second_leg
            entry = position.average_entry
            applied = position.apply_fill(each.price, each.amount, each.trade_type)
            if applied.closed_pnl is not None and applied.closed_amount:
                if is_first_close:
                    assert entry is not None
                    assert each.closed_pnl is not None
                    sixth_figure = Decimal((0, (1,), max(entry.adjusted() - 5, -6)))
                    error = MONEY.subtract(applied.closed_pnl, each.closed_pnl).copy_abs()
                    assert error <= MONEY.multiply(MONEY.multiply(2, sixth_figure), applied.closed_amount)
                    compared += 1
                is_first_close = applied.closed_amount == applied.start_amount.copy_abs()
            previous = each
    assert compared == 6


def test_the_position_told_for_a_millisecond_divides_its_fills() -> None:
    fills = [fill("d", 3, 4, 9), fill("c", 1, 2, 9), fill("a", 0, 5, 8), fill("b", 5, -4, 9)]
    after = {
        position: "".join(each.fill_key for each in fills_after(fills, Decimal(position), 9))
        for position in range(9)
    }
    assert after == {0: "", 1: "cd", 2: "", 3: "d", 4: "", 5: "bcd", 6: "", 7: "", 8: ""}
    assert fills_after(fills, Decimal(0), 10) == fills_after([], Decimal(0), 9) == ()


def test_what_came_after_a_position_passed_twice_is_counted_from_the_later_time() -> None:
    fills = [fill("a", 0, 1, 9), fill("b", 1, -1, 9), fill("c", 0, 2, 9)]
    assert [each.fill_key for each in fills_after(fills, Decimal(0), 9)] == ["c"]


def test_fills_of_several_markets_are_not_divided_together() -> None:
    with pytest.raises(ValueError, match="several markets"):
        fills_after([fill("a", 0, 1), fill("b", 0, 1, trading_pair="BTC-USD")], Decimal(0), 0)
