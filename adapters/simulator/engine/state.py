"""The venue's whole state, its block time, and where ids and hashes come from. All randomness is seeded."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from .accounts import Account
from .journal import Journal
from .markets import Universe
from .numbers import ZERO
from .options import VenueOptions
from .orders import Order

DAY_MS = 86_400_000
TID_BITS = 50

LIQUIDATOR = "0x" + "11" * 20
"""The backstop vault: takes over what the book cannot absorb, stands opposite auto-deleveraging."""


class TradeIds:
    """Trade ids up to 2^50 that look random and never repeat (sheet 8): an affine walk over all of them."""

    def __init__(self, rng: Random) -> None:
        self._step = rng.getrandbits(TID_BITS) | 1
        self._next = rng.getrandbits(TID_BITS)

    def draw(self) -> int:
        self._next = (self._next + self._step) % (1 << TID_BITS)
        return self._next or self.draw()


class VenueState:
    """Shared by all parts of the engine. `now_ms` is block time and never goes back."""

    def __init__(self, options: VenueOptions, *, seed: int, start_ms: int) -> None:
        self.options = options
        self.universe = Universe(options)
        self.now_ms = start_ms
        self.journal = Journal()
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.masters_by_agent: dict[str, str] = {}
        self.retired_agents: set[str] = set()
        self.collected_fees: dict[str, Decimal] = {}
        """What the venue took, by token: fees without the builders' part, less rebates."""
        self.funding_residue: Decimal = ZERO
        """Truncated fractions of funding payments: the venue keeps them."""
        self.post_only_until_ms = 0
        self._rng = Random(seed)
        self._trade_ids = TradeIds(self._rng)
        self._next_oid = options.first_oid
        self._tx_hash: str | None = None

    @property
    def day(self) -> int:
        """UTC day number of the block time."""
        return self.now_ms // DAY_MS

    def account(self, address: str) -> Account | None:
        return self.accounts.get(address.lower())

    def open_account(self, address: str) -> Account:
        """The account of an address, which exists from now on."""
        address = address.lower()
        account = self.accounts.get(address)
        if account is None:
            account = self.accounts[address] = Account(
                address,
                fills_kept=self.options.fills_kept,
                abstraction=self.options.abstraction,
                default_leverage=self.options.default_leverage,
            )
        return account

    def next_oid(self) -> int:
        oid = self._next_oid
        self._next_oid += 1
        return oid

    def next_tid(self) -> int:
        return self._trade_ids.draw()

    def random_address(self) -> str:
        return f"0x{self._rng.getrandbits(160):040x}"

    def random_below(self, bound: int) -> int:
        return self._rng.randrange(bound)

    def tx_hash(self) -> str:
        """Hash of the current action: all its fills share it (sheet 8)."""
        if self._tx_hash is None:
            self._tx_hash = f"0x{self._rng.getrandbits(256):064x}"
        return self._tx_hash

    def next_transaction(self) -> None:
        self._tx_hash = None

    def collect_fee(self, token: str, amount: Decimal) -> None:
        self.collected_fees[token] = self.collected_fees.get(token, ZERO) + amount
