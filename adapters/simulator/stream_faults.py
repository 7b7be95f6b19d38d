"""Faults of the stream: what becomes of the messages of one block on their way to the subscribers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.simulator.distortions import distorted, rows_of
from adapters.simulator.engine import StreamMessage
from adapters.simulator.faults import Fault, FaultBoard, Occasion, Scope

_FILLS = ("userFills", "userEvents")
_EVENT_KINDS = frozenset(
    {
        "orderUpdates",
        "userFills",
        "userEvents",
        "userFundings",
        "userNonFundingLedgerUpdates",
        "userHistoricalOrders",
    }
)
"""Kinds whose messages tell what happened; the others show a state, encoded only if somebody looks."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to publish `delay_ms` from now, with what comes before and after it."""

    message: StreamMessage
    delay_ms: int = 0
    text_before: str | None = None
    disconnect_after: bool = False


class StreamFaults:
    """Applies the board's stream faults to each block's messages, and remembers the fills held back."""

    def __init__(self, board: FaultBoard, is_watched: Callable[[StreamMessage], bool]) -> None:
        self._board = board
        self._is_watched = is_watched
        self._withheld: list[tuple[StreamMessage, bool]] = []
        self._late_ms: dict[str, int] = {}

    def delay_fills(self, user: str, ms: int) -> None:
        """From now on, let the fills of `user` arrive `ms` milliseconds late; 0 ends it."""
        if ms:
            self._late_ms[user] = ms
        else:
            self._late_ms.pop(user, None)

    def shape(self, messages: Sequence[StreamMessage]) -> list[Delivery]:
        """Return what is to be published instead of `messages`, in order."""
        late = self._late_ms
        if self._board.is_empty:
            if not late:
                return [Delivery(message) for message in messages]
            return [Delivery(message, _lateness(message, late)) for message in messages]
        deliveries: list[Delivery] = []
        cut: dict[str | None, int] = {}
        order_first: str | None = None
        withheld: dict[str | None, bool] = {}
        for message in messages:
            if message.kind in _FILLS and message.user in withheld and rows_of(message.data):
                self._withheld.append((message, withheld[message.user]))
                continue
            shaped = [Delivery(message, _lateness(message, late))]
            # what reaches nobody is no occasion: a fault must not be spent on the other side of a trade
            due = self._board.take(_occasion(message)) if self._is_watched(message) else []
            for fault_id, fault in due:
                if fault.kind == "stream_reorder":
                    order_first = fault.params["first"]
                elif fault.kind == "disconnect_mid_sequence":
                    cut[message.user] = fault.params["keep"]
                elif fault.kind == "fill_withheld" and rows_of(message.data):
                    hidden = fault.params["reads"] == "hide"
                    self._withheld.append((message, hidden))
                    shaped = []
                    if fault.channel is None:
                        withheld[message.user] = hidden  # the same fills on the other channel, too
                else:
                    shaped = [again for one in shaped for again in self._applied(fault_id, fault, one)]
            deliveries += shaped
        if order_first is not None:
            deliveries.sort(key=lambda delivery: _is_first(delivery.message, order_first))
        for user, keep in cut.items():
            deliveries = self._cut_off(deliveries, user, keep)
        return deliveries

    def release(self) -> list[StreamMessage]:
        """Return the fills that were held back, oldest first; they are no longer."""
        released = [message for message, _ in self._withheld]
        self._withheld.clear()
        return released

    def withheld_count(self) -> int:
        """How many messages are held back."""
        return len(self._withheld)

    def hidden_tids(self) -> frozenset[int]:
        """Trades whose fills reads must not show yet."""
        return frozenset(
            row["tid"]
            for message, hidden in self._withheld
            if hidden
            for row in rows_of(message.data)
            if "tid" in row
        )

    def _applied(self, fault_id: int, fault: Fault, delivery: Delivery) -> list[Delivery]:
        message = delivery.message
        match fault.kind:
            case "stream_lost":
                return []
            case "stream_delay":
                return [
                    replace(
                        delivery, message=_frozen(message), delay_ms=delivery.delay_ms + fault.params["ms"]
                    )
                ]
            case "stream_duplicate":
                return [delivery] * (1 + fault.params["times"])
            case "non_json_frame":
                return [replace(delivery, text_before=fault.params["text"])]
            case "fill_withheld":
                return [delivery]  # an event without fills
            case _:
                return [
                    replace(delivery, message=_with_data(message, distorted(fault_id, fault, message.data)))
                ]

    def _cut_off(self, deliveries: list[Delivery], user: str | None, keep: int) -> list[Delivery]:
        kept: list[Delivery] = []
        seen = 0
        for delivery in deliveries:
            if delivery.message.user != user or not self._is_watched(delivery.message):
                kept.append(delivery)
                continue
            seen += 1
            if seen < keep:
                kept.append(delivery)
            elif seen == keep:
                kept.append(replace(delivery, disconnect_after=True))
        return kept


def _occasion(message: StreamMessage) -> Occasion:
    if message.kind not in _EVENT_KINDS:
        return Occasion(
            Scope.STREAM, message.kind, message.user, (), () if message.coin is None else (message.coin,)
        )
    rows = [row.get("order", row) for row in rows_of(message.data)]
    coins = {row["coin"] for row in rows if "coin" in row}
    if message.coin is not None:
        coins.add(message.coin)
    cloids = {row["cloid"] for row in rows if row.get("cloid")}
    return Occasion(Scope.STREAM, message.kind, message.user, cloids, coins)


def _with_data(message: StreamMessage, data: Any) -> StreamMessage:
    return StreamMessage(message.kind, lambda: data, user=message.user, coin=message.coin, dex=message.dex)


def _frozen(message: StreamMessage) -> StreamMessage:
    """The message as it is now: a state that arrives late is an old state."""
    return _with_data(message, message.data)


def _lateness(message: StreamMessage, late: dict[str, int]) -> int:
    return late.get(message.user or "", 0) if message.kind in _FILLS else 0


def _is_first(message: StreamMessage, first: str | None) -> int:
    kinds = ("orderUpdates",) if first == "orderUpdates" else _FILLS
    return 0 if message.kind in kinds else 1
