"""What became of a leverage change whose answer was lost: the venue is asked which leverage is set.

The account's state tells it of held markets alone; of the others only `activeAssetData` does (sheet 5.9). The
question is put once the change can no longer take effect: after its expiry by the venue's own clock and a
margin (sheet 11.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.answers import Accepted, Entry
from adapters.hyperliquid.context import MS, SECOND, Context
from adapters.hyperliquid.messages import MessageError, read_venue_time
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.reason_codes import Outcome, Refusal
from adapters.hyperliquid.resolution import EXPIRY_MARGIN_MS
from domain.position import Position

__all__ = ["LeverageQuestions"]

RETRY_NS = 10 * SECOND


class _Leverage(msgspec.Struct):
    type: Literal["cross", "isolated"]
    value: Annotated[int, msgspec.Meta(ge=1)]


class _ActiveAssetData(msgspec.Struct):
    coin: str
    leverage: _Leverage


class _Lost(NamedTuple):
    """The latest change of a market whose answer was lost: when, by the venue's clock, and the number of the
    latest change that was about to leave by then."""

    at_ms: int
    change: int


class LeverageQuestions:
    """`held` is the position of a market as the books have it, with its leverage. Unless `is_asked` nothing
    is asked, as in versions that did not."""

    def __init__(
        self, context: Context, queries: Queries, held: Callable[[str], Position], *, is_asked: bool
    ) -> None:
        self._context = context
        self._queries = queries
        self._held = held
        self._is_asked = is_asked
        self._changes = 0
        self._lost: dict[str, _Lost] = {}
        self._round = 0
        self._rounds: dict[str, int] = {}
        """By market that is being asked about, each with a lost change: the number of the question."""

    def changing(self, trading_pair: str) -> int:
        """Another change is about to leave: what is being asked about an earlier one no longer counts.

        Returns the number of the change, which its answer is told with.
        """
        self._rounds.pop(trading_pair, None)
        self._changes += 1
        return self._changes

    def answered(self, trading_pair: str, change: int, entry: Entry) -> None:
        """What there was of an answer to a change."""
        lost = self._lost.get(trading_pair)
        match entry:
            case Accepted():
                # It settles what was lost before it left. Of one that was lost while this was under way it
                # does not tell which of the two took effect last.
                if lost is not None and lost.change < change:
                    self._lost.pop(trading_pair)
                    self._rounds.pop(trading_pair, None)
            case Refusal(outcome=outcome) if outcome is not Outcome.NOT_PROOF:
                # An earlier one may still be open.
                if lost is not None:
                    self._ask_later(trading_pair, 0)
            case _ if self._is_asked:
                self._lost[trading_pair] = _Lost(self._context.venue_now_ms, self._changes)
                self._ask_later(trading_pair, (self._context.order_ttl_ms + EXPIRY_MARGIN_MS) * MS)

    def _ask_later(self, trading_pair: str, delay_ns: int) -> None:
        self._round += 1
        self._rounds[trading_pair] = self._round
        self._context.set_deadline(delay_ns, "leverage", f"{self._round} {trading_pair}")

    def _is_current(self, trading_pair: str, asked: int) -> bool:
        return self._rounds.get(trading_pair) == asked

    def on_deadline(self, key: str) -> None:
        """Time to ask, or to ask again."""
        number, _, trading_pair = key.partition(" ")
        asked = int(number)
        if self._is_current(trading_pair, asked):
            self._queries.ask(
                info_requests.exchange_status(), lambda body: self._on_time(trading_pair, asked, body)
            )

    def _on_time(self, trading_pair: str, asked: int, body: bytes | None) -> None:
        if not self._is_current(trading_pair, asked):
            return
        context = self._context
        try:
            now_ms = None if body is None else read_venue_time(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"exchangeStatus: {error}")
            now_ms = None
        final_ms = self._lost[trading_pair].at_ms + context.order_ttl_ms + EXPIRY_MARGIN_MS
        if now_ms is None or now_ms < final_ms:
            self._ask_later(trading_pair, RETRY_NS)
            return
        coin = context.symbols.market(trading_pair).coin
        self._queries.ask(
            info_requests.active_asset_data(context.account_address, coin),
            lambda said: self._on_asset_data(trading_pair, coin, asked, said),
        )

    def _on_asset_data(self, trading_pair: str, coin: str, asked: int, body: bytes | None) -> None:
        if not self._is_current(trading_pair, asked):
            return
        context = self._context
        said = None
        if body is not None:
            try:
                said = msgspec.json.decode(body, type=_ActiveAssetData)
            except msgspec.MsgspecError as error:
                context.alert("unreadable_answer", f"activeAssetData of {coin}: {error}")
        if said is None or said.coin != coin:
            self._ask_later(trading_pair, RETRY_NS)
            return
        del self._lost[trading_pair], self._rounds[trading_pair]
        leverage, is_cross = said.leverage.value, said.leverage.type == "cross"
        held = self._held(trading_pair)
        if (held.leverage, held.is_cross) != (leverage, is_cross):
            context.account.leverage_changed(trading_pair, leverage, is_cross)
        context.alert(
            "leverage_settled",
            f"The answer to a change of leverage was lost; the venue says that {trading_pair} is at "
            f"{leverage}x {said.leverage.type}.",
        )
