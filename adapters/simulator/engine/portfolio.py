"""Equity and PnL curves of an account, sampled with each funding hour (the `portfolio` read, sheet 5.9)."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from . import margin
from .accounts import Account
from .encoders import Json, usd
from .markets import SpotMarket
from .numbers import ZERO, read_text
from .state import DAY_MS, VenueState

PERIODS_MS = {"day": DAY_MS, "week": 7 * DAY_MS, "month": 30 * DAY_MS, "allTime": None}
SAMPLES_KEPT = 24 * 400


class Sample(NamedTuple):
    time: int
    value: Decimal
    perp_value: Decimal
    pnl: Decimal


class Portfolio:
    def __init__(self, state: VenueState) -> None:
        self._state = state
        self._samples: dict[str, deque[Sample]] = {}
        self._usd_marks = {m.base.index: m for m in state.universe.spot_markets if m.quote.index == 0}

    def sample(self) -> None:
        """Takes one sample of every account."""
        for account in self._state.accounts.values():
            history = self._samples.setdefault(account.address, deque(maxlen=SAMPLES_KEPT))
            history.append(self._now(account))

    def _now(self, account: Account) -> Sample:
        perps = sum((margin.account_value(wallet) for wallet in account.wallets.values()), ZERO)
        value = perps
        for index, balance in account.spot.items():
            market: SpotMarket | None = self._usd_marks.get(index)
            value += balance.total * (market.mark_px if market is not None else int(index == 0))
        return Sample(self._state.now_ms, value, perps, value - account.net_deposits)

    def read(self, account: Account | None) -> list[list[object]]:
        """`[[period, {accountValueHistory, pnlHistory, vlm}], …]`, then the same for the perps alone."""
        now = None if account is None else self._now(account)
        samples = [] if account is None else list(self._samples.get(account.address, ()))
        rows: list[list[object]] = []
        for prefix in ("", "perp"):
            for name, length in PERIODS_MS.items():
                label = prefix + (name[0].upper() + name[1:] if prefix else name)
                since = 0 if length is None else self._state.now_ms - length
                chosen = [sample for sample in samples if sample.time >= since]
                if now is not None:
                    chosen.append(now)
                rows.append([label, self._curve(chosen, account, since, perps_only=bool(prefix))])
        return rows

    def _curve(self, samples: list[Sample], account: Account | None, since: int, *, perps_only: bool) -> Json:
        start_pnl = samples[0].pnl if samples and since else ZERO
        volume = ZERO
        if account is not None:
            volume = sum(
                (
                    v.cross + v.add
                    for day, v in account.daily_volume.items()
                    if day * DAY_MS >= since - DAY_MS
                ),
                ZERO,
            )
        return {
            "accountValueHistory": [[s.time, usd(s.perp_value if perps_only else s.value)] for s in samples],
            "pnlHistory": [[s.time, usd(s.pnl - start_pnl)] for s in samples],
            "vlm": read_text(volume),
        }
