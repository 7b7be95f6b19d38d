"""Liquidation, the backstop and auto-deleveraging: fills under oids that nobody sent (sheet 10.5, 8)."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from . import margin
from .accounts import Account, LedgerUpdate
from .desk import OrderDesk
from .encoders import usd
from .fills import Liquidation
from .markets import PerpMarket
from .matching import Matcher
from .numbers import ONE, read_text
from .orders import LIQUIDATION_MARKET, Order
from .positions import Position
from .settlement import Settlement, Special
from .state import LIQUIDATOR, VenueState
from .timers import Timers

BIG_POSITION_USD = Decimal(100_000)
FIRST_SHARE = Decimal("0.2")
PAUSE_MS = 30_000
BACKSTOP_SHARE = Decimal(2) / Decimal(3)
MARKET_SLIPPAGE = Decimal("0.1")


class Liquidations:
    def __init__(
        self,
        state: VenueState,
        desk: OrderDesk,
        matcher: Matcher,
        settlement: Settlement,
        timers: Timers,
    ) -> None:
        self._state = state
        self._desk = desk
        self._matcher = matcher
        self._settlement = settlement
        self._timers = timers
        self._next_id = 1

    # -- on its own -------------------------------------------------------------------------------------

    def check_holders(self, market: PerpMarket) -> None:
        """Liquidates who, among the holders of a market, is below maintenance margin."""
        for account in list(market.holders.values()):
            if not account.is_venue_operated:
                self.check(account, market.dex)

    def check(self, account: Account, dex: str) -> None:
        """Market liquidation below maintenance; the backstop below two thirds of it."""
        wallet = account.wallet(dex)
        for position in list(wallet.positions.values()):
            if position.is_cross:
                value = margin.cross_value(wallet) + margin.pooled_collateral(account, wallet)
                needed = margin.cross_maintenance_margin(wallet)
            else:
                value, needed = position.isolated_value, position.maintenance_margin
            if value >= needed or not position.szi:
                continue
            if value < BACKSTOP_SHARE * needed:
                self.liquidate(account, position, backstop=True)
            elif self._state.now_ms >= position.liquidation_pause_until:
                self._liquidate_in_steps(account, position)

    def _liquidate_in_steps(self, account: Account, position: Position) -> None:
        size = abs(position.szi)
        if position.value > BIG_POSITION_USD:
            size = (size * FIRST_SHARE).quantize(position.market.lot, rounding=ROUND_UP)
        market = position.market
        position.liquidation_pause_until = self._state.now_ms + PAUSE_MS
        self._timers.at(position.liquidation_pause_until, lambda: self.check(account, market.dex))
        self.liquidate(account, position, size=size)

    # -- on demand --------------------------------------------------------------------------------------

    def liquidate(
        self,
        account: Account,
        position: Position,
        *,
        size: Decimal | None = None,
        backstop: bool = False,
    ) -> None:
        """Cancels the account's orders and closes the position: on the book, or to the backstop at mark."""
        market = position.market
        wallet = account.wallet(market.dex)
        value, notional = margin.account_value(wallet), position.value
        self._state.next_transaction()
        self._matcher.cancel_all(account, "liquidatedCanceled", None if position.is_cross else market)
        self._announce(account, position, value, notional)
        kind = "Cross" if position.is_cross else "Isolated"
        side = "Long" if position.szi > 0 else "Short"
        method = "backstop" if backstop else "market"
        special = Special(
            direction=f"Liquidated {kind} {side}",
            liquidation=Liquidation(account.address, market.mark_px, method),
            is_free=backstop,
        )
        order = self._closing_order(account, position, abs(position.szi) if size is None else size)
        if backstop:
            self._desk.admit(order)
            self._hand_over(order, market.mark_px, special)
            self._desk.end(order, "filled")
        else:
            self._matcher.take(order, order.limit_px, special)

    def auto_deleverage(self, account: Account, position: Position, size: Decimal, price: Decimal) -> None:
        """Closes `size` of a winner at `price`, without notice and without an order (sheet 10.5)."""
        text = "Auto-Deleveraging"
        order = self._closing_order(account, position, size)
        self._state.next_transaction()
        self._hand_over(order, price, Special(text, None, True, text))

    def _closing_order(self, account: Account, position: Position, size: Decimal) -> Order:
        market = position.market
        is_buy = position.szi < 0
        worst = market.mark_px * (ONE + MARKET_SLIPPAGE if is_buy else ONE - MARKET_SLIPPAGE)
        return Order(
            oid=self._state.next_oid(),
            account=account,
            market=market,
            is_buy=is_buy,
            limit_px=worst.quantize(ONE.scaleb(-market.price_decimals)),
            size=size,
            orig_size=size,
            reduce_only=True,
            tif=LIQUIDATION_MARKET,
            cloid=None,
            time=self._state.now_ms,
        )

    def _hand_over(self, order: Order, price: Decimal, special: Special) -> None:
        """Trades the order against the backstop vault."""
        vault = self._state.open_account(LIQUIDATOR)
        vault.is_venue_operated = True
        counter = Order(
            oid=self._state.next_oid(),
            account=vault,
            market=order.market,
            is_buy=not order.is_buy,
            limit_px=price,
            size=order.size,
            orig_size=order.size,
            reduce_only=False,
            tif=LIQUIDATION_MARKET,
            cloid=None,
            time=self._state.now_ms,
        )
        size, order.size = order.size, order.size - order.size
        self._settlement.trade(order, counter, price, size, special)

    def _announce(self, account: Account, position: Position, value: Decimal, notional: Decimal) -> None:
        state = self._state
        event = {
            "liquidation": {
                "lid": self._next_id,
                "liquidator": LIQUIDATOR,
                "liquidated_user": account.address,
                "liquidated_ntl_pos": usd(notional),
                "liquidated_account_value": usd(value),
            }
        }
        self._next_id += 1
        state.journal.block.user_events.append((account.address, event))
        update = LedgerUpdate(
            state.now_ms,
            state.tx_hash(),
            {
                "type": "liquidation",
                "liquidatedNtlPos": usd(notional),
                "accountValue": usd(value),
                "leverageType": "Cross" if position.is_cross else "Isolated",
                "liquidatedPositions": [{"coin": position.market.coin, "szi": read_text(position.szi)}],
            },
        )
        account.ledger.append(update)
        state.journal.ledger_updated(account.address, update)
