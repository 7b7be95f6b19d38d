"""Finds who can make the core a recording was made with: an entry point named after the venue.

Another package adds its own connector by an entry point in the group `orderledger.cores` that leads to a
function `make_core(header: SessionHeader) -> ConnectorBase`; and, so that its recordings can be cut and
redacted, one in the group `orderledger.rewriters` that leads to a class made without arguments, as
`replays.rewriting.VenueRewriter` describes it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from domain.connector_base import ConnectorBase
from replays.errors import CoreNotFoundError
from replays.recording import SessionHeader

__all__ = ["CORES_GROUP", "REWRITERS_GROUP", "MakeCore", "installed", "installed_core", "make_core"]

CORES_GROUP = "orderledger.cores"
REWRITERS_GROUP = "orderledger.rewriters"

MakeCore = Callable[[SessionHeader], ConnectorBase]
"""Makes a fresh core, as it was before the first input of the session."""


def installed_core(venue: str) -> MakeCore:
    """The factory of a venue's core. Raises `CoreNotFoundError`."""
    factory: MakeCore = installed(CORES_GROUP, venue)
    return factory


def installed(group: str, venue: str) -> Any:
    """What the package of a venue's connector offers in a group. Raises `CoreNotFoundError`."""
    offered = entry_points(group=group)
    for found in offered:
        if found.name == venue:
            return found.load()
    known = ", ".join(sorted(found.name for found in offered)) or "none"
    raise CoreNotFoundError(
        f"No installed package can work with recordings of {venue!r} (installed: {known}). Install the "
        f"package of that connector; it names itself in the entry point group {group}."
    )


def make_core(header: SessionHeader) -> ConnectorBase:
    """A fresh core for the session that a header describes. Raises `CoreNotFoundError`."""
    return installed_core(header.venue)(header)
