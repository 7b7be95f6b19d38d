"""TWAP orders: IOC slices each 30 seconds with at most 3 % slippage (sheet 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from itertools import count

from . import errors
from .accounts import Account
from .desk import OrderDesk
from .encoders import Json
from .margin import can_carry
from .markets import PerpMarket
from .matching import Matcher
from .numbers import ONE, TEN, ZERO, decimals_of, read_text
from .orders import IOC, Order
from .parsing import as_object, count_member, flag_member, member, number_member
from .state import VenueState
from .timers import Timers

SLICE_MS = 30_000
MAX_SLIPPAGE = Decimal("0.03")
CATCH_UP = 3
MINUTES = range(5, 7 * 24 * 60 + 1)
MISSING_TEXT = "TWAP was never placed, already canceled, or filled."


@dataclass(slots=True, eq=False)
class Twap:
    """One TWAP order. `status` is `activated`, `finished`, `terminated` or `error`."""

    twap_id: int
    account: Account
    market: PerpMarket
    is_buy: bool
    size: Decimal
    reduce_only: bool
    minutes: int
    randomize: bool
    started_ms: int
    executed: Decimal = ZERO
    executed_ntl: Decimal = ZERO
    slices_done: int = 0
    status: str = "activated"

    @property
    def slices(self) -> int:
        return self.minutes * 60_000 // SLICE_MS

    def encode(self) -> Json:
        return {
            "coin": self.market.coin,
            "user": self.account.address,
            "side": "B" if self.is_buy else "A",
            "sz": read_text(self.size),
            "executedSz": read_text(self.executed),
            "executedNtl": read_text(self.executed_ntl),
            "minutes": self.minutes,
            "reduceOnly": self.reduce_only,
            "randomize": self.randomize,
            "timestamp": self.started_ms,
        }


class TwapDesk:
    def __init__(self, state: VenueState, desk: OrderDesk, matcher: Matcher, timers: Timers) -> None:
        self._state = state
        self._desk = desk
        self._matcher = matcher
        self._timers = timers
        self._ids = count(1)
        self._running: dict[int, Twap] = {}
        self._history: dict[str, list[Json]] = {}

    def start(self, account: Account, action: Json) -> Json:
        spec = as_object(member(action, "twap"))
        asset, is_buy = count_member(spec, "a"), flag_member(spec, "b")
        size, reduce_only = number_member(spec, "s"), flag_member(spec, "r")
        minutes, randomize = count_member(spec, "m"), flag_member(spec, "t")
        market = self._state.universe.perp_by_asset(asset)
        text = self._refusal(account, market, is_buy, size, reduce_only, minutes)
        if text is not None or market is None:
            return _answer("twapOrder", {"error": text})
        twap = Twap(
            next(self._ids),
            account,
            market,
            is_buy,
            size,
            reduce_only,
            minutes,
            randomize,
            self._state.now_ms,
        )
        self._running[twap.twap_id] = twap
        self._record(twap)
        self._timers.at(self._state.now_ms + SLICE_MS, lambda: self._run_slice(twap))
        return _answer("twapOrder", {"running": {"twapId": twap.twap_id}})

    def _refusal(
        self,
        account: Account,
        market: PerpMarket | None,
        is_buy: bool,
        size: Decimal,
        reduce_only: bool,
        minutes: int,
    ) -> str | None:
        if market is None:
            return errors.UNKNOWN_ASSET.text
        if market.is_halted:
            return errors.HALTED.text
        if size <= 0:
            return errors.ZERO_SIZE.text
        if decimals_of(size) > market.sz_decimals:
            return errors.INVALID_SIZE.text
        if minutes not in MINUTES:
            return "Invalid TWAP duration."
        if size * market.mark_px / (minutes * 60_000 // SLICE_MS) < TEN:
            return errors.MIN_NOTIONAL.text
        szi = account.position_size(market)
        if reduce_only and (not szi or (szi > 0) is is_buy):
            return "Reduce-only TWAP order would increase position."
        return None

    def cancel(self, account: Account, action: Json) -> Json:
        asset, twap_id = count_member(action, "a"), count_member(action, "t")
        twap = self._running.get(twap_id)
        if twap is None or twap.account is not account or twap.market.asset != asset:
            return _answer("twapCancel", {"error": MISSING_TEXT})
        self._end(twap, "terminated")
        return _answer("twapCancel", "success")

    def running(self, account: Account) -> list[Twap]:
        return [twap for twap in self._running.values() if twap.account is account]

    def history(self, account: Account) -> list[Json]:
        """Newest first."""
        return list(reversed(self._history.get(account.address, [])))

    def _run_slice(self, twap: Twap) -> None:
        if twap.status != "activated":
            return
        twap.slices_done += 1
        self._state.next_transaction()
        size = self._slice_size(twap)
        if size:
            self._trade(twap, size)
        if twap.executed >= twap.size or twap.slices_done >= twap.slices:
            self._end(twap, "finished")
        elif twap.status == "activated":
            self._timers.at(self._state.now_ms + SLICE_MS, lambda: self._run_slice(twap))

    def _slice_size(self, twap: Twap) -> Decimal:
        """What is due by now and not executed, at most three ordinary slices; the last takes the rest."""
        if twap.slices_done == twap.slices:
            return twap.size - twap.executed
        ordinary = twap.size / twap.slices
        size = min(ordinary * twap.slices_done - twap.executed, CATCH_UP * ordinary)
        if twap.randomize:
            size *= ONE + Decimal(self._state.random_below(401) - 200) / 1000
        size = min(size, twap.size - twap.executed)
        return max(ZERO, size.quantize(twap.market.lot, rounding=ROUND_DOWN))

    def _trade(self, twap: Twap, size: Decimal) -> None:
        market, account = twap.market, twap.account
        szi = account.position_size(market)
        if twap.reduce_only:
            if not szi or (szi > 0) is twap.is_buy:
                self._end(twap, "terminated")
                return
            size = min(size, abs(szi))
        worst = market.mid_or_last * (ONE + MAX_SLIPPAGE if twap.is_buy else ONE - MAX_SLIPPAGE)
        unit = ONE.scaleb(-market.price_decimals)
        order = Order(
            oid=self._state.next_oid(),
            account=account,
            market=market,
            is_buy=twap.is_buy,
            limit_px=worst.quantize(unit, rounding=ROUND_DOWN),
            size=size,
            orig_size=size,
            reduce_only=twap.reduce_only,
            tif=IOC,
            cloid=None,
            time=self._state.now_ms,
            twap_id=twap.twap_id,
        )
        if not twap.reduce_only and not can_carry(
            account, market, size if twap.is_buy else -size, order.limit_px
        ):
            self._end(twap, "error", errors.INSUFFICIENT_MARGIN.text)
            return
        self._matcher.take(order, order.limit_px)
        twap.executed += order.filled
        twap.executed_ntl += order.filled_ntl

    def _end(self, twap: Twap, status: str, description: str | None = None) -> None:
        if twap.status == "activated":
            twap.status = status
            del self._running[twap.twap_id]
            self._record(twap, description)

    def _record(self, twap: Twap, description: str | None = None) -> None:
        status: Json = {"status": twap.status}
        if description is not None:
            status["description"] = description
        row: Json = {
            "time": self._state.now_ms // 1000,
            "state": twap.encode(),
            "status": status,
            "twapId": twap.twap_id,
        }
        user = twap.account.address
        self._history.setdefault(user, []).append(row)
        self._state.journal.block.twap_history.setdefault(user, []).append(row)


def _answer(kind: str, status: object) -> Json:
    return {"status": "ok", "response": {"type": kind, "data": {"status": status}}}
