"""The dead man's switch: cancelling everything of an account at a set time (`scheduleCancel`, sheet 4.2)."""

from __future__ import annotations

from decimal import Decimal

from .accounts import Account
from .answers import default_answer
from .errors import ActionError
from .matching import Matcher
from .numbers import rounded, wire_text
from .parsing import Json, optional_count
from .state import VenueState
from .timers import Timers

LEAD_MS = 5000
FIRINGS_PER_DAY = 10


class DeadMansSwitch:
    def __init__(self, state: VenueState, matcher: Matcher, timers: Timers) -> None:
        self._state = state
        self._matcher = matcher
        self._timers = timers

    def set(self, account: Account, action: Json) -> Json:
        """Sets or clears the block time at which all open orders are cancelled (sheet 4.2)."""
        time = optional_count(action, "time")
        required = self._state.options.schedule_cancel_volume
        if account.volume < required:
            traded = wire_text(rounded(account.volume, Decimal("0.01")))
            raise ActionError(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: ${wire_text(required)}. Traded: ${traded}."
            )
        if time is not None:
            if time < self._state.now_ms + LEAD_MS:
                raise ActionError("Scheduled cancel time must be at least 5 seconds in the future.")
            day, firings = account.scheduled_cancel_firings
            if day == self._state.day and firings >= FIRINGS_PER_DAY:
                raise ActionError("Cannot set scheduled cancel time: triggered too many times today.")
            self._timers.at(time, lambda: self._fire(account, time))
        account.scheduled_cancel = time
        return default_answer()

    def _fire(self, account: Account, time: int) -> None:
        if account.scheduled_cancel != time:
            return  # moved or cleared since
        account.scheduled_cancel = None
        day, firings = account.scheduled_cancel_firings
        account.scheduled_cancel_firings = (
            self._state.day,
            firings + 1 if day == self._state.day else 1,
        )
        self._matcher.cancel_all(account, "scheduledCancel")
