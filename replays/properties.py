"""Named things that a session can show: what `session shrink --property` looks for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from domain.connector_base import ConnectorBase
from domain.effects import Alert
from domain.enums import OrderState, TradeType
from domain.errors import LedgerError
from domain.events import EVENT_TYPES, AccountFillBooked, Fill, OrderFilled
from domain.money import MONEY, ZERO
from domain.outcome import Outcome
from domain.perpetual_derivative_base import PerpetualDerivativeBase

__all__ = ["PROPERTIES", "Property", "UnknownPropertyError", "property_named"]

Property = Callable[[ConnectorBase, Outcome], bool]
"""Whether an input showed it: the core as it stands after the input, and what the input led to."""


class UnknownPropertyError(LedgerError):
    """No property has this name."""


def _overfilled(core: ConnectorBase, outcome: Outcome) -> bool:
    views = (change.view for change in outcome.changes)
    return any(view is not None and ZERO < view.amount < view.filled_amount for view in views)


def _negative_remaining(core: ConnectorBase, outcome: Outcome) -> bool:
    return any(change.view is not None and change.view.remaining_amount < ZERO for change in outcome.changes)


def _unknown_outcome(core: ConnectorBase, outcome: Outcome) -> bool:
    return any(change.view is not None and change.view.outcome_unknown for change in outcome.changes)


def _halted(core: ConnectorBase, outcome: Outcome) -> bool:
    return bool(core.halted_because)


def _position_mismatch(core: ConnectorBase, outcome: Outcome) -> bool:
    if not isinstance(core, PerpetualDerivativeBase):
        return False
    fills = [
        change.event.fill
        for change in outcome.changes
        if isinstance(change.event, OrderFilled | AccountFillBooked)
    ]
    # The core has applied them all: go back from its position to what each of them found.
    after: dict[str, Decimal] = {}
    for fill in reversed(fills):
        held = after.get(fill.trading_pair)
        if held is None:
            held = core.position(fill.trading_pair).amount
        before = MONEY.subtract(held, _signed(fill))
        if fill.start_position is not None and fill.start_position != before:
            return True
        after[fill.trading_pair] = before
    return False


def _signed(fill: Fill) -> Decimal:
    return fill.amount if fill.trade_type is TradeType.BUY else fill.amount.copy_negate()


PROPERTIES: dict[str, tuple[str, Property]] = {
    "overfilled": ("an order executed more than its amount", _overfilled),
    "negative-remaining": ("an order has a negative amount left", _negative_remaining),
    "unknown-outcome": ("the fate of a request is not known", _unknown_outcome),
    "halted": ("trading is halted", _halted),
    "position-mismatch": ("the venue's position before a fill is not ours", _position_mismatch),
}
"""Names and what they mean. Besides these: `event:TOPIC`, `alert:CODE` and `state:STATE`."""


def property_named(name: str) -> Property:
    """The property with this name. Raises `UnknownPropertyError`, which lists what there is."""
    if name in PROPERTIES:
        return PROPERTIES[name][1]
    kind, _, argument = name.partition(":")
    if kind == "event" and argument in EVENT_TYPES:
        return lambda core, outcome: any(change.event.topic == argument for change in outcome.changes)
    if kind == "alert" and argument:
        return lambda core, outcome: any(
            isinstance(effect, Alert) and effect.code == argument for effect in outcome.effects
        )
    if kind == "state" and argument in tuple(OrderState):
        return lambda core, outcome: any(
            change.view is not None and change.view.state == argument for change in outcome.changes
        )
    listed = "; ".join(f"{known} ({what})" for known, (what, _) in PROPERTIES.items())
    raise UnknownPropertyError(
        f"There is no property {name!r}. There are: {listed}; event:TOPIC (such as event:order.not_found), "
        "alert:CODE (such as alert:stream_lost), state:STATE (such as state:expired)."
    )
