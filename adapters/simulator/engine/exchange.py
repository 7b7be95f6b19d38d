"""The venue as one object: authenticated actions in, JSON answers and stream messages out.

No sockets, no clock: every answer follows from the calls before it and the seed. One `execute`,
`execute_block` or `advance` is one block (sheet 4.7); `drain` hands over what it produced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from . import budget
from .account_reads import AccountReads
from .accounts import Account
from .agents import Agents
from .answers import default_answer
from .dead_mans_switch import DeadMansSwitch
from .desk import OrderDesk
from .encoders import Json
from .errors import ActionError, Unprocessable
from .funding import Funding
from .info import Reads
from .liquidation import Liquidations
from .lookup import Lookup
from .market_reads import MarketReads
from .markets import Market, PerpMarket
from .matching import Matcher
from .modifying import ModifyActions
from .numbers import ZERO, arithmetic
from .options import Abstraction, FeeRates, VenueOptions
from .order_reads import OrderReads
from .parsing import as_object, text_member
from .portfolio import Portfolio
from .settings import SettingsActions
from .settlement import Settlement
from .snapshots import Snapshots
from .state import VenueState
from .stream import Stream, StreamMessage
from .timers import Timers
from .trading import TradingActions, entries_of, puts_taker_on_book
from .transfers import Transfers
from .twap import TwapDesk
from .views import Views

CANCEL_TYPES = frozenset({"cancel", "cancelByCloid", "scheduleCancel", "twapCancel"})


class PendingAction(NamedTuple):
    """An action that waits for its block; `account` is what `resolve_signer` said."""

    account: str
    action: Json
    signer: str


class Exchange:
    """See the package docstring for the whole contract."""

    def __init__(self, options: VenueOptions, *, seed: int, start_ms: int) -> None:
        self.options = options
        with arithmetic():
            self._state = state = VenueState(options, seed=seed, start_ms=start_ms)
            self._timers = Timers()
            self._desk = OrderDesk(state)
            self._settlement = Settlement(state, self._desk)
            self._matcher = Matcher(state, self._desk, self._settlement)
            self._funding = Funding(state)
            self._portfolio = Portfolio(state)
            self._twaps = TwapDesk(state, self._desk, self._matcher, self._timers)
            self._agents = Agents(state)
            lookup = Lookup(state)
            self._reads = Reads(
                MarketReads(state, lookup, self._funding),
                OrderReads(state, lookup, self._twaps),
                AccountReads(state, lookup, self._agents, self._portfolio),
            )
            views = Views(state, self._reads, self._twaps)
            self._stream = Stream(state, views)
            self._snapshots = Snapshots(state, lookup, self._reads, views)
            self._transfers = Transfers(state)
            self._settings = SettingsActions(state)
            self._trading = TradingActions(state, self._desk, self._matcher)
            self._modifying = ModifyActions(state, self._desk, self._matcher)
            self._switch = DeadMansSwitch(state, self._matcher, self._timers)
            self._liquidations = Liquidations(
                state, self._desk, self._matcher, self._settlement, self._timers
            )
        self._answering: dict[str, Callable[[Account, Json], Json]] = {
            "order": self._trading.order,
            "cancel": self._trading.cancel,
            "cancelByCloid": self._trading.cancel_by_cloid,
            "modify": self._modifying.modify,
            "batchModify": self._modifying.batch_modify,
            "scheduleCancel": self._switch.set,
            "twapOrder": self._twaps.start,
            "twapCancel": self._twaps.cancel,
            "createSubAccount": self._create_sub_account,
        }
        self._plain: dict[str, Callable[[Account, Json], None]] = {
            "noop": lambda account, action: None,
            "updateLeverage": self._settings.update_leverage,
            "updateIsolatedMargin": self._settings.update_isolated_margin,
            "topUpIsolatedOnlyMargin": self._settings.top_up_isolated_margin,
            "setReferrer": self._settings.set_referrer,
            "approveBuilderFee": self._settings.approve_builder_fee,
            "userSetAbstraction": self._settings.set_abstraction,
            "approveAgent": self._agents.approve_from_action,
            "reserveRequestWeight": self._transfers.reserve_request_weight,
            "usdSend": self._transfers.usd_send,
            "spotSend": self._transfers.spot_send,
            "withdraw3": self._transfers.withdraw,
            "usdClassTransfer": self._transfers.usd_class_transfer,
            "sendAsset": self._transfers.send_asset,
            "subAccountTransfer": self._transfers.sub_account_transfer,
            "subAccountSpotTransfer": self._transfers.sub_account_spot_transfer,
            "vaultTransfer": self._transfers.vault_transfer,
        }

    # -- accounts -----------------------------------------------------------------------------------------

    def create_account(
        self,
        address: str,
        *,
        usdc: Decimal = ZERO,
        spot: Mapping[str, Decimal] | None = None,
        fee_rates: FeeRates | None = None,
        abstraction: Abstraction | None = None,
        is_venue_operated: bool = False,
    ) -> None:
        """Opens or tops up an account: `usdc` as perp collateral, `spot` by token name.

        `fee_rates` replaces the volume tiers, for instance with a maker rebate. `is_venue_operated` lifts the
        request budget, the open-order limits and liquidation, for the accounts of a background market.
        Raises ValueError for an unknown token.
        """
        with arithmetic():
            self._state.next_transaction()
            account = self._state.open_account(address)
            if abstraction is not None:
                account.abstraction = abstraction
            if fee_rates is not None:
                account.fee_rates = fee_rates
            account.is_venue_operated = account.is_venue_operated or is_venue_operated
            self._transfers.deposit(account, usdc)
            for name, amount in (spot or {}).items():
                token = self._state.universe.token_by_wire_name(name)
                if token is None:
                    raise ValueError(f"no spot token is called {name!r}")
                self._transfers.deposit_spot(account, token, amount)
            self._stream.close_block()

    def approve_agent(
        self, master: str, agent: str, name: str | None = None, valid_until_ms: int | None = None
    ) -> None:
        """Approves an API wallet without the signed action. Raises ActionError as that would (3.5)."""
        self._agents.approve(self._require(master), agent, name, valid_until_ms)

    def create_sub_account(self, master: str, name: str) -> str:
        """Returns the address of the new sub-account."""
        with arithmetic():
            return self._transfers.create_sub_account(self._require(master), name)

    def create_vault(self, leader: str, name: str, *, usdc: Decimal) -> str:
        """Returns the address of a vault that `leader` funds and leads."""
        with arithmetic():
            address = self._transfers.create_vault(self._require(leader), name, usdc)
            self._stream.close_block()
            return address

    def resolve_signer(
        self, signer: str, vault_address: str | None = None, *, user_signed: bool = False
    ) -> str:
        """The account that a recovered signer acts for. Raises ActionError with the texts of sheet 3.6.

        `user_signed` is for the actions of sheet 3.4, which no agent may sign.
        """
        return self._agents.resolve(signer, vault_address, user_signed=user_signed)

    def charge_requests(self, account: str, count: int) -> None:
        """Counts requests that never reach `execute`: a stale `expiresAfter` costs five (sheet 9.2)."""
        self._require(account).requests_used += count

    def _require(self, address: str) -> Account:
        account = self._state.account(address)
        if account is None:
            raise ActionError(f"Must deposit before performing actions. User: {address.lower()}")
        return account

    # -- writes -------------------------------------------------------------------------------------------

    def execute(self, account: str, action: Json, *, signer: str, now_ms: int) -> Json:
        """One action as a block of its own. Returns the response body; raises Unprocessable for a 422.

        `account` is acted for and charged; `signer` is the key that the shell has authenticated.
        """
        with arithmetic():
            self._move_to(now_ms)
            try:
                return self._execute(account, action)
            finally:
                self._end_block()

    def execute_block(self, pending: list[PendingAction], *, now_ms: int) -> list[Json | Unprocessable]:
        """Several actions in one block, in the three classes of sheet 4.7; results in the order given.

        An action that does not deserialise yields its Unprocessable: its neighbours stand.
        """
        with arithmetic():
            self._move_to(now_ms)
            results: dict[int, Json | Unprocessable] = {}
            for index in sorted(range(len(pending)), key=lambda i: _priority(pending[i].action)):
                try:
                    results[index] = self._execute(pending[index].account, pending[index].action)
                except Unprocessable as unprocessable:
                    results[index] = unprocessable
            self._end_block()
            return [results[index] for index in range(len(pending))]

    def _execute(self, address: str, action: Json) -> Json:
        kind = text_member(as_object(action), "type")
        answering, plain = self._answering.get(kind), self._plain.get(kind)
        if answering is None and plain is None:
            raise Unprocessable
        self._state.next_transaction()
        try:
            account = self._require(address)
            count = entries_of(action)
            if count > self.options.entries_per_action:
                raise ActionError(f"Signed action over weight limit of {self.options.entries_per_action}.")
            is_cancel = kind in CANCEL_TYPES
            used_before = account.requests_used
            budget.charge(account, self.options, count, self._state.now_ms, is_cancel=is_cancel)
            try:
                if answering is not None:
                    answer = answering(account, action)
                else:
                    assert plain is not None
                    plain(account, action)
                    answer = default_answer()
            except Unprocessable:
                account.requests_used = used_before  # a 422 never reached the application (sheet 4.4)
                raise
        except ActionError as error:
            answer = {"status": "err", "response": error.text}
        self._matcher.run_triggers()
        return answer

    def _create_sub_account(self, account: Account, action: Json) -> Json:
        address = self._transfers.create_sub_account(account, text_member(action, "name"))
        return {"status": "ok", "response": {"type": "createSubAccount", "data": address}}

    # -- reads --------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Block time."""
        return self._state.now_ms

    def info(self, request: Json, *, now_ms: int) -> object:
        """The JSON answer of an `/info` request at block time `now_ms`; raises Unprocessable for a 422."""
        with arithmetic():
            self._catch_up(now_ms)
            return self._reads.answer(request)

    def snapshot(self, subscription: Json, *, now_ms: int) -> list[Json]:
        """The first frames of a subscription, [] where there is none; raises Unprocessable."""
        with arithmetic():
            self._catch_up(now_ms)
            return self._snapshots.of(subscription)

    def drain(self) -> list[StreamMessage]:
        """Everything that happened since the last drain, in block order, then the states that changed."""
        with arithmetic():
            return self._stream.drain()

    # -- time ---------------------------------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Moves block time on: scheduled cancels, funding, TWAP slices, pauses of liquidations."""
        with arithmetic():
            self._move_to(now_ms)
            self._end_block()

    def _catch_up(self, now_ms: int) -> None:
        if now_ms > self._state.now_ms:
            self._move_to(now_ms)
            self._end_block()

    def _end_block(self) -> None:
        if self.options.mark_follows_book:
            self._follow_books()
        self._stream.close_block()

    def _move_to(self, now_ms: int) -> None:
        """Runs what is due up to `now_ms` in order of time, which never goes back."""
        while True:
            hour = self._funding.next_settlement_ms()
            due = self._timers.next_due(min(now_ms, hour))
            if due is not None:
                time, callback = due
                self._set_time(time)
                self._state.next_transaction()
                callback()
                self._matcher.run_triggers()
            elif hour <= now_ms:
                self._set_time(hour)
                if self.options.automatic_funding:
                    self._funding.settle()
                self._portfolio.sample()
                self._check_all_holders()
            else:
                self._set_time(now_ms)
                return

    def _set_time(self, time_ms: int) -> None:
        if time_ms > self._state.now_ms:
            self._funding.sample(time_ms)
            self._state.now_ms = time_ms

    # -- market drivers -----------------------------------------------------------------------------------

    def coins(self) -> list[str]:
        """All coins that trade, perps first."""
        return [market.coin for market in self._state.universe.by_coin.values() if not market.is_halted]

    def mark_price(self, coin: str) -> Decimal:
        return self._market(coin).mark_px

    def set_mark_price(self, coin: str, price: Decimal) -> None:
        """Moves the mark price, fires the triggers it meets, and liquidates who falls below maintenance."""
        with arithmetic():
            self._set_mark(self._market(coin), price)
            self._end_block()

    def set_oracle_price(self, coin: str, price: Decimal) -> None:
        """Moves the oracle price, which funding and the price band use."""
        if price <= 0:
            raise ValueError(f"the oracle price of {coin} must be positive, not {price}")
        market = self._market(coin)
        market.oracle_px = price
        self._state.journal.price_changed(coin)

    def _market(self, coin: str) -> Market:
        market = self._state.universe.by_coin.get(coin)
        if market is None:
            raise ValueError(f"no market is called {coin!r}")
        return market

    def _perp(self, coin: str) -> PerpMarket:
        market = self._market(coin)
        if not isinstance(market, PerpMarket):
            raise ValueError(f"{coin} is not a perpetual")
        return market

    def _set_mark(self, market: Market, price: Decimal) -> None:
        if price <= 0:
            raise ValueError(f"the mark price of {market.coin} must be positive, not {price}")
        market.mark_px = price
        self._state.journal.price_changed(market.coin)
        self._state.next_transaction()
        self._matcher.fire_due(market)
        self._matcher.run_triggers()
        if isinstance(market, PerpMarket):
            for address in market.holders:
                self._state.journal.account_changed(address)
            if self.options.automatic_liquidation:
                self._liquidations.check_holders(market)

    def _follow_books(self) -> None:
        """Mark = median of best bid, best ask and last trade, where all three exist."""
        for coin in list(self._state.journal.books):
            market = self._market(coin)
            bid, ask = market.book.bids.best(), market.book.asks.best()
            last = market.tape.last_px
            if bid is None or ask is None or last is None:
                continue
            mark = sorted((bid.price, ask.price, last))[1]
            if mark != market.mark_px:
                self._set_mark(market, mark)

    def _check_all_holders(self) -> None:
        if self.options.automatic_liquidation:
            for market in self._state.universe.perps():
                self._liquidations.check_holders(market)

    def settle_funding(self, *, now_ms: int, rates: Mapping[str, Decimal] | None = None) -> None:
        """Settles funding at once: the named coins at these hourly rates, or all at their own."""
        with arithmetic():
            self._move_to(now_ms)
            self._funding.settle(rates)
            self._end_block()

    def liquidate(
        self, address: str, coin: str, *, size: Decimal | None = None, backstop: bool = False
    ) -> None:
        """Liquidates a position whatever its margin: on the book, or to the backstop at mark (10.5)."""
        with arithmetic():
            account, market = self._require(address), self._perp(coin)
            position = account.position(market)
            if position is None:
                raise ValueError(f"{address} has no position in {coin}")
            self._liquidations.liquidate(account, position, size=size, backstop=backstop)
            self._end_block()

    def auto_deleverage(self, address: str, coin: str, size: Decimal, price: Decimal) -> None:
        """Closes `size` of a position at `price` under an oid that nobody sent (sheet 10.5)."""
        with arithmetic():
            account, market = self._require(address), self._perp(coin)
            position = account.position(market)
            if position is None or abs(position.szi) < size:
                raise ValueError(f"{address} has less than {size} {coin} to deleverage")
            self._liquidations.auto_deleverage(account, position, size, price)
            self._end_block()

    def halt(self, coin: str, *, halted: bool = True) -> None:
        """Stops or resumes trading in a market; a halt cancels its orders (`delistedCanceled`)."""
        with arithmetic():
            market = self._market(coin)
            market.is_halted = halted
            if halted:
                for account in list(self._state.accounts.values()):
                    self._matcher.cancel_all(account, "delistedCanceled", market)
            self._end_block()

    def start_post_only_period(self, until_ms: int) -> None:
        """Only Alo orders are accepted before `until_ms`, as after a network upgrade (sheet 4.6)."""
        self._state.post_only_until_ms = until_ms

    def notify(self, address: str, text: str) -> None:
        """Sends a `notification` to the account's subscribers."""
        self._state.journal.block.notifications.append((address.lower(), text))
        self._stream.close_block()


def _priority(action: Json) -> int:
    """Class within a block: what puts no Gtc or Ioc on a book, cancels, takers (sheet 4.7)."""
    if action.get("type") in ("cancel", "cancelByCloid"):
        return 1
    return 2 if puts_taker_on_book(action) else 0
