"""What a value's type cannot say: addresses, URLs, combinations. One function per section, and one for what
several of them say together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from adapters.cli.config import (
    Config,
    LedgerSettings,
    LimitSettings,
    PublisherSettings,
    RecordingSettings,
    SecretSettings,
    StrategySettings,
    VenueSettings,
)
from adapters.hyperliquid.dexes import dexes_of
from adapters.hyperliquid.limits import WEIGHT_PER_MINUTE
from adapters.hyperliquid.networks import NetworkError, network_named
from adapters.hyperliquid.pass_weights import shortest_period_s
from adapters.hyperliquid.start_weight import start_waits_s
from adapters.zeromq.bind_address import BindAddressError, checked_bind_address

__all__ = ["CHECKS", "Mistake", "check_together"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_TRADING_PAIR = re.compile(r"[^\s\-]+-[A-Z0-9]+")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_ANSWERS_S = 60
"""For the answers themselves, and for what is asked anew when a stream is lost meanwhile, where the questions
have to wait for minutes."""


class Mistake(msgspec.Struct, frozen=True):
    """One thing that is wrong: where, what stands there, what may, and what was probably meant."""

    path: str
    found: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        return (
            f"{self.path}: found {self.found}; allowed: {self.allowed}.{' ' if self.hint else ''}{self.hint}"
        )


def _venue(venue: VenueSettings) -> Iterator[Mistake]:
    if venue.account_address:
        yield from _address("venue.account_address", venue.account_address)
    elif venue.network != "simulator":
        yield Mistake(
            "venue.account_address",
            "nothing",
            f"the address of your main account, which {venue.network} needs (not the agent's)",
        )
    if venue.vault_address:
        yield from _address("venue.vault_address", venue.vault_address)
        if venue.vault_address.lower() == venue.account_address.lower():
            yield Mistake(
                "venue.vault_address",
                "the account itself",
                "a sub-account or vault; leave it out to trade for the account",
            )
    if not venue.trading_pairs:
        yield Mistake("venue.trading_pairs", "an empty list", 'at least one market, such as ["BTC-USD"]')
    seen = []
    for pair in venue.trading_pairs:
        if _TRADING_PAIR.fullmatch(pair) is None:
            yield Mistake("venue.trading_pairs", f'"{pair:.40}"', "BASE-QUOTE, such as BTC-USD or kPEPE-USD")
        elif pair in seen:
            yield Mistake("venue.trading_pairs", f'"{pair}" twice', "each market once")
        seen.append(pair)
    if venue.network == "simulator":
        try:
            network_named("simulator", simulator_url=venue.simulator_url)
        except NetworkError:
            allowed = "http://127.0.0.1:PORT, on this machine, as `orderledger sim` prints it"
            yield Mistake("venue.simulator_url", f'"{venue.simulator_url:.60}"', allowed)


def _address(path: str, text: str) -> Iterator[Mistake]:
    if _ADDRESS.fullmatch(text) is None:
        # Its text is not shown: a key pasted by mistake would be.
        yield Mistake(path, f"{len(text)} characters", "0x and 40 hex digits")
        return
    digits = text[2:]
    if int(digits, 16) == 0:
        yield Mistake(path, "the zero address", "your own in place of the example")
    elif digits not in (digits.lower(), digits.upper()) and digits != _checksummed(digits):
        yield Mistake(
            path, f'"{text}"', "an address whose upper and lower case agree (EIP-55)", "A typing mistake?"
        )


def _checksummed(digits: str) -> str:
    """The upper and lower case that Ethereum gives these hex digits, from their Keccak hash (EIP-55)."""
    from Crypto.Hash import keccak

    marks = keccak.new(digest_bits=256, data=digits.lower().encode()).hexdigest()
    return "".join(
        digit.upper() if int(mark, 16) >= 8 else digit
        for digit, mark in zip(digits.lower(), marks, strict=False)
    )


def _secrets(secrets: SecretSettings) -> Iterator[Mistake]:
    places = [name for name in ("keystore", "key_file", "key_env") if getattr(secrets, name)]
    if len(places) > 1:
        yield Mistake("secrets", " and ".join(places), "one of them: there is one signing key")
    passwords = [name for name in ("password_file", "password_env") if getattr(secrets, name)]
    if len(passwords) > 1:
        yield Mistake("secrets", " and ".join(passwords), "one of them")
    if passwords and not secrets.keystore:
        yield Mistake(
            f"secrets.{passwords[0]}", "a password without a keystore", "it only with secrets.keystore"
        )
    for name in ("password_env", "key_env"):
        variable = getattr(secrets, name)
        if variable and _VARIABLE.fullmatch(variable) is None:
            yield Mistake(
                f"secrets.{name}", f"{len(variable)} characters", "the name of an environment variable"
            )


def _ledger(ledger: LedgerSettings) -> Iterator[Mistake]:
    if ledger.views_path == ledger.path:
        yield Mistake(
            "ledger.views_path", "the ledger itself", "a file of its own: views are deleted and rebuilt"
        )


def _recording(recording: RecordingSettings) -> Iterator[Mistake]:
    if recording.max_total_mb < 2 * recording.max_file_mb:
        yield Mistake(
            "recording.max_total_mb",
            str(recording.max_total_mb),
            f"at least twice recording.max_file_mb ({2 * recording.max_file_mb}), so that one file can be"
            " deleted while the next is written",
        )


def _strategy(strategy: StrategySettings) -> Iterator[Mistake]:
    if strategy.class_path and _CLASS.fullmatch(strategy.class_path) is None:
        yield Mistake(
            "strategy.class", f'"{strategy.class_path:.60}"', "module:Class, such as my_bots.grid:Grid"
        )
    if strategy.params and not strategy.class_path:
        yield Mistake("strategy.params", "parameters without a class", "them only with strategy.class")


def _publisher(publisher: PublisherSettings) -> Iterator[Mistake]:
    try:
        checked_bind_address(publisher.bind, allow_remote=publisher.allow_remote)
    except BindAddressError as error:
        hint = "" if publisher.allow_remote else "See publisher.allow_remote."
        yield Mistake("publisher.bind", error.found, error.allowed, hint)


def _start_weight(venue: VenueSettings, limits: LimitSettings) -> Iterator[Mistake]:
    """A start that cannot ask all it has to ask before its time is over ends in vain every time."""
    weight, timeout_s = limits.request_weight_per_minute, limits.startup_timeout_s

    def needed_s(weight: int) -> int:
        waits_s = start_waits_s(weight, venue.trading_pairs)
        return waits_s + _ANSWERS_S if waits_s else 0

    if needed_s(weight) <= timeout_s:
        return
    enough = next(
        (more for more in range(weight, WEIGHT_PER_MINUTE + 1) if needed_s(more) <= timeout_s), None
    )
    yield Mistake(
        "limits.request_weight_per_minute",
        str(weight),
        f"{'none' if enough is None else f'at least {enough}'} with limits.startup_timeout_s ="
        f" {timeout_s:g}, since what is asked at the start has to fit",
        f"Or set limits.startup_timeout_s to {needed_s(weight)} or more.",
    )


def _nothing(_section: Any) -> Iterator[Mistake]:
    yield from ()


def check_together(config: Config) -> Iterator[Mistake]:
    """What only several sections show."""
    dexes = len(dexes_of(config.venue.trading_pairs))
    granted, every = config.limits.request_weight_per_minute, config.reconciliation
    shortest_s = shortest_period_s(every.thorough_every_s, dexes, granted)
    if every.every_s < shortest_s:
        yield Mistake(
            "reconciliation.every_s",
            str(every.every_s),
            f"at least {shortest_s} with limits.request_weight_per_minute = {granted}",
            "The comparisons alone would take more than that.",
        )
    yield from _start_weight(config.venue, config.limits)


CHECKS: dict[str, Callable[[Any], Iterator[Mistake]]] = {
    "venue": _venue,
    "secrets": _secrets,
    "ledger": _ledger,
    "recording": _recording,
    "strategy": _strategy,
    "publisher": _publisher,
    "log": _nothing,
    "limits": _nothing,
    "reconciliation": _nothing,
    "shutdown": _nothing,
}
