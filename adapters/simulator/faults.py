"""What can be made to go wrong, and when: the catalogue of faults and the board they wait on (sheet 12.10).

A fault names its kind, what it applies to, and how often. It waits on the board until requests or stream
messages match; then it happens `count` times, starting with match number `nth`. Chance is drawn from a seed.
"""

import enum
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adapters.simulator.inputs import BadInput, Reader, at_least_one, count, duration_ms, fraction, text, word


class Scope(enum.Enum):
    """What a fault happens to."""

    REQUEST = "request"
    """One HTTP request or WebSocket post: an action, or a read if `info` is given."""
    ACTION = "action"
    """One action on ``/exchange``."""
    READ = "read"
    """One read on ``/info``."""
    STREAM = "stream"
    """Messages of subscriptions."""
    DATA = "data"
    """Messages of subscriptions, or reads if `info` is given."""
    SOCKET = "socket"
    """Connections, at once; such a fault does not wait on the board."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One entry of a fault's `params`: how to read it, its default (None: required), what it means."""

    read: Reader
    default: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can go wrong."""

    scope: Scope
    meaning: str
    params: Mapping[str, Parameter] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    """The action, read or subscription types it can happen to; empty for all."""


_CANCELS = frozenset({"cancel", "cancelByCloid"})
_MODIFIES = frozenset({"modify", "batchModify"})
_FILL_STREAMS = frozenset({"userFills", "userEvents"})
_FILL_DATA = _FILL_STREAMS | {"userFillsByTime"}
_STATUS_DATA = frozenset({"orderUpdates", "userHistoricalOrders", "orderStatus", "historicalOrders"})
_STATUS_READ = frozenset({"orderStatus"})

_HOW = Parameter(word("reset", "hang"), "reset", "reset the connection, or never answer")
_MS = Parameter(duration_ms, None, "milliseconds")
_STATUS = Parameter(word(400, 422, 429, 500, 502, 503, 504), None, "the HTTP status to answer with")

KINDS: Mapping[str, Kind] = {
    "request_lost": Kind(Scope.REQUEST, "the request is lost before anything is done", {"how": _HOW}),
    "answer_lost": Kind(Scope.REQUEST, "the request is executed, its answer is lost", {"how": _HOW}),
    "request_delay": Kind(Scope.REQUEST, "the request is executed late", {"ms": _MS}),
    "answer_delay": Kind(Scope.REQUEST, "the answer comes late, behind the stream", {"ms": _MS}),
    "http_status": Kind(
        Scope.REQUEST,
        "the edge answers with an error, before or after execution",
        {
            "status": _STATUS,
            "when": Parameter(word("before", "after"), "before", "whether the request was executed"),
        },
    ),
    "rejection": Kind(
        Scope.ACTION,
        "the action is refused with this text and not executed",
        {
            "text": Parameter(text, None, "the error text"),
            "level": Parameter(
                word("entry", "single", "action"),
                "entry",
                "one error per entry, one error for all entries, or a top-level err",
            ),
        },
    ),
    "truncated_statuses": Kind(
        Scope.ACTION,
        "only the first statuses of a batch are in the answer",
        {"keep": Parameter(count, 1, "how many statuses are left")},
    ),
    "fill_before_cancel": Kind(
        Scope.ACTION,
        "a taker hits the orders just before they are cancelled",
        {
            "fraction": Parameter(fraction, "1", "which part of the remaining size is filled"),
            "stream_delay_ms": Parameter(duration_ms, 0, "how late the fill arrives, behind the answer"),
        },
        _CANCELS,
    ),
    "modify_leg_fails": Kind(
        Scope.ACTION,
        "a modify cancels the old order and does not place the new one",
        {"text": Parameter(text, "Post only order would have immediately matched.", "the reason given")},
        _MODIFIES,
    ),
    "reduce_only_shrink": Kind(
        Scope.ACTION,
        "auto-deleveraging takes part of the position just before a reduce-only order arrives",
        {"fraction": Parameter(fraction, "0.5", "which part of the position is taken")},
        frozenset({"order"}),
    ),
    "unknown_oid": Kind(Scope.READ, "orderStatus does not know the order yet", only=_STATUS_READ),
    "stale_open_orders": Kind(
        Scope.READ,
        "open orders are those of the moment the fault was injected",
        only=frozenset({"openOrders", "frontendOpenOrders"}),
    ),
    "odd_ioc_size": Kind(
        Scope.READ, "orderStatus shows a finished order with its full size remaining", only=_STATUS_READ
    ),
    "stream_lost": Kind(Scope.STREAM, "the messages are never sent"),
    "stream_delay": Kind(Scope.STREAM, "the messages come late, behind the answer", {"ms": _MS}),
    "stream_duplicate": Kind(
        Scope.STREAM,
        "the messages are sent again",
        {"times": Parameter(count, 1, "how many further times")},
    ),
    "stream_reorder": Kind(
        Scope.STREAM,
        "of one block, statuses are sent before fills or fills before statuses",
        {"first": Parameter(word("orderUpdates", "fills"), None, "what goes first")},
    ),
    "fill_withheld": Kind(
        Scope.STREAM,
        "the fills of a block are kept back, on all channels unless one is given, until released",
        {"reads": Parameter(word("show", "hide"), "show", "whether reads list these fills meanwhile")},
        _FILL_STREAMS,
    ),
    "unknown_status": Kind(
        Scope.DATA,
        "orders have a status nobody knows",
        {"text": Parameter(text, "frozenByCommittee", "the status")},
        _STATUS_DATA,
    ),
    "unknown_dir": Kind(
        Scope.DATA,
        "fills have a dir nobody knows",
        {"text": Parameter(text, "Teleported Long", "the dir")},
        _FILL_DATA,
    ),
    "extra_fields": Kind(Scope.DATA, "elements have members nobody knows"),
    "garbage_element": Kind(Scope.DATA, "one element among the good ones cannot be read"),
    "non_json_frame": Kind(
        Scope.STREAM,
        "a frame that is not JSON comes before the message",
        {"text": Parameter(text, "Websocket connection established.", "the frame")},
    ),
    "disconnect_mid_sequence": Kind(
        Scope.STREAM,
        "the connection dies after the first messages of a block; the rest is lost",
        {"keep": Parameter(at_least_one, 1, "how many messages still arrive")},
    ),
    "drop_sockets": Kind(Scope.SOCKET, "connections are reset: all, or those that watch `user`"),
    "silent_sockets": Kind(
        Scope.SOCKET,
        "connections carry pongs only: all, or those that watch `user`; with ms 0 they speak again",
        {"ms": Parameter(duration_ms, None, "for how long")},
    ),
    "refuse_connections": Kind(
        Scope.SOCKET,
        "new connections are answered with 502",
        {"ms": Parameter(duration_ms, None, "for how long; 0 ends it")},
    ),
    "snapshot_again": Kind(Scope.SOCKET, "subscriptions that began with a snapshot send it again"),
}
"""Every fault there is, by the name it is injected under."""


@dataclass(slots=True)
class Fault:
    """One thing to go wrong.

    `action` (an action's type) or `info` (a read's type) restrict request faults, `channel` (a subscription
    type) and `coin` stream faults; `user` (the account, any letter case) and `cloid` restrict both. `count`
    None means until cleared. `probability` applies to each match that is due.
    """

    kind: str
    action: str | None = None
    info: str | None = None
    channel: str | None = None
    user: str | None = None
    cloid: str | None = None
    coin: str | None = None
    nth: int = 1
    count: int | None = 1
    probability: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise BadInput(f"unknown fault kind {self.kind!r}; there are: {', '.join(sorted(KINDS))}")
        self.user = self.user.lower() if self.user is not None else None
        self.cloid = self.cloid.lower() if self.cloid is not None else None
        if self.nth < 1:
            raise BadInput("nth: the first match has number 1")
        if self.count is not None and self.count < 1:
            raise BadInput("count: must be 1 or more, or null for 'until cleared'")
        if not 0 < self.probability <= 1:
            raise BadInput("probability: must be above 0 and at most 1")
        self._check_selectors(kind)
        self.params = self._read_params(kind)

    def _check_selectors(self, kind: Kind) -> None:
        allowed = {
            Scope.REQUEST: {"action", "info", "user", "cloid"},
            Scope.ACTION: {"action", "user", "cloid"},
            Scope.READ: {"info", "user", "cloid"},
            Scope.STREAM: {"channel", "user", "cloid", "coin"},
            Scope.DATA: {"channel", "info", "user", "cloid", "coin"},
            Scope.SOCKET: {"user"},
        }[kind.scope]
        for name in ("action", "info", "channel", "user", "cloid", "coin"):
            if getattr(self, name) is not None and name not in allowed:
                raise BadInput(
                    f"{name}: {self.kind} cannot be selected by it; use {', '.join(sorted(allowed))}"
                )
        selected = self.action or self.info or self.channel
        if selected is not None and kind.only and selected not in kind.only:
            raise BadInput(f"{self.kind} happens to {', '.join(sorted(kind.only))} only, not to {selected}")
        if self.info is not None and (self.action is not None or self.channel is not None):
            raise BadInput("give either info or what else it is to happen to: one thing is never both")
        if self.kind == "stale_open_orders" and self.user is None:
            raise BadInput("user: stale_open_orders needs the account whose orders are frozen")

    def _read_params(self, kind: Kind) -> dict[str, Any]:
        unknown = self.params.keys() - kind.params.keys()
        if unknown:
            known = ", ".join(kind.params) or "none"
            raise BadInput(f"params: {self.kind} has no {', '.join(sorted(unknown))}; it takes: {known}")
        found = {}
        for name, parameter in kind.params.items():
            value = self.params.get(name, parameter.default)
            if value is None:
                raise BadInput(f"params.{name}: required ({parameter.meaning})")
            try:
                found[name] = parameter.read(value)
            except BadInput as wrong:
                raise BadInput(f"params.{name}: {wrong}") from None
        return found

    @property
    def scope(self) -> Scope:
        """What this fault happens to."""
        return KINDS[self.kind].scope


_MEMBERS: Mapping[str, tuple[type, ...]] = {
    "kind": (str,),
    "action": (str,),
    "info": (str,),
    "channel": (str,),
    "user": (str,),
    "cloid": (str,),
    "coin": (str,),
    "nth": (int,),
    "count": (int,),
    "probability": (int, float),
    "params": (dict,),
}


def fault_from_json(value: Any) -> Fault:
    """Read a fault from a decoded JSON object with the members of `Fault`; raises BadInput."""
    if not isinstance(value, dict):
        raise BadInput('fault: expected an object such as {"kind": "answer_lost", "action": "order"}')
    unknown = value.keys() - _MEMBERS.keys()
    if unknown:
        raise BadInput(f"fault: unknown member {', '.join(sorted(unknown))}; it takes: {', '.join(_MEMBERS)}")
    if "kind" not in value:
        raise BadInput(f"kind: required, one of {', '.join(sorted(KINDS))}")
    for name, given in value.items():
        if (given is None and name != "kind") or name == "params":
            continue
        if not isinstance(given, _MEMBERS[name]) or isinstance(given, bool):
            raise BadInput(f"{name}: expected {' or '.join(kind.__name__ for kind in _MEMBERS[name])}")
    if not isinstance(value.get("params", {}), dict):
        raise BadInput("params: expected an object")
    kept = {name: given for name, given in value.items() if given is not None or name == "count"}
    return Fault(**kept)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a request or a stream message offers to be matched by."""

    scope: Scope
    kind: str
    """The action's, read's or subscription's ``type``."""
    user: str | None = None
    cloids: Collection[str] = ()
    coins: Collection[str] = ()


@dataclass(slots=True)
class _Pinned:
    id: int
    fault: Fault
    matched: int = 0
    happened: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.count is not None and self.happened >= self.fault.count


class FaultBoard:
    """The faults that wait to happen. `on_inject` is told of each new one before it can match."""

    def __init__(self, *, seed: int, on_inject: Callable[[int, Fault], None] | None = None) -> None:
        self._chance = random.Random(f"{seed}/faults")
        self._on_inject = on_inject
        self._pinned: dict[int, _Pinned] = {}
        self._last_id = 0

    def inject(self, fault: Fault) -> int:
        """Pin a fault and return its id. A socket fault happens at once and is not pinned."""
        self._last_id += 1
        if fault.scope is not Scope.SOCKET:
            self._pinned[self._last_id] = _Pinned(self._last_id, fault)
        if self._on_inject is not None:
            self._on_inject(self._last_id, fault)
        return self._last_id

    def clear(self, fault_id: int | None = None) -> int:
        """Take one fault, or all, off the board; return how many there were."""
        if fault_id is None:
            taken = len(self._pinned)
            self._pinned.clear()
            return taken
        return 1 if self._pinned.pop(fault_id, None) is not None else 0

    def waiting(self) -> list[dict[str, Any]]:
        """The faults on the board as JSON-able objects, with how often each matched and happened."""
        return [
            {
                "id": pinned.id,
                "kind": pinned.fault.kind,
                "action": pinned.fault.action,
                "info": pinned.fault.info,
                "channel": pinned.fault.channel,
                "user": pinned.fault.user,
                "cloid": pinned.fault.cloid,
                "coin": pinned.fault.coin,
                "nth": pinned.fault.nth,
                "count": pinned.fault.count,
                "probability": pinned.fault.probability,
                "params": {
                    name: str(value) if isinstance(value, Decimal) else value
                    for name, value in pinned.fault.params.items()
                },
                "matched": pinned.matched,
                "happened": pinned.happened,
            }
            for pinned in self._pinned.values()
        ]

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits: the cheap question before the dear ones."""
        return not self._pinned

    def take(self, occasion: Occasion) -> list[tuple[int, Fault]]:
        """Return the faults that happen on this occasion, with their ids; those used up leave the board."""
        due = []
        for pinned in list(self._pinned.values()):
            if not _matches(pinned.fault, occasion):
                continue
            pinned.matched += 1
            if pinned.matched < pinned.fault.nth:
                continue
            if pinned.fault.probability < 1 and self._chance.random() >= pinned.fault.probability:
                continue
            pinned.happened += 1
            due.append((pinned.id, pinned.fault))
            if pinned.is_spent:
                del self._pinned[pinned.id]
        return due


def _matches(fault: Fault, occasion: Occasion) -> bool:
    return (
        _scope_matches(fault, occasion)
        and (fault.action or fault.info or fault.channel or occasion.kind) == occasion.kind
        and (not (only := KINDS[fault.kind].only) or occasion.kind in only)
        and fault.user in (None, occasion.user)
        and (fault.cloid is None or fault.cloid in occasion.cloids)
        and (fault.coin is None or fault.coin in occasion.coins)
    )


def _scope_matches(fault: Fault, occasion: Occasion) -> bool:
    match fault.scope:
        case Scope.REQUEST:
            return occasion.scope is (Scope.ACTION if fault.info is None else Scope.READ)
        case Scope.DATA:
            return occasion.scope is (Scope.STREAM if fault.info is None else Scope.READ)
        case scope:
            return occasion.scope is scope
