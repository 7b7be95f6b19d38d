"""Recordings made in code: of a hand-driven core, and of inputs that exist already."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from adapters.hyperliquid.replaying import core_options, make_core
from domain.event_codec import encode_events
from domain.inputs import Input
from replays.recording import RecordedInput, SessionHeader, effects_digest
from replays.replaying import MemoryRecording
from replays.requests import OpenRequests
from tests.support.core import CoreSession

__all__ = ["busy_session", "header_of", "recorded", "recording_of"]


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
    core, requests = make_core(header), OpenRequests()
    kept = []
    for item in inputs:
        answers = requests.take(item)
        outcome = core.step(item)
        requests.note(outcome.effects)
        events = encode_events(change.event for change in outcome.changes)
        digest = effects_digest(outcome.effects)
        kept.append(RecordedInput(item, events, digest, answers=answers))  # type: ignore[arg-type]
    return MemoryRecording(header, kept)


def busy_session(inputs: int, *, seed: int = 1, quotes: int = 12) -> CoreSession:
    """A core that trades at random for about so many inputs, mostly market data (`quotes` per order event).

    Orders rest, fill in parts, are cancelled, are cancelled while they fill; some answers never come.
    """
    draw = random.Random(seed)
    session = CoreSession(options={"weight_per_minute": 10**9}).ready()
    resting: dict[str, tuple[int, int]] = {}
    next_oid = next_tid = 10_000
    while len(session.inputs) < inputs:
        for _ in range(draw.randint(0, 2 * quotes)):
            session.advance(draw.random() / 50)
            mid = 43_210 + draw.randint(-40, 40)
            session.best("BTC", f"{mid - 1}.0", f"{mid + 1}.0")
        session.advance(draw.random() / 10)
        what = draw.random()
        if what < 0.4 or not resting:
            next_oid += 1
            order = session.buy("1", str(43_000 - draw.randint(0, 50)))
            if draw.random() < 0.1:
                session.fail(session.take_send(), sent=True)
                session.answers["orderStatus"] = {"status": "unknownOid"}
            else:
                session.answer_orders({"resting": {"oid": next_oid}})
                resting[order] = (next_oid, 10)
            continue
        order = draw.choice(sorted(resting))
        oid, tenths = resting[order]
        cloid = session.order(order).venue_order_key
        ends = what > 0.75
        if ends:
            session.cancel(order)
            session.answer_cancels("success")
            del resting[order]
        if not ends or draw.random() < 0.3:
            part = draw.randint(1, tenths)
            next_tid += 1
            session.fill(oid, next_tid, f"{part / 10}", cloid=cloid, time_ms=session.now_ms)
            if not ends:
                resting[order] = (oid, tenths - part)
                if part == tenths:
                    del resting[order]
                    session.status(oid, "filled", cloid=cloid, remaining="0.0", time_ms=session.now_ms)
        if ends:
            session.status(oid, "canceled", cloid=cloid, time_ms=session.now_ms)
    return session
