"""What happens to an account besides its orders: booked once, in order, and kept when not understood."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.account import Account, account_id
from domain.enums import Source
from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountMessageKept,
    AccountOpened,
    AccountPositionAsserted,
)
from domain.updates import Change, FundingUpdate, PositionUpdate, Stamp
from tests.support.tracker import START_MS, a_fill


@pytest.fixture
def changes() -> list[Change]:
    return []


@pytest.fixture
def account(changes: list[Change]) -> Account:
    account = Account(venue="hyperliquid", address="0xaa", changes=changes)
    account.stamp = Stamp(START_MS * 1_000_000, Source.STREAM, "test:1")
    return account


def deposit(account: Account, key: str) -> bool:
    return account.book_ledger_update(
        update_key=key,
        kind="deposit",
        amount=Decimal(100),
        token="USDC",
        detail="{}",
        exchange_time_ms=START_MS,
    )


def funding(key: str = "BTC:1", amount: str = "-1.5") -> FundingUpdate:
    return FundingUpdate(
        funding_key=key,
        trading_pair="BTC-USD",
        amount=Decimal(amount),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal(1),
        exchange_time_ms=START_MS,
    )


def test_events_of_an_account_are_versions_of_one_aggregate(account: Account, changes: list[Change]) -> None:
    account.open("testnet", "0xbb", START_MS)
    account.book_funding(funding())
    account.assert_position(
        PositionUpdate(trading_pair="BTC-USD", amount=Decimal(1), entry_price=None), opening=True
    )
    events = [change.event for change in changes]
    assert [type(event) for event in events] == [AccountOpened, AccountFundingBooked, AccountPositionAsserted]
    assert [event.originator_version for event in events] == [1, 2, 3]
    assert {event.originator_id for event in events} == {account_id("hyperliquid", "0xaa")}
    assert all(change.view is None for change in changes)


def test_the_books_open_once(account: Account) -> None:
    account.keep_message("no frame", "garbage")
    account.open("testnet", "0xbb", START_MS)
    with pytest.raises(AssertionError, match="opened once"):
        account.open("testnet", "0xbb", START_MS)


def test_a_fill_without_an_order_is_booked_once(account: Account, changes: list[Change]) -> None:
    assert account.book_fill(a_fill("f1", "1"))
    assert not account.book_fill(a_fill("f1", "1"))
    assert account.has_fill("f1")
    assert [type(change.event) for change in changes] == [AccountFillBooked]
    assert account.duplicates_ignored == 1


def test_a_funding_payment_is_booked_once_per_key(account: Account, changes: list[Change]) -> None:
    assert account.book_funding(funding("BTC:1"))
    assert account.book_funding(funding("ETH:1"))
    assert not account.book_funding(funding("BTC:1", "-2"))
    assert len(changes) == 2


def test_a_transfer_is_booked_once_per_key(account: Account, changes: list[Change]) -> None:
    for _ in range(2):
        deposit(account, "k1")
    (change,) = changes
    assert isinstance(change.event, AccountLedgerUpdateBooked)
    assert (change.event.kind, change.event.amount) == ("deposit", 100)


def test_what_was_booked_in_an_earlier_session_is_not_booked_again(
    account: Account, changes: list[Change]
) -> None:
    account.restore(7, ["BTC:1"], ["f1"], is_open=True, ledger_update_keys=["d1"])
    assert not account.book_funding(funding("BTC:1"))
    assert not account.book_fill(a_fill("f1", "1"))
    assert account.has_ledger_update("d1")
    assert not deposit(account, "d1")
    assert account.book_funding(funding("BTC:2"))
    assert changes[0].event.originator_version == 8


def test_a_message_is_kept_once_however_often_it_is_repeated(account: Account, changes: list[Change]) -> None:
    assert account.keep_message("no frame", "x" * 5_000)
    assert not account.keep_message("no frame", "x" * 5_000)
    (change,) = changes
    assert isinstance(change.event, AccountMessageKept)
    assert len(change.event.message) == 4_000


def test_keys_are_remembered_in_bounded_memory(account: Account) -> None:
    for number in range(20_100):
        account.book_funding(funding(f"k{number}"))
    assert account.book_funding(funding("k0"))
    assert not account.book_funding(funding("k20099"))


def found(account: Account, discrepancy_id: str = "d1") -> bool:
    return account.discrepancy_found(
        discrepancy_id,
        kind="position_drift",
        subject="BTC-USD",
        trading_pair="BTC-USD",
        ours="1",
        theirs="2",
        explanation="The venue holds more.",
        evidence="{}",
    )


def test_a_discrepancy_is_recorded_once_until_it_is_repaired(account: Account, changes: list[Change]) -> None:
    assert found(account)
    assert not found(account)
    account.discrepancy_repaired("d1", reason="the missing fill was booked", actor="reconciliation")
    assert found(account), "the same difference again is news"
    assert [change.event.topic for change in changes] == [
        "account.discrepancy_found",
        "account.discrepancy_repaired",
        "account.discrepancy_found",
    ]


def test_a_waived_discrepancy_is_not_reported_again_also_after_a_restart(
    account: Account, changes: list[Change]
) -> None:
    found(account)
    account.discrepancy_waived("d1", reason="rounding", actor="reconciliation")
    assert not found(account)
    later = Account(venue="hyperliquid", address="0xaa", changes=[])
    later.stamp = account.stamp
    later.restore(
        account.version, (), (), is_open=True, unsettled_discrepancies=account.unsettled_discrepancies
    )
    assert later.is_unsettled("d1")
    assert not found(later)


def test_a_fill_taken_back_can_be_booked_again_if_the_venue_tells_it(account: Account) -> None:
    fill = a_fill("a", "1")
    assert account.book_fill(fill)
    account.correct_fill(fill, None, reason_code="phantom_fill", discrepancy_id="d1")
    assert not account.has_fill("a")
    assert account.book_fill(fill)
