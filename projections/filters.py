"""Which rows an answer holds: the filters of the questions, as SQL and as predicates that say the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from domain.enums import OrderState
from projections.rows import PositionRow

__all__ = [
    "Condition",
    "Filter",
    "discrepancy_conditions",
    "fill_conditions",
    "funding_conditions",
    "order_conditions",
    "past_order_conditions",
    "position_matches",
    "timeline_conditions",
]

Condition = tuple[str, list[Any]]
"""A term of a WHERE clause and its parameters."""

_NS_PER_MS = 1_000_000


class Filter(TypedDict, total=False):
    """What to show; None, or left out: everything.

    `since_ns` is the first moment that counts and `until_ns` the first that does not, in nanoseconds UTC: of
    an order its creation, of a fill or funding payment the venue's time, of an event when it was recorded, of
    a position its last change, of a discrepancy when it was found. `states` (empty: all) and `tag` (a
    strategy's) are those of an order, `tag` also of its fills.
    `after_position`: only what an event after this position of the log added or changed.
    """

    venue: str | None
    account: str | None
    trading_pair: str | None
    states: Iterable[OrderState]
    tag: str | None
    since_ns: int | None
    until_ns: int | None
    after_position: int | None


def order_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    return _lasting_order_conditions(**wanted) + _states(wanted) + _after("last_position", wanted)


def _lasting_order_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    """Those about what never changes in the life of an order."""
    return _market(wanted) + _tag(wanted) + _time("created_at_ns", wanted)


def past_order_conditions(position: int, **wanted: Unpack[Filter]) -> list[Condition]:
    """The same of how an order stood at an earlier position: its row is of today, its timeline tells."""
    conditions = _lasting_order_conditions(**wanted)
    upto = "FROM order_timeline WHERE client_order_id = orders.client_order_id AND position <= ?"
    for condition, states in _states(wanted):
        state = f"(SELECT state {upto} ORDER BY version DESC LIMIT 1)"
        conditions.append((f"{state} {condition.removeprefix('state ')}", [position, *states]))
    for condition, after in _after("position", wanted):
        conditions.append((f"EXISTS (SELECT 1 {upto} AND {condition})", [position, *after]))
    return conditions


def position_matches(position: PositionRow, **wanted: Unpack[Filter]) -> bool:
    return (
        _is(position.venue, wanted.get("venue"))
        and _is(position.account, wanted.get("account"))
        and _is(position.trading_pair, wanted.get("trading_pair"))
        and _within(position.updated_at_ns, wanted)
        and position.last_position > (wanted.get("after_position") or 0)
    )


def fill_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    conditions = _market(wanted)
    for condition, values in _tag(wanted):
        conditions.append(
            (f"client_order_id IN (SELECT client_order_id FROM orders WHERE {condition})", values)
        )
    return conditions + _exchange_time("exchange_time_ms", wanted) + _after("position", wanted)


def funding_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    time = f"coalesce(exchange_time_ms, recorded_at_ns / {_NS_PER_MS})"
    return _market(wanted) + _exchange_time(time, wanted) + _after("position", wanted)


def discrepancy_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    return (
        _market(wanted)
        + _time("found_at_ns", wanted)
        + _after("coalesce(settled_position, found_position)", wanted)
    )


def timeline_conditions(**wanted: Unpack[Filter]) -> list[Condition]:
    return _states(wanted) + _time("recorded_at_ns", wanted) + _after("position", wanted)


def _market(wanted: Filter) -> list[Condition]:
    named = (
        ("venue", wanted.get("venue")),
        ("account", wanted.get("account")),
        ("trading_pair", wanted.get("trading_pair")),
    )
    return [(f"{column} = ?", [value]) for column, value in named if value is not None]


def _tag(wanted: Filter) -> list[Condition]:
    tag = wanted.get("tag")
    if tag is None:
        return []
    # The second term lets SQLite use the index, which leaves out the orders without a tag.
    return [("tag = ? AND tag <> ''" if tag else "tag = ?", [tag])]


def _states(wanted: Filter) -> list[Condition]:
    states = [str(state) for state in wanted.get("states", ())]
    return [(f"state IN ({', '.join('?' * len(states))})", states)] if states else []


def _after(column: str, wanted: Filter) -> list[Condition]:
    after = wanted.get("after_position")
    return [] if after is None else [(f"{column} > ?", [after])]


def _time(column: str, wanted: Filter) -> list[Condition]:
    conditions: list[Condition] = []
    if (since_ns := wanted.get("since_ns")) is not None:
        conditions.append((f"{column} >= ?", [since_ns]))
    if (until_ns := wanted.get("until_ns")) is not None:
        conditions.append((f"{column} < ?", [until_ns]))
    return conditions


def _exchange_time(column: str, wanted: Filter) -> list[Condition]:
    """The same for a column in milliseconds: the first whole one that is not before a moment."""
    return _time(
        column,
        Filter(
            since_ns=_first_whole_ms(wanted.get("since_ns")), until_ns=_first_whole_ms(wanted.get("until_ns"))
        ),
    )


def _first_whole_ms(moment_ns: int | None) -> int | None:
    return None if moment_ns is None else -(-moment_ns // _NS_PER_MS)


def _is(value: str, wanted: str | None) -> bool:
    return wanted is None or value == wanted


def _within(time_ns: int, wanted: Filter) -> bool:
    since_ns, until_ns = wanted.get("since_ns"), wanted.get("until_ns")
    return (since_ns is None or time_ns >= since_ns) and (until_ns is None or time_ns < until_ns)
