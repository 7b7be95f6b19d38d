"""From a ledger on disk to the `Started` input: what a new session continues from."""

from __future__ import annotations

from pathlib import Path

from adapters.storage.ledger import OrderLedger
from domain.account import account_id
from domain.event_codec import encode_events
from domain.events import AccountOpened
from domain.inputs import Started
from projections.session_state import read_session_state

__all__ = ["read_started"]

_NONCE_SEARCH_ROWS = 2_000


def read_started(ledger: OrderLedger, views: Path, *, venue: str, account: str, session_id: str) -> Started:
    """Gather it. The views must stand at the ledger's end."""
    if not ledger.max_position:
        return Started(session_id=session_id, ledger_position=0)
    state = read_session_state(views, venue=venue, account=account)
    aggregate = account_id(venue, account)
    latest = ledger.recorder.select_events(aggregate, desc=True, limit=1)
    return Started(
        session_id=session_id,
        ledger_position=ledger.max_position,
        last_nonce=_last_nonce(ledger),
        books_begin_ms=_books_begin_ms(ledger, aggregate) if latest else 0,
        account_version=latest[0].originator_version if latest else 0,
        open_orders=tuple(encode_events(ledger.events_of(key)) for key in state.unfinished_order_ids),
        positions=state.positions,
        recent_fill_keys=state.recent_fill_keys,
        recent_funding_keys=state.recent_funding_keys,
        last_fill_time_ms=state.last_fill_time_ms,
        last_funding_time_ms=state.last_funding_time_ms,
    )


def _books_begin_ms(ledger: OrderLedger, aggregate: str) -> int:
    for _, event in ledger.read(topics=(AccountOpened.topic,)):
        if event.originator_id == aggregate:
            return event.exchange_time_ms or 0
    return 0


def _last_nonce(ledger: OrderLedger) -> int:
    """The latest nonce in the log. Nonces rise, so it stands in the last event that has one."""
    end = ledger.max_position
    while end > 0:
        begin = max(0, end - _NONCE_SEARCH_ROWS)
        nonces = [
            int(nonce)
            for _, event in ledger.read(begin, up_to=end)
            if (nonce := getattr(event, "nonce", None)) is not None
        ]
        if nonces:
            return max(nonces)
        end = begin
    return 0
