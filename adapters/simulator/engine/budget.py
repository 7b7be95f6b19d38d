"""The per-address request budget: 10 000 actions plus one per USDC traded (sheet 9.2)."""

from __future__ import annotations

from decimal import Decimal

from .accounts import Account
from .errors import ActionError
from .numbers import rounded, wire_text
from .options import VenueOptions

CANCEL_EXTRA = 100_000
ONE_ACTION_PER_MS = 10_000


def limit_of(account: Account, base: int) -> int:
    """Base budget + 1 per whole USDC of volume + what was bought with `reserveRequestWeight`."""
    return base + int(account.volume) + account.requests_bought


def charge(account: Account, options: VenueOptions, count: int, now_ms: int, *, is_cancel: bool) -> None:
    """Counts `count` requests. Raises ActionError when the budget is used up, but for one action per 10 s.

    A refused action is not counted, so that the figures in the text stand still while the client waits.
    """
    if options.address_budget is None or account.is_venue_operated:
        return
    limit = limit_of(account, options.address_budget)
    cap = min(limit + CANCEL_EXTRA, 2 * limit) if is_cancel else limit
    used = account.requests_used + count
    if used > cap:
        last = account.last_over_budget_ms
        if last is not None and now_ms - last < ONE_ACTION_PER_MS:
            volume = wire_text(rounded(account.volume, Decimal("0.01")))
            raise ActionError(
                f"Too many cumulative requests sent ({used} > {cap}) for cumulative volume traded ${volume}. "
                "Place taker orders to free up 1 request per USDC traded."
            )
        account.last_over_budget_ms = now_ms
    account.requests_used = used
