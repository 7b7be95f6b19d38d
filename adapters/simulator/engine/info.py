"""The `/info` dispatcher (sheet 5). Unknown accounts read as empty structures, never as an error."""

from __future__ import annotations

from .account_reads import AccountReads
from .errors import Unprocessable
from .market_reads import MarketReads
from .order_reads import OrderReads
from .parsing import as_object, text_member


class Reads:
    """Answers requests from the venue's state; changes nothing."""

    def __init__(self, markets: MarketReads, orders: OrderReads, accounts: AccountReads) -> None:
        self.markets = markets
        self.orders = orders
        self.accounts = accounts
        self._handlers = {**markets.handlers, **orders.handlers, **accounts.handlers}

    def answer(self, request: object) -> object:
        """The JSON answer. Raises Unprocessable for an unknown type or a missing or mistyped member."""
        body = as_object(request)
        handler = self._handlers.get(text_member(body, "type"))
        if handler is None:
            raise Unprocessable
        return handler(body)
