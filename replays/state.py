"""Time travel: the open orders and positions as they stood after an input, and what one input changed."""

from __future__ import annotations

import copy

import msgspec

from domain.connector_base import ConnectorBase
from domain.in_flight_order import DONE_STATES, OrderView
from domain.inputs import Input, OrderLookedUp, Started
from domain.outcome import Outcome
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.position import Position

__all__ = ["OrderChange", "PositionChange", "ReplayState", "StateChange", "StateFollower", "changed"]


class ReplayState(msgspec.Struct, frozen=True, kw_only=True):
    """What stood at one moment, detached from the core: it does not change when the replay goes on.

    `open_orders` are those that are not done, unknown outcomes included, oldest first; `positions` those of
    every market that was ever traded. `waiting_for` is what readiness lacks (empty: nothing).
    """

    open_orders: tuple[OrderView, ...] = ()
    positions: tuple[Position, ...] = ()
    waiting_for: tuple[str, ...] = ()
    halted_because: str = ""


class OrderChange(msgspec.Struct, frozen=True):
    """An order before (None: not open then) and after an input that it took part in."""

    before: OrderView | None
    after: OrderView


class PositionChange(msgspec.Struct, frozen=True):
    """A position before (None: there was none) and after an input."""

    before: Position | None
    after: Position


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one input changed. `waiting_for` and `halted_because` are (before, after); None for no change."""

    orders: tuple[OrderChange, ...] = ()
    positions: tuple[PositionChange, ...] = ()
    waiting_for: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    halted_because: tuple[str, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.orders or self.positions or self.waiting_for or self.halted_because)


class StateFollower:
    """Keeps the state of a core that is being stepped. Inputs that change nothing cost next to nothing."""

    def __init__(self, core: ConnectorBase) -> None:
        self._core = core
        self._open: dict[str, OrderView] = {}
        self._positions: dict[str, Position] = {}
        self._state = ReplayState(waiting_for=core.readiness, halted_because=core.halted_because)

    @property
    def state(self) -> ReplayState:
        """The state after the last input that `after` was told of."""
        return self._state

    def after(self, item: Input, outcome: Outcome) -> ReplayState:
        """The state now that the core has handled this input with this outcome."""
        core, state = self._core, self._state
        restored = isinstance(item, Started | OrderLookedUp)
        if restored:
            self._read_orders()
        if restored or outcome.changes:
            self._take(outcome)
            self._read_positions()
            state = self._state = msgspec.structs.replace(
                state,
                open_orders=tuple(sorted(self._open.values(), key=_age)),
                positions=tuple(self._positions.values()),
            )
        waiting_for = core.readiness
        if waiting_for != state.waiting_for or core.halted_because != state.halted_because:
            self._state = msgspec.structs.replace(
                state, waiting_for=waiting_for, halted_because=core.halted_because
            )
        return self._state

    def _read_orders(self) -> None:
        """Orders that came into memory from the ledger: no event tells of them."""
        self._open = {order.id: order.view() for order in self._core.tracker.live_orders()}

    def _take(self, outcome: Outcome) -> None:
        for change in outcome.changes:
            view = change.view
            if view is None:
                continue
            if view.state in DONE_STATES:
                self._open.pop(view.client_order_id, None)
            else:
                self._open[view.client_order_id] = view

    def _read_positions(self) -> None:
        core = self._core
        if not isinstance(core, PerpetualDerivativeBase):
            return
        for trading_pair, position in core.positions.items():
            if self._positions.get(trading_pair) != position:
                # A copy: the core goes on changing its own.
                self._positions[trading_pair] = copy.copy(position)


def changed(before: ReplayState, after: ReplayState, outcome: Outcome) -> StateChange:
    """What an input changed: the states before and after it, and its outcome."""
    open_before = {view.client_order_id: view for view in before.open_orders}
    touched = {
        change.view.client_order_id: change.view for change in outcome.changes if change.view is not None
    }
    touched |= {
        view.client_order_id: view
        for view in after.open_orders
        if open_before.get(view.client_order_id) is not view and view.client_order_id not in touched
    }
    held_before = {position.trading_pair: position for position in before.positions}
    return StateChange(
        orders=tuple(OrderChange(open_before.get(key), view) for key, view in touched.items()),
        positions=tuple(
            PositionChange(held_before.get(position.trading_pair), position)
            for position in after.positions
            if held_before.get(position.trading_pair) != position
        ),
        waiting_for=None
        if before.waiting_for == after.waiting_for
        else (before.waiting_for, after.waiting_for),
        halted_because=None
        if before.halted_because == after.halted_because
        else (before.halted_because, after.halted_because),
    )


def _age(view: OrderView) -> tuple[int, str]:
    return view.created_at_ns, view.client_order_id
