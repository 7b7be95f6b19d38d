"""Running a session through a core that may differ from the recorded one, and looking at what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.connector_base import ConnectorBase
from domain.effects import Alert, Effect, Query, SendAction
from domain.events import Fill, LedgerEvent, OrderFilled
from domain.in_flight_order import OrderView
from domain.inputs import Input
from domain.outcome import Outcome
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.position import Position
from replays.cores import MakeCore
from replays.cores import make_core as installed_core
from replays.recording import SessionHeader
from replays.replaying import Divergence, Recording, compare
from replays.requests import OpenRequests

__all__ = ["SessionRun", "run_session", "with_options"]


class SessionRun:
    """What a core did, input after input: its events and effects in their order, and how things stand.

    `orders` are those that were seen in an event, as they stood after their last one. `open_requests` wait
    for an answer. `first_difference` is where a run first differs from the recording it was made from; it may
    well be meant to.
    """

    def __init__(self, core: ConnectorBase) -> None:
        self.core = core
        self.inputs: list[Input] = []
        self.events: list[LedgerEvent] = []
        self.effects: list[Effect] = []
        self.orders: dict[str, OrderView] = {}
        self.open_requests = OpenRequests()
        self.first_difference: Divergence | None = None

    def step(self, item: Input) -> Outcome:
        """Feed one input to the core. Raises what the core raises."""
        outcome = self.core.step(item)
        self.open_requests.take(item)
        self.open_requests.note(outcome.effects)
        self.inputs.append(item)
        self.effects += outcome.effects
        for change in outcome.changes:
            self.events.append(change.event)
            if change.view is not None:
                self.orders[change.view.client_order_id] = change.view
        return outcome

    @property
    def identical(self) -> bool:
        """Whether everything came out as recorded."""
        return self.first_difference is None

    @property
    def requests(self) -> list[SendAction]:
        """Everything that went out to be signed and sent."""
        return [effect for effect in self.effects if isinstance(effect, SendAction)]

    @property
    def queries(self) -> list[Query]:
        """Everything that the venue was asked."""
        return [effect for effect in self.effects if isinstance(effect, Query)]

    @property
    def alerts(self) -> list[Alert]:
        return [effect for effect in self.effects if isinstance(effect, Alert)]

    @property
    def positions(self) -> dict[str, Position]:
        """By trading pair, as they stand now."""
        return dict(self.core.positions) if isinstance(self.core, PerpetualDerivativeBase) else {}

    def topics(self, client_order_id: str) -> list[str]:
        """The story of an order: the topics of its events."""
        return [event.topic for event in self.events if event.originator_id == client_order_id]

    def fills(self, client_order_id: str) -> list[Fill]:
        """The fills of an order that were booked in this run."""
        return [
            event.fill
            for event in self.events
            if isinstance(event, OrderFilled) and event.originator_id == client_order_id
        ]


def with_options(header: SessionHeader, changed: Mapping[str, Any]) -> SessionHeader:
    """The header of the same session under changed options of its connector.

    Raises `TypeError` for an option that the recording does not have.
    """
    unknown = [name for name in changed if name not in header.core_options]
    if unknown:
        raise TypeError(
            f"The connector of this session has no option {', '.join(unknown)}; it has: "
            f"{', '.join(header.core_options)}"
        )
    return msgspec.structs.replace(
        header, core_options=header.core_options | msgspec.to_builtins(dict(changed))
    )


def run_session(
    recording: Recording, make_core: MakeCore | None = None, **changed_options: Any
) -> SessionRun:
    """Run all inputs of a recording through a core, under other options if some are given.

    Unlike a replay it goes on after a difference: a recorded answer goes to the request that asks what it
    answers, and is passed over when there is none. Raises what reading the recording raises, and what the
    core raises.
    """
    header = with_options(recording.header, changed_options)
    run = SessionRun((make_core or installed_core)(header))
    for recorded in recording:
        item = run.open_requests.addressed(recorded.item, recorded.answers)
        if item is None:
            continue
        outcome = run.step(item)
        if run.first_difference is None:
            run.first_difference = compare(recorded, outcome)
    return run
