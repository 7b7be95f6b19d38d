"""Balances of spot tokens, as the venue tells them (sheet 5.7)."""

from decimal import Decimal

import msgspec
import pytest

from adapters.hyperliquid.messages import MessageError
from adapters.hyperliquid.spot_balances import SpotBalance, read_spot_balances


def answer(*rows: dict[str, object]) -> bytes:
    return msgspec.json.encode({"balances": rows})


def test_balances_are_read_by_the_name_of_the_token() -> None:
    found = read_spot_balances(
        answer(
            {"coin": "USDC", "token": 0, "total": "14.625485", "hold": "0.0", "entryNtl": "0.0"},
            {"coin": "HYPE", "token": 150, "total": "5.2", "hold": "1.0", "entryNtl": "75.4"},
            {"coin": "+12", "total": "3.0", "hold": "0.0"},
        )
    )
    assert found == {
        "USDC": SpotBalance(Decimal("14.625485"), Decimal(0)),
        "HYPE": SpotBalance(Decimal("5.2"), Decimal("75.4")),
        "+12": SpotBalance(Decimal(3), Decimal(0)),
    }


def test_of_namesakes_nobody_can_tell_which_is_meant() -> None:
    row = {"coin": "HYPE", "total": "5.2", "entryNtl": "75.4"}
    assert read_spot_balances(answer(row, row)) == {"HYPE": None}


@pytest.mark.parametrize(
    ("total", "cost", "entry"),
    [("5.2", "75.4", "14.5"), ("3", "10", "3.3333333333"), ("0", "0", None), ("5.2", "0", None)],
)
def test_a_balance_is_a_position_at_what_it_cost(total: str, cost: str, entry: str | None) -> None:
    position = SpotBalance(Decimal(total), Decimal(cost)).as_position("HYPE-USDC")
    assert (position.trading_pair, position.amount) == ("HYPE-USDC", Decimal(total))
    assert position.entry_price == (None if entry is None else Decimal(entry))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"balances":[{"coin":"HYPE","total":"much"}]}'])
def test_what_cannot_be_read_is_an_error(body: bytes) -> None:
    with pytest.raises(MessageError):
        read_spot_balances(body)
