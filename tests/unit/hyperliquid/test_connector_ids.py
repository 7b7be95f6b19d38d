"""Ids and texts that callers bring: none can end the process, and none is used twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.restoring import read_started
from adapters.hyperliquid.connector import VENUE
from adapters.storage.keys import EXCHANGE_ID_PREFIX, VENUE_KEY_PREFIX
from adapters.storage.ledger import OrderLedger
from domain.connector_base import OrderRequest
from domain.enums import TradeType
from domain.errors import DuplicateOrderIdError, InvalidOrderError, TradingHaltedError, UnknownOrderError
from domain.inputs import Input, PlaceOrders
from projections import catch_up
from tests.support.core import ACCOUNT, CoreSession

USERS_CLOID = "0x" + "5e1f" * 8


def place(core: CoreSession, **options: Any) -> str:
    return core.connector.buy("BTC-USD", Decimal(1), Decimal(43210), **options)


@pytest.mark.parametrize(
    "client_order_id",
    [
        "account:hyperliquid:" + ACCOUNT,
        "external:hyperliquid:77",
        "external:",
        EXCHANGE_ID_PREFIX + "777",
        VENUE_KEY_PREFIX + USERS_CLOID,
    ],
)
def test_ids_under_which_the_ledger_keeps_other_things_are_refused(client_order_id: str) -> None:
    core = CoreSession().ready()
    with pytest.raises(InvalidOrderError, match="not for orders"):
        place(core, client_order_id=client_order_id)
    assert core.inbox == []


@pytest.mark.parametrize("name", ["tag", "parent_id"])
@pytest.mark.parametrize("value", [7, "\ud800", "two\nlines", "x" * 201, b"bytes", ["a"]])
def test_a_text_that_could_not_be_read_back_is_refused(name: str, value: object) -> None:
    core = CoreSession().ready()
    with pytest.raises(InvalidOrderError, match="printable"):
        place(core, **{name: value})
    assert core.inbox == []


def test_tags_of_any_script_are_kept() -> None:
    core = CoreSession().ready()
    order = place(core, tag="Gitter ↑ 格", parent_id="the grid")
    core.step_commands()
    assert core.view(order).tag == "Gitter ↑ 格"
    core.assert_consistent()


def test_an_id_of_any_earlier_session_is_refused_after_a_restart(tmp_path: Path) -> None:
    core = CoreSession().ready()
    made_here = core.open(1001)
    core.open(1002, client_order_id=USERS_CLOID)
    core.open(1003, client_order_id="my own")
    core.connector.cancel_all()
    core.step_commands()
    core.answer_cancels("success", "success", "success")
    assert core.connector.tracker.live_count == 0
    with OrderLedger.open(tmp_path / "ledger.db") as ledger:
        ledger.append(core.events)
        catch_up(LedgerEventSource(ledger), tmp_path / "views.db")
        started = read_started(
            ledger, tmp_path / "views.db", venue=VENUE, account=ACCOUNT, session_id="0000000000ff"
        )
        again = CoreSession(session_id=0xFF, started=started)
        again.connector.reserve_ids(ledger.known_user_ids(), lambda text: ledger.resolve(text) is not None)
        again.ready()
        assert again.connector.order(made_here) is None, "memory starts with what is open alone"
        for used in (made_here, USERS_CLOID, USERS_CLOID.upper().replace("0X", "0x"), "my own"):
            with pytest.raises(DuplicateOrderIdError):
                place(again, client_order_id=used)
        assert place(again, client_order_id="0x" + "77" * 16)
        assert [type(item) for item in again.inbox] == [PlaceOrders]


def test_an_id_whose_order_could_not_be_taken_may_be_tried_again() -> None:
    core = CoreSession().ready()

    def too_many(item: Input) -> None:
        raise TradingHaltedError("too many inputs wait")

    ids = ("my own", USERS_CLOID)
    core.connector.attach(too_many)
    batch = [
        OrderRequest(
            trading_pair="BTC-USD",
            trade_type=TradeType.BUY,
            amount=Decimal(1),
            price=Decimal(43210),
            client_order_id=client_order_id,
        )
        for client_order_id in ids
    ]
    with pytest.raises(TradingHaltedError, match="too many"):
        core.connector.place(batch)
    for client_order_id in ids:
        with pytest.raises(UnknownOrderError):
            core.connector.cancel(client_order_id)
    core.connector.attach(core.inbox_put)
    assert core.connector.place(batch) == ids
    core.step_commands()
    assert [core.state(client_order_id) for client_order_id in ids] == ["pending_submit"] * 2
    with pytest.raises(DuplicateOrderIdError):
        core.connector.place(batch)
