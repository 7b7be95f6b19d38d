"""`orderledger reconcile` against a simulated venue: every class of difference is produced, found, explained,
repaired, and then gone; and what stands in the way of comparing is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapters.cli import reconcile as reconcile_command
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.main import main
from adapters.cli.reconciled import Reconciled
from adapters.cli.reconciling import Question, Wish, reconcile
from adapters.hyperliquid.connector import VENUE
from adapters.hyperliquid.info_client import InfoClient, InfoClientOptions
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.networks import simulator_network
from adapters.runtime.clock import SteadyClock
from adapters.simulator.app import SimulatorOptions
from adapters.simulator.command import development_account
from adapters.simulator.market import MarketOptions
from adapters.storage.ledger import OrderLedger
from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker
from domain.discrepancies import DiscrepancyKind as Kind
from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import AccountDiscrepancyFound, Fill, OrderFilled
from domain.order_params import OrderParams
from domain.updates import (
    Change,
    FundingUpdate,
    OrderUpdate,
    PositionUpdate,
    Stamp,
    TradeUpdate,
    UpdateStatus,
)
from tests.support.live import PAIR, Live
from tests.support.process import LiveRun, orderledger, running_venue, wait_for
from tests.support.raw_client import RawClient
from tests.support.simulator import SimulatorThread, a_venue, running_simulator

SEED = 7
FUNDS = Decimal(100_000)
OVERDUE_NS = 60_000_000_000
"""By so much the sessions' clock is behind: what they record is older than any grace time, at once."""
LONG_GRACE_S = 50
"""Nothing that a test has just done is older than that, however slow the machine; what is overdue is."""


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def kinds(self) -> set[str]:
        return {finding["kind"] for finding in self.json["findings"]}


class Desk:
    """An account at a simulator, its ledger, and what happens to either behind the other's back."""

    def __init__(self, sim: SimulatorThread, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.sim = sim
        self.live = Live(sim, folder, SEED)  # type: ignore[arg-type]
        self.account = self.live.account
        self.ledger = self.live.ledger_path
        self._capsys = capsys

    # -- what we did ---------------------------------------------------------------------------------------

    def session(self, act: Callable[[Live], Awaitable[Any]]) -> Any:
        """Let the connector do something, and be away afterwards."""

        async def scenario() -> Any:
            clock = SteadyClock(lambda: time.time_ns() - OVERDUE_NS)
            async with self.live.session(clock=clock, order_ttl_ms=600_000) as live:
                return await act(live)

        return asyncio.run(scenario())

    def an_order(self, amount: str = "0.02", filled: str = "") -> str:
        """A resting order of ours, part of it filled (a fraction), all of it booked."""

        async def act(live: Live) -> str:
            order = live.connector.buy(PAIR, Decimal(amount), live.price("0.8"))
            await live.until_state(order, "open")
            if filled:
                self.fill(order, filled)
                await live.until_state(order, "partially_filled")
            return order

        order: str = self.session(act)
        return order

    def a_position(self) -> None:
        """Long 0.02 BTC, bought from the market and booked."""

        async def act(live: Live) -> None:
            order = live.connector.buy(PAIR, Decimal("0.02"), live.price("1.02"))
            await live.until(
                "the order is executed",
                lambda: (
                    (held := live.connector.order(order)) is not None and held.filled_amount == held.amount
                ),
            )

        self.session(act)

    # -- what the venue did --------------------------------------------------------------------------------

    def fill(self, order: str, fraction: str) -> None:
        self.sim.call(lambda sim: sim.fill_order(self.account, order, Decimal(fraction)))

    def later(self, seconds: int = 10) -> None:
        """So much time passes at the venue that everything until now is past the grace time."""
        self.sim.call(lambda sim: sim.advance(1_000 * seconds))

    def by_hand(self, act: Callable[[RawClient], Awaitable[Any]]) -> Any:
        """What the account's owner does with another program."""

        async def scenario() -> Any:
            async with RawClient(self.sim.url, self.live.key.private_key) as client:
                return await act(client)

        return asyncio.run(scenario())

    def ask(self, **request: Any) -> Any:
        return self.by_hand(lambda client: client.info(**request))

    def place_by_hand(self, *, cloid: str | None = None) -> int:
        """A resting order that this ledger knows nothing of; returns its exchange id."""

        async def act(client: RawClient) -> int:
            universe = (await client.info(type="meta"))["universe"]
            asset = [row["name"] for row in universe].index("BTC")
            price = int(Decimal((await client.info(type="allMids"))["BTC"]) * Decimal("0.85"))
            order = {"a": asset, "b": True, "p": str(price), "s": "0.01", "r": False}
            order["t"] = {"limit": {"tif": "Gtc"}}
            if cloid is not None:
                order["c"] = cloid
            answer = await client.act({"type": "order", "orders": [order], "grouping": "na"})
            oid: int = answer["response"]["data"]["statuses"][0]["resting"]["oid"]
            return oid

        oid: int = self.by_hand(act)
        return oid

    def latest_fill(self) -> dict[str, Any]:
        fills: list[dict[str, Any]] = self.ask(type="userFills", user=self.account)
        return max(fills, key=lambda row: row["time"])

    # -- what the ledger was made to believe ---------------------------------------------------------------

    def forge(self, act: Callable[[ClientOrderTracker, Account], Any], *orders: str) -> None:
        """Record what never happened, through the ordinary doors, as if the stream had told it."""
        changes: list[Change] = []
        tracker = ClientOrderTracker(venue=VENUE, account=self.account, changes=changes)
        account = Account(venue=VENUE, address=self.account, changes=changes)
        with OrderLedger.open(self.ledger) as ledger:
            tracker.stamp = account.stamp = Stamp(time.time_ns() - OVERDUE_NS, Source.STREAM, "forged:1")
            account.restore(len(ledger.events_of(account.id)), (), (), is_open=True)
            for order in orders:
                tracker.restore(ledger.events_of(order))
            act(tracker, account)
            ledger.append([change.event for change in changes])

    def booked_as(self, row: dict[str, Any], **differing: Any) -> Fill:
        """A fill that the venue told, with some of it other than it was told."""
        fill = Fill(
            fill_key=f"{row['coin']}:{row['oid']}:{row['tid']}",
            trade_id=str(row["tid"]),
            exchange_order_id=str(row["oid"]),
            trading_pair=PAIR,
            trade_type=TradeType.BUY if row["side"] == "B" else TradeType.SELL,
            price=Decimal(row["px"]),
            amount=Decimal(row["sz"]),
            fee=Decimal(row["fee"]),
            fee_token=row["feeToken"],
            liquidity=Liquidity.MAKER,
            exchange_time_ms=row["time"],
            start_position=Decimal(row["startPosition"]),
        )
        return msgspec.structs.replace(fill, **differing)

    def forge_fill(self, order: str, fill: Fill) -> None:
        self.forge(lambda tracker, _: tracker.process_trade_update(TradeUpdate(fill=fill)), order)

    # -- asking --------------------------------------------------------------------------------------------

    def reconcile(self, *arguments: str) -> Answer:
        if "--apply" in arguments and "--config" not in arguments:
            # It waits for a grace time before it takes an execution back.
            config = self.ledger.with_name("hasty.toml")
            config.write_text("[reconciliation]\ngrace_s = 0.5\n")
            arguments = ("--config", str(config), *arguments)
        code = main(["reconcile", "--ledger", str(self.ledger), "--simulator-url", self.sim.url, *arguments])
        written = self._capsys.readouterr()
        return Answer(code, written.out, written.err)

    def reconcile_with_a_long_grace_time(self, *arguments: str) -> Answer:
        config = self.ledger.with_name("patient.toml")
        config.write_text(f"[reconciliation]\ngrace_s = {LONG_GRACE_S}\n")
        return self.reconcile("--config", str(config), *arguments)

    @property
    def position(self) -> int:
        with OrderLedger.open(self.ledger, writer=False) as ledger:
            return ledger.max_position


@contextlib.contextmanager
def a_desk(folder: Path, capsys: pytest.CaptureFixture[str], **venue: Any) -> Iterator[Desk]:
    options = SimulatorOptions(
        seed=SEED,
        accounts={development_account(SEED).address: FUNDS},
        market=MarketOptions(),
        venue=a_venue(**venue),
    )
    with running_simulator(options) as sim:
        yield Desk(sim, folder, capsys)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    with a_desk(tmp_path, capsys) as made:
        yield made


# Every class of difference: how it comes about, and what the finding says in explanation

PRODUCED: dict[Kind, Callable[[Desk], str]] = {}


def produces(kind: Kind) -> Callable[[Callable[[Desk], str]], Callable[[Desk], str]]:
    def keep(scenario: Callable[[Desk], str]) -> Callable[[Desk], str]:
        PRODUCED[kind] = scenario
        return scenario

    return keep


@produces(Kind.MISSING_FILL)
def filled_while_away(desk: Desk) -> str:
    order = desk.an_order()
    desk.fill(order, "1")
    desk.later()
    return f"an execution of order {order} that is not booked"


@produces(Kind.PHANTOM_FILL)
def a_fill_that_never_happened(desk: Desk) -> str:
    order = desk.an_order(filled="0.5")
    row = desk.latest_fill()
    invented = desk.booked_as(row, fill_key="BTC:1:1", amount=Decimal("0.005"), start_position=None)
    desk.forge_fill(order, invented)
    desk.later()
    return "that the venue does not tell"


@produces(Kind.DUPLICATE_FILL)
def a_fill_booked_under_two_keys(desk: Desk) -> str:
    order = desk.an_order(filled="0.5")
    desk.forge_fill(order, desk.booked_as(desk.latest_fill(), fill_key="BTC:again"))
    desk.later()
    return "booked twice"


def booked_differently(desk: Desk, **differing: Any) -> None:
    order = desk.an_order()
    desk.fill(order, "0.5")
    desk.forge_fill(order, desk.booked_as(desk.latest_fill(), **differing))
    desk.later()


@produces(Kind.QUANTITY_MISMATCH)
def another_amount(desk: Desk) -> str:
    booked_differently(desk, amount=Decimal("0.004"))
    return "is booked as buy 0.004"


@produces(Kind.PRICE_MISMATCH)
def another_price(desk: Desk) -> str:
    booked_differently(desk, price=Decimal(34_000))
    return "at 34000"


@produces(Kind.FEE_MISMATCH)
def another_fee(desk: Desk) -> str:
    booked_differently(desk, fee=Decimal("0.25"))
    return "fee 0.25 USDC"


@produces(Kind.PRECISION_ONLY)
def a_difference_below_all_precision(desk: Desk) -> str:
    order = desk.an_order()
    desk.fill(order, "0.5")
    row = desk.latest_fill()
    desk.forge_fill(order, desk.booked_as(row, fee=Decimal(row["fee"]) + Decimal("0.0000001")))
    desk.later()
    return "below what the instrument and its money are counted in"


@produces(Kind.STATE_MISMATCH)
def cancelled_elsewhere(desk: Desk) -> str:
    order = desk.an_order()

    async def cancel(client: RawClient) -> None:
        asset = [row["name"] for row in (await client.info(type="meta"))["universe"]].index("BTC")
        await client.act({"type": "cancelByCloid", "cancels": [{"asset": asset, "cloid": order}]})

    desk.by_hand(cancel)
    desk.later()
    return "the venue tells that it is cancelled"


@produces(Kind.STUCK_IN_FLIGHT)
def a_cancel_without_an_answer(desk: Desk) -> str:
    order = desk.an_order()

    def ask_to_cancel(tracker: ClientOrderTracker, _: Account) -> None:
        held = tracker.get(order)
        assert held is not None
        tracker.cancel_requested(held, 1, "requested")

    desk.forge(ask_to_cancel, order)
    desk.later()
    return "What became of a cancel"


@produces(Kind.UNKNOWN_OUTCOME)
def a_request_that_never_arrived(desk: Desk) -> str:
    desk.an_order()
    expires_at_ms = desk.ask(type="exchangeStatus")["time"] + 1_000
    params = OrderParams(
        client_order_id="0x" + "5e" * 16,
        trading_pair=PAIR,
        instrument="BTC",
        order_type=OrderType.LIMIT,
        trade_type=TradeType.BUY,
        amount=Decimal("0.01"),
        price=Decimal(30_000),
        venue_order_key="0x" + "5e" * 16,
    )

    def lose_the_answer(tracker: ClientOrderTracker, _: Account) -> None:
        order = tracker.create(params)
        tracker.submitted(order, 1, expires_at_ms)
        tracker.submit_unknown(order, "timeout", "no answer")

    desk.forge(lose_the_answer)
    desk.sim.call(lambda sim: sim.advance(120_000))
    return "never took effect and never will"


@produces(Kind.EXTERNAL_ORDER)
def an_order_placed_elsewhere(desk: Desk) -> str:
    desk.an_order()
    oid = desk.place_by_hand()
    desk.later()
    return f"The venue lists its order {oid} as open"


@produces(Kind.EXTERNAL_FILL)
def a_manual_trade(desk: Desk) -> str:
    desk.an_order()
    oid = desk.place_by_hand()
    desk.sim.call(lambda sim: sim.fill_order(desk.account, oid))
    desk.later()
    return f"its order {oid}, which was placed elsewhere"


@produces(Kind.LIQUIDATION)
def liquidated_while_away(desk: Desk) -> str:
    desk.a_position()
    desk.sim.call(lambda sim: sim.liquidate(desk.account, "BTC"))
    desk.later()
    return "The venue liquidated a position"


@produces(Kind.AUTO_DELEVERAGING)
def auto_deleveraged_while_away(desk: Desk) -> str:
    desk.a_position()
    desk.sim.call(lambda sim: sim.auto_deleverage(desk.account, "BTC", Decimal("0.01")))
    desk.later()
    return "auto-deleveraging"


def believe_in_a_position(desk: Desk, amount: str) -> None:
    desk.a_position()
    update = PositionUpdate(trading_pair=PAIR, amount=Decimal(amount), entry_price=None)
    desk.forge(lambda _, account: account.assert_position(update, adjustment=True))
    desk.later()


@produces(Kind.POSITION_DRIFT)
def a_position_no_fill_explains(desk: Desk) -> str:
    believe_in_a_position(desk, "0.5")
    return "come to a position of 0.5"


@produces(Kind.SIDE_FLIP)
def short_here_and_long_there(desk: Desk) -> str:
    believe_in_a_position(desk, "-0.5")
    return "come to a position of -0.5"


@produces(Kind.BALANCE_DRIFT)
def cash_that_nothing_explains(desk: Desk) -> str:
    desk.an_order()
    desk.forge(lambda _, account: account.assert_balance("USDC", Decimal(5), adjustment=True))
    desk.later()
    return "a difference of 99995"


@produces(Kind.UNBOOKED_FUNDING)
def funding_while_away(desk: Desk) -> str:
    desk.a_position()
    desk.sim.call(lambda sim: sim.settle_funding({"BTC": Decimal("0.0001")}))
    desk.later()
    return "funding"


@produces(Kind.FUNDING_MISMATCH)
def funding_with_another_amount(desk: Desk) -> str:
    funding_while_away(desk)
    (row,) = desk.ask(type="userFunding", user=desk.account, startTime=0)
    update = FundingUpdate(
        funding_key=f"BTC:{row['time']}",
        trading_pair=PAIR,
        amount=Decimal(row["delta"]["usdc"]) - 1,
        token="USDC",
        rate=Decimal(row["delta"]["fundingRate"]),
        position_size=Decimal(row["delta"]["szi"]),
        exchange_time_ms=row["time"],
    )
    desk.forge(lambda _, account: account.book_funding(update))
    return "The difference, 1, is booked beside it"


@produces(Kind.UNBOOKED_TRANSFER)
def a_deposit_while_away(desk: Desk) -> str:
    desk.an_order()
    desk.sim.call(lambda sim: sim.create_account(desk.account, Decimal(250)))
    desk.later()
    return "a deposit of 250 USDC"


@produces(Kind.LEVERAGE_CHANGED)
def leverage_set_elsewhere(desk: Desk) -> str:
    desk.a_position()
    # The books learn what a market's leverage is when a session begins with a position in it.
    desk.session(lambda live: live.until("the books are open", lambda: live.connector.ready))

    async def set_leverage(client: RawClient) -> None:
        asset = [row["name"] for row in (await client.info(type="meta"))["universe"]].index("BTC")
        await client.act({"type": "updateLeverage", "asset": asset, "isCross": True, "leverage": 3})

    desk.by_hand(set_leverage)
    desk.later()
    return "3x cross"


@produces(Kind.TRUNCATED_WINDOW)
def more_fills_than_the_venue_tells(desk: Desk) -> str:
    order = desk.an_order(amount="0.1")

    def is_filled(live: Live, amount: str) -> Callable[[], bool]:
        def looked() -> bool:
            held = live.connector.order(order)
            return held is not None and held.filled_amount == Decimal(amount)

        return looked

    async def go_on(live: Live) -> None:
        for fraction, total in (("0.2", "0.02"), ("0.25", "0.04"), ("0.5", "0.07")):
            desk.fill(order, fraction)
            await live.until("the fill is booked", is_filled(live, total))

    desk.session(go_on)
    desk.later()
    return "complete only from"


TOLD_BESIDES = {Kind.LIQUIDATION: {Kind.UNBOOKED_TRANSFER}}
"""The venue lists a liquidation among the transfers too."""

OF_THE_VENUE = {Kind.TRUNCATED_WINDOW: {"fills_kept": 2}}


def test_there_is_a_scenario_for_every_class() -> None:
    assert PRODUCED.keys() == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_difference_is_found_explained_repaired_and_then_gone(
    kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_desk(tmp_path, capsys, **OF_THE_VENUE.get(kind, {})) as desk:
        explanation = PRODUCED[kind](desk)
        before = desk.position

        dry = desk.reconcile("--json")
        assert (dry.code, dry.kinds) == (1, {kind} | TOLD_BESIDES.get(kind, set())), dry
        assert explanation in dry.json["findings"][0]["explanation"]
        assert json.loads(dry.json["findings"][0]["evidence"])["question"]
        assert dry.json["not_compared"] == []
        told = desk.reconcile()
        assert told.code == 1
        assert explanation in " ".join(told.out.split())
        assert "Nothing was changed." in told.out
        assert desk.position == before

        applied = desk.reconcile("--apply", "--json")
        assert applied.code == 0, applied
        assert {finding["status"] for finding in applied.json["findings"]} <= {"repaired", "waived"}
        assert applied.json["last_position"] == desk.position > before

        after = desk.position
        again = desk.reconcile("--apply")
        assert again.code == 0, again
        assert desk.position == after, "the second time there is nothing to write"
        assert "Nothing differs" in again.out or "waived" in again.out
        assert main(["verify", "--ledger", str(desk.ledger)]) == 0


# What is recorded, and by whom


def test_a_repair_names_its_events_its_actor_and_its_source(desk: Desk) -> None:
    PRODUCED[Kind.MISSING_FILL](desk)
    answer = desk.reconcile("--apply", "--actor", "ann", "--json")
    (finding,) = answer.json["findings"]
    assert (finding["status"], finding["actor"]) == ("repaired", "ann")
    with OrderLedger.open(desk.ledger, writer=False) as ledger:
        events = dict(ledger.read())
    recorded = [events[event["position"]] for event in finding["recorded"]]
    assert [event["topic"] for event in finding["recorded"]] == [
        "account.discrepancy_found",
        "order.filled",
        "account.discrepancy_repaired",
    ]
    assert {event.source for event in recorded} == {Source.RECONCILIATION}
    found, filled, _ = recorded
    assert isinstance(found, AccountDiscrepancyFound)
    assert isinstance(filled, OrderFilled)
    assert found.discrepancy_id == finding["discrepancy_id"]
    assert found.subject == filled.fill.fill_key


def test_the_end_of_another_order_under_the_same_exchange_id_ends_nothing(desk: Desk) -> None:
    """Exchange ids begin anew when a venue does (a testnet, a simulator)."""
    desk.an_order()
    oid = desk.place_by_hand(cloid=f"0x{'ab' * 16}")

    def believe(tracker: ClientOrderTracker, _: Account) -> None:
        params = OrderParams(
            client_order_id="ours",
            venue_order_key=f"0x{'cd' * 16}",
            trading_pair=PAIR,
            instrument="BTC",
            order_type=OrderType.LIMIT,
            trade_type=TradeType.BUY,
            amount=Decimal("0.01"),
            price=Decimal(30_000),
        )
        tracker.submitted(tracker.create(params), nonce=1, expires_at_ms=1)
        key = params.venue_order_key
        tracker.process_order_update(
            OrderUpdate(status=UpdateStatus.OPEN, exchange_order_id=str(oid), venue_order_key=key)
        )

    async def cancel(client: RawClient) -> Any:
        asset = [row["name"] for row in (await client.info(type="meta"))["universe"]].index("BTC")
        return await client.act({"type": "cancel", "cancels": [{"a": asset, "o": oid}]})

    desk.forge(believe)
    assert desk.by_hand(cancel)["response"]["data"]["statuses"] == ["success"]
    desk.later()
    (finding,) = desk.reconcile("--apply", "--json").json["findings"]
    assert (finding["subject"], finding["theirs"], finding["status"]) == ("ours", "not known", "known")


def test_the_same_difference_has_the_same_id_in_every_run(desk: Desk) -> None:
    PRODUCED[Kind.MISSING_FILL](desk)
    ids = {desk.reconcile("--json").json["findings"][0]["discrepancy_id"] for _ in range(3)}
    assert len(ids) == 1


def test_a_waived_difference_stays_and_is_no_difference_any_more(desk: Desk) -> None:
    PRODUCED[Kind.MISSING_FILL](desk)
    (finding,) = desk.reconcile("--json").json["findings"]
    waived = desk.reconcile("--waive", finding["discrepancy_id"], "--reason", "a test fill", "--actor", "ann")
    assert waived.code == 0, waived
    assert "waived by ann: a test fill" in waived.out
    position = desk.position
    for arguments in ((), ("--apply",)):
        again = desk.reconcile(*arguments)
        assert again.code == 0
        assert "waived by ann: a test fill" in again.out
    assert desk.position == position, "what is waived is not repaired"


def test_what_does_not_differ_any_more_is_closed_once(desk: Desk) -> None:
    desk.an_order()
    found = {"kind": Kind.POSITION_DRIFT, "subject": PAIR, "trading_pair": PAIR, "ours": "1", "theirs": "2"}

    def find(_: ClientOrderTracker, account: Account) -> None:
        account.discrepancy_found("D-0000000000000001", **found, explanation="It differs.", evidence="")

    desk.forge(find)
    dry = desk.reconcile("--json")
    assert (dry.code, dry.json["findings"]) == (0, [])
    (closed,) = desk.reconcile("--apply", "--json").json["findings"]
    assert (closed["status"], closed["note"]) == ("repaired", "It no longer differs.")
    position = desk.position
    assert desk.reconcile("--apply", "--json").json["findings"] == []
    assert desk.position == position


def test_several_differences_are_repaired_together_and_shown_on_one_page(desk: Desk, tmp_path: Path) -> None:
    PRODUCED[Kind.UNBOOKED_FUNDING](desk)
    desk.place_by_hand()
    desk.sim.call(lambda sim: sim.create_account(desk.account, Decimal(250)))
    desk.later()
    page = tmp_path / "page.html"
    before = desk.reconcile("--html", str(page))
    assert before.code == 1
    assert "3 differences open" in page.read_text()
    assert desk.reconcile("--apply", "--html", str(page)).code == 0
    assert "Settled" in page.read_text()
    assert desk.reconcile("--html", str(page)).code == 0
    assert "Everything agrees" in page.read_text()


def test_only_the_history_since_the_time_given_is_compared(desk: Desk) -> None:
    PRODUCED[Kind.UNBOOKED_FUNDING](desk)
    desk.later()
    now_ms: int = desk.ask(type="exchangeStatus")["time"]
    since = datetime.fromtimestamp(now_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    late = desk.reconcile("--since", since, "--json")
    assert late.json["compared"]["funding payments"] == 0
    assert late.json["since_ms"] == now_ms // 1_000 * 1_000
    assert "names no zone: taken as UTC" in late.err
    early = desk.reconcile("--since", "1999-01-01T00:00:00Z", "--json")
    assert early.code == 1
    assert early.json["since_ms"] > 1_000_000_000_000, "not before the books begin"


# What stands in the way


def test_a_time_that_has_not_come_yet_is_refused(desk: Desk) -> None:
    PRODUCED[Kind.POSITION_DRIFT](desk)
    answer = desk.reconcile("--since", "2100-01-01")
    assert (answer.code, answer.out) == (2, "")
    assert "--since lies ahead of the venue's clock" in answer.err


def trade_by_hand(desk: Desk) -> None:
    """A manual purchase, executed at once."""

    async def act(client: RawClient) -> Any:
        asset = [row["name"] for row in (await client.info(type="meta"))["universe"]].index("BTC")
        price = int(Decimal((await client.info(type="allMids"))["BTC"]) * Decimal("1.03"))
        order = {"a": asset, "b": True, "p": str(price), "s": "0.01", "r": False}
        order["t"] = {"limit": {"tif": "Ioc"}}
        return await client.act({"type": "order", "orders": [order], "grouping": "na"})

    desk.by_hand(act)


def test_what_is_too_young_is_neither_called_compared_nor_called_mended(desk: Desk) -> None:
    PRODUCED[Kind.POSITION_DRIFT](desk)
    (drift,) = desk.reconcile("--json").json["findings"]
    members = (
        "discrepancy_id",
        "kind",
        "subject",
        "trading_pair",
        "ours",
        "theirs",
        "explanation",
        "evidence",
    )
    desk.forge(lambda _, account: account.discrepancy_found(**{name: drift[name] for name in members}))
    desk.later(LONG_GRACE_S)
    trade_by_hand(desk)
    position = desk.position
    young = desk.reconcile_with_a_long_grace_time("--apply", "--json")
    assert (young.code, young.json["findings"], desk.position) == (0, [], position)
    assert (
        f"{PAIR}: an execution is too young to be judged, and with it the position"
        in (young.json["not_compared"])
    )
    assert not {"positions", "cash balances"} & young.json["compared"].keys()
    desk.later()
    assert desk.reconcile("--apply", "--json").kinds == {Kind.EXTERNAL_FILL, Kind.POSITION_DRIFT}
    assert desk.reconcile("--json").json["findings"] == []


def test_what_happens_at_the_moment_is_not_judged(desk: Desk) -> None:
    order = desk.an_order()
    desk.fill(order, "1")
    desk.place_by_hand()
    assert desk.reconcile_with_a_long_grace_time().code == 0, "younger than the grace time"
    desk.later()
    assert desk.reconcile("--json").kinds == {Kind.MISSING_FILL, Kind.EXTERNAL_ORDER}


def refuse(desk: Desk, what: str) -> None:
    desk.sim.inject(kind="http_status", info=what, count=None, params={"status": 400})


def test_a_part_without_an_answer_is_said_and_never_taken_for_empty(desk: Desk) -> None:
    desk.an_order(filled="0.5")
    desk.later()
    for what, name in (
        ("userFillsByTime", "fills"),
        ("frontendOpenOrders", "open orders"),
        ("userFunding", "funding"),
        ("userNonFundingLedgerUpdates", "transfers"),
        ("clearinghouseState", "positions"),
    ):
        refuse(desk, what)
        answer = desk.reconcile("--json")
        assert (answer.code, answer.json["findings"]) == (5, []), (what, answer)
        assert answer.json["incomplete"] is True
        assert f"{name}: the venue gave no answer that could be used" in answer.json["not_compared"]
        assert name not in answer.json["compared"]
        assert "did not answer everything" in desk.reconcile().out
        desk.sim.call(lambda sim: sim.faults.clear())
    assert desk.reconcile().code == 0


def test_half_an_answer_hides_nothing_and_invents_nothing(desk: Desk) -> None:
    desk.an_order(filled="0.5")
    desk.later()
    desk.sim.inject(kind="garbage_element", info="userFillsByTime", count=None)
    desk.sim.inject(kind="garbage_element", info="frontendOpenOrders", user=desk.account, count=None)
    answer = desk.reconcile("--json")
    assert answer.code == 5
    assert "cannot be read" in str(answer.json["not_compared"])
    assert answer.kinds <= {Kind.TRUNCATED_WINDOW}


def test_a_venue_that_is_not_there_is_unreachable(desk: Desk) -> None:
    desk.an_order()
    question = Question(
        ledger=desk.ledger,
        views=desk.live.views_path,
        account=desk.account,
        network=simulator_network("http://127.0.0.1:1"),
    )

    async def ask() -> None:
        options = InfoClientOptions(attempts_max=2, retry_base_seconds=0.01)
        async with InfoClient(question.network.http_url, options=options) as client:
            await reconcile(question, Wish(), client=client)

    with pytest.raises(CommandError, match="Nothing was compared") as refused:
        asyncio.run(ask())
    assert refused.value.exit_code is ExitCode.UNREACHABLE


class ForgettingClient(InfoClient):
    """Some of its answers about fills come from a server that has none of them yet."""

    def __init__(self, url: str, *, forgets: int) -> None:
        super().__init__(url)
        self._forgets = forgets
        self.lists = 0

    async def ask(self, request: InfoRequest) -> bytes:
        if request.body["type"] != "userFillsByTime":
            return await super().ask(request)
        self.lists += 1
        return b"[]" if self.lists == self._forgets else await super().ask(request)


def repaired_by(desk: Desk, *, forgets: int) -> tuple[Reconciled, int]:
    """What a repair finds when one of the lists of fills is empty, and how many it asked for."""

    async def ask() -> tuple[Reconciled, int]:
        network = simulator_network(desk.sim.url)
        question = Question(
            ledger=desk.ledger,
            views=desk.live.views_path,
            account=desk.account,
            network=network,
            grace_ms=200,
        )
        async with ForgettingClient(network.http_url, forgets=forgets) as client:
            return await reconcile(question, Wish(repair=True), client=client), client.lists

    return asyncio.run(ask())


def a_round_trip(desk: Desk) -> None:
    """Bought and sold again: without both the position is the same."""

    async def act(live: Live) -> None:
        for buys in (True, False):
            trade, factor = (live.connector.buy, "1.02") if buys else (live.connector.sell, "0.98")
            order = trade(PAIR, Decimal("0.02"), live.price(factor))
            await live.until_state(order, "filled")

    desk.session(act)
    desk.later()


def test_one_list_without_a_round_trip_takes_nothing_back(desk: Desk) -> None:
    a_round_trip(desk)
    before = desk.position
    result, lists = repaired_by(desk, forgets=1)
    assert (result.findings, lists) == ((), 2)
    assert desk.position == before


def test_a_second_list_that_contradicts_the_first_one_takes_nothing_back(desk: Desk) -> None:
    a_fill_that_never_happened(desk)
    a_round_trip(desk)
    before = desk.position
    with pytest.raises(CommandError, match="Nothing was changed") as refused:
        repaired_by(desk, forgets=2)
    assert refused.value.exit_code is ExitCode.UNREACHABLE
    assert desk.position == before


def test_who_waits_sees_what_the_venue_is_asked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.an_order(filled="0.5")
    monkeypatch.setattr(reconcile_command, "_PLAIN_EVERY_S", 0.0)
    answer = desk.reconcile("--json")
    assert "asking the venue: fills" in answer.err
    assert answer.json["ok"] is True, "and standard output stays what was asked for"
    monkeypatch.setattr(reconcile_command, "_PLAIN_EVERY_S", 3_600.0)
    assert desk.reconcile().err == "", "a venue that answers at once needs no such words"


def test_another_account_is_refused(desk: Desk) -> None:
    desk.an_order()
    other = "0x" + "AB" * 20
    answer = desk.reconcile("--account", other)
    assert answer.code == 4
    assert f"keeps the books of {desk.account} on simulator, and not of {other.lower()}" in answer.err


def test_another_network_is_refused(desk: Desk) -> None:
    desk.an_order()
    answer = desk.reconcile("--network", "testnet")
    assert answer.code == 4
    assert "it was to be compared with testnet" in answer.err


def test_a_venue_that_does_not_know_the_account_is_another_network(desk: Desk) -> None:
    desk.an_order()
    with running_simulator(SimulatorOptions(seed=99)) as other:
        answer = desk.reconcile("--simulator-url", other.url)
    assert answer.code == 4
    assert "does not know the account" in answer.err


def test_a_ledger_that_never_opened_its_books_says_so(desk: Desk) -> None:
    with OrderLedger.open(desk.ledger):
        pass
    answer = desk.reconcile()
    assert answer.code == 3
    assert "has not opened the books of any account" in answer.err
    missing = desk.reconcile("--ledger", str(desk.ledger.with_name("none.db")))
    assert (missing.code, missing.out) == (3, "")


def test_a_damaged_ledger_is_said_to_be(desk: Desk) -> None:
    desk.an_order()
    content = bytearray(desk.ledger.read_bytes())
    content[100:4_096] = b"\xff" * 3_996
    desk.ledger.write_bytes(bytes(content))
    assert desk.reconcile().code == 6


def test_nothing_is_repaired_on_top_of_events_that_cannot_be_folded(desk: Desk) -> None:
    order = desk.an_order(filled="0.5")
    fill = desk.booked_as(desk.latest_fill())
    with OrderLedger.open(desk.ledger) as ledger:
        last = ledger.events_of(order)[-1]
        assert isinstance(last, OrderFilled)
        again = msgspec.structs.replace(last, originator_version=last.originator_version + 1, fill=fill)
        ledger.append([again])
    position = desk.position
    for arguments in ((), ("--apply",)):
        assert desk.reconcile(*arguments).code == 6
    assert desk.position == position


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--waive", "D-1"), "--waive and --reason belong together"),
        (("--reason", "because"), "--waive and --reason belong together"),
        (("--apply", "--actor", " "), "--actor needs a name"),
        (("--json", "--html", "page.html"), "not allowed with"),
        (("--since", "yesterday"), "not a time"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconcile", "--ledger", "none.db", *arguments]) == 2
    assert why in capsys.readouterr().err


def test_an_id_that_is_not_found_waives_nothing(desk: Desk) -> None:
    desk.an_order()
    position = desk.position
    answer = desk.reconcile("--waive", "D-ffffffffffffffff", "--reason", "why not")
    assert answer.code == 3
    assert "D-ffffffffffffffff" in answer.err
    assert desk.position == position


def test_a_page_that_cannot_be_written_is_said_before_anything_is_repaired(
    desk: Desk, tmp_path: Path
) -> None:
    PRODUCED[Kind.MISSING_FILL](desk)
    position = desk.position
    answer = desk.reconcile("--apply", "--html", str(tmp_path / "no" / "such" / "folder" / "page.html"))
    assert (answer.code, answer.out) == (2, "")
    assert "There is no directory" in answer.err
    assert desk.position == position


# Beside a live process


def test_beside_a_live_process_nothing_in_flight_is_reported_and_nothing_written(tmp_path: Path) -> None:
    with running_venue(seed=SEED) as venue, LiveRun(tmp_path, venue) as live:
        wait_for("some orders", lambda: live.has_logged("order.acknowledged"))
        for _ in range(3):
            dry = orderledger("reconcile", cwd=tmp_path)
            assert (dry.returncode, "Nothing differs" in dry.stdout) == (0, True), dry
        refused = orderledger("reconcile", "--apply", cwd=tmp_path)
        assert refused.returncode == 1
        assert "A live process reconciles by itself" in refused.stderr
        assert live.stop() == 0
        after = orderledger("reconcile", "--apply", "--json", cwd=tmp_path)
        assert (after.returncode, json.loads(after.stdout)["findings"]) == (0, []), after
