"""What the venue says, gathered over real sockets from a simulator that lags, fails and forgets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from adapters.hyperliquid.info_client import InfoClient, InfoClientOptions
from adapters.hyperliquid.info_requests import InfoRequest, user_non_funding_ledger_updates
from adapters.hyperliquid.venue_report import (
    AccountIsTrading,
    NotThisAccount,
    OrderToAsk,
    VenueReporter,
    VenueUnreachable,
)
from adapters.simulator.app import Simulator
from adapters.simulator.engine.options import TESTNET_PERPS, VenueOptions
from adapters.simulator.faults import Fault
from domain.discrepancies import OrderAnswer, VenueReport
from domain.enums import TradeType
from domain.updates import UpdateStatus
from tests.support.raw_client import RawClient
from tests.support.venue import (
    ADDRESS,
    BTC,
    ETH,
    OTHER_KEY,
    START_MS,
    cancel,
    cloid,
    limit,
    order,
    statuses,
    venue,
)

D = Decimal
TSLA = 110_000
"""The first market of the first builder-deployed dex (sheet 1.2)."""

QUICK = InfoClientOptions(
    attempts_max=3, timeout_seconds=60.0, retry_base_seconds=0.01, retry_cap_seconds=0.01
)


@contextlib.asynccontextmanager
async def reporter(sim: Simulator, account: str = ADDRESS, **options: Any) -> AsyncIterator[VenueReporter]:
    async with InfoClient(sim.url, options=QUICK, rng=Random(1)) as client:
        yield VenueReporter(client, account, **{"second_look_seconds": 0.0, **options})


async def taken(
    sim: Simulator, *, since: int = 0, ask: tuple[OrderToAsk, ...] = (), **options: Any
) -> VenueReport:
    async with reporter(sim, **options) as asking:
        return await asking.report(fills_from_ms=since, ask_about=ask)


async def rest(client: RawClient, *entries: dict[str, Any]) -> list[int]:
    answered = statuses(await client.act(order(*entries)))
    return [entry["resting"]["oid"] for entry in answered]


def buy_at_most(sim: Simulator, oid: int, times: int) -> None:
    """Sell a little to a resting order, again and again, within one millisecond."""
    for _ in range(times):
        sim.trade("BTC", is_buy=False, size=D("0.001"), price=D(43000))


def execute(sim: Simulator, user: str, action: dict[str, Any]) -> None:
    """Do something for an account that needs another signature than a trade's."""
    sim.chain.apply(lambda exchange, now: exchange.execute(user, action, signer=user, now_ms=now))


def give_collateral(sim: Simulator, dex: str) -> None:
    to_dex = {
        "type": "sendAsset",
        "destination": ADDRESS,
        "sourceDex": "",
        "destinationDex": dex,
        "token": "USDC",
        "amount": "500",
        "fromSubAccount": "",
        "nonce": START_MS,
    }
    execute(sim, ADDRESS, to_dex)


def failing(*kinds: str, status: int = 500) -> list[Fault]:
    return [Fault(kind="http_status", info=kind, count=None, params={"status": status}) for kind in kinds]


# -- the whole -----------------------------------------------------------------------------------------------


def test_a_report_tells_orders_fills_positions_money_and_the_venues_own_time() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (bought, _resting) = await rest(
                client,
                limit(BTC, True, "43000", "0.01", cloid=cloid(1)),
                limit(ETH, True, "2000", "0.1", cloid=cloid(2)),
            )
            sim.fill_order(ADDRESS, bought)
            sim.advance(1_000)
            sim.settle_funding({"BTC": D("0.0001")})
            report = await taken(sim)
        assert report.failures == []
        assert report.taken_at_ms == report.positions_at_ms == START_MS + 1_000
        assert report.open_orders is not None
        assert [update.venue_order_key for update in report.open_orders] == [cloid(2)]
        assert report.fills is not None
        (fill,) = report.fills
        assert (fill.fill.trading_pair, fill.fill.amount, fill.venue_order_key) == (
            "BTC-USD",
            D("0.01"),
            cloid(1),
        )
        assert report.positions is not None
        (position,) = report.positions
        assert (position.trading_pair, position.amount) == ("BTC-USD", D("0.01"))
        assert position.leverage == 20
        assert report.fundings is not None
        (paid,) = report.fundings
        assert paid.amount < 0
        # 43000 * 0.01 went into the position; fee and funding were paid.
        assert report.cash == D(100_000) - D(430) - fill.fill.fee + paid.amount
        assert report.cash_token == "USDC"
        assert report.transfers is not None
        assert [(one.kind, one.cash_effect) for one in report.transfers] == [("deposit", D(100_000))]
        assert report.steps["BTC-USD"] == D("0.00001")
        assert report.fills_window is not None
        assert report.fills_window.complete_from_ms == 0

    asyncio.run(scenario())


def test_orders_and_positions_of_other_dexes_are_told_unless_left_out() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            give_collateral(sim, "xyz")
            (oid,) = await rest(client, limit(TSLA, True, "248", "1"))
            everywhere, on_the_first = await taken(sim), await taken(sim, dexes=("",))
            sim.fill_order(ADDRESS, oid)
            filled = await taken(sim)
        assert everywhere.open_orders is not None
        assert [update.exchange_order_id for update in everywhere.open_orders] == [str(oid)]
        assert on_the_first.open_orders == []
        assert filled.positions is not None
        assert [position.trading_pair for position in filled.positions] == ["xyz:TSLA-USD"]

    asyncio.run(scenario())


def test_cash_is_not_told_where_it_lies_in_the_spot_wallet() -> None:
    async def scenario() -> None:
        async with venue(venue=VenueOptions(abstraction="unifiedAccount")) as (sim, _):
            report = await taken(sim)
        assert report.cash is None
        assert report.positions == []
        assert report.failures == []

    asyncio.run(scenario())


def test_progress_is_told_while_asking() -> None:
    told: list[tuple[str, int, int]] = []

    async def scenario() -> None:
        async with venue() as (sim, client):
            await rest(client, limit(BTC, True, "43000", "0.01"))
            await taken(
                sim,
                ask=(OrderToAsk(client_order_id="mine", venue_order_key=cloid(9)),),
                on_progress=lambda *said: told.append(said),
            )

    asyncio.run(scenario())
    assert {"positions", "open orders", "orders", "fills", "funding", "transfers"} <= {
        what for what, *_ in told
    }
    assert ("orders", 1, 1) in told


# -- paging and what the venue no longer tells ---------------------------------------------------------------


def test_thousands_of_fills_of_few_milliseconds_are_told_once_each() -> None:
    async def scenario() -> None:
        async with venue(venue=_without_budget()) as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "10"))
            for times in (1_300, 900, 400):
                buy_at_most(sim, oid, times)
                sim.advance(1)
            report = await taken(sim, since=START_MS)
            assert report.fills is not None
            keys = [update.fill.fill_key for update in report.fills]
            assert len(keys) == len(set(keys)) == 2_600
            assert report.positions is not None
            assert report.positions[0].amount == sum(update.fill.amount for update in report.fills)
            assert report.failures == []
            assert report.fills_window is not None
            assert report.fills_window.complete_from_ms == START_MS

    asyncio.run(scenario())


def test_a_millisecond_with_more_fills_than_a_page_holds_is_called_incomplete() -> None:
    async def scenario() -> None:
        async with venue(venue=_without_budget()) as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "10"))
            buy_at_most(sim, oid, 2_050)
            sim.advance(1)
            buy_at_most(sim, oid, 1)
            report = await taken(sim, since=START_MS)
            assert report.fills is not None
            assert len(report.fills) == 2_001
            assert report.fills_window is not None
            assert report.fills_window.complete_from_ms == START_MS + 1
            assert any("share the time" in failure for failure in report.failures)

    asyncio.run(scenario())


def test_a_venue_that_has_forgotten_the_first_fills_is_believed_from_the_earliest_it_tells() -> None:
    async def scenario() -> None:
        async with venue(venue=_without_budget(fills_kept=20)) as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "10"))
            for _ in range(50):
                buy_at_most(sim, oid, 1)
                sim.advance(10)
            report = await taken(sim, since=START_MS)
            later = await taken(sim, since=START_MS + 400)
        assert report.fills is not None
        assert report.fills_window is not None
        assert len(report.fills) == 20
        earliest_ms = report.fills[0].fill.exchange_time_ms
        assert earliest_ms == START_MS + 300
        assert report.fills_window.asked_from_ms == START_MS
        assert report.fills_window.complete_from_ms == earliest_ms + 1
        # Asked from a time of which it still tells earlier fills, nothing is missing.
        assert later.fills_window is not None
        assert later.fills_window.complete_from_ms == later.fills_window.asked_from_ms == START_MS + 400

    asyncio.run(scenario())


def _without_budget(**members: Any) -> VenueOptions:
    return VenueOptions(perps=TESTNET_PERPS, address_budget=None, **members)


# -- orders --------------------------------------------------------------------------------------------------


def test_orders_of_ours_that_are_not_listed_are_asked_about_one_by_one() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            listed, gone = await rest(
                client,
                limit(BTC, True, "43000", "0.01", cloid=cloid(1)),
                limit(BTC, True, "42000", "0.01", cloid=cloid(2)),
            )
            await client.act(cancel(BTC, gone))
            report = await taken(
                sim,
                ask=(
                    OrderToAsk(client_order_id="a", venue_order_key=cloid(1), exchange_order_id=str(listed)),
                    OrderToAsk(client_order_id="b", venue_order_key=cloid(2), exchange_order_id=str(gone)),
                    OrderToAsk(client_order_id="c", venue_order_key=cloid(3), expires_at_ms=START_MS - 6_000),
                    OrderToAsk(client_order_id="d", venue_order_key=cloid(4), expires_at_ms=START_MS - 1_000),
                    OrderToAsk(client_order_id="e", venue_order_key=cloid(5)),
                ),
            )
        assert report.asked.keys() == {"b", "c", "d", "e"}
        update = report.asked["b"].update
        assert update is not None
        assert update.status is UpdateStatus.CANCELLED
        assert report.asked["c"] == OrderAnswer(None, is_past_expiry=True)
        assert report.asked["d"] == report.asked["e"] == OrderAnswer(None, is_past_expiry=False)

    asyncio.run(scenario())


def test_a_list_that_lags_behind_is_looked_at_again_before_an_order_counts_as_missing() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            for kind in ("frontendOpenOrders",):
                sim.faults.inject(Fault(kind="stale_open_orders", info=kind, user=ADDRESS, count=1))
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
            mine = OrderToAsk(client_order_id="a", venue_order_key=cloid(1), exchange_order_id=str(oid))
            report = await taken(sim, ask=(mine,), dexes=("",))
        assert report.asked == {}
        assert report.open_orders is not None
        assert [update.exchange_order_id for update in report.open_orders] == [str(oid)]

    asyncio.run(scenario())


def test_an_order_that_is_unknown_only_for_a_moment_is_not_reported_as_unknown() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
            await client.act(cancel(BTC, oid))
            sim.faults.inject(Fault(kind="unknown_oid", count=1))
            mine = OrderToAsk(client_order_id="a", venue_order_key=cloid(1), exchange_order_id=str(oid))
            report = await taken(sim, ask=(mine,))
        update = report.asked["a"].update
        assert update is not None
        assert update.status is UpdateStatus.CANCELLED

    asyncio.run(scenario())


@pytest.mark.parametrize("orders", [3, 70])
def test_the_terms_of_orders_placed_elsewhere_are_told_with_their_fills(orders: int) -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            oids: list[int] = []
            for start in range(0, orders, 35):
                entries = [limit(BTC, True, "43000", "0.001") for _ in range(start, min(orders, start + 35))]
                oids += await rest(client, *entries)
            for oid in oids:
                sim.fill_order(ADDRESS, oid)
            report = await taken(sim, since=START_MS)
            known = frozenset(str(oid) for oid in oids)
            async with reporter(sim) as asking:
                ours = await asking.report(fills_from_ms=START_MS, known_orders=known)
        assert report.details.keys() == {str(oid) for oid in oids}
        for update in report.details.values():
            assert update.details is not None
            assert (update.details.amount, update.details.trade_type) == (D("0.001"), TradeType.BUY)
        assert ours.details == {}

    asyncio.run(scenario())


# -- a venue that fails --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "parts"),
    [
        ("frontendOpenOrders", ("open_orders",)),
        ("userFillsByTime", ("fills", "fills_window")),
        ("userFunding", ("fundings", "fundings_window")),
        ("userNonFundingLedgerUpdates", ("transfers", "transfers_window")),
        ("clearinghouseState", ("positions", "cash")),
        ("userAbstraction", ("cash",)),
    ],
)
def test_a_part_that_stays_unanswered_is_none_and_named_and_the_others_are_told(
    read: str, parts: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            await rest(client, limit(BTC, True, "43000", "0.01"))
            for fault in failing(read):
                sim.faults.inject(fault)
            report = await taken(sim)
        optional = ("open_orders", "fills", "fundings", "transfers", "positions", "cash")
        assert {name for name in optional if getattr(report, name) is None} == set(parts) & set(optional)
        assert all(getattr(report, part) is None for part in parts)
        assert any(read in failure and "HTTP 500" in failure for failure in report.failures)

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [429, 502])
def test_a_venue_that_fails_for_a_moment_is_asked_again(status: int) -> None:
    async def scenario() -> None:
        async with venue() as (sim, _):
            for read in ("userFillsByTime", "frontendOpenOrders", "meta", "exchangeStatus"):
                sim.faults.inject(Fault(kind="http_status", info=read, count=2, params={"status": status}))
            sim.faults.inject(Fault(kind="answer_lost", info="userFunding", count=1))
            report = await taken(sim)
        assert report.failures == []
        assert (report.fills, report.open_orders, report.fundings) == ([], [], [])

    asyncio.run(scenario())


@pytest.mark.parametrize("read", ["exchangeStatus", "meta", "spotMeta", "perpDexs"])
def test_without_the_venues_clock_and_markets_there_is_no_report(read: str) -> None:
    async def scenario() -> None:
        async with venue() as (sim, _):
            for fault in failing(read):
                sim.faults.inject(fault)
            with pytest.raises(VenueUnreachable, match=f"{read} was not answered after 3 attempts"):
                await taken(sim)

    asyncio.run(scenario())


def test_a_venue_that_is_not_there_is_unreachable() -> None:
    async def scenario() -> None:
        with socket.socket() as nobody:
            # Bound and not listening: nobody else takes the port meanwhile.
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            async with InfoClient(url, options=QUICK, rng=Random(1)) as client:
                with pytest.raises(VenueUnreachable, match="connection_refused"):
                    await VenueReporter(client, ADDRESS).report(fills_from_ms=0)

    asyncio.run(scenario())


def test_an_order_whose_status_cannot_be_had_is_not_among_the_answers() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
            await client.act(cancel(BTC, oid))
            sim.faults.inject(
                Fault(
                    kind="http_status", info="orderStatus", cloid=cloid(9), count=None, params={"status": 503}
                )
            )
            report = await taken(
                sim,
                ask=(
                    OrderToAsk(client_order_id="a", venue_order_key=cloid(1)),
                    OrderToAsk(client_order_id="b", venue_order_key=cloid(9)),
                ),
            )
        assert report.asked.keys() == {"a"}
        assert any("orderStatus" in failure and "order b" in failure for failure in report.failures)

    asyncio.run(scenario())


# -- half an answer, and somebody else's ---------------------------------------------------------------------


def test_a_fill_that_cannot_be_read_makes_what_is_older_than_its_neighbour_incomplete() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            oids = await rest(client, limit(BTC, True, "43000", "1"))
            for _ in range(3):
                buy_at_most(sim, oids[0], 1)
                sim.advance(10)
            sim.faults.inject(Fault(kind="garbage_element", info="userFillsByTime", count=1))
            report = await taken(sim)
        assert report.fills is not None
        assert report.fills_window is not None
        assert len(report.fills) == 3
        assert report.fills_window.complete_from_ms == START_MS + 1
        assert any(failure.startswith("fills: a row cannot be read") for failure in report.failures)

    asyncio.run(scenario())


def test_a_list_whose_only_row_cannot_be_read_is_complete_nowhere() -> None:
    async def scenario() -> None:
        async with venue() as (sim, _):
            sim.faults.inject(Fault(kind="garbage_element", info="userFunding", count=None))
            report = await taken(sim)
        assert report.fundings == []
        assert report.fundings_window is not None
        assert report.fundings_window.complete_from_ms > report.fundings_window.until_ms
        assert report.fundings_window.until_ms >= report.positions_at_ms

    asyncio.run(scenario())


def test_an_open_order_that_cannot_be_read_leaves_the_list_unknown_and_what_was_read_counts() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
            sim.faults.inject(Fault(kind="garbage_element", info="frontendOpenOrders", count=None))
            report = await taken(
                sim,
                ask=(OrderToAsk(client_order_id="a", venue_order_key=cloid(1), exchange_order_id=str(oid)),),
            )
        assert report.open_orders is None
        update = report.asked["a"].update
        assert update is not None
        assert update.status is UpdateStatus.OPEN
        assert any("an open order cannot be read" in failure for failure in report.failures)

    asyncio.run(scenario())


def test_half_a_list_of_positions_is_none() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01"))
            sim.fill_order(ADDRESS, oid)
            sim.faults.inject(Fault(kind="garbage_element", info="clearinghouseState", count=None))
            report = await taken(sim)
        assert report.positions is None
        assert report.cash is None
        assert any("clearinghouseState cannot be read" in failure for failure in report.failures)

    asyncio.run(scenario())


def test_a_status_nobody_knows_is_no_answer() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
            await client.act(cancel(BTC, oid))
            sim.faults.inject(Fault(kind="unknown_status", info="orderStatus", count=None))
            mine = OrderToAsk(client_order_id="a", venue_order_key=cloid(1), exchange_order_id=str(oid))
            report = await taken(sim, ask=(mine,))
        assert report.asked == {}
        assert any("frozenByCommittee" in failure for failure in report.failures)

    asyncio.run(scenario())


def test_an_agents_address_is_not_taken_for_an_account_without_orders() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client), RawClient(sim.url, OTHER_KEY) as agent:
            sim.approve_agent(client.address, agent.address, "bot")
            with pytest.raises(NotThisAccount, match=f"trades for {ADDRESS}"):
                async with reporter(sim, agent.address) as asking:
                    await asking.report(fills_from_ms=0)

    asyncio.run(scenario())


def test_an_account_the_venue_never_saw_has_no_report() -> None:
    async def scenario() -> None:
        async with venue() as (sim, _), reporter(sim, "0x" + "9" * 40) as asking:
            with pytest.raises(NotThisAccount, match="does not know the account"):
                await asking.report(fills_from_ms=0)

    asyncio.run(scenario())


# -- a venue that goes on while it is asked ------------------------------------------------------------------


class Meddling(InfoClient):
    """Lets something happen at the venue right after a question of one kind was answered, each time."""

    def __init__(self, url: str, kind: str, happen: Callable[[], object]) -> None:
        super().__init__(url, options=QUICK, rng=Random(1))
        self.kind = kind
        self.happen = happen

    async def ask(self, request: InfoRequest) -> bytes:
        answer = await super().ask(request)
        if request.body["type"] == self.kind:
            self.happen()
        return answer


def test_states_of_several_dexes_are_brought_to_one_time() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            give_collateral(sim, "xyz")
            (tesla,) = await rest(client, limit(TSLA, True, "248", "1"))
            sim.fill_order(ADDRESS, tesla, D("0.5"))
            sim.advance(1_000)

            def fill_more() -> None:
                sim.advance(10)
                if sim.exchange.info({"type": "openOrders", "user": ADDRESS, "dex": "xyz"}, now_ms=0):
                    sim.fill_order(ADDRESS, tesla)

            async with Meddling(sim.url, "clearinghouseState", fill_more) as meddling:
                report = await VenueReporter(meddling, ADDRESS).report(fills_from_ms=START_MS)
        assert report.positions_at_ms == START_MS + 1_000
        assert report.positions is not None
        assert [(p.trading_pair, p.amount) for p in report.positions] == [("xyz:TSLA-USD", D("0.5"))]
        assert report.cash is None
        assert report.fills is not None
        assert [update.fill.exchange_time_ms - START_MS for update in report.fills] == [0, 1_010]

    asyncio.run(scenario())


def test_a_history_is_read_again_until_the_account_keeps_still() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.1"))
            meddled: list[int] = []

            def fill_twice() -> None:
                if len(meddled) < 2:
                    sim.advance(10)
                    buy_at_most(sim, oid, 1)
                    meddled.append(oid)

            async with Meddling(sim.url, "clearinghouseState", fill_twice) as meddling:
                history = await VenueReporter(meddling, ADDRESS, dexes=("",)).history(0)
        assert history.report.fills is not None
        assert len(history.report.fills) == 2
        assert history.report.positions is not None
        assert history.report.positions[0].amount == D("0.002")
        assert history.placed_ms == {str(oid): START_MS}

    asyncio.run(scenario())


def test_an_account_that_does_not_keep_still_has_no_history() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            (oid,) = await rest(client, limit(BTC, True, "43000", "0.1"))

            def fill() -> None:
                sim.advance(10)
                buy_at_most(sim, oid, 1)

            async with Meddling(sim.url, "clearinghouseState", fill) as meddling:
                with pytest.raises(AccountIsTrading, match="Stop what trades on it"):
                    await VenueReporter(meddling, ADDRESS).history(0)

    asyncio.run(scenario())


def test_an_answer_about_somebody_elses_transfers_is_not_used() -> None:
    async def scenario() -> None:
        async with venue() as (sim, _):
            other, third = "0x" + "2" * 40, "0x" + "3" * 40
            sim.create_account(other, D(1_000))
            sent = {"type": "usdSend", "destination": third, "amount": "5", "time": START_MS}
            execute(sim, other, sent)

            class Mistaken(InfoClient):
                async def ask(self, request: InfoRequest) -> bytes:
                    if request.body["type"] == "userNonFundingLedgerUpdates":
                        request = user_non_funding_ledger_updates(other, 0)
                    return await super().ask(request)

            async with Mistaken(sim.url, options=QUICK) as mistaken:
                report = await VenueReporter(mistaken, ADDRESS).report(fills_from_ms=0)
        assert report.transfers is None
        assert report.transfers_window is None
        assert any("about other accounts" in failure for failure in report.failures)

    asyncio.run(scenario())
