"""Recordings made in code: of a hand-driven core, and of inputs that exist already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.hyperliquid.replaying import core_options, make_core
from domain.event_codec import encode_events
from domain.inputs import Input
from replays.recording import RecordedInput, SessionHeader, effects_digest
from replays.replaying import MemoryRecording
from tests.support.core import CoreSession

__all__ = ["header_of", "recorded", "recording_of"]


def header_of(session: CoreSession, **members: Any) -> SessionHeader:
    """The header under which a hand-driven core would be recorded."""
    return SessionHeader(
        package_version="0.0.0",
        config_fingerprint="0" * 16,
        venue="hyperliquid",
        network=session.connector.network,
        account=session.connector.account_address,
        signer=session.options.signer or "",
        session_id=session.connector.session_id,
        core_options=core_options(session.options),
        started_at_ns=session.inputs[0].at_ns if session.inputs else 0,
        **members,
    )


def recording_of(session: CoreSession, **members: Any) -> MemoryRecording:
    """What a recorder would have written of a session that was driven by hand."""
    return recorded(header_of(session, **members), session.inputs)


def recorded(header: SessionHeader, inputs: Iterable[Input]) -> MemoryRecording:
    """These inputs, each with what this version of the core does on it."""
    core = make_core(header)
    kept = []
    for item in inputs:
        outcome = core.step(item)
        events = encode_events(change.event for change in outcome.changes)
        kept.append(RecordedInput(item, events, effects_digest(outcome.effects)))  # type: ignore[arg-type]
    return MemoryRecording(header, kept)
