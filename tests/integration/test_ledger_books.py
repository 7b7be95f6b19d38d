"""What `AccountBooks` reads out of a ledger file and its views, corrections and cash included."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_books import AccountBooks, opened_accounts
from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from domain.account import Account
from domain.discrepancies import Books, OrderAnswer, VenueReport, Window
from domain.enums import OrderState, TradeType
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountOpened,
    OrderCancelled,
    OrderFillCorrected,
)
from domain.updates import Change, FundingUpdate, TradeUpdate
from projections import catch_up, views_path_for
from tests.unit.projections.logs import ACCOUNT, VENUE, LogBuilder, a_fill

T0 = 1_700_000_000_000
ALL_OF_IT = Window(0, 0, 2 * T0)


@pytest.fixture
def log() -> LogBuilder:
    builder = LogBuilder()
    builder.account(AccountOpened, network="simulator", exchange_time_ms=T0)
    builder.account(AccountBalanceAsserted, token="USDC", amount=Decimal(100_000), opening=True)
    return builder


Open = Callable[[], AccountBooks]


@pytest.fixture
def opened(tmp_path: Path, log: LogBuilder) -> Open:
    """The books of what the log holds when this is called."""

    def open_books() -> AccountBooks:
        path = tmp_path / "ledger.db"
        with OrderLedger.open(path) as writer:
            writer.append(log.events[writer.max_position :])
            catch_up(LedgerEventSource(writer), views_path_for(path))
        ledger = OrderLedger.open(path, writer=False)
        return AccountBooks(ledger, views_path_for(path), venue=VENUE, account=ACCOUNT)

    return open_books


def a_report(**members: object) -> VenueReport:
    return msgspec.structs.replace(
        VenueReport(
            taken_at_ms=T0,
            fills=(),
            fills_window=ALL_OF_IT,
            fundings=(),
            fundings_window=ALL_OF_IT,
            transfers=(),
            transfers_window=ALL_OF_IT,
            steps={"BTC-USD": Decimal("0.00001")},
        ),
        **members,
    )


def fills_of(books: Books) -> dict[str, tuple[Decimal, str | None]]:
    return {booked.fill.fill_key: (booked.fill.amount, booked.client_order_id) for booked in books.fills}


def the_correction(log: LogBuilder, order: str, was: str, now: Decimal | None) -> None:
    """A repaired fill, as a reconciliation records it."""
    fill = a_fill(fill_key=was)
    corrected = None if now is None else a_fill(fill_key=was, amount=now)
    event = log.add(
        OrderFillCorrected, order, was=fill, now=corrected, reason_code="phantom_fill", discrepancy_id="D-1"
    )
    log.account(
        AccountDiscrepancyRepaired,
        discrepancy_id="D-1",
        reason="as the venue tells it",
        actor="reconciliation",
        repairs=(f"{event.topic} {order} {event.originator_version}",),
    )


# orders


def test_orders_that_are_not_done_are_in_the_books_whatever_the_report_says(
    log: LogBuilder, opened: Open
) -> None:
    log.open_order("live", "77")
    log.open_order("gone", "78")
    log.add(OrderCancelled, "gone", reason_code="requested")
    with opened() as reader:
        books = reader.read(a_report())
        assert list(books.orders) == ["live"] == list(reader.unfinished_orders())
        assert books.orders["live"].state is OrderState.OPEN
    with opened() as reader:
        about = a_report(asked={"gone": OrderAnswer(None)})
        assert set(reader.read(about).orders) == {"live", "gone"}


def test_a_finished_order_is_found_by_the_exchange_id_of_a_fill_that_is_not_booked(
    log: LogBuilder, opened: Open
) -> None:
    log.open_order("gone", "78")
    log.add(OrderCancelled, "gone", reason_code="requested")
    told = TradeUpdate(fill=a_fill(fill_key="new", exchange_order_id="78"))
    with opened() as reader:
        books = reader.read(a_report(fills=(told,)))
        assert books.orders["gone"].state is OrderState.CANCELLED
        assert fills_of(books) == {}


def test_orders_of_another_account_are_not_in_the_books(log: LogBuilder, opened: Open) -> None:
    log.open_order("ours", "77")
    theirs = msgspec.structs.replace(log.created("theirs"), account="0x" + "ee" * 20)
    log.events[-1] = theirs
    with opened() as reader:
        assert list(reader.read(a_report()).orders) == ["ours"]


def test_an_order_that_does_not_fold_is_damage(log: LogBuilder, opened: Open) -> None:
    log.open_order("bad", "77")
    log.filled("bad", fill_key="1")
    log.filled("bad", fill_key="1")
    with opened() as reader, pytest.raises(CommandError, match="'bad' do not fold") as refused:
        reader.read(a_report())
    assert refused.value.exit_code is ExitCode.LEDGER_DAMAGED


# fills


def test_fills_are_those_in_the_window_and_those_that_the_report_names(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="old", amount=Decimal("0.1"), exchange_time_ms=T0 + 10)
    log.filled("half", fill_key="older", amount=Decimal("0.1"), exchange_time_ms=T0 + 5)
    log.filled("half", fill_key="new", amount=Decimal("0.2"), exchange_time_ms=T0 + 1_000)
    log.account(AccountFillBooked, fill=a_fill(fill_key="liquidated", exchange_time_ms=T0 + 1_500))
    window = Window(T0 + 1_000, T0 + 1_000, T0 + 2_000)
    with opened() as reader:
        books = reader.read(a_report(fills_window=window))
        assert set(fills_of(books)) == {"new", "liquidated"}
        assert fills_of(books)["liquidated"] == (Decimal("0.4"), None)
        named = a_report(fills_window=window, fills=(TradeUpdate(fill=a_fill(fill_key="old")),))
        assert set(fills_of(reader.read(named))) == {"old", "new", "liquidated"}


def test_a_corrected_fill_is_in_the_books_as_it_counts_now(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="smaller")
    log.filled("half", fill_key="never")
    the_correction(log, "half", "smaller", Decimal("0.3"))
    the_correction(log, "half", "never", None)
    log.account(AccountFillBooked, fill=a_fill(fill_key="settled"))
    log.account(
        AccountFillCorrected,
        was=a_fill(fill_key="settled"),
        now=None,
        reason_code="phantom_fill",
        discrepancy_id="D-2",
    )
    with opened() as reader:
        assert fills_of(reader.read(a_report())) == {"smaller": (Decimal("0.3"), "half")}


def test_no_fills_are_read_when_the_venue_told_none(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="1")
    with opened() as reader:
        assert reader.read(a_report(fills=None, fills_window=None)).fills == []


def test_more_orders_than_one_statement_takes_are_all_found(log: LogBuilder, opened: Open) -> None:
    for number in range(1_203):
        log.open_order(f"o{number}", str(1_000 + number))
        log.filled(f"o{number}", fill_key=str(number), exchange_order_id=str(1_000 + number))
    told = tuple(
        TradeUpdate(fill=a_fill(fill_key=str(number), exchange_order_id=str(1_000 + number)))
        for number in range(1_203)
    )
    with opened() as reader:
        books = reader.read(a_report(fills=told, fills_window=Window(5, 5, 6)))
        assert len(books.orders) == len(books.fills) == 1_203


# funding, transfers, positions


def test_fundings_and_transfers_come_from_their_windows(log: LogBuilder, opened: Open) -> None:
    for key, time_ms in (("BTC:1", T0 + 1), ("BTC:2", T0 + 2_000)):
        log.account(
            AccountFundingBooked,
            funding_key=key,
            trading_pair="BTC-USD",
            amount=Decimal("-1.25"),
            token="USDC",
            rate=Decimal("0.0000125"),
            position_size=Decimal("1"),
            exchange_time_ms=time_ms,
        )
        log.account(
            AccountLedgerUpdateBooked,
            update_key=f"t{key}",
            kind="deposit",
            amount=Decimal(5),
            token="USDC",
            detail='{"type":"deposit","usdc":"5.0"}',
            exchange_time_ms=time_ms,
        )
    late = Window(T0 + 1_000, T0 + 1_000, T0 + 3_000)
    with opened() as reader:
        books = reader.read(a_report(fundings_window=late, transfers_window=late))
        assert books.fundings == [
            FundingUpdate(
                funding_key="BTC:2",
                trading_pair="BTC-USD",
                amount=Decimal("-1.25"),
                token="USDC",
                rate=Decimal("0.0000125"),
                position_size=Decimal("1"),
                exchange_time_ms=T0 + 2_000,
            )
        ]
        assert [transfer.update_key for transfer in books.transfers] == ["tBTC:2"]
        assert reader.read(a_report(fundings=None, transfers=None)).fundings == ()


def test_positions_are_those_that_the_fills_come_to(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="1")
    with opened() as reader:
        books = reader.read(a_report())
        assert books.positions["BTC-USD"].amount == Decimal("0.4")
        assert books.books_begin_ms == T0


# cash


def test_without_an_opening_balance_the_cash_is_not_known(
    tmp_path: Path, opened: Open, log: LogBuilder
) -> None:
    del log.events[1]
    log.events[:] = log.events[:1]
    with opened() as reader:
        assert reader.read(a_report()).cash is None
        assert reader.cash_unknown_because == ""


def test_the_cash_is_the_opening_balance_and_what_came_after_it(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="bought", price=Decimal(40_000), amount=Decimal("0.5"), fee=Decimal(9))
    sold = {"trade_type": TradeType.SELL, "price": Decimal(41_000), "amount": Decimal("0.2")}
    log.account(AccountFillBooked, fill=a_fill(fill_key="sold", fee=Decimal("-1"), **sold))
    log.filled("half", fill_key="in tokens", amount=Decimal("0.1"), fee=Decimal(1), fee_token="HYPE")
    log.filled("half", fill_key="spot", trading_pair="PURR-USDC", amount=Decimal(1))
    log.account(
        AccountFundingBooked,
        funding_key="BTC:1",
        trading_pair="BTC-USD",
        amount=Decimal("-1.25"),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal("1"),
        exchange_time_ms=T0,
    )
    log.account(
        AccountLedgerUpdateBooked,
        update_key="w",
        kind="withdraw",
        amount=Decimal(50),
        token="USDC",
        detail='{"type":"withdraw","usdc":"50.0","fee":"1.0"}',
    )
    with opened() as reader:
        expected = Decimal(100_000) - 20_000 - 9 + 8_200 + 1 - 4_300 - Decimal("1.25") - 51
        assert reader.read(a_report()).cash == expected


def test_corrections_change_the_cash_once(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="smaller")
    log.filled("half", fill_key="never")
    log.filled("half", fill_key="stays", amount=Decimal("0.1"), fee=Decimal(0))
    the_correction(log, "half", "smaller", Decimal("0.3"))
    the_correction(log, "half", "never", None)
    with opened() as reader:
        cash = Decimal(100_000) - Decimal("0.3") * 43_000 - Decimal("1.72") - Decimal("0.1") * 43_000
        assert reader.read(a_report()).cash == cash


def test_an_adjusted_balance_is_where_the_cash_goes_on_from(log: LogBuilder, opened: Open) -> None:
    log.open_order("half", "77")
    log.filled("half", fill_key="before")
    log.account(
        AccountBalanceAsserted, token="USDC", amount=Decimal(500), adjustment=True, discrepancy_id="D-1"
    )
    log.account(AccountBalanceAsserted, token="USDC", amount=Decimal(7))
    log.filled("half", fill_key="after", amount=Decimal("0.001"), fee=Decimal(0))
    with opened() as reader:
        assert reader.read(a_report()).cash == Decimal(457)


def test_a_transfer_of_an_unknown_kind_leaves_the_cash_unknown_and_is_named(
    log: LogBuilder, opened: Open
) -> None:
    log.account(
        AccountLedgerUpdateBooked,
        update_key="odd",
        kind="airdrop",
        amount=None,
        token="USDC",
        detail='{"type":"airdrop"}',
    )
    with opened() as reader:
        assert reader.read(a_report()).cash is None
        assert "'odd'" in reader.cash_unknown_because


# the account


def a_found(log: LogBuilder, discrepancy_id: str) -> None:
    log.account(
        AccountDiscrepancyFound,
        discrepancy_id=discrepancy_id,
        kind="position_drift",
        subject="BTC-USD",
        ours="1",
        theirs="2",
        explanation="it differs",
    )


def test_discrepancies_stay_open_until_they_are_repaired(log: LogBuilder, opened: Open) -> None:
    for discrepancy_id in ("D-1", "D-2", "D-3", "D-4"):
        a_found(log, discrepancy_id)
    log.account(AccountDiscrepancyWaived, discrepancy_id="D-2", reason="known", actor="ann")
    for discrepancy_id in ("D-1", "D-4"):
        log.account(AccountDiscrepancyRepaired, discrepancy_id=discrepancy_id, reason="booked", actor="ann")
    a_found(log, "D-4")
    with opened() as reader:
        still_open = reader.open_discrepancies()
        assert list(still_open) == ["D-2", "D-3", "D-4"]
        assert [standing.waived is not None for standing in still_open.values()] == [True, False, False]


def test_an_account_is_restored_to_where_the_ledger_stands(log: LogBuilder, opened: Open) -> None:
    a_found(log, "D-1")
    log.account(AccountFillBooked, fill=a_fill(fill_key="settled"))
    changes: list[Change] = []
    account = Account(venue=VENUE, address=ACCOUNT, changes=changes)
    with opened() as reader:
        reader.restore(account, reader.read(a_report()))
    assert (account.version, account.is_open) == (4, True)
    assert account.is_unsettled("D-1")
    assert account.has_fill("settled")
    assert changes == []


def test_the_accounts_of_a_ledger_are_those_whose_books_were_opened(
    tmp_path: Path, log: LogBuilder, opened: Open
) -> None:
    with opened() as reader:
        opening = reader.opening()
    assert opening is not None
    assert (opening.network, opening.exchange_time_ms) == ("simulator", T0)
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path, writer=False) as ledger:
        assert opened_accounts(ledger, views_path_for(path)) == [opening]


def test_a_ledger_that_never_opened_its_books_has_nothing_to_compare(log: LogBuilder, opened: Open) -> None:
    log.events.clear()
    log.open_order("lonely", "77")
    with opened() as reader, pytest.raises(CommandError, match="has not opened the books") as refused:
        reader.read(a_report())
    assert refused.value.exit_code is ExitCode.NOT_FOUND
