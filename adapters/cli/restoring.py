"""From a ledger on disk to the `Started` input: what a new session continues from."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_books import AccountBooks
from adapters.storage.ledger import OrderLedger
from domain.account import account_id
from domain.event_codec import encode_events
from domain.events import EVENT_TYPES, AccountOpened, LedgerEvent
from domain.inputs import Started
from projections.session_state import RECENT_ROWS, read_session_state

__all__ = ["check_network", "read_started"]

_SEARCH_ROWS = 2_000
_WITH_NONCE = tuple(topic for topic, kind in EVENT_TYPES.items() if "nonce" in kind.__struct_fields__)


def read_started(ledger: OrderLedger, views: Path, *, venue: str, account: str, session_id: str) -> Started:
    """Gather it. The views must stand at the ledger's end."""
    if not ledger.max_position:
        return Started(session_id=session_id, ledger_position=0)
    state = read_session_state(views, venue=venue, account=account)
    aggregate = account_id(venue, account)
    latest = ledger.recorder.select_events(aggregate, desc=True, limit=1)
    opened = _opening(ledger, aggregate) if latest else None
    with AccountBooks(ledger, views, venue=venue, account=account) as books:
        unsettled = books.open_discrepancies()
        cash = books.cash()
        transfers = books.booked_transfers()
    return Started(
        session_id=session_id,
        ledger_position=ledger.max_position,
        last_nonce=_last_nonce(ledger),
        books_begin_ms=0 if opened is None else opened.exchange_time_ms or 0,
        account_version=latest[0].originator_version if latest else 0,
        open_orders=tuple(encode_events(ledger.events_of(key)) for key in state.unfinished_order_ids),
        positions=state.positions,
        recent_fill_keys=state.recent_fill_keys,
        recent_funding_keys=state.recent_funding_keys,
        recent_transfer_keys=tuple(event.update_key for event in transfers[-RECENT_ROWS:]),
        last_fill_time_ms=state.last_fill_time_ms,
        last_funding_time_ms=state.last_funding_time_ms,
        last_transfer_time_ms=max((event.exchange_time_ms or 0 for event in transfers), default=0),
        unsettled_discrepancies=tuple(unsettled),
        waived_discrepancies=tuple(key for key, each in unsettled.items() if each.waived is not None),
        cash=cash,
    )


def check_network(ledger: OrderLedger, path: str, network: str) -> None:
    """Refuse to go on with the books of another network: orders and positions would be asked for where they
    never were. Raises `CommandError`."""
    for _, event in ledger.read(topics=(AccountOpened.topic,), limit=1):
        opened = cast(AccountOpened, event)
        if opened.network != network:
            raise CommandError(
                f"The ledger {path} keeps the books of {opened.account} on {opened.network}, and "
                f"venue.network is {network}. Name another file in ledger.path for {network}.",
                ExitCode.CONFIG,
            )


def _opening(ledger: OrderLedger, aggregate: str) -> AccountOpened | None:
    """The event with which the books of an account began; what it was told before that may stand first."""
    version = 0
    while events := ledger.recorder.select_events(aggregate, gt=version, limit=_SEARCH_ROWS):
        for stored in events:
            if stored.topic == AccountOpened.topic:
                return cast(AccountOpened, ledger.mapper.to_domain_event(stored))
        version = events[-1].originator_version
    return None


def _last_nonce(ledger: OrderLedger) -> int:
    """The latest nonce in the log. Nonces rise, so it stands in the last event that has one."""
    end = ledger.max_position
    while end > 0:
        begin = max(0, end - _SEARCH_ROWS)
        nonces = [_nonce(event) for _, event in ledger.read(begin, up_to=end, topics=_WITH_NONCE)]
        if nonces:
            return max(nonces)
        end = begin
    return 0


def _nonce(event: LedgerEvent) -> int:
    nonce: int = event.nonce  # type: ignore[attr-defined]
    return nonce
