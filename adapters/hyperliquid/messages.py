"""What Hyperliquid's messages say, in the ledger's words: raw bytes in, updates out (sheet 5, 6, 7, 8).

Every list is taken apart element by element: one that cannot be read becomes a `Kept` and its neighbours are
used. Members this module does not know are ignored, members older answers lack are optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec

from adapters.hyperliquid.order_status import Reading, read_order_status
from adapters.hyperliquid.symbols import SymbolMap, UnknownCoin, unlisted_pair
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.enums import ClosingKind, Liquidity, OrderType, PositionAction, TimeInForce, TradeType
from domain.events import Fill
from domain.money import ZERO, is_usable, parse_decimal
from domain.order_book import BookLevel
from domain.updates import (
    FundingUpdate,
    OrderDetails,
    OrderUpdate,
    PositionUpdate,
    TradeUpdate,
    UpdateStatus,
)

__all__ = [
    "AccountState",
    "AssetContext",
    "BestPrices",
    "BookSnapshot",
    "HyperliquidMessages",
    "Item",
    "Kept",
    "Liquidation",
    "MessageError",
    "OrderAsked",
    "TransferUpdate",
    "UnknownStatus",
    "VenueCancel",
    "read_account_mode",
    "read_rate_limit",
    "read_role",
    "read_venue_time",
]

_T = TypeVar("_T")
_Oid = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**48)]
_COLLATERAL = "USDC"
_NO_HASH = "0x" + "0" * 64
_BEGINNING = 16
"""So many bytes of a frame tell the frequent channels from all others."""
_OWNERLESS_DIRECTIONS = ("Liquidated", "Auto-Deleveraging", "Settlement", "Net Child Vaults", "Spot Dust")


class MessageError(ValueError):
    """A message, or one element of it, is not what the sheet says; the text tells what was found."""


class Kept(msgspec.Struct, frozen=True):
    """An element that could not be read: why, and its text as it came."""

    why: str
    message: str


class UnknownStatus(msgspec.Struct, frozen=True):
    """An order status that is neither in the table nor understood by its ending."""

    exchange_order_id: str
    venue_order_key: str | None
    status: str


class BookSnapshot(msgspec.Struct, frozen=True, gc=False):
    """A full book of one market."""

    trading_pair: str
    bids: list[BookLevel]
    asks: list[BookLevel]
    exchange_time_ms: int


class BestPrices(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask of one market."""

    trading_pair: str
    bid: BookLevel | None
    ask: BookLevel | None
    exchange_time_ms: int


class AssetContext(msgspec.Struct, frozen=True, gc=False):
    """Mark and oracle price and the hourly funding rate of one market."""

    trading_pair: str
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal


class Liquidation(msgspec.Struct, frozen=True):
    """The venue liquidates `account` (empty: it does not say whom); `detail` is the raw record."""

    account: str
    detail: str


class VenueCancel(msgspec.Struct, frozen=True):
    """The venue cancelled an order by itself; its status tells why."""

    exchange_order_id: str


class TransferUpdate(msgspec.Struct, frozen=True):
    """Money moved without a trade."""

    update_key: str
    kind: str
    amount: Decimal | None
    token: str
    detail: str
    exchange_time_ms: int


class AccountState(msgspec.Struct, frozen=True):
    """Positions of an account at one venue time (absent markets are flat), and its value.

    `cash` is the value without what the positions are worth (`totalRawUsd`); None where it is not told.
    """

    positions: list[PositionUpdate]
    account_value: Decimal
    exchange_time_ms: int
    cash: Decimal | None = None


class OrderAsked(msgspec.Struct, frozen=True):
    """The answer to `orderStatus`: the update, or None where the venue does not know the order."""

    update: OrderUpdate | UnknownStatus | None


Item = (
    OrderUpdate
    | TradeUpdate
    | FundingUpdate
    | TransferUpdate
    | BookSnapshot
    | BestPrices
    | AssetContext
    | Liquidation
    | VenueCancel
    | UnknownStatus
    | Kept
)


class _Frame(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _OrderRow(msgspec.Struct, rename="camel"):
    coin: str
    side: str
    limit_px: str
    sz: str
    oid: _Oid
    orig_sz: str | None = None
    timestamp: _TimeMs | None = None
    cloid: str | None = None
    reduce_only: bool | None = None
    order_type: str | None = None
    tif: str | None = None
    is_trigger: bool | None = None
    trigger_px: str | None = None


class _OrderUpdateRow(msgspec.Struct, rename="camel"):
    order: _OrderRow
    status: str
    status_timestamp: _TimeMs | None = None


class _FillRow(msgspec.Struct, rename="camel"):
    coin: str
    px: str
    sz: str
    side: str
    time: _TimeMs
    oid: _Oid
    start_position: str | None = None
    dir: str | None = None
    closed_pnl: str | None = None
    hash: str | None = None
    crossed: bool | None = None
    fee: str | None = None
    tid: int | None = None
    fee_token: str | None = None
    cloid: str | None = None
    builder_fee: str | None = None
    liquidation: dict[str, Any] | None = None


class _FundingRow(msgspec.Struct, rename="camel"):
    coin: str
    usdc: str
    szi: str
    funding_rate: str
    time: _TimeMs | None = None


class _FundingRecord(msgspec.Struct):
    time: _TimeMs
    delta: _FundingRow
    hash: str | None = None


class _Fundings(msgspec.Struct):
    fundings: list[msgspec.Raw]


class _Fills(msgspec.Struct):
    fills: list[msgspec.Raw]


class _TransferRecord(msgspec.Struct):
    time: _TimeMs
    delta: dict[str, Any]
    hash: str | None = None


class _Transfers(msgspec.Struct, rename="camel"):
    non_funding_ledger_updates: list[msgspec.Raw]


class _UserEvent(msgspec.Struct, rename="camel"):
    # A raw member cannot be optional: absent is empty, and null is the text `null`.
    fills: list[msgspec.Raw] | None = None
    funding: msgspec.Raw = msgspec.Raw()
    liquidation: msgspec.Raw = msgspec.Raw()
    non_user_cancel: list[msgspec.Raw] | None = None


class _LiquidationEvent(msgspec.Struct):
    liquidated_user: str = ""


class _NonUserCancel(msgspec.Struct):
    oid: _Oid


class _Level(msgspec.Struct, gc=False):
    px: str
    sz: str
    n: int = 0


class _Book(msgspec.Struct, gc=False):
    coin: str
    time: _TimeMs
    levels: tuple[list[_Level], list[_Level]]


class _Best(msgspec.Struct, gc=False):
    coin: str
    time: _TimeMs
    bbo: tuple[_Level | None, _Level | None]


class _Context(msgspec.Struct, rename="camel", gc=False):
    mark_px: str
    oracle_px: str
    funding: str


class _AssetContext(msgspec.Struct, gc=False):
    coin: str
    ctx: _Context


class _Leverage(msgspec.Struct):
    type: str
    value: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class _PositionRow(msgspec.Struct, rename="camel"):
    coin: str
    szi: str
    entry_px: str | None = None
    leverage: _Leverage | None = None


class _AssetPosition(msgspec.Struct):
    position: _PositionRow


class _MarginSummary(msgspec.Struct, rename="camel"):
    account_value: str
    total_raw_usd: str | None = None


class _ClearinghouseState(msgspec.Struct, rename="camel"):
    asset_positions: list[msgspec.Raw]
    margin_summary: _MarginSummary
    time: _TimeMs = 0


class _OrderStatusAnswer(msgspec.Struct):
    status: str
    order: msgspec.Raw = msgspec.Raw()


class _ExchangeStatus(msgspec.Struct):
    time: _TimeMs


class _RateLimit(msgspec.Struct):
    used: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="nRequestsUsed")
    cap: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="nRequestsCap")


class _Role(msgspec.Struct):
    role: str
    data: dict[str, Any] = {}


class _BookFrame(msgspec.Struct, gc=False):
    channel: str
    data: _Book


class _BestFrame(msgspec.Struct, gc=False):
    channel: str
    data: _Best


class _ContextFrame(msgspec.Struct, gc=False):
    channel: str
    data: _AssetContext


_FRAME = msgspec.json.Decoder(_Frame)
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}

_STATUSES = {
    ClosingKind.FILLED: UpdateStatus.FILLED,
    ClosingKind.CANCELLED: UpdateStatus.CANCELLED,
    ClosingKind.FAILED: UpdateStatus.FAILED,
    ClosingKind.EXPIRED: UpdateStatus.EXPIRED,
}
_ORDER_TYPES = {
    "Market": OrderType.MARKET,
    "Stop Market": OrderType.STOP_MARKET,
    "Stop Limit": OrderType.STOP_LIMIT,
    "Take Profit Market": OrderType.TAKE_PROFIT_MARKET,
    "Take Profit Limit": OrderType.TAKE_PROFIT_LIMIT,
}


class HyperliquidMessages:
    """Reads messages of one account with the names of one network's markets."""

    def __init__(self, symbols: SymbolMap, account: str) -> None:
        self._symbols = symbols
        self._account = account.lower()
        self._channels: dict[str, Callable[[msgspec.Raw], Iterator[Item]]] = {
            "orderUpdates": self._order_updates,
            "userFills": lambda data: self._fills(_decode(data, _Fills).fills),
            "user": self._user_event,
            "userFundings": lambda data: self._each(_decode(data, _Fundings).fundings, self._funding),
            "userNonFundingLedgerUpdates": lambda data: self._each(
                _decode(data, _Transfers).non_funding_ledger_updates, self._transfer
            ),
            "l2Book": lambda data: iter((self._book(_decode(data, _Book)),)),
            "bbo": lambda data: iter((self._best(_decode(data, _Best)),)),
            "activeAssetCtx": lambda data: iter((self._context(_decode(data, _AssetContext)),)),
        }
        # Most frames by far are these three: known by how they begin, and decoded in one go.
        self._frequent: dict[bytes, tuple[str, msgspec.json.Decoder[Any], Callable[[Any], Item]]] = {
            b'{"channel":"bbo"': ("bbo", msgspec.json.Decoder(_BestFrame), self._best),
            b'{"channel":"l2Bo': ("l2Book", msgspec.json.Decoder(_BookFrame), self._book),
            b'{"channel":"acti': ("activeAssetCtx", msgspec.json.Decoder(_ContextFrame), self._context),
        }

    # -- frames --------------------------------------------------------------------------------------------

    def read_frame(self, data: bytes) -> list[Item]:
        """Everything one socket frame says. Frames of other channels say nothing; garbage becomes `Kept`."""
        frequent = self._frequent.get(data[:_BEGINNING])
        if frequent is not None:
            channel, decoder, read = frequent
            try:
                whole = decoder.decode(data)
                if whole.channel == channel:
                    return [read(whole.data)]
            except (MessageError, *UNREADABLE):
                pass  # the long way says what is wrong with it
        try:
            frame = _FRAME.decode(data)
        except UNREADABLE as error:
            return [Kept(f"no frame: {error}", _text(data))]
        if frame.channel == "error":
            return [Kept("the venue refused a subscription or request", _text(bytes(frame.data)))]
        reader = self._channels.get(frame.channel)
        if reader is None:
            return []
        try:
            return list(reader(frame.data))
        except MessageError as error:
            return [Kept(f"{frame.channel}: {error}", _text(data))]

    def _each(self, rows: list[msgspec.Raw], read: Callable[[msgspec.Raw], Item]) -> Iterator[Item]:
        for row in rows:
            try:
                yield read(row)
            except (MessageError, ValueError) as error:
                yield Kept(str(error), _text(bytes(row)))

    def _order_updates(self, data: msgspec.Raw) -> Iterator[Item]:
        return self._each(_decode(data, list[msgspec.Raw]), self._order_update)

    def _fills(self, rows: list[msgspec.Raw]) -> Iterator[Item]:
        return self._each(rows, self._fill)

    def _user_event(self, data: msgspec.Raw) -> Iterator[Item]:
        event = _decode(data, _UserEvent)
        if event.fills:
            yield from self._fills(event.fills)
        if _is_given(event.funding):
            yield from self._each([event.funding], self._funding)
        if _is_given(event.liquidation):
            whom = _decode(event.liquidation, _LiquidationEvent).liquidated_user
            yield Liquidation(whom.lower(), _text(bytes(event.liquidation)))
        if event.non_user_cancel:
            yield from self._each(
                event.non_user_cancel, lambda row: VenueCancel(str(_decode(row, _NonUserCancel).oid))
            )

    def _book(self, book: _Book) -> BookSnapshot:
        bids, asks = book.levels
        return BookSnapshot(
            self._pair(book.coin),
            [_level(row.px, row.sz, row.n) for row in bids],
            [_level(row.px, row.sz, row.n) for row in asks],
            book.time,
        )

    def _best(self, best: _Best) -> BestPrices:
        bid, ask = best.bbo
        return BestPrices(
            self._pair(best.coin),
            None if bid is None else _level(bid.px, bid.sz, bid.n),
            None if ask is None else _level(ask.px, ask.sz, ask.n),
            best.time,
        )

    def _context(self, context: _AssetContext) -> AssetContext:
        return AssetContext(
            self._pair(context.coin),
            _number(context.ctx.mark_px),
            _number(context.ctx.oracle_px),
            _number(context.ctx.funding),
        )

    # -- answers -------------------------------------------------------------------------------------------

    def read_open_orders(self, body: bytes) -> list[Item]:
        """`openOrders` or `frontendOpenOrders`: an OPEN update for each order, each exchange id once."""
        seen: dict[str, Item] = {}
        kept: list[Item] = []
        for item in self._each(_decode(body, list[msgspec.Raw]), self._open_order):
            if isinstance(item, OrderUpdate):
                assert item.exchange_order_id is not None
                seen.setdefault(item.exchange_order_id, item)
            else:
                kept.append(item)
        return [*seen.values(), *kept]

    def read_historical_orders(self, body: bytes) -> list[Item]:
        """`historicalOrders`: one update for each status an order had, newest first."""
        return list(self._order_updates(msgspec.Raw(body)))

    def read_fills(self, body: bytes) -> list[Item]:
        """`userFills` or `userFillsByTime`."""
        return list(self._fills(_decode(body, list[msgspec.Raw])))

    def read_fundings(self, body: bytes) -> list[Item]:
        """`userFunding`."""
        return list(self._each(_decode(body, list[msgspec.Raw]), self._funding_record))

    def read_transfers(self, body: bytes) -> list[Item]:
        """`userNonFundingLedgerUpdates`."""
        return list(self._each(_decode(body, list[msgspec.Raw]), self._transfer))

    def read_order_status(self, body: bytes) -> OrderAsked:
        """`orderStatus`. Raises `MessageError` when the answer is neither an order nor "unknown"."""
        answer = _decode(body, _OrderStatusAnswer)
        if answer.status == "unknownOid":
            return OrderAsked(None)
        if answer.status != "order" or not _is_given(answer.order):
            raise MessageError(f"orderStatus answered {answer.status!r:.40}")
        item = self._order_update(answer.order)
        assert isinstance(item, OrderUpdate | UnknownStatus)
        return OrderAsked(item)

    def read_account_state(self, body: bytes) -> AccountState:
        """`clearinghouseState`. A position that cannot be read fails the whole: half a state is none."""
        state = _decode(body, _ClearinghouseState)
        positions = []
        for raw in state.asset_positions:
            row = _decode(raw, _AssetPosition).position
            positions.append(
                PositionUpdate(
                    trading_pair=self._pair(row.coin),
                    amount=_number(row.szi),
                    entry_price=None if row.entry_px is None else _number(row.entry_px),
                    leverage=None if row.leverage is None else row.leverage.value,
                    is_cross=row.leverage is None or row.leverage.type == "cross",
                )
            )
        summary = state.margin_summary
        cash = None if summary.total_raw_usd is None else _number(summary.total_raw_usd)
        return AccountState(positions, _number(summary.account_value), state.time, cash)

    # -- elements ------------------------------------------------------------------------------------------

    def _pair(self, coin: str) -> str:
        """Our name of a market. One that the metadata does not list (yet) has a name too: nothing is
        dropped."""
        try:
            return self._symbols.by_coin(coin).trading_pair
        except UnknownCoin:
            return unlisted_pair(coin)

    def _order_update(self, raw: msgspec.Raw) -> OrderUpdate | UnknownStatus:
        row = _decode(raw, _OrderUpdateRow)
        details = self._details(row.order)
        is_ioc = details.time_in_force is TimeInForce.IOC
        status = read_order_status(row.status, is_ioc=is_ioc)
        oid, cloid = str(row.order.oid), _cloid(row.order.cloid)
        if status.reading is Reading.UNKNOWN:
            return UnknownStatus(oid, cloid, row.status[:80])
        if status.closing is not None:
            said = _STATUSES[status.closing]
        else:
            said = UpdateStatus.TRIGGERED if row.status == "triggered" else UpdateStatus.OPEN
        return OrderUpdate(
            status=said,
            exchange_order_id=oid,
            venue_order_key=cloid,
            exchange_time_ms=row.status_timestamp,
            reason_code=status.reason,
            reason=row.status if status.closing is not None else "",
            remaining_amount=_number(row.order.sz),
            details=details,
        )

    def _open_order(self, raw: msgspec.Raw) -> OrderUpdate:
        row = _decode(raw, _OrderRow)
        return OrderUpdate(
            status=UpdateStatus.OPEN,
            exchange_order_id=str(row.oid),
            venue_order_key=_cloid(row.cloid),
            exchange_time_ms=row.timestamp,
            remaining_amount=_number(row.sz),
            details=self._details(row),
        )

    def _details(self, row: _OrderRow) -> OrderDetails:
        order_type = _ORDER_TYPES.get(row.order_type or "", OrderType.LIMIT)
        if order_type is OrderType.LIMIT and row.tif == "Alo":
            order_type = OrderType.LIMIT_MAKER
        immediate = row.tif in ("Ioc", "FrontendMarket", "LiquidationMarket") or row.order_type == "Market"
        trigger = _number(row.trigger_px) if row.trigger_px is not None and order_type.is_trigger else None
        return OrderDetails(
            trading_pair=self._pair(row.coin),
            instrument=row.coin,
            trade_type=_side(row.side),
            price=_number(row.limit_px),
            amount=_number(row.orig_sz if row.orig_sz is not None else row.sz),
            order_type=order_type,
            time_in_force=TimeInForce.IOC if immediate else TimeInForce.GTC,
            position_action=PositionAction.CLOSE if row.reduce_only else PositionAction.NIL,
            trigger_price=trigger,
        )

    def _fill(self, raw: msgspec.Raw) -> TradeUpdate:
        row = _decode(raw, _FillRow)
        direction = row.dir or ""
        liquidated = (row.liquidation or {}).get("liquidatedUser")
        is_ours = isinstance(liquidated, str) and liquidated.lower() == self._account
        fill = Fill(
            fill_key=_fill_key(row),
            trade_id="" if row.tid is None else str(row.tid),
            exchange_order_id=str(row.oid),
            trading_pair=self._pair(row.coin),
            trade_type=_side(row.side),
            price=_number(row.px),
            amount=_number(row.sz),
            fee=ZERO if row.fee is None else _number(row.fee),
            fee_token=row.fee_token or _COLLATERAL,
            liquidity=_liquidity(row.crossed),
            exchange_time_ms=row.time,
            start_position=None if row.start_position is None else _number(row.start_position),
            closed_pnl=None if row.closed_pnl is None else _number(row.closed_pnl),
            builder_fee=None if row.builder_fee is None else _number(row.builder_fee),
            direction=direction,
            transaction_hash="" if row.hash in (None, _NO_HASH) else str(row.hash),
            liquidation=is_ours,
        )
        if fill.amount <= ZERO or fill.price < ZERO:
            raise MessageError(f"no fill has amount {row.sz} and price {row.px}")
        ownerless = row.cloid is None and (is_ours or direction.startswith(_OWNERLESS_DIRECTIONS))
        return TradeUpdate(fill=fill, venue_order_key=_cloid(row.cloid), ownerless=ownerless)

    def _funding(self, raw: msgspec.Raw) -> FundingUpdate:
        row = _decode(raw, _FundingRow)
        if row.time is None:
            raise MessageError("a funding payment without a time")
        return self._funding_update(row, row.time)

    def _funding_record(self, raw: msgspec.Raw) -> FundingUpdate:
        record = _decode(raw, _FundingRecord)
        return self._funding_update(record.delta, record.time)

    def _funding_update(self, row: _FundingRow, time_ms: int) -> FundingUpdate:
        # One payment per market and instant. The stream carries no hash, so none can be part of the key.
        return FundingUpdate(
            funding_key=f"{row.coin}:{time_ms}",
            trading_pair=self._pair(row.coin),
            amount=_number(row.usdc),
            token=_COLLATERAL,
            rate=_number(row.funding_rate),
            position_size=_number(row.szi),
            exchange_time_ms=time_ms,
        )

    def _transfer(self, raw: msgspec.Raw) -> TransferUpdate:
        record = _decode(raw, _TransferRecord)
        kind = str(record.delta.get("type", ""))
        figure = record.delta.get("usdc", record.delta.get("amount"))
        detail = msgspec.json.encode(record.delta, order="sorted").decode()
        return TransferUpdate(
            update_key=f"{record.time}:{record.hash or ''}:{kind}:{detail}",
            kind=kind,
            amount=_number(figure) if isinstance(figure, str) else None,
            token=str(record.delta.get("token", _COLLATERAL)),
            detail=detail,
            exchange_time_ms=record.time,
        )


def read_venue_time(body: bytes) -> int:
    """The block time (ms) in an `exchangeStatus` answer. Raises `MessageError`."""
    return _decode(body, _ExchangeStatus).time


def read_rate_limit(body: bytes) -> tuple[int, int]:
    """Actions the account has taken, and how many it may take (`userRateLimit`). Raises `MessageError`."""
    limit = _decode(body, _RateLimit)
    return limit.used, limit.cap


def read_role(body: bytes) -> tuple[str, str | None]:
    """What an address is (`userRole`), and its master (lower case) if it has one. Raises `MessageError`."""
    role = _decode(body, _Role)
    master = role.data.get("user") or role.data.get("master")
    return role.role, master.lower() if isinstance(master, str) else None


def read_account_mode(body: bytes) -> str:
    """How an account's collateral is kept (`userAbstraction`, sheet 5.6). Raises `MessageError`."""
    return _decode(body, str)


def _is_given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _decode(data: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except UNREADABLE as error:
        raise MessageError(str(error)) from None


@lru_cache(maxsize=16_384)
def _number(text: str) -> Decimal:
    """A number that trades; the same texts come again and again. Raises `MessageError`."""
    try:
        value = parse_decimal(text)
    except ValueError as error:
        raise MessageError(str(error)) from None
    if not is_usable(value):
        raise MessageError(f"no number that trades: {text:.40}")
    return value


def _side(side: str) -> TradeType:
    if side == "B":
        return TradeType.BUY
    if side == "A":
        return TradeType.SELL
    raise MessageError(f"side {side!r:.20} is neither B nor A")


def _liquidity(crossed: bool | None) -> Liquidity:
    if crossed is None:
        return Liquidity.UNKNOWN
    return Liquidity.TAKER if crossed else Liquidity.MAKER


def _cloid(cloid: str | None) -> str | None:
    return None if cloid is None else cloid.lower()


@lru_cache(maxsize=16_384)
def _level(px: str, sz: str, n: int) -> BookLevel:
    """From one message to the next most levels of a book are the same."""
    return BookLevel(_number(px), _number(sz), n)


def _fill_key(row: _FillRow) -> str:
    """Coin, order and trade (sheet 8): both sides of a self-owned pair share a trade id.

    Fills without one (dust conversions, answers from 2023) are told apart by what they are, the position
    they start from included: of two equal executions of one order each starts from another position.
    """
    if row.tid:
        return f"{row.coin}:{row.oid}:{row.tid}"
    return f"{row.coin}:{row.oid}:{row.time}:{row.side}:{row.px}:{row.sz}:{row.start_position or ''}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
