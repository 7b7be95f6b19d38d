"""Books one trade on both sides: positions or balances, fees, fill rows, tape, volumes (sheet 8, 10)."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from . import fees
from .accounts import USDC_INDEX, Account
from .candles import Trade
from .desk import OrderDesk
from .fees import FeeCharge
from .fills import ZERO_HASH, Fill, Liquidation
from .markets import PerpMarket, SpotMarket
from .numbers import SPOT_UNIT, ZERO, rounded
from .orders import Order
from .positions import PerpWallet, Position, PositionChange
from .state import VenueState


class Special(NamedTuple):
    """What makes a trade different from an ordinary one: liquidations and auto-deleveraging (sheet 10.5)."""

    direction: str | None
    """Shown as `dir` on the taker's fill."""
    liquidation: Liquidation | None
    is_free: bool
    counterparty_direction: str | None = None
    """Shown as `dir` on the other fill; None for the ordinary text."""


ORDINARY = Special(None, None, False)


class Settlement:
    def __init__(self, state: VenueState, desk: OrderDesk) -> None:
        self._state = state
        self._desk = desk

    def trade(
        self, taker: Order, maker: Order, price: Decimal, size: Decimal, special: Special = ORDINARY
    ) -> None:
        """Books `size` at `price` between two orders; the caller has seen that both can carry it."""
        state = self._state
        market = taker.market
        tid = state.next_tid()
        is_twap = taker.twap_id is not None
        tx_hash = ZERO_HASH if is_twap else state.tx_hash()
        notional = price * size
        self._book(taker, price, size, notional, tid, tx_hash, special, crossed=True)
        counterparty = special._replace(direction=special.counterparty_direction)
        self._book(maker, price, size, notional, tid, tx_hash, counterparty, crossed=False)
        buyer, seller = (taker, maker) if taker.is_buy else (maker, taker)
        trade = Trade(
            market.coin,
            taker.is_buy,
            price,
            size,
            tx_hash,
            state.now_ms,
            tid,
            buyer.account.address,
            seller.account.address,
        )
        market.tape.add(trade)
        state.journal.traded(trade)

    def _book(
        self,
        order: Order,
        price: Decimal,
        size: Decimal,
        notional: Decimal,
        tid: int,
        tx_hash: str,
        special: Special,
        *,
        crossed: bool,
    ) -> None:
        state = self._state
        account, market = order.account, order.market
        if special.is_free:
            fee = fees.FREE
        else:
            rates = fees.rates_of(account, state.options, state.day)
            fee = fees.charge(
                rates,
                market,
                order.builder,
                is_buy=order.is_buy,
                size=size,
                notional=notional,
                crossed=crossed,
            )
        if isinstance(market, PerpMarket):
            change = self._book_perp(account, market, size if order.is_buy else -size, price, fee)
        else:
            assert isinstance(market, SpotMarket)
            change = self._book_spot(account, market, order.is_buy, size, notional, fee)
        self._collect(account, order, fee)
        account.add_volume(market, notional, state.day, crossed=crossed)
        fill = Fill(
            coin=market.coin,
            price=price,
            size=size,
            is_buy=order.is_buy,
            time=state.now_ms,
            start_position=change.start,
            direction=special.direction or change.direction,
            closed_pnl=change.closed_pnl,
            tx_hash=tx_hash,
            oid=order.oid,
            crossed=crossed,
            fee=fee.total,
            tid=tid,
            fee_token=fee.token,
            twap_id=order.twap_id,
            cloid=order.cloid,
            builder_fee=fee.builder,
            liquidation=special.liquidation,
        )
        account.fills.append(fill)
        state.journal.filled(account.address, fill)
        self._desk.executed(order, size, notional)
        if change.shrank and isinstance(market, PerpMarket):
            self._desk.follow_position(account, market, change.start)

    def _book_perp(
        self, account: Account, market: PerpMarket, signed: Decimal, price: Decimal, fee: FeeCharge
    ) -> PositionChange:
        wallet = account.wallet(market.dex)
        position = wallet.positions.get(market.coin)
        if position is None:
            setting = account.leverage_for(market)
            position = Position(market, setting.is_cross, setting.value)
            wallet.positions[market.coin] = position
            market.holders[account.address] = account
        change = wallet.trade(position, signed, price)
        wallet.cash -= fee.total
        market.open_interest += max(position.szi, ZERO) - max(change.start, ZERO)
        if not position.szi:
            del wallet.positions[market.coin]
            del market.holders[account.address]
            if account.is_pooled and not wallet.positions:
                self._sweep(account, wallet)
        return change

    def _sweep(self, account: Account, wallet: PerpWallet) -> None:
        """A pooled account's result goes back to the pool once the wallet is flat (sheet 5.6)."""
        result, wallet.cash = wallet.cash, ZERO
        if account.is_unified:
            account.balance(USDC_INDEX).total += result
        else:
            account.wallet("").cash += result

    def _book_spot(
        self,
        account: Account,
        market: SpotMarket,
        is_buy: bool,
        size: Decimal,
        notional: Decimal,
        fee: FeeCharge,
    ) -> PositionChange:
        base = account.balance(market.base.index)
        quote = account.balance(market.quote.index)
        start = base.total
        if is_buy:
            quote.total -= notional
            base.total += size - fee.total
            base.entry_ntl += notional
            return PositionChange(start, ZERO, "Buy", False)
        released = base.entry_ntl if size == start else rounded(base.entry_ntl * size / start, SPOT_UNIT)
        base.total -= size
        base.entry_ntl -= released
        quote.total += notional - fee.total
        return PositionChange(start, notional - released, "Sell", False)

    def _collect(self, account: Account, order: Order, fee: FeeCharge) -> None:
        self._state.collect_fee(fee.token, fee.total - (fee.builder or ZERO))
        if fee.builder and order.builder is not None:
            builder = self._state.open_account(order.builder.address)
            if isinstance(order.market, PerpMarket):
                builder.wallet("").cash += fee.builder
            else:
                assert isinstance(order.market, SpotMarket)
                builder.balance(order.market.quote.index).total += fee.builder
            self._state.journal.account_changed(builder.address)
