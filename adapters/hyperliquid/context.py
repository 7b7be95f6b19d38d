"""What the parts of the Hyperliquid core share: memory, clocks, counters, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.hyperliquid.limits import TOO_MANY_REQUESTS, RequestLimits
from adapters.hyperliquid.messages import HyperliquidMessages, Item
from adapters.hyperliquid.nonces import NonceSource
from adapters.hyperliquid.symbols import SymbolMap
from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker
from domain.effects import Effect
from domain.enums import Source

__all__ = ["MS", "SECOND", "Context"]

MS = 1_000_000
SECOND = 1_000_000_000


@dataclass(slots=True)
class Context:
    """One per core. The functions are the core's own; the parts never see more of it than this.

    `venue_offset_ms` is the venue's clock minus ours; `acting_for` the sub-account or vault that the signer
    trades for, if it is not the signer's own account; `may_send` is set once that is known, and the markets.
    `order_wait_ms` is how long an order may wait here before it is sent, 0 for as long as it takes.
    `dexes` are those on which the account is followed, the venue's own (the empty name) first.
    """

    account_address: str
    tracker: ClientOrderTracker
    account: Account
    nonces: NonceSource
    limits: RequestLimits
    order_ttl_ms: int
    order_wait_ms: int
    dexes: tuple[str, ...]
    now_ns: Callable[[], int]
    effect: Callable[[Effect], None]
    alert: Callable[..., None]
    halt: Callable[[str], None]
    why_halted: Callable[[], str]
    stamp: Callable[[Source], None]
    set_deadline: Callable[..., None]
    take: Callable[[Item], None]
    symbols: SymbolMap = field(default_factory=lambda: SymbolMap(()))
    messages: HyperliquidMessages = field(
        default_factory=lambda: HyperliquidMessages(SymbolMap(()), "0x" + "0" * 40)
    )
    acting_for: str | None = None
    may_send: bool = False
    venue_offset_ms: int = 0
    last_request_id: int = 0

    @property
    def now_ms(self) -> int:
        """Our clock in ms."""
        return self.now_ns() // MS

    @property
    def venue_now_ms(self) -> int:
        """The venue's clock, as far as it was told."""
        return self.now_ms + self.venue_offset_ms

    def venue_told_time(self, time_ms: int, *, asked_at_ms: int) -> None:
        """Take over the venue's clock. The answer may have been long on its way, so it gives two bounds, and
        what is between them stays: a pause of this process must not pass for a clock that is off."""
        earliest, latest = time_ms - self.now_ms, time_ms - asked_at_ms
        self.venue_offset_ms = min(max(self.venue_offset_ms, earliest), latest)

    def heed_status(self, status: int) -> None:
        """The HTTP status of an answer: 429 says that the limit is exceeded, whatever was counted here."""
        window = self.limits.window
        if status != TOO_MANY_REQUESTS:
            window.accepted(self.now_ns())
            return
        hold_ns = window.refused(self.now_ns())
        if hold_ns:
            self.alert(
                "rate_limited",
                "The venue answers HTTP 429: more was asked of it from this address than it allows. Orders"
                f" and reads wait {hold_ns // SECOND} s, cancels do not. If other programs share the address,"
                " lower limits.request_weight_per_minute.",
            )

    def next_request_id(self) -> int:
        self.last_request_id += 1
        return self.last_request_id
