"""What changed between two points of the log: orders and positions before and after, fills and funding."""

from __future__ import annotations

from typing import Unpack

import msgspec

from projections.event_source import PastEventSource
from projections.filters import Filter
from projections.queries import Views
from projections.rows import FillRow, FundingRow, OrderRow, PositionRow

__all__ = ["Differences", "OrderChange", "PositionChange", "differences"]


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """An order that had events in between. `before` is None when it did not exist yet."""

    before: OrderRow | None
    after: OrderRow


class PositionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A market that was changed in between. `before` is None when it had not been held yet."""

    before: PositionRow | None
    after: PositionRow


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """What the events after `from_position`, up to and with `to_position`, did. `fills_taken_back` counted
    before, and do not any more; what took the place of one is among `fills`."""

    from_position: int
    to_position: int
    orders: list[OrderChange]
    positions: list[PositionChange]
    fills: list[FillRow]
    fills_taken_back: list[FillRow]
    funding: list[FundingRow]


def differences(
    views: Views, source: PastEventSource, from_position: int, to_position: int, **wanted: Unpack[Filter]
) -> Differences:
    """What changed between two positions, in the order of the later one. The filters are those of the rows
    after the change. Raises as `Views.at`, and `ValueError` when the points are the wrong way round."""
    if from_position > to_position:
        raise ValueError(f"position {from_position} comes after position {to_position}")
    wanted = Filter(**wanted)
    wanted["after_position"] = from_position
    with views.frozen(), views.at(from_position, source) as then, views.at(to_position, source) as later:
        changed = later.orders(**wanted)
        orders = then.earlier(changed)
        positions = {_market(position): position for position in then.positions(tag=wanted.get("tag"))}
        return Differences(
            from_position=from_position,
            to_position=to_position,
            orders=[OrderChange(before=orders.get(after.client_order_id), after=after) for after in changed],
            positions=[
                PositionChange(before=positions.get(_market(after)), after=after)
                for after in later.positions(**wanted)
            ],
            fills=later.fills(**wanted),
            fills_taken_back=later.fills_taken_back(**wanted),
            funding=later.funding(**wanted),
        )


def _market(position: PositionRow) -> tuple[str, str, str]:
    return position.venue, position.account, position.trading_pair
