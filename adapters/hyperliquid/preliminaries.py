"""What has to be known before anything is sent: the markets, the venue's clock, whose account this is and
who may trade on it, and how many actions it has left (sheet 1, 3.1, 3.5, 5.9, 9.2).

Each is asked for until there is an answer that can be read. Clock and budget are asked for again later on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.messages import (
    HyperliquidMessages,
    MessageError,
    read_rate_limit,
    read_role,
    read_venue_time,
)
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.symbols import SymbolError, SymbolMap

__all__ = ["RETRY_NS", "Preliminaries"]

RETRY_NS = 2 * SECOND
BUDGET_CHECK_NS = 600 * SECOND
CLOCK_SKEW_MS_MAX = 2_000


class Preliminaries:
    """`signer` is the address of the signing key (lower case), None where nothing is signed. `on_markets` is
    called when the markets are known, `on_account` when the account and its signer are found to be right;
    where they are not, trading halts and says why."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        *,
        signer: str | None,
        on_markets: Callable[[], None],
        on_account: Callable[[], None],
    ) -> None:
        self._context = context
        self._queries = queries
        self._signer = signer
        self._on_markets = on_markets
        self._on_account = on_account
        self._repeats: dict[str, Callable[[], None]] = {}
        self._raw_meta: dict[str, bytes] = {}
        self._clock_alerted = False

    def begin(self) -> None:
        """Ask for everything."""
        self._ask_metadata()
        self.ask_venue_time()
        self._ask(info_requests.user_role(self._context.account_address), self._on_account_role)
        self._ask_budget()

    def on_deadline(self, name: str, key: str) -> None:
        """Time to ask again: for the budget, or for what had no answer."""
        if name == "budget":
            self._ask_budget()
        else:
            self._repeats.pop(key, lambda: None)()

    def _ask(self, request: info_requests.InfoRequest, handler: Callable[[bytes], None]) -> None:
        """Ask until there is an answer that `handler` can read."""

        def on_answer(body: bytes | None) -> None:
            if body is not None:
                try:
                    handler(body)
                    return
                except MessageError as error:
                    self._context.alert("unreadable_answer", f"{request.body.get('type')}: {error}")
            self._repeat(request.encode().decode(), lambda: self._ask(request, handler))

        self._queries.ask(request, on_answer)

    def _repeat(self, name: str, ask: Callable[[], None]) -> None:
        self._repeats[name] = ask
        self._context.set_deadline(RETRY_NS, "repeat", name)

    # -- markets -------------------------------------------------------------------------------------------

    def _ask_metadata(self) -> None:
        dexes = self._context.dexes[1:]
        wanted: list[tuple[str, info_requests.InfoRequest]] = [("meta", info_requests.meta())]
        if dexes:
            wanted.append(("perpDexs", info_requests.perp_dexs()))
            wanted += [(f"meta {dex}", info_requests.meta(dex)) for dex in dexes]
        wanted.append(("spotMeta", info_requests.spot_meta()))
        for name, request in wanted:
            self._ask(request, partial(self._on_metadata, name, len(wanted)))

    def _on_metadata(self, name: str, count: int, body: bytes) -> None:
        context, raw = self._context, self._raw_meta
        raw[name] = body
        if len(raw) < count:
            return
        try:
            symbols = SymbolMap.from_json(
                raw["meta"],
                perp_dexs=raw.get("perpDexs"),
                dex_metas={key.partition(" ")[2]: raw[key] for key in raw if key.startswith("meta ")},
                spot_meta=raw.get("spotMeta"),
            )
        except SymbolError as error:
            # It may be about any of the answers, so all of them are asked for again.
            context.alert("unreadable_metadata", str(error), level="error")
            self._raw_meta = {}
            self._repeat("metadata", self._ask_metadata)
            return
        for unreadable in symbols.unreadable:
            context.alert("unreadable_market", unreadable)
        context.symbols = symbols
        context.messages = HyperliquidMessages(symbols, context.account_address)
        self._on_markets()

    # -- clock and budget ----------------------------------------------------------------------------------

    def ask_venue_time(self) -> None:
        """Ask for the venue's clock."""
        asked_at_ms = self._context.now_ms
        self._ask(info_requests.exchange_status(), lambda body: self._on_exchange_status(asked_at_ms, body))

    def _on_exchange_status(self, asked_at_ms: int, body: bytes) -> None:
        context = self._context
        context.venue_told_time(read_venue_time(body), asked_at_ms=asked_at_ms)
        offset_ms = context.venue_offset_ms
        is_off = abs(offset_ms) > CLOCK_SKEW_MS_MAX
        if is_off and not self._clock_alerted:
            context.alert("clock_skew", f"This clock and the venue's differ by {offset_ms} ms: use NTP.")
        self._clock_alerted = is_off

    def _ask_budget(self) -> None:
        """Take over the venue's count of actions: other processes and earlier volume are part of it."""
        self._ask(info_requests.user_rate_limit(self._context.account_address), self._on_budget)
        self._context.set_deadline(BUDGET_CHECK_NS, "budget")

    def _on_budget(self, body: bytes) -> None:
        used, cap = read_rate_limit(body)
        self._context.limits.address.synchronize(used=used, cap=cap)

    # -- whose account -------------------------------------------------------------------------------------

    def _on_account_role(self, body: bytes) -> None:
        context = self._context
        role, master = read_role(body)
        address = context.account_address
        if role == "agent":
            context.halt(
                f"{address} is an agent (API wallet) of {master}, and an agent has no account of its own: "
                f"set venue.account to {master}"
            )
            return
        if role == "missing":
            message = f"The venue knows no account {address}: deposit first."
            context.alert("account_missing", message, level="error")
        owner = address
        if role in ("subAccount", "vault"):
            # Without this, orders of a sub-account would land on the main account (sheet 3.1, 3.5).
            context.acting_for = address
            owner = master or ""
        if self._signer is None or self._signer in (owner, ""):
            self._on_account()
            return
        self._ask(info_requests.user_role(self._signer), lambda answer: self._on_signer_role(owner, answer))

    def _on_signer_role(self, owner: str, body: bytes) -> None:
        role, master = read_role(body)
        if role == "agent" and (not owner or master == owner):
            self._on_account()
            return
        if not owner and role == "user":
            self._on_account()  # a vault does not tell its leader; the venue checks on the first action
            return
        self._context.halt(
            f"the signing key's address {self._signer} is "
            f"{f'an agent of {master}' if role == 'agent' else f'no approved agent ({role})'}, "
            f"so it may not trade for {self._context.account_address}: approve it, or use another key"
        )
