"""Finds who can make the core a recording was made with: an entry point named after the venue.

Another package adds its own connector by an entry point in the group `orderledger.cores` that leads to a
function `make_core(header: SessionHeader) -> ConnectorBase`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from domain.connector_base import ConnectorBase
from replays.errors import CoreNotFoundError
from replays.recording import SessionHeader

__all__ = ["CORES_GROUP", "MakeCore", "installed_core", "make_core"]

CORES_GROUP = "orderledger.cores"

MakeCore = Callable[[SessionHeader], ConnectorBase]
"""Makes a fresh core, as it was before the first input of the session."""


def installed_core(venue: str) -> MakeCore:
    """The factory of a venue's core. Raises `CoreNotFoundError`."""
    installed = entry_points(group=CORES_GROUP)
    for found in installed:
        if found.name == venue:
            factory: MakeCore = found.load()
            return factory
    known = ", ".join(sorted(found.name for found in installed)) or "none"
    raise CoreNotFoundError(
        f"No installed package can replay recordings of {venue!r} (installed: {known}). Install the package"
        f" of that connector; it names its core in the entry point group {CORES_GROUP}."
    )


def make_core(header: SessionHeader) -> ConnectorBase:
    """A fresh core for the session that a header describes. Raises `CoreNotFoundError`."""
    return installed_core(header.venue)(header)
