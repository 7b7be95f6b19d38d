"""Events for the storage tests: some by example, and every type by generation from its own declaration."""

from __future__ import annotations

import enum
import types
import typing
from decimal import Decimal

import msgspec
from hypothesis import strategies as st

from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import (
    EVENT_TYPES,
    Fill,
    LedgerEvent,
    OrderAcknowledged,
    OrderCreated,
    OrderFilled,
    OrderSubmitted,
)

VENUE = "hyperliquid"
ACCOUNT = "0x" + "ab" * 20


def order_id(number: int) -> str:
    return f"0x{number:032x}"


def created(number: int, version: int = 1, *, venue_order_key: str | None = None) -> OrderCreated:
    return OrderCreated(
        originator_id=order_id(number),
        originator_version=version,
        recorded_at_ns=1_700_000_000_000_000_000 + number,
        venue=VENUE,
        account=ACCOUNT,
        source=Source.COMMAND,
        causation=f"s1:{number}",
        trading_pair="BTC-USD",
        instrument="BTC",
        order_type=OrderType.LIMIT,
        trade_type=TradeType.BUY,
        amount=Decimal("0.0213"),
        price=Decimal("43210.5"),
        venue_order_key=order_id(number) if venue_order_key is None else venue_order_key,
    )


def submitted(number: int, version: int = 2) -> OrderSubmitted:
    return OrderSubmitted(
        originator_id=order_id(number),
        originator_version=version,
        recorded_at_ns=1_700_000_000_000_000_000 + number,
        venue=VENUE,
        account=ACCOUNT,
        source=Source.COMMAND,
        causation=f"s1:{number}",
        attempt=1,
        nonce=1_700_000_000_000 + number,
    )


def acknowledged(number: int, version: int = 3, *, exchange_order_id: str = "") -> OrderAcknowledged:
    return OrderAcknowledged(
        originator_id=order_id(number),
        originator_version=version,
        recorded_at_ns=1_700_000_000_000_000_000 + number,
        venue=VENUE,
        account=ACCOUNT,
        source=Source.HTTP,
        exchange_order_id=exchange_order_id or str(10_000_000 + number),
    )


def filled(number: int, version: int = 3, *, amount: Decimal = Decimal("0.0213")) -> OrderFilled:
    return OrderFilled(
        originator_id=order_id(number),
        originator_version=version,
        recorded_at_ns=1_700_000_000_000_000_000 + number,
        venue=VENUE,
        account=ACCOUNT,
        source=Source.STREAM,
        causation=f"s1:{number}",
        exchange_time_ms=1_700_000_000_000,
        fill=Fill(
            fill_key=f"{number}:{version}",
            trade_id=str(900_000_000 + number),
            exchange_order_id=str(10_000_000 + number),
            trading_pair="BTC-USD",
            trade_type=TradeType.BUY,
            price=Decimal("43210.5"),
            amount=amount,
            fee=Decimal("0.1234"),
            fee_token="USDC",
            liquidity=Liquidity.MAKER,
            exchange_time_ms=1_700_000_000_000,
            start_position=Decimal("1.5"),
            closed_pnl=Decimal("0.0"),
            direction="Open Long",
            transaction_hash="0x" + "cd" * 32,
        ),
    )


def life(number: int) -> list[LedgerEvent]:
    """A short order: created, submitted, filled."""
    return [created(number), submitted(number), filled(number)]


def _values(annotation: object) -> st.SearchStrategy[typing.Any]:
    """Values for a declared field type. An unknown kind of type is an error, not a gap."""
    if annotation is str:
        # Any text a store can hold: NUL and astral characters included, lone surrogates are no text.
        return st.text(st.characters(codec="utf-8"), max_size=20)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(-(2**63), 2**63 - 1)
    if annotation is Decimal:
        return st.decimals(allow_nan=False, allow_infinity=False)
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return structs(annotation)
    if typing.get_origin(annotation) is tuple:
        member, _ = typing.get_args(annotation)
        return st.lists(_values(member), max_size=3).map(tuple)
    if isinstance(annotation, types.UnionType):
        return st.one_of([_values(member) for member in typing.get_args(annotation)])
    raise TypeError(f"no values known for {annotation!r}")


def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[typing.Any]:
    """Instances of a struct, each field filled according to its declared type."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: _values(hints[field.name]) for field in msgspec.structs.fields(cls)}
    if "originator_version" in fields:
        fields["originator_version"] = st.integers(0, 2**31)
    return st.builds(cls, **fields)


def any_event() -> st.SearchStrategy[LedgerEvent]:
    return st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda topic: structs(EVENT_TYPES[topic]))
