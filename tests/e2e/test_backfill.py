"""A ledger out of the venue's own history: `orderledger backfill` against a simulator, and life after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.cli.exit_codes import ExitCode
from adapters.cli.main import main
from adapters.hyperliquid.client_ids import cloid_for
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.clock import ManualClock
from adapters.simulator.command import development_account
from adapters.simulator.engine.options import TESTNET_PERPS, VenueOptions
from adapters.storage.ledger import OrderLedger
from domain.enums import Source
from domain.errors import DuplicateOrderIdError
from domain.events import AccountOpened, AccountPositionAsserted, LedgerEvent, OrderCreated, OrderFilled
from domain.in_flight_order import InFlightOrder
from tests.support.live import live
from tests.support.simulator import SimulatorThread, running_simulator
from tests.support.venue import BTC, ETH, SOL, START_MS, limit

D = Decimal
SEED = 1
ACCOUNT = development_account(SEED).address.lower()
STRANGER = "0x" + "7" * 40
T = "2023-11-14T22:13:20Z"
"""`START_MS`, as one would type it."""


def since(ms: int) -> str:
    """A time so many ms after the simulator began, as one would type it."""
    return f"2023-11-14T22:13:{20 + ms // 1_000:02d}.{ms % 1_000:03d}Z"


class Trader:
    """Trades by hand on a simulator, with nobody keeping books."""

    def __init__(self, thread: SimulatorThread) -> None:
        self.thread = thread
        self.url = thread.url

    def act(self, action: dict[str, Any]) -> dict[str, Any]:
        def perform(sim: Simulator) -> dict[str, Any]:
            done: dict[str, Any] = sim.chain.apply(
                lambda exchange, now: exchange.execute(ACCOUNT, action, signer=ACCOUNT, now_ms=now)
            )
            return done

        answer = self.thread.call(perform)
        assert answer["status"] == "ok", answer
        return answer

    def place(self, *entries: dict[str, Any]) -> list[int]:
        """Place orders; the exchange ids of those that were accepted."""
        answer = self.act({"type": "order", "orders": list(entries), "grouping": "na"})
        statuses = answer["response"]["data"]["statuses"]
        return [
            (status.get("resting") or status["filled"])["oid"] for status in statuses if "error" not in status
        ]

    def cancel(self, asset: int, oid: int) -> None:
        self.act({"type": "cancel", "cancels": [{"a": asset, "o": oid}]})

    def fill(self, oid: int | str, fraction: str = "1") -> None:
        self.thread.call(lambda sim: sim.fill_order(ACCOUNT, oid, D(fraction)))

    def offer(self, coin: str, *, is_buy: bool, size: str, price: str) -> None:
        """Somebody else rests an order."""
        self.thread.call(lambda sim: sim.trade(coin, is_buy=is_buy, size=D(size), price=D(price)))

    def advance(self, ms: int) -> None:
        self.thread.call(lambda sim: sim.advance(ms))

    def settle_funding(self) -> None:
        self.thread.call(lambda sim: sim.settle_funding({"BTC": D("0.0001"), "ETH": D("-0.00005")}))

    def some_life(self) -> None:
        """Orders that fill, half fill, are cancelled, refused and rest; funding; deleveraging; in 20 s."""
        first, second, resting = self.place(
            limit(BTC, True, "43000", "0.02"),
            limit(BTC, True, "42900", "0.03"),
            limit(ETH, True, "2000", "0.5"),
        )
        self.advance(1_000)
        self.fill(first)
        self.advance(1_000)
        self.fill(second, "0.5")
        self.advance(1_000)
        self.cancel(BTC, second)
        self.place(limit(BTC, False, "60000", "0.01", tif="Ioc"))
        self.advance(1_000)
        self.settle_funding()
        self.advance(1_000)
        self.offer("BTC", is_buy=True, size="0.008", price="43100")
        self.place(limit(BTC, False, "43000", "0.01", tif="Ioc", reduce_only=True))
        self.advance(1_000)
        self.fill(resting, "0.4")
        (sol,) = self.place(limit(SOL, True, "50", "2"))
        self.fill(sol)
        self.advance(1_000)
        self.offer("SOL", is_buy=True, size="2", price="45")
        self.thread.call(lambda sim: sim.auto_deleverage(ACCOUNT, "SOL", D(1)))
        self.act({"type": "updateLeverage", "asset": ETH, "isCross": True, "leverage": 5})
        self.advance(13_000)


@contextlib.contextmanager
def trader(**venue: Any) -> Iterator[Trader]:
    options = SimulatorOptions(
        seed=SEED,
        accounts={ACCOUNT: D(100_000)},
        venue=VenueOptions(**{"perps": TESTNET_PERPS, "address_budget": None, **venue}),
    )
    with running_simulator(options, clock=ManualClock(START_MS)) as thread:
        yield Trader(thread)


def backfill(trading: Trader, ledger: Path, *options: str, account: str = ACCOUNT) -> int:
    return main(
        [
            "backfill",
            *("--network", "simulator", "--simulator-url", trading.url),
            *("--account", account, "--ledger", str(ledger)),
            *options,
        ]
    )


def events_of(ledger: Path) -> list[LedgerEvent]:
    with OrderLedger.open(ledger, writer=False) as opened:
        return [event for _, event in opened.read()]


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    capsys.readouterr()
    assert main([*command, "--json"]) == ExitCode.OK, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


# -- the books -----------------------------------------------------------------------------------------------


def test_a_life_without_books_becomes_a_ledger_that_verifies_and_ends_where_the_venue_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        result = shown_backfill(trading, ledger, capsys, "--from-earliest")
        state = trading.thread.call(
            lambda sim: sim.chain.read({"type": "clearinghouseState", "user": ACCOUNT})
        )
    assert result["findings"] == []
    held = {row["position"]["coin"]: D(row["position"]["szi"]) for row in state["assetPositions"]}
    assert held == {"BTC": D("0.027"), "ETH": D("0.2"), "SOL": D(1)}
    assert {row["trading_pair"]: D(row["amount"]) for row in result["positions"]} == {
        f"{coin}-USD": size for coin, size in held.items()
    }
    assert (result["orders"], result["open_orders"], result["fundings"], result["transfers"]) == (6, 1, 1, 1)
    assert (D(result["opening_cash"]), D(result["cash"])) == (
        D(0),
        D(state["marginSummary"]["totalRawUsd"]),
    )
    assert shown(capsys, "verify", "--ledger", str(ledger))["ok"]
    assert {
        row["trading_pair"]: D(row["amount"]) for row in shown(capsys, "positions", "--ledger", str(ledger))
    } == {f"{coin}-USD": size for coin, size in held.items()}
    assert len(shown(capsys, "fills", "--ledger", str(ledger))) == result["fills"] == 6
    assert len(shown(capsys, "funding", "--ledger", str(ledger))) == 1


def shown_backfill(trading: Trader, ledger: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    capsys.readouterr()
    code = backfill(trading, ledger, *options, "--json")
    captured = capsys.readouterr()
    assert code == ExitCode.OK, captured.out + captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize("cut_ms", [0, 1, 1_000, 1_500, 2_000, 3_000, 4_500, 6_000, 6_001, 8_000, 20_000])
def test_the_books_may_begin_at_any_time_and_end_where_the_venue_is(
    cut_ms: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        result = shown_backfill(trading, ledger, capsys, "--since", since(cut_ms))
    assert result["findings"] == []
    assert result["books_begin_ms"] == START_MS + cut_ms - 1
    assert {row["trading_pair"]: row["venue"] for row in result["positions"]} == {
        "BTC-USD": "0.027",
        "ETH-USD": "0.2",
        "SOL-USD": "1",
    }
    assert shown(capsys, "verify", "--ledger", str(ledger))["ok"]
    orders = shown(capsys, "orders", "--ledger", str(ledger))
    (open_order,) = (row for row in orders if row["state"] in ("open", "partially_filled"))
    assert D(open_order["remaining_amount"]) == D("0.3")
    assert not [row for row in orders if D(row["missing_fill_amount"])]


def test_an_order_that_executed_before_the_books_began_counts_with_the_rest_it_had_then(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        half, whole = trading.place(limit(BTC, True, "43000", "0.04"), limit(ETH, True, "2000", "0.4"))
        trading.fill(half, "0.25")
        trading.fill(whole, "0.5")
        trading.advance(1_000)
        trading.fill(half, "0.5")
        trading.fill(whole)
        trading.advance(1_000)
        assert backfill(trading, ledger, "--since", since(500)) == ExitCode.OK
    orders = folded(ledger)
    assert {oid: (order.amount, order.filled_amount, order.state) for oid, order in orders.items()} == {
        str(half): (D("0.03"), D("0.015"), "partially_filled"),
        str(whole): (D("0.2"), D("0.2"), "filled"),
    }


def test_the_profit_of_a_whole_history_is_the_venues_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        shown_backfill(trading, ledger, capsys, "--from-earliest")
        fills = trading.thread.call(lambda sim: sim.chain.read({"type": "userFills", "user": ACCOUNT}))
    rows = [row for row in shown(capsys, "pnl", "--ledger", str(ledger)) if row["trading_pair"] is None]
    # The venue states each fill's profit to six decimals.
    assert round(D(rows[0]["realised_pnl"]), 6) == sum(D(row["closedPnl"]) for row in fills)


@pytest.mark.parametrize(
    ("cut_ms", "amount"), [(0, "0.06"), (1_500, "0.06"), (2_500, "0.06"), (4_500, "0.05")]
)
def test_amended_orders_and_client_ids_used_twice_reconcile_without_a_finding(
    cut_ms: int, amount: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = str(tmp_path / "ledger.db")
    name = cloid_for("used twice")
    with trader() as trading:
        for price in ("42000", "41000"):
            (oid,) = trading.place(limit(BTC, True, price, "0.04", cloid=name))
            trading.advance(1_000)
            trading.fill(oid, "0.25")
            trading.advance(1_000)
            entry = limit(BTC, True, str(int(price) + 100), "0.05", cloid=name)
            trading.act({"type": "modify", "oid": name, "order": entry})
            trading.advance(1_000)
            trading.fill(name, "1" if price == "42000" else "0.5")
        trading.advance(10_000)
        shown_backfill(trading, Path(ledger), capsys, "--since", since(cut_ms))
        assert shown(capsys, "verify", "--ledger", ledger)["ok"]
        assert main(["reconcile", "--ledger", ledger, "--simulator-url", trading.url]) == ExitCode.OK
        assert "Nothing differs" in capsys.readouterr().out
        # It goes on: what executes now is booked to the latest order of that name.
        trading.fill(name)
        trading.advance(10_000)
        reconcile = ["reconcile", "--apply", "--ledger", ledger, "--simulator-url", trading.url]
        assert main(reconcile) == ExitCode.OK
        assert main(reconcile) == ExitCode.OK
    assert "Nothing differs" in capsys.readouterr().out
    order = folded(Path(ledger))[oids_of(ledger, name)[-1]]
    assert (order.id, order.state, order.amount) == (name, "filled", D(amount))


def oids_of(ledger: str, client_order_id: str) -> tuple[str, ...]:
    with OrderLedger.open(Path(ledger), writer=False) as opened:
        return InFlightOrder.fold(opened.events_of(client_order_id)).exchange_order_ids


SPOT = 10_107


def some_spot_life(trading: Trader) -> None:
    """Tokens bought and sold, of which fees in tokens are paid, and of which some are sent away; in 20 s."""
    trading.act({"type": "usdClassTransfer", "amount": "5000", "toPerp": False, "nonce": START_MS})
    for is_buy, size, price in ((True, "4", "25"), (False, "1.5", "27"), (True, "2", "26")):
        trading.advance(2_000)
        trading.offer("@107", is_buy=not is_buy, size=size, price=price)
        trading.place(limit(SPOT, is_buy, price, size, tif="Ioc"))
    trading.advance(14_000)


def test_a_ledger_with_spot_trades_reconciles_without_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = str(tmp_path / "ledger.db")
    with trader() as trading:
        some_spot_life(trading)
        result = shown_backfill(trading, Path(ledger), capsys, "--from-earliest")
        assert [(row["trading_pair"], row["venue"]) for row in result["positions"]] == [
            ("HYPE-USDC", row["amount"]) for row in result["positions"]
        ]
        assert shown(capsys, "verify", "--ledger", ledger)["ok"]
        assert main(["reconcile", "--ledger", ledger, "--simulator-url", trading.url]) == ExitCode.OK
    said = " ".join(capsys.readouterr().out.split())
    assert "Nothing differs" in said
    assert "1 cash balance compared" in said


def folded(ledger: Path) -> dict[str, InFlightOrder]:
    """The orders of a ledger by exchange id."""
    histories: dict[str, list[LedgerEvent]] = {}
    for event in events_of(ledger):
        if not event.originator_id.startswith("account:"):
            histories.setdefault(event.originator_id, []).append(event)
    orders = (InFlightOrder.fold(events) for events in histories.values())
    return {order.exchange_order_id or "": order for order in orders}


# -- the events ----------------------------------------------------------------------------------------------


def test_events_stand_in_the_order_of_the_venues_time_and_say_what_they_are(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.OK
    events = events_of(ledger)
    assert {event.source for event in events} == {Source.RECONCILIATION}
    times = [event.recorded_at_ns for event in events]
    assert times == sorted(times)
    opened = events[0]
    assert isinstance(opened, AccountOpened)
    assert (opened.network, opened.exchange_time_ms) == ("simulator", START_MS - 1)
    assert all(
        event.originator_id.startswith("external:hyperliquid:") and event.external
        for event in events
        if isinstance(event, OrderCreated)
    )
    assert all(
        event.recorded_at_ns == event.fill.exchange_time_ms * 1_000_000
        for event in events
        if isinstance(event, OrderFilled)
    )
    assert [event.trading_pair for event in events[-3:] if isinstance(event, AccountPositionAsserted)] == [
        "BTC-USD",
        "ETH-USD",
        "SOL-USD",
    ]


def test_two_backfills_give_the_same_events(tmp_path: Path) -> None:
    with trader() as trading:
        trading.some_life()
        assert backfill(trading, tmp_path / "one.db", "--since", since(2_500)) == ExitCode.OK
        trading.advance(60_000)
        assert backfill(trading, tmp_path / "two.db", "--since", since(2_500)) == ExitCode.OK
    one, two = events_of(tmp_path / "one.db"), events_of(tmp_path / "two.db")
    # What the venue says the positions are, it says at another time.
    assert [event for event in one if not is_claim(event)] == [event for event in two if not is_claim(event)]
    assert [without_time(event) for event in one] == [without_time(event) for event in two]


def is_claim(event: LedgerEvent) -> bool:
    return isinstance(event, AccountPositionAsserted) and not event.opening


def without_time(event: LedgerEvent) -> LedgerEvent:
    return msgspec.structs.replace(event, recorded_at_ns=0)


def test_the_past_of_a_backfilled_ledger_can_be_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.OK
    (then,) = shown(capsys, "positions", "--ledger", str(ledger), "--at", since(1_500))
    assert (then["trading_pair"], D(then["amount"])) == ("BTC-USD", D("0.02"))


# -- what the venue does not tell ----------------------------------------------------------------------------


def test_a_history_the_venue_has_forgotten_in_part_is_refused_or_begun_where_it_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader(fills_kept=10) as trading:
        (oid,) = trading.place(limit(BTC, True, "43000", "1"))
        for _ in range(25):
            trading.advance(100)
            trading.thread.call(lambda sim: sim.trade("BTC", is_buy=False, size=D("0.01"), price=D(43000)))
        assert backfill(trading, ledger, "--since", T) == ExitCode.CHECK_FAILED
        said = capsys.readouterr().err
        assert "The venue tells all fills only from 2023-11-14T22:13:21.601Z on" in said
        assert "--from-earliest" in said
        assert not ledger.exists()
        assert backfill(trading, ledger, "--since", T, "--from-earliest") == ExitCode.OK
    assert (
        "note: The venue does not tell all that was before 2023-11-14T22:13:21.601Z: the books begin there."
        in capsys.readouterr().out
    )
    (order,) = folded(ledger).values()
    # The fill that shares its millisecond with forgotten ones, perhaps, is in the opening balance.
    assert (order.exchange_order_id, order.filled_amount, order.amount) == (str(oid), D("0.09"), D("0.84"))
    assert shown(capsys, "verify", "--ledger", str(ledger))["ok"]
    (position,) = shown(capsys, "positions", "--ledger", str(ledger))
    assert D(position["amount"]) == D("0.25")


@pytest.mark.parametrize(
    "read",
    [
        "exchangeStatus",
        "meta",
        "userFillsByTime",
        "historicalOrders",
        "userFunding",
        "userNonFundingLedgerUpdates",
        "frontendOpenOrders",
        "clearinghouseState",
        "spotClearinghouseState",
    ],
)
def test_with_a_part_that_is_not_answered_nothing_is_written(
    read: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.thread.inject(kind="http_status", info=read, count=None, params={"status": 400})
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.UNREACHABLE
    said = capsys.readouterr().err
    assert read in said
    assert "Nothing was written" in said
    assert not ledger.exists()


def test_a_venue_that_is_not_there_is_said_to_be_unreachable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.cli.backfill.ATTEMPTS_MAX", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        arguments = ["--network", "simulator", "--simulator-url", url, "--account", ACCOUNT]
        code = main(["backfill", "--since", T, *arguments, "--ledger", str(tmp_path / "ledger.db")])
    assert code == ExitCode.UNREACHABLE
    assert "connection_refused" in capsys.readouterr().err


def test_what_does_not_add_up_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        (oid,) = trading.place(limit(BTC, True, "43000", "0.04"))
        for _ in range(3):
            trading.advance(1_000)
            trading.fill(oid, "0.25")
        trading.advance(1_000)
        trading.thread.inject(kind="garbage_element", info="historicalOrders", count=None)
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.CHECK_FAILED
    assert "finding: a former order cannot be read" in capsys.readouterr().out
    assert shown(capsys, "verify", "--ledger", str(ledger))["ok"]


# -- refusals ------------------------------------------------------------------------------------------------


def test_a_ledger_that_has_events_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.OK
        before = events_of(ledger)
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.USAGE
    assert f"{ledger} holds {len(before)} events already" in capsys.readouterr().err
    assert events_of(ledger) == before


def test_a_ledger_without_events_is_filled(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    OrderLedger.open(ledger).close()
    with trader() as trading:
        assert backfill(trading, ledger, "--from-earliest") == ExitCode.OK
    assert isinstance(events_of(ledger)[0], AccountOpened)


@pytest.mark.parametrize(
    ("options", "account", "code", "said"),
    [
        ((), ACCOUNT, ExitCode.USAGE, "From when on?"),
        (("--since", "2031-01-01"), ACCOUNT, ExitCode.USAGE, "ahead of the venue's clock"),
        (("--from-earliest",), STRANGER, ExitCode.NOT_FOUND, "does not know the account"),
        (("--from-earliest",), "0x12", ExitCode.USAGE, "not an account address"),
        (("--from-earliest",), "", ExitCode.USAGE, "Whose history?"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(
    options: tuple[str, ...],
    account: str,
    code: ExitCode,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with trader() as trading:
        assert backfill(trading, tmp_path / "ledger.db", *options, account=account) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "ledger.db").exists()


# -- going on ------------------------------------------------------------------------------------------------


def by_hand(sim: Simulator, *entries: dict[str, Any]) -> list[int]:
    """Place orders that rest; their exchange ids."""
    action = {"type": "order", "orders": list(entries), "grouping": "na"}
    answer = sim.chain.apply(
        lambda exchange, now: exchange.execute(ACCOUNT, action, signer=ACCOUNT, now_ms=now)
    )
    return [entry["resting"]["oid"] for entry in answer["response"]["data"]["statuses"]]


def test_a_live_process_goes_on_with_a_backfilled_ledger() -> None:
    async def scenario() -> None:
        async with live(seed=SEED) as running:
            sim = running.sim
            bought, resting, left = by_hand(
                sim,
                limit(BTC, True, "30000", "0.02"),
                limit(BTC, True, "29900", "0.03"),
                limit(BTC, True, "20000", "0.01"),
            )
            sim.run_market(False)
            sim.fill_order(ACCOUNT, bought)
            arguments = ["--network", "simulator", "--simulator-url", sim.url, "--account", ACCOUNT]
            ledger = ["--ledger", str(running.ledger_path)]
            code = await asyncio.to_thread(main, ["backfill", "--from-earliest", *arguments, *ledger])
            assert code == ExitCode.OK
            backfilled = events_of(running.ledger_path)
            sim.fill_order(ACCOUNT, resting, D("0.5"))
            sim.run_market(True)
            async with running.session():
                assert running.connector.books_begin_ms == backfilled[0].exchange_time_ms
                await running.until(
                    "what happened since is booked",
                    lambda: running.connector.position("BTC-USD").amount == D("0.035"),
                )
                await running.agree()
                order = running.connector.order(f"external:hyperliquid:{left}")
                assert order is not None
                assert order.state == "open"
                assert order.external
            events = events_of(running.ledger_path)
            assert events[: len(backfilled)] == backfilled
            assert sum(isinstance(event, AccountOpened) for event in events) == 1

    asyncio.run(scenario())


def test_a_live_process_knows_backfilled_orders_by_their_client_ids_and_goes_on_with_them() -> None:
    """The ledger of a process was lost; another one begins with what the venue tells."""
    generated = "0x018bcfe568000000000000000000abcd"

    async def scenario() -> None:
        async with live(seed=SEED) as running:
            sim = running.sim
            by_hand(
                sim,
                limit(BTC, True, "20000", "0.04", cloid=generated),
                limit(BTC, True, "19000", "0.04", cloid=cloid_for("my own text")),
            )
            sim.run_market(False)
            sim.fill_order(ACCOUNT, generated, D("0.25"))
            # The books begin after this fill: it is in the opening position, and in no order.
            begin = datetime.fromtimestamp((sim.chain.now_ms() + 1) / 1_000, UTC).isoformat()
            sim.advance(1_000)
            sim.fill_order(ACCOUNT, generated, D("0.5"))
            sim.advance(1_000)
            arguments = ["--network", "simulator", "--simulator-url", sim.url, "--account", ACCOUNT]
            ledger = ["--ledger", str(running.ledger_path)]
            code = await asyncio.to_thread(main, ["backfill", "--since", begin, *arguments, *ledger])
            assert code == ExitCode.OK
            sim.run_market(True)
            async with running.session():
                connector = running.connector
                found = {order.client_order_id: order for order in connector.open_orders()}
                assert {key: (order.external, order.remaining_amount) for key, order in found.items()} == {
                    generated: (False, D("0.015")),
                    cloid_for("my own text"): (False, D("0.04")),
                }
                with pytest.raises(DuplicateOrderIdError):
                    connector.buy("BTC-USD", D("0.01"), D(20000), client_order_id="my own text")
                # The amount of the books: 0.03 is what was left of 0.04 when they began.
                connector.amend(generated, D(20500), D("0.035"))
                connector.cancel("my own text")
                await running.until(
                    "both took effect",
                    lambda: (
                        (one := connector.order(generated)) is not None
                        and one.price == D(20500)
                        and (other := connector.order("my own text")) is not None
                        and other.state == "cancelled"
                    ),
                )
                sim.run_market(False)
                sim.fill_order(ACCOUNT, generated)
                await running.until_state(generated, "filled")
                await running.agree()
                assert connector.position("BTC-USD").amount == D("0.045")

    asyncio.run(scenario())


def test_a_lost_ledger_comes_back_with_the_orders_it_had() -> None:
    async def scenario() -> None:
        async with live(seed=SEED) as running:
            sim = running.sim
            async with running.session():
                connector = running.connector
                sim.run_market(False)
                amended = connector.buy("BTC-USD", D("0.04"), running.price("0.9"))
                cancelled = connector.buy("BTC-USD", D("0.02"), running.price("0.8"))
                filled = connector.sell("BTC-USD", D("0.03"), running.price("1.1"), client_order_id="by name")
                for order in (amended, cancelled, filled):
                    await running.until_state(order, "open")
                sim.fill_order(ACCOUNT, amended, D("0.25"))
                await running.until_state(amended, "partially_filled")
                connector.amend(amended, running.price("0.85"), D("0.05"))
                connector.cancel(cancelled)
                sim.fill_order(ACCOUNT, cloid_for(filled))
                await running.until_state(cancelled, "cancelled")
                await running.until_state(filled, "filled")
                await running.until(
                    "the amend took effect",
                    lambda: (
                        (order := connector.tracker.get(amended)) is not None and order.amended_count == 1
                    ),
                )
                await running.agree()
            before = folded(running.ledger_path)
            for path in running.folder.glob("ledger.*"):
                path.unlink()
            sim.advance(10_000)
            arguments = ["--network", "simulator", "--simulator-url", sim.url, "--account", ACCOUNT]
            ledger = ["--ledger", str(running.ledger_path)]
            code = await asyncio.to_thread(main, ["backfill", "--from-earliest", *arguments, *ledger])
            assert code == ExitCode.OK
            assert facts(folded(running.ledger_path)) == facts(before)

    def facts(orders: dict[str, InFlightOrder]) -> dict[str, tuple[object, ...]]:
        return {
            order.venue_order_key: (
                order.exchange_order_ids,
                order.state,
                order.price,
                order.amount,
                order.filled_amount,
                order.average_fill_price,
                order.fees,
                order.is_external,
                tuple(order.fills or ()),
            )
            for order in orders.values()
        }

    asyncio.run(scenario())


def test_a_live_process_leaves_backfilled_spot_positions_as_they_are() -> None:
    async def scenario() -> None:
        async with live(seed=SEED) as running:
            sim = running.sim
            sim.run_market(False)
            action = {"type": "usdClassTransfer", "amount": "5000", "toPerp": False, "nonce": START_MS}
            sim.chain.apply(
                lambda exchange, now: exchange.execute(ACCOUNT, action, signer=ACCOUNT, now_ms=now)
            )
            by_hand(sim, limit(SPOT, True, "25", "4"))
            sim.trade("@107", is_buy=False, size=D(4), price=D(25))
            sim.advance(10_000)
            arguments = ["--network", "simulator", "--simulator-url", sim.url, "--account", ACCOUNT]
            ledger = ["--ledger", str(running.ledger_path)]
            code = await asyncio.to_thread(main, ["backfill", "--from-earliest", *arguments, *ledger])
            assert code == ExitCode.OK
            sim.run_market(True)
            async with running.session(reconcile_every_ns=300_000_000, weight_per_minute=10**6):
                connector = running.connector
                held = connector.position("HYPE-USDC").amount
                assert held == D("3.9984")
                await running.until("a pass is made", lambda: connector.status()["reconciliations"] > 0)
                by_hand(sim, limit(SPOT, False, "26", "1"))
                sim.trade("@107", is_buy=True, size=D(1), price=D(26))
                await running.until(
                    "what is sold is booked", lambda: connector.position("HYPE-USDC").amount == held - 1
                )
                later = connector.status()["reconciliations"] + 2
                await running.until(
                    "the books were compared again", lambda: connector.status()["reconciliations"] >= later
                )
                assert connector.status()["discrepancies_found"] == 0
                assert connector.position("HYPE-USDC").amount == held - 1

    asyncio.run(scenario())


def test_a_backfilled_order_is_found_by_its_client_id_and_by_the_text_that_led_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = str(tmp_path / "ledger.db")
    with trader() as trading:
        trading.place(limit(BTC, True, "43000", "0.02", cloid=cloid_for("my own text")))
        trading.advance(1_000)
        shown_backfill(trading, Path(ledger), capsys, "--from-earliest")
    assert [row["client_order_id"] for row in shown(capsys, "orders", "--ledger", ledger)] == [
        cloid_for("my own text")
    ]
    for name in (cloid_for("my own text"), "my own text"):
        assert shown(capsys, "why", name, "--ledger", ledger)["client_order_id"] == cloid_for("my own text")
        assert main(["why", name, "--ledger", ledger]) == ExitCode.OK
        said = " ".join(capsys.readouterr().out.split())
        assert "Found at the venue, placed before this ledger was kept: buy 0.02 BTC-USD" in said
        assert "recorded input" not in said
        history = shown(capsys, "history", name, "--ledger", ledger)
        assert history["order"]["client_order_id"] == cloid_for("my own text")
    assert main(["why", "another text", "--ledger", ledger]) == ExitCode.NOT_FOUND
    assert "another text" in capsys.readouterr().err


def test_a_backfilled_ledger_reconciles_without_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.db"
    with trader() as trading:
        trading.some_life()
        assert backfill(trading, ledger, "--since", since(2_500)) == ExitCode.OK
        capsys.readouterr()
        code = main(["reconcile", "--ledger", str(ledger), "--simulator-url", trading.url, "--json"])
        said = capsys.readouterr()
    assert code == ExitCode.OK, said.out + said.err
