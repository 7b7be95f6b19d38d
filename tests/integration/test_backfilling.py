"""Books out of a venue's history: any life, begun anywhere, ends where the venue is; what lacks is said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.backfilling import Backfill, backfill
from adapters.hyperliquid.info_client import InfoClient
from adapters.hyperliquid.venue_report import AccountHistory, VenueReporter
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.clock import ManualClock
from adapters.simulator.counterparty import CannotTrade
from adapters.simulator.engine.options import SPOT_PAIRS, TESTNET_PERPS, SpotPairSpec, VenueOptions
from domain.enums import OrderState, OrderType
from domain.events import (
    AccountBalanceAsserted,
    AccountFillBooked,
    AccountPositionAsserted,
    LedgerEvent,
    OrderFilled,
)
from domain.in_flight_order import InFlightOrder
from domain.position import Position
from domain.updates import UpdateStatus
from tests.support.venue import ADDRESS, BTC, ETH, START_MS, limit
from tests.support.venue import cloid as venue_cloid

D = Decimal
PRICES = {"BTC": D(43000), "ETH": D(2000)}
ASSETS = {"BTC": BTC, "ETH": ETH}


def history_of(live: Callable[[Simulator], None], *, since_ms: int = 0, **options: Any) -> AccountHistory:
    """What the venue tells after a life on it."""

    async def scenario() -> AccountHistory:
        chosen = SimulatorOptions(
            accounts={ADDRESS: D(1_000_000)},
            venue=VenueOptions(perps=TESTNET_PERPS, address_budget=None, automatic_funding=False, **options),
        )
        async with Simulator(chosen, clock=ManualClock(START_MS)) as sim:
            live(sim)
            async with InfoClient(sim.url, rng=Random(1)) as client:
                return await VenueReporter(client, ADDRESS).history(since_ms)

    return asyncio.run(scenario())


def books(history: AccountHistory, begin_ms: int = START_MS - 1) -> Backfill:
    return backfill(history, venue="hyperliquid", network="simulator", account=ADDRESS, begin_ms=begin_ms)


def act(sim: Simulator, action: dict[str, Any]) -> None:
    answer = sim.chain.apply(
        lambda exchange, now: exchange.execute(ADDRESS, action, signer=ADDRESS, now_ms=now)
    )
    assert answer["status"] == "ok", answer


def place(sim: Simulator, *entries: dict[str, Any]) -> list[int]:
    action = {"type": "order", "orders": list(entries), "grouping": "na"}
    answer = sim.chain.apply(
        lambda exchange, now: exchange.execute(ADDRESS, action, signer=ADDRESS, now_ms=now)
    )
    statuses = answer["response"]["data"]["statuses"]
    return [
        (status.get("resting") or status["filled"])["oid"] for status in statuses if "error" not in status
    ]


def modify(sim: Simulator, oid: int, entry: dict[str, Any]) -> None:
    action = {"type": "modify", "oid": oid, "order": entry}
    sim.chain.apply(lambda exchange, now: exchange.execute(ADDRESS, action, signer=ADDRESS, now_ms=now))


def folded(events: Iterable[LedgerEvent]) -> dict[str, InFlightOrder]:
    histories: dict[str, list[LedgerEvent]] = {}
    for event in events:
        if not event.originator_id.startswith("account:"):
            histories.setdefault(event.originator_id, []).append(event)
    return {key: InFlightOrder.fold(history) for key, history in histories.items()}


def positions_of(events: Iterable[LedgerEvent]) -> dict[str, Position]:
    """The books' positions, folded from the events alone."""
    found: dict[str, Position] = {}
    for event in events:
        if isinstance(event, OrderFilled | AccountFillBooked):
            fill = event.fill
            position = found.setdefault(fill.trading_pair, Position(trading_pair=fill.trading_pair))
            position.apply_fill(
                fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl
            )
        elif isinstance(event, AccountPositionAsserted) and (event.opening or event.adjustment):
            position = found.setdefault(event.trading_pair, Position(trading_pair=event.trading_pair))
            position.assert_opening(event.amount, event.entry_price)
    return found


# -- any life, begun anywhere --------------------------------------------------------------------------------

STEPS = 60


class Life:
    """Does what comes to its mind; whatever the venue refuses did not happen."""

    def __init__(self, sim: Simulator, chance: Random) -> None:
        self.sim = sim
        self.chance = chance
        self.cloids = 0
        self.resting: list[tuple[str, int]] = []

    def step(self) -> None:
        ways = (self.rest, self.fill, self.fill, self.cancel, self.amend, self.take, self.take)
        way = self.chance.choice((*ways, self.deleverage, self.funding, self.wait, self.wait, self.wait))
        with contextlib.suppress(CannotTrade):
            way(self.chance.choice(sorted(PRICES)))

    def lots(self) -> str:
        return f"0.{self.chance.randint(1, 9):02d}"

    def cloid(self) -> str | None:
        """None at all, a new one, or one that may have been used before."""
        self.cloids += 1
        number = self.chance.choice((None, self.cloids, self.cloids, 1_000 + self.chance.randint(1, 3)))
        return None if number is None else venue_cloid(number)

    def rest(self, coin: str) -> None:
        is_buy = self.chance.random() < 0.5
        price = (PRICES[coin] * (D("0.9") if is_buy else D("1.1"))).quantize(D(1))
        entry = limit(ASSETS[coin], is_buy, str(price), self.lots(), cloid=self.cloid())
        self.resting += [(coin, oid) for oid in place(self.sim, entry)]

    def fill(self, _coin: str) -> None:
        if self.resting:
            _, oid = self.chance.choice(self.resting)
            self.sim.fill_order(ADDRESS, oid, D(self.chance.choice(("0.3", "0.5", "1"))))

    def cancel(self, _coin: str) -> None:
        if self.resting:
            coin, oid = self.resting.pop(self.chance.randrange(len(self.resting)))
            action = {"type": "cancel", "cancels": [{"a": ASSETS[coin], "o": oid}]}
            self.sim.chain.apply(
                lambda exchange, now: exchange.execute(ADDRESS, action, signer=ADDRESS, now_ms=now)
            )

    def amend(self, _coin: str) -> None:
        """A new leg under a new exchange id; the old one is cancelled."""
        listed = self.sim.chain.read({"type": "openOrders", "user": ADDRESS})
        if listed:
            row = self.chance.choice(listed)
            price = row["limitPx"].removesuffix(".0")
            cloid = row.get("cloid") if self.chance.random() < 0.8 else self.cloid()
            entry = limit(ASSETS[row["coin"]], row["side"] == "B", price, self.lots(), cloid=cloid)
            modify(self.sim, row["oid"], entry)
            listed = self.sim.chain.read({"type": "openOrders", "user": ADDRESS})
            self.resting = [(row["coin"], row["oid"]) for row in listed]

    def take(self, coin: str) -> None:
        is_buy = self.chance.random() < 0.5
        price = PRICES[coin]
        self.sim.trade(coin, is_buy=not is_buy, size=D(self.lots()), price=price)
        reduce_only = self.chance.random() < 0.3
        terms = (ASSETS[coin], is_buy, str(price), self.lots())
        place(self.sim, limit(*terms, tif="Ioc", reduce_only=reduce_only, cloid=self.cloid()))

    def deleverage(self, coin: str) -> None:
        with contextlib.suppress(ValueError):
            self.sim.auto_deleverage(ADDRESS, coin, D("0.01"))

    def funding(self, _coin: str) -> None:
        # A market pays once in a block; the venue pays once an hour.
        self.sim.advance(1)
        self.sim.settle_funding({"BTC": D("0.0001"), "ETH": D("-0.0002")})

    def wait(self, _coin: str) -> None:
        self.sim.advance(self.chance.randint(1, 3))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_any_life_begun_at_any_time_ends_where_the_venue_is(seed: int) -> None:
    def live(sim: Simulator) -> None:
        life = Life(sim, Random(seed))
        for _ in range(STEPS):
            life.step()

    history = history_of(live)
    fills = [update.fill for update in history.report.fills or ()]
    assert fills
    for begin_ms in range(START_MS - 1, history.report.taken_at_ms):
        made = books(history, begin_ms)
        assert_ends_where_the_venue_is(made, history)
        booked = [event.fill for event in made.events if isinstance(event, OrderFilled | AccountFillBooked)]
        since = {fill.fill_key for fill in fills if fill.exchange_time_ms > begin_ms}
        assert {fill.fill_key for fill in booked} == since
        assert len(booked) == len(since)
    # From the very beginning: the venue's own figures, to its six decimals.
    made = books(history)
    profit = sum((position.realised_pnl for position in positions_of(made.events).values()), D(0))
    told = sum((fill.closed_pnl or D(0) for fill in fills), D(0))
    assert abs(profit - told) <= D("0.000001") * len(fills)
    assert made.opening_cash is not None
    assert abs(made.opening_cash) <= D("0.000001")


def assert_ends_where_the_venue_is(made: Backfill, history: AccountHistory) -> None:
    assert made.findings == []
    held = {position.trading_pair: position.amount for position in history.report.positions or ()}
    amounts = {pair: position.amount for pair, position in positions_of(made.events).items()}
    assert {pair: amount for pair, amount in amounts.items() if amount} == held
    listed = {
        update.exchange_order_id: update.remaining_amount for update in history.report.open_orders or ()
    }
    orders = folded(made.events)
    assert {
        order.exchange_order_id: order.remaining_amount for order in orders.values() if not order.is_done
    } == listed
    assert [order.id for order in orders.values() if order.missing_fill_amount or order.overfilled] == []
    times = [event.recorded_at_ns for event in made.events]
    assert times == sorted(times)


# -- client ids ----------------------------------------------------------------------------------------------


def test_an_order_with_a_client_id_is_kept_under_it_as_one_of_ours() -> None:
    def live(sim: Simulator) -> None:
        (filled,) = place(sim, limit(BTC, True, "43000", "0.04", cloid=venue_cloid(1)))
        sim.advance(5)
        sim.fill_order(ADDRESS, filled)
        sim.advance(5)
        place(sim, limit(BTC, True, "42000", "0.04", cloid=venue_cloid(2)), limit(ETH, True, "1900", "0.5"))

    made = books(history_of(live))
    assert made.findings == []
    assert made.open_orders == 2
    orders = folded(made.events)
    assert [(order.id, order.state, order.is_external) for order in orders.values()] == [
        (venue_cloid(1), OrderState.FILLED, False),
        (venue_cloid(2), OrderState.OPEN, False),
        (f"external:hyperliquid:{[*orders.values()][2].exchange_order_id}", OrderState.OPEN, True),
    ]


def amended(sim: Simulator) -> None:
    (first,) = place(sim, limit(BTC, True, "43000", "0.04", cloid=venue_cloid(1)))
    sim.advance(5)
    sim.fill_order(ADDRESS, first, D("0.25"))
    sim.advance(5)
    modify(sim, first, limit(BTC, True, "42500", "0.05", cloid=venue_cloid(1)))
    sim.advance(5)
    (row,) = sim.chain.read({"type": "openOrders", "user": ADDRESS})
    sim.fill_order(ADDRESS, row["oid"], D("0.2"))
    sim.advance(5)
    modify(sim, row["oid"], limit(BTC, True, "42000", "0.03", cloid=venue_cloid(1)))
    sim.advance(5)


@pytest.mark.parametrize(
    ("cut_ms", "legs", "amount", "filled"),
    [(-1, 3, "0.05", "0.02"), (5, 3, "0.04", "0.01"), (10, 2, "0.04", "0.01"), (15, 2, "0.03", "0")],
)
def test_the_legs_of_an_amended_order_are_one_order(cut_ms: int, legs: int, amount: str, filled: str) -> None:
    history = history_of(amended)
    made = books(history, START_MS + cut_ms)
    assert_ends_where_the_venue_is(made, history)
    (order,) = folded(made.events).values()
    assert (order.id, len(order.exchange_order_ids), order.state) == (
        venue_cloid(1),
        legs,
        OrderState.PARTIALLY_FILLED if D(filled) else OrderState.OPEN,
    )
    assert (order.price, order.amount, order.filled_amount) == (D(42000), D(amount), D(filled))


def test_an_order_that_is_amended_twice_and_executed_within_one_millisecond_goes_on() -> None:
    def live(sim: Simulator) -> None:
        (oid,) = place(sim, limit(BTC, True, "43000", "0.04", cloid=venue_cloid(1)))
        sim.fill_order(ADDRESS, oid, D("0.5"))
        for amount in ("0.05", "0.03"):
            (row,) = sim.chain.read({"type": "openOrders", "user": ADDRESS})
            modify(sim, row["oid"], limit(BTC, True, "43000", amount, cloid=venue_cloid(1)))
        (row,) = sim.chain.read({"type": "openOrders", "user": ADDRESS})
        sim.fill_order(ADDRESS, row["oid"], D("0.5"))

    history = history_of(live)
    made = books(history)
    assert_ends_where_the_venue_is(made, history)
    (order,) = folded(made.events).values()
    assert (order.id, len(order.exchange_order_ids)) == (venue_cloid(1), 3)
    assert (order.filled_amount, order.remaining_amount) == (D("0.035"), D("0.015"))


def test_what_the_venue_refused_took_the_place_of_no_order() -> None:
    def live(sim: Simulator) -> None:
        (oid,) = place(sim, limit(BTC, True, "43000", "0.04", cloid=venue_cloid(1)))
        sim.fill_order(ADDRESS, oid, D("0.5"))
        act(sim, {"type": "cancel", "cancels": [{"a": BTC, "o": oid}]})
        place(sim, limit(BTC, True, "43000", "0.04", tif="Ioc", reduce_only=True, cloid=venue_cloid(1)))

    history = history_of(live)
    made = books(history)
    assert_ends_where_the_venue_is(made, history)
    assert [(order.state, order.filled_amount) for order in folded(made.events).values()] == [
        (OrderState.CANCELLED, D("0.02")),
        (OrderState.FAILED, D(0)),
    ]


def test_of_several_orders_under_one_client_id_the_latest_has_it() -> None:
    def live(sim: Simulator) -> None:
        for price in ("43000", "42000"):
            (oid,) = place(sim, limit(BTC, True, price, "0.04", cloid=venue_cloid(1)))
            sim.advance(5)
            sim.fill_order(ADDRESS, oid)
            sim.advance(5)

    history = history_of(live)
    made = books(history)
    assert_ends_where_the_venue_is(made, history)
    orders = folded(made.events)
    assert [(order.is_external, order.filled_amount) for order in orders.values()] == [
        (True, D("0.04")),
        (False, D("0.04")),
    ]
    assert [*orders][1] == venue_cloid(1)
    assert orders[venue_cloid(1)].price == D(42000)


def test_two_open_orders_under_one_client_id_are_known_by_their_exchange_ids() -> None:
    def live(sim: Simulator) -> None:
        entries = [limit(BTC, True, price, "0.04", cloid=venue_cloid(1)) for price in ("42000", "43000")]
        place(sim, *entries)

    history = history_of(live, duplicate_cloid="accept")
    made = books(history)
    assert_ends_where_the_venue_is(made, history)
    assert [order.is_external for order in folded(made.events).values()] == [True, True]


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("cut_ms", [-1, 3, 5])
def test_a_stop_that_fires_is_one_order_whether_or_not_it_keeps_its_exchange_id(
    cut_ms: int, keeps: bool
) -> None:
    def live(sim: Simulator) -> None:
        (bought,) = place(sim, limit(BTC, True, "43000", "0.05"))
        sim.fill_order(ADDRESS, bought)
        stop = limit(BTC, False, "40000", "0.05", reduce_only=True, cloid=venue_cloid(1))
        stop["t"] = {"trigger": {"isMarket": True, "triggerPx": "41000", "tpsl": "sl"}}
        place(sim, stop)
        sim.advance(10)
        sim.trade("BTC", is_buy=True, size=D(1), price=D(40900))
        sim.set_mark_price("BTC", D(40950))

    history = history_of(live, trigger_keeps_oid=keeps)
    made = books(history, START_MS + cut_ms)
    assert_ends_where_the_venue_is(made, history)
    order = folded(made.events)[venue_cloid(1)]
    assert (order.state, order.filled_amount, order.triggered) == (OrderState.FILLED, D("0.05"), True)
    assert len(order.exchange_order_ids) == (1 if keeps else 2)


def test_an_order_that_is_known_by_its_fills_alone_has_the_client_id_that_these_tell() -> None:
    def live(sim: Simulator) -> None:
        place(sim, limit(BTC, True, "43000", "0.04", cloid=venue_cloid(7)))
        bought_in_parts(sim)

    forgotten = msgspec.structs.replace(history_of(live), orders=[], placed_ms={})
    made = books(forgotten)
    assert made.findings == []
    assert venue_cloid(7) in folded(made.events)


# -- what is missing, and what is odd ------------------------------------------------------------------------


def bought_in_parts(sim: Simulator) -> None:
    place(sim, limit(BTC, True, "43000", "0.04"))
    for _ in range(4):
        sim.advance(10)
        sim.trade("BTC", is_buy=False, size=D("0.01"), price=D(43000))


def without_fill(history: AccountHistory, index: int) -> AccountHistory:
    fills = list(history.report.fills or ())
    del fills[index]
    return msgspec.structs.replace(history, report=msgspec.structs.replace(history.report, fills=fills))


def test_a_fill_that_is_missing_in_the_middle_is_found_by_the_chain_of_positions() -> None:
    made = books(without_fill(history_of(bought_in_parts), 1))
    gap, order, end = made.findings
    assert gap == (
        f"BTC-USD: fills of 0.01 in all are missing between {START_MS + 10} and {START_MS + 30} (ms): "
        "the venue does not tell them."
    )
    assert "calls it filled, and 0.01 of 0.04 is in no fill it tells" in order
    assert end == "BTC-USD: the books end at 0.03, and the venue says 0.04."
    # What is known to be untrue is not claimed.
    assert [event for event in made.events if isinstance(event, AccountPositionAsserted)] == []


def test_a_fill_that_is_missing_at_the_end_is_found_by_the_position() -> None:
    made = books(without_fill(history_of(bought_in_parts), 3))
    assert made.findings[-1] == "BTC-USD: the books end at 0.03, and the venue says 0.04."


def test_fills_that_do_not_tell_what_they_started_from_are_counted_back_from_the_present() -> None:
    history = history_of(bought_in_parts)
    fills = [
        msgspec.structs.replace(
            update, fill=msgspec.structs.replace(update.fill, start_position=None, closed_pnl=None)
        )
        for update in history.report.fills or ()
    ]
    old = msgspec.structs.replace(history, report=msgspec.structs.replace(history.report, fills=fills))
    made = books(old, START_MS + 15)
    assert made.findings == []
    assert positions_of(made.events)["BTC-USD"].amount == D("0.04")
    assert [(p.opening, p.amount) for p in made.positions] == [(D("0.01"), D("0.04"))]


def test_fills_of_one_millisecond_are_booked_in_the_order_of_their_positions() -> None:
    def live(sim: Simulator) -> None:
        place(sim, limit(BTC, True, "43000", "0.04"))
        for _ in range(4):
            sim.trade("BTC", is_buy=False, size=D("0.01"), price=D(43000))

    history = history_of(live)
    fills = [
        msgspec.structs.replace(update, fill=msgspec.structs.replace(update.fill, fill_key=f"BTC:1:{key}"))
        for key, update in zip("dbca", history.report.fills or (), strict=True)
    ]
    shuffled = msgspec.structs.replace(history.report, fills=[fills[place] for place in (2, 0, 3, 1)])
    made = books(msgspec.structs.replace(history, report=shuffled))
    assert [event.fill.start_position for event in made.events if isinstance(event, OrderFilled)] == [
        D("0"),
        D("0.01"),
        D("0.02"),
        D("0.03"),
    ]


def test_an_order_that_the_venue_has_forgotten_is_known_by_its_fills() -> None:
    history = history_of(bought_in_parts)
    forgotten = msgspec.structs.replace(history, orders=[], placed_ms={})
    made = books(forgotten)
    assert made.findings == []
    (order,) = folded(made.events).values()
    assert (order.amount, order.filled_amount, order.state) == (D("0.04"), D("0.04"), OrderState.FILLED)


def test_an_order_that_is_neither_listed_nor_ended_is_a_finding_and_stays_open() -> None:
    def live(sim: Simulator) -> None:
        place(sim, limit(BTC, True, "43000", "0.04"))

    history = history_of(live)
    lost = msgspec.structs.replace(history, report=msgspec.structs.replace(history.report, open_orders=[]))
    made = books(lost)
    assert len(made.findings) == 1
    assert "neither lists it as open nor says how it ended" in made.findings[0]
    assert made.open_orders == 1


def liquidated(sim: Simulator) -> None:
    bought, _ = place(sim, limit(BTC, True, "43000", "0.04"), limit(BTC, True, "40000", "0.01"))
    sim.advance(10)
    sim.fill_order(ADDRESS, bought)
    sim.advance(10)
    sim.trade("BTC", is_buy=True, size=D(1), price=D(39000))
    sim.liquidate(ADDRESS, "BTC")


def test_a_liquidation_belongs_to_the_venues_own_order_and_the_orders_it_ended_are_cancelled() -> None:
    made = books(history_of(liquidated))
    assert made.findings == []
    assert [event.fill.liquidation for event in made.events if isinstance(event, OrderFilled)] == [
        False,
        True,
    ]
    states = [order.state for order in folded(made.events).values()]
    assert states == [OrderState.FILLED, OrderState.CANCELLED, OrderState.FILLED]
    assert positions_of(made.events)["BTC-USD"].amount == 0


def test_a_liquidation_whose_order_the_venue_does_not_tell_belongs_to_the_account() -> None:
    history = history_of(liquidated)
    liquidation = (history.orders or ())[-1].exchange_order_id
    told = [update for update in history.orders or () if update.exchange_order_id != liquidation]
    made = books(msgspec.structs.replace(history, orders=told))
    assert made.findings == []
    assert [event.fill.liquidation for event in made.events if isinstance(event, AccountFillBooked)] == [True]
    assert len(folded(made.events)) == 2


@pytest.mark.parametrize("mode", ["unifiedAccount", "portfolioMargin"])
def test_cash_that_is_a_spot_balance_is_not_followed_and_that_is_said(mode: str) -> None:
    history = history_of(bought_in_parts, abstraction=mode)
    made = books(history)
    assert_ends_where_the_venue_is(made, history)
    assert made.opening_cash is None
    assert [note[:70] for note in made.notes] == [
        "The collateral is no balance of the perpetuals' own (a unified or port"
    ]
    assert not [event for event in made.events if isinstance(event, AccountBalanceAsserted)]


def mode_changed(sim: Simulator) -> None:
    """To a unified account and back, after which the collateral lies elsewhere; nothing lists that."""
    sim.advance(5)
    for mode in ("unifiedAccount", "disabled"):
        act(sim, {"type": "userSetAbstraction", "user": ADDRESS, "abstraction": mode, "nonce": START_MS})
    sim.advance(5)
    act(sim, {"type": "usdClassTransfer", "amount": "5000", "toPerp": True, "nonce": START_MS})


def test_cash_that_moved_in_ways_the_venue_does_not_list_is_not_guessed() -> None:
    made = books(history_of(mode_changed))
    assert made.opening_cash is None
    assert made.notes == [
        "What the cash was when the books began is not known: counted back from the present, the account "
        "would have begun with -1000000 USDC instead of nothing, so something moved it that the venue does "
        "not list (such as a change of the account's mode)."
    ]


def test_cash_after_a_transfer_of_an_unknown_kind_is_not_guessed() -> None:
    history = history_of(bought_in_parts)
    (transfer,) = history.report.transfers or ()
    odd = msgspec.structs.replace(transfer, kind="news", detail='{"type":"news"}')
    made = books(
        msgspec.structs.replace(history, report=msgspec.structs.replace(history.report, transfers=[odd]))
    )
    assert made.opening_cash is None
    assert made.notes == [
        "What the cash was when the books began is not known: what this record did to it cannot be told, "
        '{"type":"news"}.'
    ]


def test_cash_of_markets_that_settle_in_another_token_is_not_guessed() -> None:
    history = history_of(bought_in_parts)
    fills = [
        msgspec.structs.replace(update, fill=msgspec.structs.replace(update.fill, fee_token="USDH"))
        for update in history.report.fills or ()
    ]
    made = books(
        msgspec.structs.replace(history, report=msgspec.structs.replace(history.report, fills=fills))
    )
    assert made.opening_cash is None
    assert "BTC-USD settles in USDH" in made.notes[0]


@pytest.mark.parametrize("cut_ms", [-1, 0, 5])
def test_a_stop_that_was_triggered_and_its_sibling_that_was_not_end_as_the_venue_says(cut_ms: int) -> None:
    def live(sim: Simulator) -> None:
        (bought,) = place(sim, limit(BTC, True, "43000", "0.05"))
        sim.fill_order(ADDRESS, bought)
        sim.advance(5)
        stop = limit(BTC, False, "40000", "0.05", reduce_only=True)
        stop["t"] = {"trigger": {"isMarket": True, "triggerPx": "41000", "tpsl": "sl"}}
        target = limit(BTC, False, "50000", "0.05", reduce_only=True)
        target["t"] = {"trigger": {"isMarket": False, "triggerPx": "50000", "tpsl": "tp"}}
        action = {"type": "order", "orders": [stop, target], "grouping": "positionTpsl"}
        sim.chain.apply(lambda exchange, now: exchange.execute(ADDRESS, action, signer=ADDRESS, now_ms=now))
        sim.advance(5)
        sim.trade("BTC", is_buy=True, size=D("0.03"), price=D(40900))
        sim.set_mark_price("BTC", D(40950))

    made = books(history_of(live), START_MS + cut_ms)
    assert made.findings == []
    *_, stop, target = folded(made.events).values()
    assert (stop.created.order_type, stop.triggered) == (OrderType.STOP_MARKET, True)
    # What a stop at the market leaves unfilled is dropped; the venue's word for it is that of a cancel.
    assert (stop.state, stop.reason_code) == (OrderState.EXPIRED, "ioc_remainder")
    assert stop.filled_amount == D("0.03")
    assert (target.created.order_type, target.triggered) == (OrderType.TAKE_PROFIT_LIMIT, False)
    assert (target.state, target.reason_code) == (OrderState.CANCELLED, "sibling_filled")
    assert positions_of(made.events)["BTC-USD"].amount == D("0.02")


@pytest.mark.parametrize(
    ("reduce_only", "end"),
    [(False, (OrderState.EXPIRED, "ioc_remainder")), (True, (OrderState.CANCELLED, "reduce_only_shrunk"))],
)
def test_a_triggered_stop_that_is_called_filled_short_of_its_amount_ends_with_what_it_executed(
    reduce_only: bool, end: tuple[OrderState, str]
) -> None:
    def live(sim: Simulator) -> None:
        (bought,) = place(sim, limit(BTC, True, "43000", "0.05"))
        sim.fill_order(ADDRESS, bought)
        sim.advance(5)
        stop = limit(BTC, False, "40000", "0.05", reduce_only=reduce_only)
        stop["t"] = {"trigger": {"isMarket": True, "triggerPx": "41000", "tpsl": "sl"}}
        place(sim, stop)
        sim.advance(5)
        sim.trade("BTC", is_buy=True, size=D("0.03"), price=D(40900))
        sim.set_mark_price("BTC", D(40950))

    history = history_of(live)
    told = [
        msgspec.structs.replace(update, status=UpdateStatus.FILLED, remaining_amount=None)
        if update.status is UpdateStatus.CANCELLED
        else update
        for update in history.orders or ()
    ]
    made = books(msgspec.structs.replace(history, orders=told))
    assert made.findings == []
    *_, stop = folded(made.events).values()
    assert (stop.state, stop.reason_code) == end
    assert stop.filled_amount == D("0.03")


# -- spot ----------------------------------------------------------------------------------------------------

HYPE = "HYPE:0x0d01dc56dcaaca66ad901c959b4011ec"


def trade_spot(sim: Simulator, is_buy: bool, size: str, price: str) -> None:
    sim.trade("@107", is_buy=not is_buy, size=D(size), price=D(price))
    place(sim, limit(10_107, is_buy, price, size, tif="Ioc"))


def spot_life(sim: Simulator) -> None:
    """One thing in each 10 ms: bought, bought, sold, sent away, sold, bought."""
    act(sim, {"type": "usdClassTransfer", "amount": "5000", "toPerp": False, "nonce": START_MS})
    for is_buy, size, price in ((True, "4", "25"), (True, "3", "26"), (False, "1.5", "27")):
        sim.advance(10)
        trade_spot(sim, is_buy, size, price)
    sim.advance(10)
    sent = {"type": "spotSend", "destination": "0x" + "77" * 20, "token": HYPE, "amount": "1.25"}
    act(sim, {**sent, "time": START_MS + 1})
    for is_buy, size, price in ((False, "2", "28"), (True, "1", "27")):
        sim.advance(10)
        trade_spot(sim, is_buy, size, price)
    sim.advance(10)


def balance_of(sim_history: AccountHistory) -> tuple[Decimal, Decimal]:
    assert sim_history.balances is not None
    balance = sim_history.balances["HYPE"]
    assert balance is not None
    return balance.total, balance.entry_notional


@pytest.mark.parametrize(
    ("cut_ms", "opening"),
    [(-1, "0"), (5, "0"), (10, "3.9972"), (20, "6.9951"), (30, "4.2451"), (45, "4.2451"), (50, "2.2451")],
)
def test_a_spot_position_begins_and_ends_with_the_venues_own_balance(cut_ms: int, opening: str) -> None:
    history = history_of(spot_life)
    made = books(history, START_MS + cut_ms)
    assert made.findings == []
    total, cost = balance_of(history)
    (row,) = made.positions
    assert (row.trading_pair, row.amount, row.venue) == ("HYPE-USDC", total, total)
    position = positions_of(made.events)["HYPE-USDC"]
    assert position.amount == total
    assert position.entry_notional is not None
    assert abs(position.entry_notional - cost) < D("0.000001")
    assert row.opening == D(opening)


def test_a_balance_that_moved_without_a_trade_is_said_and_the_position_goes_on_from_it() -> None:
    made = books(history_of(spot_life))
    assert made.notes == [
        "HYPE-USDC: the balance moved by -1.25 without a trade (transfers, dust; seen 1 times). The position "
        "goes on from what the venue said after each."
    ]


def test_a_transfer_before_the_first_trade_is_in_the_opening_and_that_is_said() -> None:
    (note,) = books(history_of(spot_life), START_MS + 35).notes
    assert note == (
        "HYPE-USDC: a spotTransfer of 1.25 HYPE at 2023-11-14 22:13:20.040Z came before the first trade, and "
        "counts from the beginning."
    )


def test_the_profit_of_spot_trades_is_the_venues_own() -> None:
    history = history_of(spot_life)
    told = sum(update.fill.closed_pnl or D(0) for update in history.report.fills or ())
    assert abs(positions_of(books(history).events)["HYPE-USDC"].realised_pnl - told) < D("0.0000001")


def test_a_token_that_is_traded_in_two_markets_counts_from_zero_in_both() -> None:
    def live(sim: Simulator) -> None:
        spot_life(sim)
        sim.trade("@200", is_buy=True, size=D(1), price=D(100))
        place(sim, limit(10_200, False, "100", "1", tif="Ioc"))

    pairs = (*SPOT_PAIRS, SpotPairSpec(200, base=150, quote=1, mark_px=D(100)))
    made = books(history_of(live, spot_pairs=pairs), START_MS + 25)
    assert made.findings == []
    assert made.notes == [
        "The venue tells one balance of HYPE for HYPE-PURR and HYPE-USDC: what each of these began with is "
        "not known, so they count from zero."
    ]
    assert [(row.trading_pair, row.opening, row.amount, row.venue) for row in made.positions] == [
        ("HYPE-PURR", D(0), D(-1), None),
        ("HYPE-USDC", D(0), D("-2.5007"), None),
    ]


def test_an_entry_that_no_fill_tells_is_the_venues() -> None:
    def live(sim: Simulator) -> None:
        for price in ("43000", "42000"):
            place(sim, limit(BTC, True, price, "0.02"))
            sim.trade("BTC", is_buy=False, size=D("0.02"), price=D(price))
            sim.advance(10)

    history = history_of(live)
    made = books(history, START_MS + 5)
    assert made.findings == []
    position = positions_of(made.events)["BTC-USD"]
    assert (position.amount, position.average_entry) == (D("0.04"), D(42500))
    # The claim stands before it, so that a rebuild checks the amount.
    *_, claim, entry = (event for event in made.events if isinstance(event, AccountPositionAsserted))
    assert (claim.adjustment, entry.adjustment) == (False, True)
