"""Which orders changed both before and after a position, found without looking at all the others.

An order whose first event stands at or before a position and whose last one stands after it is not there now
as it was then. To find these at any position takes an index of intervals. Each interval `[first, last - 1]`
is filed under one number, the one in it that the highest power of two divides; the intervals that contain a
position can only be filed under that position's ancestors in the binary tree of the numbers, one per level.
So a question costs as many index look-ups as positions have bits, however far back it reaches.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["NO_SPAN", "nodes_around", "span_node"]

NO_SPAN = 0
"""The node of an order with a single event: there is no position between its first and its last."""


def span_node(first: int, last: int) -> int:
    """Where the positions `first` to `last - 1` are filed; `NO_SPAN` when there are none."""
    if first == last:
        return NO_SPAN
    level = ((first - 1) ^ (last - 1)).bit_length() - 1
    return (last - 1) >> level << level


def nodes_around(position: int, end: int) -> Iterator[int]:
    """Every node under which an interval that contains `position` can be filed, in a log that ends at `end`.

    Both are at least 1, and `position` is not beyond `end`.
    """
    yield position
    for level in range((position & -position).bit_length(), end.bit_length()):
        yield (position >> level | 1) << level
