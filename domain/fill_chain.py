"""The order in which a venue executed the fills of one market, and where fills are missing.

Many fills share one millisecond, and lists and streams deliver them in any order. But each fill tells the
position before it, so each is a step from one position to another, and the true order is the walk in which
every step begins where the one before it ended. Where no such walk exists a fill is missing, and the gap
tells how much (protocol sheet, sections 5.5 and 8).

An account that trades with itself gets two fills of one trade, which tell the same position and together
leave it where it was (seen in the venue's records of 2023): they are one step of the walk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

import msgspec

from domain.enums import TradeType
from domain.events import Fill
from domain.fees import received_amount
from domain.money import MONEY

__all__ = ["ChainGap", "FillChain", "fills_after", "order_fills_by_start_position", "position_after"]


class ChainGap(msgspec.Struct, frozen=True, gc=False):
    """A place where the chain breaks: the position was `expected` and turns out to be `found` (base units).

    The missing fills belong between `after` and `before`; None stands for the end of what is known. `index`
    is where in the chain they belong. A transfer of spot tokens leaves a gap too.
    """

    index: int
    expected: Decimal
    found: Decimal
    after: Fill | None
    before: Fill | None

    @property
    def missing_amount(self) -> Decimal:
        """Signed sum of what is missing, in base units: positive when purchases are."""
        return MONEY.subtract(self.found, self.expected)

    @property
    def since_ms(self) -> int | None:
        """Venue time from which to ask for the missing fills (inclusive); None: from the beginning."""
        return None if self.after is None else self.after.exchange_time_ms

    @property
    def until_ms(self) -> int | None:
        """Venue time up to which to ask for the missing fills (inclusive); None: until now."""
        return None if self.before is None else self.before.exchange_time_ms


class FillChain(msgspec.Struct, frozen=True):
    """Fills of one market in the order of execution, and the gaps between them.

    Of a trade with itself the leg that closes stands before the leg that opens.
    """

    fills: tuple[Fill, ...]
    gaps: tuple[ChainGap, ...]


def position_after(fill: Fill) -> Decimal:
    """The signed position after a fill that tells the one before it, in base units.

    Raises `ValueError` when it does not tell (records of a venue's early days do not).
    """
    start = _start_of(fill)
    base_token = fill.trading_pair.rpartition("-")[0]
    amount = received_amount(fill.trade_type, fill.amount, fill.fee, fill.fee_token, base_token)
    return MONEY.add(start, amount) if fill.trade_type is TradeType.BUY else MONEY.subtract(start, amount)


def order_fills_by_start_position(
    fills: Iterable[Fill], opening: Decimal | None = None, closing: Decimal | None = None
) -> FillChain:
    """Chain the fills of one market of one account; a fill given twice (same `fill_key`) counts once.

    `opening` and `closing` are the positions before the first and after the last fill where they are known:
    then fills missing at the ends are found as well. A complete history has no gaps. In an incomplete one a
    position that was passed twice can leave open where the missing fills belong; the gaps always add up to
    their sum. The answer depends on the set of fills alone, not on the order they come in; where several
    walks are possible, `fill_key` decides. Takes O(n log n).
    Raises `ValueError` when the fills are of several markets or one does not tell its start position.
    """
    walked = _walked(fills, opening, closing)
    chain = tuple(fill for step in walked for fill in step.fills)
    return FillChain(chain, tuple(_gaps(walked, opening, closing)))


def fills_after(fills: Iterable[Fill], position: Decimal, at_ms: int) -> tuple[Fill, ...]:
    """Which fills of the millisecond `at_ms` were executed after the market's position was `position`.

    For a position that is told with a time, and fills of one market that may have the same time. The other
    fills are there to tell the order of those. Where the position was passed twice within the millisecond,
    the later time counts; where it was not passed at all, no fill counts as executed after it.
    Raises `ValueError` like `order_fills_by_start_position`.
    """
    steps = [step for step in _walked(fills) if step.fills[0].exchange_time_ms == at_ms]
    if not steps or steps[-1].end == position:
        return ()
    for index in reversed(range(len(steps))):
        if steps[index].start == position:
            return tuple(fill for step in steps[index:] for fill in step.fills)
    return ()


def _walked(
    fills: Iterable[Fill], opening: Decimal | None = None, closing: Decimal | None = None
) -> list[_Step]:
    """The steps that the fills of one market make, in order."""
    distinct = {fill.fill_key: fill for fill in fills}
    in_time = sorted(distinct.values(), key=lambda fill: (fill.exchange_time_ms, fill.fill_key))
    if any(fill.trading_pair != in_time[0].trading_pair for fill in in_time):
        raise ValueError("fills of several markets have no common chain: order each market by itself")
    instants = [_Instant(group) for _, group in groupby(in_time, key=lambda fill: fill.exchange_time_ms)]
    following: list[_Positions | None] = [None if closing is None else {closing: None}]
    for instant in reversed(instants):
        following.append(instant.starts_before(following[-1]))
    following.reverse()
    walked: list[_Step] = []
    position = opening
    for instant, then in zip(instants, following[1:], strict=True):
        walked += instant.walk(position, then)
        position = walked[-1].end
    return walked


class _Step(NamedTuple):
    """From one position to another by one fill, by the two of a trade with itself, or by none: over a gap."""

    start: Decimal
    end: Decimal
    fills: tuple[Fill, ...] = ()


def _gaps(walked: Sequence[_Step], opening: Decimal | None, closing: Decimal | None) -> Iterator[ChainGap]:
    position = opening
    index = 0
    last: Fill | None = None
    for step in walked:
        if position is not None and position != step.start:
            yield ChainGap(index, position, step.start, last, step.fills[0])
        position = step.end
        index += len(step.fills)
        last = step.fills[-1]
    if position is not None and closing is not None and position != closing:
        yield ChainGap(index, position, closing, last, None)


def _start_of(fill: Fill) -> Decimal:
    if fill.start_position is None:
        raise ValueError(f"fill {fill.fill_key} does not tell the position before it: it cannot be chained")
    return fill.start_position


def _steps(fills: Iterable[Fill]) -> list[_Step]:
    """The steps that the fills of one millisecond make, with the two legs of a trade with itself joined."""
    steps: list[_Step] = []
    single: dict[tuple[object, ...], list[int]] = {}
    for fill in fills:
        start = _start_of(fill)
        trade = (start, fill.price, fill.amount, fill.trade_id)
        others = single.get((*trade, TradeType.SELL if fill.trade_type is TradeType.BUY else TradeType.BUY))
        if others:
            index = others.pop(0)
            other = steps[index].fills[0]
            closes = (fill.trade_type is TradeType.BUY) is (start < 0)
            steps[index] = _Step(start, start, (fill, other) if closes else (other, fill))
        else:
            single.setdefault((*trade, fill.trade_type), []).append(len(steps))
            steps.append(_Step(start, position_after(fill), (fill,)))
    return steps


_Positions = dict[Decimal, None]
"""A set that keeps its order: no answer may depend on the order of hashes."""


class _Instant:
    """The fills of one millisecond as a graph: positions are its nodes, steps its edges.

    A complete instant is an Eulerian walk. With gaps it falls into several trails: a step over a gap from the
    end of each trail to the start of another closes them into circuits, which are walked, then cut again.
    """

    def __init__(self, fills: Iterable[Fill]) -> None:
        self._steps = _steps(fills)
        balance: dict[Decimal, int] = {}
        for step in self._steps:
            balance[step.start] = balance.get(step.start, 0) + 1
            balance[step.end] = balance.get(step.end, 0) - 1
        self._nodes = balance
        self._starts = sorted(node for node, more in balance.items() for _ in range(more))
        self._ends = sorted(node for node, more in balance.items() for _ in range(-more))

    def starts_before(self, then: _Positions | None) -> _Positions | None:
        """Where this instant can begin when the next begins at one of `then`; None when that is open."""
        if self._starts:
            return {self._starts[0]: None} if len(self._starts) == 1 else None
        # It ends where it began, so the next one decides, if it begins at a position of this one.
        return self._common(then) or dict.fromkeys(self._nodes)

    def _common(self, then: _Positions | None) -> _Positions:
        return dict.fromkeys(position for position in then or () if position in self._nodes)

    def walk(self, position: Decimal | None, then: _Positions | None) -> list[_Step]:
        """All steps in order, from `position` to one of `then` as far as the fills allow."""
        if len(self._steps) == 1:
            return self._steps
        goals = self._common(then)
        out: dict[Decimal, list[_Step]] = {}
        # Steps are taken from the end of a list: fills in the order of their keys, a gap after all of them.
        for step in (*self._over_gaps(position, goals), *reversed(self._steps)):
            out.setdefault(step.start, []).append(step)
        walked = self._first(out, position, goals)
        for node in self._nodes:
            if out[node]:
                apart = _circuit(out, node)
                walked += _cut_after(apart, [step for step in apart if not step.fills])
        return [step for step in walked if step.fills]

    def _over_gaps(self, position: Decimal | None, goals: _Positions) -> list[_Step]:
        """Steps that join the end of each trail to the start of one."""
        starts = sorted(self._starts, key=lambda start: start != position)
        ends = sorted(self._ends, key=lambda end: end not in goals)
        return [_Step(end, start) for end, start in zip(ends, starts, strict=True)]

    def _first(
        self, out: dict[Decimal, list[_Step]], position: Decimal | None, goals: _Positions
    ) -> list[_Step]:
        """The circuit to begin with, cut where that leaves the fewest gaps."""
        if position is None or position not in self._nodes:
            begin = self._starts[0] if self._starts else next(iter(goals), self._steps[0].start)
            circuit = _circuit(out, begin)
            gaps = [step for step in circuit if not step.fills]
            return _cut_after(circuit, [step for step in gaps if step.start in goals] or gaps)
        circuit = _circuit(out, position)
        gaps = [step for step in circuit if not step.fills]
        if position in self._starts:
            return _cut_after(circuit, [step for step in gaps if step.end == position])
        return _cut_after(circuit, [step for step in gaps if step.start in goals])


def _circuit(out: dict[Decimal, list[_Step]], begin: Decimal) -> list[_Step]:
    """Walk from `begin` back to it over every step within reach, taking each from `out` (Hierholzer)."""
    circuit: list[_Step] = []
    path: list[_Step] = []
    node = begin
    while True:
        ahead = out[node]
        if ahead:
            path.append(ahead.pop())
            node = path[-1].end
        elif path:
            circuit.append(path.pop())
            node = circuit[-1].start
        else:
            circuit.reverse()
            return circuit


def _cut_after(circuit: list[_Step], steps: Sequence[_Step]) -> list[_Step]:
    """The same circuit, begun right after the first of `steps`, if there is one."""
    if not steps:
        return circuit
    index = circuit.index(steps[0]) + 1
    return circuit[index:] + circuit[:index]
