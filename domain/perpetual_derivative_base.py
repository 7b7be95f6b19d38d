"""`PerpetualDerivativeBase`: what perpetual contracts add: positions, leverage, funding, prices."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from decimal import Decimal

from domain.connector_base import ConnectorBase, OrderRequest
from domain.enums import PositionAction, TradeType
from domain.errors import InvalidOrderError, OrderRefusedError
from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLeverageChanged,
    AccountPositionAsserted,
    Fill,
    OrderFillCorrected,
    OrderFilled,
)
from domain.funding import FundingInfo
from domain.inputs import SetLeverage, SetScheduledCancel, Started, UpdateMargin
from domain.position import Position
from domain.updates import Change

__all__ = ["PerpetualDerivativeBase"]


class PerpetualDerivativeBase(ConnectorBase):
    """A connector core whose account holds positions. `positions` is the fold of the log, nothing else."""

    def __init__(self, **members: object) -> None:
        super().__init__(**members)  # type: ignore[arg-type]
        self.positions: dict[str, Position] = {}
        self.funding_info: dict[str, FundingInfo] = {}
        self._handlers[SetLeverage] = self._on_set_leverage
        self._handlers[UpdateMargin] = self._on_update_margin
        self._handlers[SetScheduledCancel] = self._on_set_scheduled_cancel

    # -- reading -------------------------------------------------------------------------------------------

    def position(self, trading_pair: str) -> Position:
        """The position in a market; an empty one where nothing was ever traded."""
        return self.positions.get(trading_pair) or Position(trading_pair=trading_pair)

    def mark_price(self, trading_pair: str) -> Decimal | None:
        """The price positions are valued at, once the venue has told it."""
        info = self.funding_info.get(trading_pair)
        return None if info is None else info.mark_price

    def index_price(self, trading_pair: str) -> Decimal | None:
        """The oracle price funding is computed with, once the venue has told it."""
        info = self.funding_info.get(trading_pair)
        return None if info is None else info.index_price

    # -- commands: any thread ------------------------------------------------------------------------------

    def set_leverage(self, trading_pair: str, leverage: int, *, is_cross: bool = True) -> None:
        """Ask for a leverage. Raises `OrderRefusedError` when the market does not allow it."""
        rule = self._rule(trading_pair)
        refusal = rule.check_leverage(leverage)
        if refusal is not None:
            raise OrderRefusedError(refusal.code, refusal.message)
        if is_cross and rule.only_isolated:
            raise OrderRefusedError("only_isolated", f"{trading_pair} takes isolated margin only.")
        self._command(SetLeverage(trading_pair=trading_pair, leverage=leverage, is_cross=is_cross))

    def update_isolated_margin(self, trading_pair: str, amount: Decimal) -> None:
        """Ask to add (or, negative, remove) isolated margin, in quote units."""
        self._rule(trading_pair)
        if not isinstance(amount, Decimal) or not amount.is_finite() or not amount:
            raise InvalidOrderError("not_usable", "Pass the margin as a Decimal other than zero.")
        self._command(UpdateMargin(trading_pair=trading_pair, amount=amount))

    def schedule_cancel(self, at_ms: int | None) -> None:
        """Ask the venue to cancel everything at `at_ms` (UTC) unless told otherwise; None clears it."""
        self._command(SetScheduledCancel(at_ms=at_ms))

    # -- for a venue's core --------------------------------------------------------------------------------

    def _on_set_leverage(self, command: SetLeverage) -> None:
        _unsupported("leverage")

    def _on_update_margin(self, command: UpdateMargin) -> None:
        _unsupported("isolated margin")

    def _on_set_scheduled_cancel(self, command: SetScheduledCancel) -> None:
        _unsupported("a scheduled cancel")

    def _closes_all(self, request: OrderRequest, amount: Decimal) -> bool:
        if request.position_action is not PositionAction.CLOSE:
            return False
        held = self.position(request.trading_pair).amount
        closing_side = TradeType.SELL if held > 0 else TradeType.BUY
        return bool(held) and request.trade_type is closing_side and amount >= held.copy_abs()

    def _restore_positions(self, started: Started) -> None:
        # Copied: positions change in place, and an input never does.
        self.positions = {position.trading_pair: copy(position) for position in started.positions}

    def _after_changes(self, changes: list[Change]) -> None:
        for change in changes:
            event = change.event
            match event:
                case OrderFilled() | AccountFillBooked():
                    self._book(event.fill)
                case OrderFillCorrected() | AccountFillCorrected():
                    was, now = event.was, event.now
                    self._own(was.trading_pair).undo_fill(
                        was.price, was.amount, was.trade_type, was.fee, was.fee_token
                    )
                    if now is not None:
                        self._count(now)
                case AccountFundingBooked():
                    self._own(event.trading_pair).apply_funding(event.amount)
                case AccountLeverageChanged():
                    self._own(event.trading_pair).apply_leverage(event.leverage, event.is_cross)
                case AccountPositionAsserted() if event.opening or event.adjustment:
                    self._own(event.trading_pair).assert_opening(event.amount, event.entry_price)

    def _own(self, trading_pair: str) -> Position:
        position = self.positions.get(trading_pair)
        if position is None:
            position = self.positions[trading_pair] = Position(trading_pair=trading_pair)
        return position

    def _book(self, fill: Fill) -> None:
        self._count(fill)

    def _count(self, fill: Fill) -> None:
        self._own(fill.trading_pair).apply_fill(
            fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl
        )

    def status(self) -> Mapping[str, object]:
        return {
            **super().status(),
            "positions": {pair: str(p.amount) for pair, p in self.positions.items() if p.amount},
        }


def _unsupported(what: str) -> None:
    raise OrderRefusedError("unsupported", f"This venue has no {what}.")
