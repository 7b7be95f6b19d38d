"""What a comparison of the books with the venue finds, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.discrepancies import (
    AdjustBalance,
    AdjustPosition,
    BookFill,
    BookFunding,
    CorrectFill,
    Discrepancy,
    DiscrepancyKind,
    OrderAnswer,
    ProveAbsent,
    Reopen,
    TakeLeverage,
    TakeOrderUpdate,
    VenueReport,
    Window,
    discrepancy_id_of,
)
from domain.enums import Liquidity, TradeType
from domain.events import Fill
from domain.reconciliation import compare, find_discrepancies
from domain.updates import OrderUpdate, PositionUpdate, TradeUpdate, UpdateStatus
from tests.support.reconciling import (
    BEGIN_MS,
    NOW_MS,
    STEPS,
    Bookkeeper,
    VenueHistory,
    VenueOrder,
    books_of,
    settle,
)

K = DiscrepancyKind
BUY, SELL = TradeType.BUY, TradeType.SELL
CANCELLED, EXPIRED, FILLED = UpdateStatus.CANCELLED, UpdateStatus.EXPIRED, UpdateStatus.FILLED
YOUNG_MS = NOW_MS - 1_000
OLD_MS = NOW_MS - 60_000


class Case:
    """A venue and the books beside it, which agree but for what a test does to them."""

    def __init__(self) -> None:
        self.venue = VenueHistory()
        self.keeper = Bookkeeper()
        self.but: set[str] = set()
        self.asked: dict[str, OrderAnswer] = {}
        self.later: list[Callable[[], None]] = []
        self.followed = False

    def booked_otherwise(self, fill: Fill, **members: Any) -> None:
        """The books have other numbers of an execution than the venue."""
        self.but.add(fill.fill_key)
        self.later.append(lambda: self.keeper.filled(msgspec.structs.replace(fill, **members)))

    def follow(self) -> None:
        if not self.followed:
            self.followed = True
            self.keeper.follow(self.venue, but=self.but)
            self.keeper.at(OLD_MS)
            for act in self.later:
                act()
                self.keeper.collect()

    def report(self, **members: Any) -> VenueReport:
        report = self.venue.report(**members)
        if "asked" in members:
            return report
        return msgspec.structs.replace(report, asked={**report.asked, **self.asked})

    def found(self, **members: Any) -> list[Discrepancy]:
        self.follow()
        return find_discrepancies(self.keeper.books(), self.report(**members))

    def kinds(self, **members: Any) -> list[DiscrepancyKind]:
        return [found.kind for found in self.found(**members)]

    def only(self, kind: DiscrepancyKind, **members: Any) -> Discrepancy:
        """The one finding there is, which names its evidence and is mended by its repair, once."""
        (found,) = self.found(**members)
        assert found.kind is kind
        assert found.discrepancy_id.startswith("D-")
        assert found.explanation.endswith(".")
        msgspec.json.decode(found.evidence)
        assert found.repair is not None or found.waiver
        new = settle([found], self.keeper.log)
        log = [*self.keeper.log, *new]
        again = find_discrepancies(books_of(log), self.report(**members))
        assert again == ([] if found.repair is not None else [found])
        assert settle(again, log) == []
        return found


@pytest.fixture
def case() -> Case:
    return Case()


def a_fake(order: VenueOrder, key: str = "never", amount: str = "1", time_ms: int = OLD_MS) -> Fill:
    """An execution of an order that the venue never had."""
    return Fill(
        fill_key=key,
        trade_id=key,
        exchange_order_id=order.oid,
        trading_pair=order.trading_pair,
        trade_type=order.trade_type,
        price=order.price,
        amount=Decimal(amount),
        fee=Decimal("0.01"),
        fee_token="USDC",
        liquidity=Liquidity.MAKER,
        exchange_time_ms=time_ms,
    )


# -- nothing differs ---------------------------------------------------------------------------------------


def test_books_that_agree_with_the_venue_have_no_discrepancy(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    other = case.venue.place("ol-2", trading_pair="ETH-USD", trade_type=SELL)
    case.venue.fill(other, "4")
    case.venue.end(other)
    foreign = case.venue.place(None)
    case.venue.fill(foreign, "10")
    case.venue.fill_without_order("BTC-USD", SELL, "1", liquidation=True)
    case.venue.pay_funding()
    case.venue.transfer()
    assert case.found() == []


def test_two_texts_of_one_number_are_no_discrepancy(case: Case) -> None:
    order = case.venue.place(amount="10.0")
    fill = case.venue.fill(order, "3.0")
    case.booked_otherwise(fill, amount=Decimal("3"), price=Decimal("100.00"), fee=Decimal("0.0123450"))
    assert case.found() == []


# -- fills -------------------------------------------------------------------------------------------------


def test_a_fill_of_ours_that_is_not_booked_is_missing(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    fill = case.venue.fill(order, "2")
    case.but = {fill.fill_key}
    found = case.only(K.MISSING_FILL)
    assert (found.subject, found.ours, found.trading_pair) == (fill.fill_key, "not booked", "BTC-USD")
    assert found.theirs == "buy 2 at 100, fee 0.012345 USDC"
    assert found.repair == BookFill(TradeUpdate(fill=fill, venue_order_key="key-ol-1"), "ol-1")
    assert found.discrepancy_id == discrepancy_id_of(found.kind, found.subject, found.ours, found.theirs)


@pytest.mark.parametrize("is_adjusted", [False, True], ids=["not adjusted", "adjusted to the venue"])
def test_what_is_left_out_on_purpose_moves_neither_position_nor_cash_for_ever(
    case: Case, is_adjusted: bool
) -> None:
    order = case.venue.place()
    left_out = case.venue.fill(order, "3")
    case.venue.fill(order, "2")
    payment = case.venue.pay_funding()
    case.but = {left_out.fill_key, payment.funding_key}
    ids = frozenset(found.discrepancy_id for found in case.found())
    assert len(ids) == 2
    if is_adjusted:
        account, pair = case.keeper.account, order.trading_pair
        amount = case.venue.positions[pair]
        update = PositionUpdate(trading_pair=pair, amount=amount, entry_price=None)
        account.assert_position(update, adjustment=True)
        account.assert_balance("USDC", case.venue.cash, adjustment=True)
        case.keeper.collect()
    books = msgspec.structs.replace(case.keeper.books(), waived_ids=ids)
    again = find_discrepancies(books, case.report())
    assert {found.discrepancy_id for found in again} == ids
    case.venue.positions[order.trading_pair] += 1
    assert K.POSITION_DRIFT in [found.kind for found in find_discrepancies(books, case.report())]


def test_a_missing_fill_that_completes_its_order_is_the_only_finding_about_it(case: Case) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "10")
    case.but = {fill.fill_key, f"end:{order.oid}"}
    case.only(K.MISSING_FILL)


def test_a_missing_fill_that_tells_the_fate_of_an_unknown_order_is_the_only_finding_about_it(
    case: Case,
) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "3")
    case.but = {order.oid, fill.fill_key}

    def lose_the_answer() -> None:
        case.keeper.tracker.submit_unknown(case.keeper.sent(order), "timeout", "no answer")

    case.later.append(lose_the_answer)
    case.only(K.MISSING_FILL)


def test_a_fill_that_the_venue_does_not_tell_is_a_phantom_and_its_order_lives_on(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    phantom = a_fake(order, amount="7")
    case.later.append(lambda: case.keeper.filled(phantom))
    found = case.only(K.PHANTOM_FILL)
    assert isinstance(found.repair, CorrectFill)
    assert (found.repair.booked.fill, found.repair.now) == (phantom, None)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_fills_are_not_taken_back_by_a_list_that_does_not_lead_to_the_position(
    case: Case, known: int
) -> None:
    """A late or empty list, from a venue whose position has all of them."""
    order = case.venue.place()
    for amount in ("3", "2", "4"):
        case.venue.fill(order, amount)
    told = case.venue.trades()
    found = case.found(fills=told[:known])
    assert [one.kind for one in found] == [K.PHANTOM_FILL] * (3 - known)
    assert all(one.repair is None and not one.waiver for one in found)
    assert "its list lacks some" in found[0].explanation
    assert case.found(fills=told) == [], "the whole list tells them"


def stale_report(case: Case, *, state_lag_ms: int, list_lag_ms: int) -> VenueReport:
    """What servers tell that lag behind by so much, on fills alone."""
    state_ms, list_ms = NOW_MS - state_lag_ms, NOW_MS - list_lag_ms
    amounts = dict.fromkeys(STEPS, Decimal(0))
    for update in case.venue.trades():
        fill = update.fill
        if fill.exchange_time_ms <= state_ms:
            amounts[fill.trading_pair] += fill.trade_type.sign * fill.amount
    return case.report(
        fills=[update for update in case.venue.trades() if update.fill.exchange_time_ms <= list_ms],
        positions=[
            PositionUpdate(trading_pair=pair, amount=amount, entry_price=None)
            for pair, amount in amounts.items()
            if amount
        ],
        positions_at_ms=state_ms,
        cash=None,
    )


def test_a_fill_that_came_after_both_answers_is_left_for_the_next_comparison(case: Case) -> None:
    """State and list are from before the market's first fill."""
    case.venue.fill(case.venue.place(), "3", time_ms=NOW_MS - 8_000)
    case.follow()
    compared = compare(case.keeper.books(), stale_report(case, state_lag_ms=10_000, list_lag_ms=10_000))
    assert compared.discrepancies == []
    assert "BTC-USD: an execution is too young to be judged, and with it the position" in compared.left
    assert "BTC-USD" not in compared.judged_pairs


AGES_MS = st.integers(0, 30_000)


@settings(deadline=None, max_examples=150)
@given(
    executions=st.lists(
        st.tuples(AGES_MS, st.sampled_from(list(STEPS)), st.sampled_from([BUY, SELL]), st.integers(1, 3)),
        max_size=6,
    ),
    state_lag_ms=AGES_MS,
    list_lag_ms=AGES_MS,
)
def test_no_answer_however_old_takes_back_what_the_position_has_or_cannot_have_yet(
    executions: list[tuple[int, str, TradeType, int]], state_lag_ms: int, list_lag_ms: int
) -> None:
    """Nor does any make the comparison fail. A round trip alone leaves no trace in the position."""
    case = Case()
    for age_ms, pair, side, amount in sorted(executions, key=lambda each: -each[0]):
        order = case.venue.place(None, "10", trading_pair=pair, trade_type=side)
        case.venue.fill(order, str(amount), time_ms=NOW_MS - age_ms)
        case.venue.end(order)
    case.follow()
    report = stale_report(case, state_lag_ms=state_lag_ms, list_lag_ms=list_lag_ms)
    state_ms, list_ms = NOW_MS - state_lag_ms, NOW_MS - list_lag_ms
    net = dict.fromkeys(STEPS, Decimal(0))
    for update in case.venue.trades():
        fill = update.fill
        if list_ms < fill.exchange_time_ms <= state_ms:
            net[fill.trading_pair] += fill.trade_type.sign * fill.amount
    for found in find_discrepancies(case.keeper.books(), report):
        if isinstance(found.repair, CorrectFill):
            assert found.repair.booked.fill.exchange_time_ms <= state_ms
            assert not net[found.trading_pair]


def test_fills_that_the_venue_itself_took_back_are_taken_back_here(case: Case) -> None:
    """List and position agree, and neither has them any more."""
    order = case.venue.place()
    case.venue.fill(order, "3")
    fill = case.venue.fill(order, "2")
    case.follow()
    order.fills.remove(fill)
    case.venue.positions["BTC-USD"] -= fill.amount
    case.venue.cash += fill.amount * fill.price + fill.fee
    found = case.only(K.PHANTOM_FILL)
    assert isinstance(found.repair, CorrectFill)
    assert found.repair.booked.fill == fill


def test_a_fill_without_order_that_the_venue_does_not_tell_is_a_phantom(case: Case) -> None:
    fill = case.venue.fill_without_order("BTC-USD", BUY, "2", liquidation=True)
    ghost = msgspec.structs.replace(fill, fill_key="ghost", amount=Decimal(1))
    case.later.append(lambda: case.keeper.filled(ghost))
    case.only(K.PHANTOM_FILL)


def test_one_execution_under_two_keys_is_a_duplicate(case: Case) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "3")
    case.later.append(lambda: case.keeper.filled(msgspec.structs.replace(fill, fill_key="another")))
    found = case.only(K.DUPLICATE_FILL)
    assert found.subject == "another"
    assert fill.fill_key in found.theirs


def test_one_execution_booked_to_its_order_and_to_the_account_is_a_duplicate(case: Case) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "3")

    def book_again() -> None:
        assert case.keeper.account.book_fill(fill)

    case.later.append(book_again)
    found = case.only(K.DUPLICATE_FILL)
    assert isinstance(found.repair, CorrectFill)
    assert found.repair.booked.client_order_id is None


@pytest.mark.parametrize(
    ("booked", "kind"),
    [
        ({"amount": Decimal("2.999")}, K.QUANTITY_MISMATCH),
        ({"amount": Decimal("4"), "price": Decimal("99"), "fee": Decimal("1")}, K.QUANTITY_MISMATCH),
        ({"trade_type": SELL}, K.QUANTITY_MISMATCH),
        ({"price": Decimal("100.5"), "fee": Decimal("0")}, K.PRICE_MISMATCH),
        ({"fee": Decimal("0.012346")}, K.FEE_MISMATCH),
        ({"fee_token": "HYPE"}, K.FEE_MISMATCH),
    ],
)
def test_the_same_execution_with_other_numbers_is_one_mismatch_and_all_numbers_are_corrected(
    case: Case, booked: dict[str, Any], kind: DiscrepancyKind
) -> None:
    fill = case.venue.fill(case.venue.place(), "3")
    case.booked_otherwise(fill, **booked)
    found = case.only(kind)
    assert isinstance(found.repair, CorrectFill)
    assert found.repair.now == fill


@pytest.mark.parametrize(
    "booked",
    [
        {"amount": Decimal("3.0004")},
        {"price": Decimal("100.0000001")},
        {"fee": Decimal("0.0123450009")},
    ],
)
def test_a_difference_below_the_precision_of_the_instrument_is_waived(
    case: Case, booked: dict[str, Any]
) -> None:
    fill = case.venue.fill(case.venue.place(), "3")
    case.booked_otherwise(fill, **booked)
    found = case.only(K.PRECISION_ONLY)
    assert (found.subject, found.repair) == (fill.fill_key, None)
    topics = [event.topic for event in settle([found], case.keeper.log)]
    assert topics == ["account.discrepancy_found", "account.discrepancy_waived"]


def test_a_fill_of_an_order_placed_elsewhere_is_booked_to_it_with_the_terms_the_venue_told(
    case: Case,
) -> None:
    order = case.venue.place(None, "10")
    fills = [case.venue.fill(order, "3"), case.venue.fill(order, "2")]
    case.venue.end(order)
    case.but = {order.oid, *(fill.fill_key for fill in fills)}
    found = case.found()
    assert [one.kind for one in found] == [K.EXTERNAL_FILL, K.EXTERNAL_FILL]
    new = settle(found, case.keeper.log)
    log = [*case.keeper.log, *new]
    (adopted,) = (one for one in books_of(log).orders.values() if one.is_external)
    assert adopted.id == f"external:hyperliquid:{order.oid}"
    assert (adopted.amount, adopted.filled_amount) == (Decimal(10), Decimal(5))
    assert adopted.state == "cancelled"
    assert find_discrepancies(books_of(log), case.report()) == []


def test_an_order_of_which_the_venue_tells_fills_alone_is_as_large_as_they_are(case: Case) -> None:
    order = case.venue.place(None, "10")
    fills = [case.venue.fill(order, "3"), case.venue.fill(order, "2")]
    case.venue.end(order)
    case.but = {order.oid, *(fill.fill_key for fill in fills)}
    log = [*case.keeper.log, *settle(case.found(details={}), case.keeper.log)]
    (adopted,) = (one for one in books_of(log).orders.values() if one.is_external)
    assert (adopted.amount, adopted.filled_amount) == (Decimal(5), Decimal(5))
    assert adopted.state == "filled"
    assert find_discrepancies(books_of(log), case.report()) == []


def test_a_further_fill_of_a_known_order_placed_elsewhere_is_booked_to_it(case: Case) -> None:
    order = case.venue.place(None, "10")
    case.venue.fill(order, "3")
    fill = case.venue.fill(order, "2")
    case.but = {fill.fill_key}
    found = case.only(K.EXTERNAL_FILL)
    assert isinstance(found.repair, BookFill)
    assert found.repair.client_order_id == f"external:hyperliquid:{order.oid}"


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"liquidation": True, "direction": "Liquidated Cross Long"}, K.LIQUIDATION),
        ({"direction": "Auto-Deleveraging"}, K.AUTO_DELEVERAGING),
        ({"direction": "Settlement"}, K.EXTERNAL_FILL),
    ],
)
def test_an_execution_that_no_order_explains_is_booked_to_the_account(
    case: Case, members: dict[str, Any], kind: DiscrepancyKind
) -> None:
    case.venue.fill(case.venue.place(), "3")
    fill = case.venue.fill_without_order("BTC-USD", SELL, "2", **members)
    case.but = {fill.fill_key}
    found = case.only(kind)
    (event,) = (e for e in settle([found], case.keeper.log) if e.topic == "account.fill")
    assert event.fill == fill  # type: ignore[attr-defined]


def test_fills_until_the_books_began_are_not_judged(case: Case) -> None:
    order = case.venue.place()
    early = a_fake(order, "early", time_ms=BEGIN_MS)
    case.follow()
    trades = [*case.venue.trades(), TradeUpdate(fill=early, venue_order_key=order.key)]
    assert case.kinds(fills=trades) == []


def test_a_booked_fill_outside_the_complete_window_is_not_judged(case: Case) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "3")
    window = Window(BEGIN_MS + 1, fill.exchange_time_ms + 1, NOW_MS)
    assert case.kinds(fills=[], fills_window=window) == [K.TRUNCATED_WINDOW]


# -- grace -------------------------------------------------------------------------------------------------


def test_a_young_missing_fill_is_not_judged_and_nor_are_its_order_its_position_and_the_cash(
    case: Case,
) -> None:
    order = case.venue.place()
    fill = case.venue.fill(order, "10", time_ms=YOUNG_MS)
    case.but = {fill.fill_key, f"end:{order.oid}"}
    assert case.found() == []
    case.venue.cash += 1
    case.venue.positions["ETH-USD"] += 1
    assert case.kinds() == [K.POSITION_DRIFT]


def test_a_young_booked_fill_that_the_venue_does_not_tell_yet_is_not_judged(case: Case) -> None:
    order = case.venue.place()
    case.later.append(lambda: case.keeper.filled(a_fake(order, time_ms=YOUNG_MS)))
    assert case.found() == []


def test_a_booked_fill_after_the_positions_were_told_is_not_in_them(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    before, cash = dict(case.venue.positions), case.venue.cash
    positions = case.report().positions
    case.venue.fill(order, "2", time_ms=NOW_MS + 40)
    assert case.venue.positions != before
    assert case.found(positions=positions, cash=cash, positions_at_ms=NOW_MS - 1_000) == []


def test_of_several_fills_around_the_positions_their_chain_tells_which_are_in_them(case: Case) -> None:
    order = case.venue.place()
    states = []
    for amount in ("1", "2", "3"):
        case.venue.fill(order, amount, time_ms=NOW_MS)
        states.append((list(case.report().positions or ()), case.venue.cash))
    for positions, cash in states:
        assert case.found(positions=positions, cash=cash) == []
    positions = [msgspec.structs.replace(update, amount=Decimal(2)) for update in states[0][0]]
    assert case.kinds(positions=positions, cash=None) == [K.POSITION_DRIFT]


def test_a_state_that_is_a_little_younger_than_it_says_is_no_drift(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    case.venue.fill(order, "2", time_ms=NOW_MS + 40)
    assert case.found(positions_at_ms=NOW_MS) == []


@pytest.mark.parametrize("is_in_it", [False, True])
def test_a_fill_of_the_very_millisecond_of_the_positions_may_be_in_them_or_not(
    case: Case, is_in_it: bool
) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    positions, cash = case.report().positions, case.venue.cash
    case.venue.fill(order, "2", time_ms=NOW_MS)
    if is_in_it:
        positions, cash = case.report().positions, case.venue.cash
    assert case.found(positions=positions, cash=cash) == []


def test_a_drift_is_adjusted_to_what_the_venue_told_and_what_was_booked_since(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    case.venue.positions["BTC-USD"] += 1
    positions, cash = case.report().positions, case.venue.cash
    later = case.venue.fill(order, "2", time_ms=NOW_MS + 40)
    (found,) = case.found(positions=positions, cash=cash)
    assert found.kind is K.POSITION_DRIFT
    assert isinstance(found.repair, AdjustPosition)
    assert found.repair.update.amount == 6
    assert found.repair.at_ms == later.exchange_time_ms


def test_an_order_of_which_something_was_recorded_just_now_is_not_judged(case: Case) -> None:
    order = case.venue.place()
    case.venue.end(order)
    case.but = {f"end:{order.oid}"}

    def request_cancel() -> None:
        case.keeper.at(YOUNG_MS)
        held = case.keeper.tracker.get("ol-1")
        assert held is not None
        case.keeper.tracker.cancel_requested(held, 1, "requested")

    case.later.append(request_cancel)
    assert case.found() == []


def test_how_long_ago_something_was_recorded_is_told_by_our_own_clock(case: Case) -> None:
    order = case.venue.place()
    case.venue.end(order)
    case.but = {f"end:{order.oid}"}
    case.follow()
    ahead_ns = (order.placed_ms + 1_000) * 1_000_000
    books = msgspec.structs.replace(case.keeper.books(), clock_ns=ahead_ns)
    assert find_discrepancies(books, case.report()) == []
    books = msgspec.structs.replace(books, clock_ns=ahead_ns + 10_000_000_000)
    assert [found.kind for found in find_discrepancies(books, case.report())] == [K.STATE_MISMATCH]


def test_a_young_end_at_the_venue_is_not_judged(case: Case) -> None:
    order = case.venue.place()
    order.status, order.ended_ms = CANCELLED, YOUNG_MS
    case.but = {f"end:{order.oid}"}
    assert case.found() == []


def test_a_young_order_placed_elsewhere_is_not_judged(case: Case) -> None:
    order = case.venue.place(None)
    order.placed_ms = YOUNG_MS
    case.but = {order.oid}
    assert case.found() == []


def test_young_funding_and_transfers_are_not_judged_and_nor_is_the_cash(case: Case) -> None:
    case.venue.now_ms = YOUNG_MS
    case.but = {case.venue.pay_funding().funding_key}
    assert case.found() == []
    case.but |= {case.venue.transfer().update_key}
    case.venue.cash += 7
    assert case.found() == []


# -- orders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [CANCELLED, EXPIRED])
def test_an_order_that_is_live_here_and_ended_at_the_venue_takes_its_end(
    case: Case, status: UpdateStatus
) -> None:
    order = case.venue.place()
    case.venue.end(order, status)
    case.but = {f"end:{order.oid}"}
    found = case.only(K.STATE_MISMATCH)
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")
    assert found.ours == "open, 0 of 10 filled"
    assert found.theirs == f"{status} ({status})"


def test_an_order_that_ended_here_and_is_listed_long_after_is_reopened(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    ended = OrderUpdate(status=CANCELLED, exchange_order_id=order.oid, exchange_time_ms=OLD_MS)
    case.later.append(lambda: case.keeper.told(ended))
    found = case.only(K.STATE_MISMATCH)
    assert found.repair == Reopen("ol-1", order.update())


def test_an_order_that_failed_here_and_is_listed_long_after_is_reopened(case: Case) -> None:
    order = case.venue.place()
    case.but = {order.oid}

    def refuse() -> None:
        held = case.keeper.sent(order)
        case.keeper.at(OLD_MS)
        failed = OrderUpdate(status=UpdateStatus.FAILED, venue_order_key=order.key, exchange_time_ms=OLD_MS)
        case.keeper.tracker.process_order_update(failed)
        assert held.state == "failed"

    case.later.append(refuse)
    found = case.only(K.STATE_MISMATCH)
    assert isinstance(found.repair, Reopen)


def test_an_end_within_the_grace_time_is_not_refuted_by_a_list(case: Case) -> None:
    order = case.venue.place()
    ended = OrderUpdate(status=CANCELLED, exchange_order_id=order.oid, exchange_time_ms=YOUNG_MS)
    case.later.append(lambda: case.keeper.told(ended))
    assert case.found() == []


def test_an_end_that_was_concluded_from_absence_is_refuted_by_the_list(case: Case) -> None:
    order = case.venue.place()

    def conclude() -> None:
        held = case.keeper.tracker.get("ol-1")
        assert held is not None
        for second in range(3):
            case.keeper.at(OLD_MS + second * 1_000)
            case.keeper.tracker.not_found(held)
        case.keeper.tracker.gone(held)
        assert held.state == "cancelled"

    case.later.append(conclude)
    found = case.only(K.STATE_MISMATCH)
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")


def test_an_order_whose_fills_complete_it_and_that_is_listed_is_left_to_a_person(case: Case) -> None:
    order = case.venue.place()
    case.venue.fill(order, "10")
    row = msgspec.structs.replace(order.update(), status=UpdateStatus.OPEN, exchange_time_ms=order.placed_ms)
    (found,) = case.found(open_orders=[row])
    assert (found.kind, found.repair, found.waiver) == (K.STATE_MISMATCH, None, "")


@pytest.mark.parametrize("is_unknown", [False, True])
@pytest.mark.parametrize("is_live", [False, True])
def test_an_order_that_was_sent_and_never_answered_is_found_with_its_fate(
    case: Case, is_unknown: bool, is_live: bool
) -> None:
    order = case.venue.place()
    case.but = {order.oid, f"end:{order.oid}"}
    if not is_live:
        case.venue.end(order)

    def send() -> None:
        held = case.keeper.sent(order)
        if is_unknown:
            case.keeper.tracker.submit_unknown(held, "timeout", "no answer")

    case.later.append(send)
    found = case.only(K.UNKNOWN_OUTCOME if is_unknown else K.STUCK_IN_FLIGHT)
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")


@pytest.mark.parametrize("is_unknown", [False, True])
def test_a_cancel_that_was_never_answered_ends_when_the_venue_lists_the_order(
    case: Case, is_unknown: bool
) -> None:
    case.venue.place()

    def request() -> None:
        held = case.keeper.tracker.get("ol-1")
        assert held is not None
        case.keeper.tracker.cancel_requested(held, 1, "requested")
        if is_unknown:
            case.keeper.tracker.cancel_unknown(held, "timeout", "no answer")

    case.later.append(request)
    found = case.only(K.UNKNOWN_OUTCOME if is_unknown else K.STUCK_IN_FLIGHT)
    assert [event.topic for event in settle([found], case.keeper.log)] == [
        "account.discrepancy_found",
        "order.cancel_refused",
        "account.discrepancy_repaired",
    ]


def request_amend(case: Case, *, expires_at_ms: int | None, is_unknown: bool = True) -> None:
    def request() -> None:
        held = case.keeper.tracker.get("ol-1")
        assert held is not None
        case.keeper.tracker.amend_requested(
            held,
            price=Decimal(101),
            amount=Decimal(12),
            leg_amount=Decimal(12),
            nonce=1,
            expires_at_ms=expires_at_ms,
        )
        if is_unknown:
            case.keeper.tracker.amend_unknown(held, "timeout", "no answer")

    case.later.append(request)


def test_an_amend_that_was_never_answered_is_refused_when_the_order_is_listed_as_it_was(case: Case) -> None:
    case.venue.place()
    request_amend(case, expires_at_ms=OLD_MS + 10_000)
    found = case.only(K.UNKNOWN_OUTCOME)
    assert "order.amend_refused" in [event.topic for event in settle([found], case.keeper.log)]


def test_an_amend_that_can_still_take_effect_is_not_judged(case: Case) -> None:
    case.venue.place()
    request_amend(case, expires_at_ms=NOW_MS + 10_000)
    assert case.found() == []


def test_an_amend_without_expiry_stays_unknown(case: Case) -> None:
    case.venue.place()
    request_amend(case, expires_at_ms=None)
    (found,) = case.found()
    assert (found.kind, found.repair, found.waiver) == (K.UNKNOWN_OUTCOME, None, "")


@pytest.mark.parametrize("is_unknown", [False, True])
def test_an_amend_that_was_never_answered_is_in_force_when_the_order_is_listed_under_a_new_id(
    case: Case, is_unknown: bool
) -> None:
    order = case.venue.place()
    request_amend(case, expires_at_ms=OLD_MS + 10_000, is_unknown=is_unknown)
    case.follow()
    order.oid, order.price, order.amount, order.placed_ms = "2000", Decimal(101), Decimal(12), OLD_MS
    found = case.only(K.UNKNOWN_OUTCOME if is_unknown else K.STUCK_IN_FLIGHT)
    assert "order.amended" in [event.topic for event in settle([found], case.keeper.log)]


def test_an_order_that_was_amended_elsewhere_takes_its_new_terms(case: Case) -> None:
    order = case.venue.place()
    case.follow()
    order.oid, order.price, order.amount, order.placed_ms = "2000", Decimal(99), Decimal(7), OLD_MS
    found = case.only(K.STATE_MISMATCH)
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")


def test_a_leg_that_ended_while_an_amend_was_out_ends_the_order_once_the_amend_is_past(case: Case) -> None:
    order = case.venue.place()
    request_amend(case, expires_at_ms=OLD_MS + 10_000)
    case.follow()
    case.venue.end(order)
    assert case.found() == []
    case.asked["ol-1"] = OrderAnswer(order.update(), is_past_expiry=True)
    case.only(K.UNKNOWN_OUTCOME)


def test_a_missing_fill_under_a_new_id_tells_that_an_amend_is_in_force(case: Case) -> None:
    order = case.venue.place()
    request_amend(case, expires_at_ms=OLD_MS + 10_000)
    case.follow()
    order.oid, order.price, order.amount, order.placed_ms = "2000", Decimal(101), Decimal(12), OLD_MS
    case.venue.fill(order, "5")
    found = case.only(K.MISSING_FILL)
    assert "order.amended" in [event.topic for event in settle([found], case.keeper.log)]


def moved_to_another_leg(case: Case) -> OrderUpdate:
    """An order that was amended elsewhere and known to be; returns what the venue said of its former leg."""
    order = case.venue.place()
    former = order.update()
    case.follow()
    order.oid, order.placed_ms = "2000", OLD_MS
    case.keeper.told(order.update())
    return former


def test_a_former_leg_that_is_listed_is_left_to_a_person(case: Case) -> None:
    former = moved_to_another_leg(case)
    assert case.found() == []
    (found,) = case.found(open_orders=[former])
    assert (found.kind, found.repair, found.waiver) == (K.STATE_MISMATCH, None, "")


def test_an_unknown_leg_older_than_the_present_one_is_left_to_a_person(case: Case) -> None:
    former = moved_to_another_leg(case)
    older = msgspec.structs.replace(former, exchange_order_id="1500")
    (found,) = case.found(open_orders=[older])
    assert (found.kind, found.repair, found.waiver) == (K.STATE_MISMATCH, None, "")


def test_a_leg_that_was_listed_only_just_now_is_not_judged(case: Case) -> None:
    order = case.venue.place()
    case.follow()
    order.oid, order.placed_ms = "2000", YOUNG_MS
    assert case.found() == []


def test_terms_that_were_assumed_are_taken_from_the_list(case: Case) -> None:
    order = case.venue.place()
    case.follow()
    order.oid, order.price, order.amount = "2000", Decimal(99), Decimal(30)
    case.keeper.at(OLD_MS)
    fill = case.venue.fill(order, "3")
    case.keeper.tracker.process_trade_update(TradeUpdate(fill=fill, venue_order_key=order.key))
    case.keeper.collect()
    found = case.only(K.STATE_MISMATCH)
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")


def test_an_order_that_the_venue_calls_live_and_does_not_list_lives(case: Case) -> None:
    order = case.venue.place()
    case.but = {order.oid}
    case.later.append(lambda: case.keeper.send(order))
    case.asked["ol-1"] = OrderAnswer(order.update())
    found = case.only(K.STUCK_IN_FLIGHT, open_orders=[])
    assert found.repair == TakeOrderUpdate(order.update(), "ol-1")


def test_an_order_that_was_never_sent_is_not_missed_at_the_venue(case: Case) -> None:
    case.follow()
    case.keeper.created(case.venue.place())
    case.venue.orders.clear()
    case.asked["ol-1"] = OrderAnswer(None, is_past_expiry=True)
    assert case.found() == []


def test_the_end_of_a_former_leg_ends_nothing(case: Case) -> None:
    order = case.venue.place()
    former = order.update()
    case.follow()
    moved = msgspec.structs.replace(former, exchange_order_id="2000", exchange_time_ms=OLD_MS)
    case.keeper.tracker.process_order_update(moved)
    case.keeper.collect()
    case.asked["ol-1"] = OrderAnswer(
        msgspec.structs.replace(former, status=CANCELLED, exchange_time_ms=OLD_MS)
    )
    (found,) = case.found(open_orders=[])
    assert (found.kind, found.repair) == (K.STATE_MISMATCH, None)


@pytest.mark.parametrize(
    ("members", "is_found"),
    [
        ({"price": Decimal(101)}, True),
        ({"amount": Decimal(11)}, True),
        ({"price": Decimal("100.000")}, False),
    ],
)
def test_a_listed_order_with_other_terms_under_the_same_id_is_left_to_a_person(
    case: Case, members: dict[str, Any], is_found: bool
) -> None:
    order = case.venue.place()
    case.venue.fill(order, "3")
    case.follow()
    for name, value in members.items():
        setattr(order, name, value)
    found = case.found()
    assert [(one.kind, one.repair) for one in found] == ([(K.STATE_MISMATCH, None)] if is_found else [])


def test_an_order_that_is_absent_past_its_expiry_without_a_fill_was_never_placed(case: Case) -> None:
    order = case.venue.place()
    case.venue.orders.clear()

    def lose_the_answer() -> None:
        case.keeper.tracker.submit_unknown(case.keeper.sent(order), "timeout", "no answer")

    case.later.append(lose_the_answer)
    case.asked["ol-1"] = OrderAnswer(None, is_past_expiry=True)
    found = case.only(K.UNKNOWN_OUTCOME)
    assert isinstance(found.repair, ProveAbsent)
    (closed,) = (event for event in settle([found], case.keeper.log) if event.topic == "order.failed")
    assert closed.reason_code == "absence_proven"  # type: ignore[attr-defined]


def absent_order(case: Case, **members: Any) -> VenueOrder:
    order = case.venue.place()
    case.venue.orders.clear()

    def send() -> None:
        case.keeper.sent(order, **members)

    case.later.append(send)
    return order


def test_an_order_that_is_absent_before_its_expiry_is_in_flight(case: Case) -> None:
    absent_order(case, expires_at_ms=NOW_MS + 1)
    case.asked["ol-1"] = OrderAnswer(None)
    assert case.found() == []


def test_an_order_that_is_absent_stays_unknown_where_the_fills_could_not_be_had(case: Case) -> None:
    absent_order(case)
    case.asked["ol-1"] = OrderAnswer(None, is_past_expiry=True)
    (found,) = case.found(fills=None, fills_window=None)
    assert (found.kind, found.repair, found.waiver) == (K.UNKNOWN_OUTCOME, None, "")
    (proven,) = case.found()
    assert proven.discrepancy_id == found.discrepancy_id
    assert isinstance(proven.repair, ProveAbsent)


def test_an_order_that_is_absent_is_not_disproved_by_fills_from_after_it(case: Case) -> None:
    order = absent_order(case)
    case.asked["ol-1"] = OrderAnswer(None, is_past_expiry=True)
    window = Window(order.placed_ms + 60_000, order.placed_ms + 60_000, NOW_MS)
    (found,) = case.found(fills_window=window)
    assert (found.kind, found.repair) == (K.UNKNOWN_OUTCOME, None)


def test_a_live_order_that_the_venue_does_not_know_stays_as_it_is(case: Case) -> None:
    case.venue.place()
    case.follow()
    case.venue.orders.clear()
    case.asked["ol-1"] = OrderAnswer(None, is_past_expiry=True)
    (found,) = case.found()
    assert (found.kind, found.repair, found.waiver) == (K.STATE_MISMATCH, None, "")


def test_an_order_placed_elsewhere_is_adopted(case: Case) -> None:
    order = case.venue.place(None)
    case.but = {order.oid}
    found = case.only(K.EXTERNAL_ORDER)
    assert (found.subject, found.ours) == (order.oid, "not in the books")


def test_an_order_placed_elsewhere_that_filled_in_part_is_adopted_and_its_fills_are_booked(
    case: Case,
) -> None:
    order = case.venue.place(None)
    fill = case.venue.fill(order, "3")
    case.but = {order.oid, fill.fill_key}
    assert case.kinds() == [K.EXTERNAL_ORDER, K.EXTERNAL_FILL]
    log = [*case.keeper.log, *settle(case.found(), case.keeper.log)]
    assert find_discrepancies(books_of(log), case.report()) == []


def test_an_order_placed_elsewhere_before_the_books_began_counts_with_what_it_has_left(case: Case) -> None:
    order = case.venue.place(None)
    case.but = {order.oid}
    row = msgspec.structs.replace(
        order.update(), exchange_time_ms=BEGIN_MS - 9_000, remaining_amount=Decimal(4)
    )
    (found,) = case.found(open_orders=[row])
    log = [*case.keeper.log, *settle([found], case.keeper.log)]
    (adopted,) = (one for one in books_of(log).orders.values() if one.is_external)
    assert adopted.amount == 4
    assert find_discrepancies(books_of(log), case.report(open_orders=[row])) == []


def test_an_adopted_order_that_ended_elsewhere_takes_its_end(case: Case) -> None:
    order = case.venue.place(None)
    case.venue.end(order)
    case.but = {f"end:{order.oid}"}
    found = case.only(K.STATE_MISMATCH)
    assert found.subject == f"external:hyperliquid:{order.oid}"


# -- positions, cash, payments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drift", "kind"),
    [("1", K.POSITION_DRIFT), ("-1.5", K.POSITION_DRIFT), ("-3", K.POSITION_DRIFT), ("-4", K.SIDE_FLIP)],
)
def test_a_position_that_no_fill_explains_goes_on_from_what_the_venue_says(
    case: Case, drift: str, kind: DiscrepancyKind
) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.positions["BTC-USD"] += Decimal(drift)
    found = case.only(kind)
    assert isinstance(found.repair, AdjustPosition)
    assert found.repair.update.amount == 3 + Decimal(drift)
    assert (found.ours, Decimal(found.theirs)) == ("3", 3 + Decimal(drift))
    # The finding may be recorded long before the position is adjusted, or instead of that.
    assert "If nothing turns up that explains it, the position goes on from" in found.explanation


def test_a_drift_is_explained_by_the_first_break_in_the_chain_of_the_venue_s_fills(case: Case) -> None:
    order = case.venue.place()
    first = case.venue.fill(order, "3")
    case.venue.positions["BTC-USD"] += 5
    second = case.venue.fill(order, "1")
    found = case.only(K.POSITION_DRIFT)
    assert f"After fill {first.fill_key}" in found.explanation
    assert f"before fill {second.fill_key}" in found.explanation
    assert "moved by 5 without a fill" in found.explanation


def test_a_drift_from_before_the_fills_that_the_venue_tells_is_said_to_be_older(case: Case) -> None:
    case.venue.positions["BTC-USD"] += 5
    case.venue.fill(case.venue.place(), "3")
    assert "is older than fill" in case.only(K.POSITION_DRIFT).explanation


def test_a_position_off_by_less_than_a_step_is_waived_once(case: Case) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.positions["BTC-USD"] += Decimal("0.0004")
    case.only(K.PRECISION_ONLY)


def test_a_market_that_the_report_cannot_list_is_not_flat_for_that(case: Case) -> None:
    case.venue.fill(case.venue.place(), "3")
    steps = {pair: step for pair, step in STEPS.items() if pair != "BTC-USD"}
    assert case.kinds(positions=[], steps=steps, cash=None) == []
    assert case.kinds(positions=[], cash=None) == [K.POSITION_DRIFT]


def test_positions_and_cash_are_not_judged_by_fills_that_end_before_the_report(case: Case) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.positions["BTC-USD"] += 1
    case.venue.cash += 1
    window = Window(BEGIN_MS + 1, BEGIN_MS + 1, NOW_MS - 1)
    assert case.kinds(fills_window=window) == []
    nowhere = Window(BEGIN_MS + 1, NOW_MS + 1, NOW_MS)
    assert case.kinds(fills_window=nowhere) == [K.TRUNCATED_WINDOW]
    assert case.kinds() == [K.POSITION_DRIFT, K.BALANCE_DRIFT]


@pytest.mark.parametrize("drift", ["3.5", "-0.00001"])
def test_cash_that_nothing_explains_goes_on_from_what_the_venue_says(case: Case, drift: str) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.cash += Decimal(drift)
    found = case.only(K.BALANCE_DRIFT)
    assert found.repair == AdjustBalance("USDC", case.venue.cash, NOW_MS)


def test_cash_off_by_the_rounding_of_the_fills_is_no_drift(case: Case) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.cash += Decimal("0.000001")
    assert case.found() == []


def test_a_transfer_of_unknown_effect_leaves_the_cash_for_the_next_time(case: Case) -> None:
    transfer = case.venue.transfer()
    case.but = {transfer.update_key}
    case.venue.cash += 1
    vague = [msgspec.structs.replace(transfer, cash_effect=None)]
    assert case.kinds(transfers=vague) == [K.UNBOOKED_TRANSFER]
    assert case.kinds() == [K.UNBOOKED_TRANSFER, K.BALANCE_DRIFT]


def test_payments_after_the_cash_was_told_are_not_in_it(case: Case) -> None:
    cash = case.venue.cash
    case.venue.now_ms = NOW_MS + 1_000
    case.venue.pay_funding()
    case.venue.transfer()
    assert case.found(cash=cash) == []
    (found,) = case.found(cash=cash + 5)
    assert found.repair == AdjustBalance("USDC", case.venue.cash + 5, NOW_MS)


@pytest.mark.parametrize("what", ["funding", "transfer"])
def test_a_payment_of_the_very_millisecond_leaves_the_cash_for_the_next_time(case: Case, what: str) -> None:
    case.venue.now_ms = NOW_MS - 1_000
    if what == "funding":
        case.venue.pay_funding()
    else:
        case.venue.transfer()
    assert case.found(cash=Decimal(1)) == []


def test_an_execution_of_a_market_without_positions_moves_no_cash(case: Case) -> None:
    order = case.venue.place(trading_pair="BTC-USD")
    fill = msgspec.structs.replace(a_fake(order), trading_pair="HYPE-USDC")
    case.later.append(lambda: case.keeper.filled(fill))
    case.follow()
    books = msgspec.structs.replace(case.keeper.books(), cash=case.venue.cash)
    trades = [TradeUpdate(fill=fill, venue_order_key=order.key)]
    found = find_discrepancies(books, case.report(fills=trades))
    assert [one.kind for one in found if one.kind is not K.STATE_MISMATCH] == []


def test_funding_that_is_not_booked_is_booked(case: Case) -> None:
    payment = case.venue.pay_funding()
    case.but = {payment.funding_key}
    assert case.only(K.UNBOOKED_FUNDING).repair == BookFunding(payment)


def test_funding_with_another_amount_is_corrected_by_the_difference_each_time_anew(case: Case) -> None:
    payment = case.venue.pay_funding(amount="-1.5")
    case.but = {payment.funding_key}
    wrong = msgspec.structs.replace(payment, amount=Decimal("-1"))
    case.later.append(lambda: case.keeper.paid(wrong))
    found = case.only(K.FUNDING_MISMATCH)
    assert isinstance(found.repair, BookFunding)
    assert found.repair.update.amount == Decimal("-0.5")
    assert found.repair.update.funding_key == f"{payment.funding_key}:corrected:1:-1.5"
    case.keeper.log += settle([found], case.keeper.log)
    changed = msgspec.structs.replace(payment, amount=Decimal("-2"))
    (again,) = case.found(fundings=[changed], cash=None)
    assert isinstance(again.repair, BookFunding)
    assert again.repair.update.amount == Decimal("-0.5")


def test_funding_that_the_venue_changes_back_and_forth_is_corrected_every_time(case: Case) -> None:
    """The same difference comes again; its correction must not be taken for the one that is booked."""
    payment = case.venue.pay_funding(amount="-1")
    other = msgspec.structs.replace(payment, amount=Decimal("-1.5"))
    for told in (other, payment, other, payment):
        (found,) = case.found(fundings=[told], cash=None)
        assert found.kind is K.FUNDING_MISMATCH
        case.keeper.log += settle([found], case.keeper.log)
        assert case.found(fundings=[told], cash=None) == []


def test_funding_off_by_less_than_a_millionth_is_waived(case: Case) -> None:
    payment = case.venue.pay_funding(amount="-1.5")
    case.but = {payment.funding_key}
    case.later.append(
        lambda: case.keeper.paid(msgspec.structs.replace(payment, amount=Decimal("-1.50000001")))
    )
    case.only(K.PRECISION_ONLY)


def test_a_transfer_that_is_not_booked_is_booked(case: Case) -> None:
    transfer = case.venue.transfer()
    case.but = {transfer.update_key}
    assert case.only(K.UNBOOKED_TRANSFER).subject == transfer.update_key


@pytest.mark.parametrize("setting", [(5, True), (20, False)])
def test_leverage_that_was_changed_elsewhere_is_recorded(case: Case, setting: tuple[int, bool]) -> None:
    case.venue.fill(case.venue.place(), "3")
    case.venue.leverage["BTC-USD"] = setting
    assert case.only(K.LEVERAGE_CHANGED).repair == TakeLeverage("BTC-USD", *setting)


@pytest.mark.parametrize("part", ["fills", "fundings", "transfers"])
def test_a_list_that_does_not_reach_back_is_said_to_be_truncated_once(case: Case, part: str) -> None:
    for complete_from_ms in (BEGIN_MS + 500, BEGIN_MS + 700):
        window = Window(BEGIN_MS + 1, complete_from_ms, NOW_MS)
        (found,) = case.found(**{f"{part}_window": window})
        assert found.kind is K.TRUNCATED_WINDOW
        assert (found.repair, bool(found.waiver)) == (None, True)
        case.keeper.log += settle([found], case.keeper.log)
    topics = [event.topic for event in case.keeper.log if event.topic.startswith("account.discrepancy")]
    assert topics == ["account.discrepancy_found", "account.discrepancy_waived"]


def test_a_list_that_misses_only_what_was_before_the_books_is_not_truncated(case: Case) -> None:
    window = Window(BEGIN_MS - 100_000, BEGIN_MS + 1, NOW_MS)
    assert case.found(fills_window=window) == []


# -- parts that could not be had ---------------------------------------------------------------------------


def damage_everything(case: Case) -> None:
    """Each part of the comparison would find something."""
    venue = case.venue
    order = venue.place()
    missing = venue.fill(order, "3")
    ended = venue.place("ol-2", trading_pair="ETH-USD")
    venue.fill(ended, "1")
    venue.end(ended)
    foreign = venue.place(None)
    case.but = {missing.fill_key, f"end:{ended.oid}", foreign.oid}
    case.but |= {venue.pay_funding().funding_key, venue.transfer().update_key}
    venue.positions["ETH-USD"] += 1
    venue.leverage["ETH-USD"] = (3, True)
    venue.cash += 1


ALL = [
    K.EXTERNAL_ORDER,
    K.MISSING_FILL,
    K.STATE_MISMATCH,
    K.UNBOOKED_FUNDING,
    K.UNBOOKED_TRANSFER,
    K.POSITION_DRIFT,
    K.BALANCE_DRIFT,
    K.LEVERAGE_CHANGED,
]


@pytest.mark.parametrize(
    ("missing", "unjudged"),
    [
        ({}, []),
        ({"open_orders": None}, [K.EXTERNAL_ORDER]),
        ({"open_orders": None, "asked": {}}, [K.EXTERNAL_ORDER, K.STATE_MISMATCH]),
        ({"asked": {}}, [K.STATE_MISMATCH]),
        ({"fills": None, "fills_window": None}, [K.MISSING_FILL, K.POSITION_DRIFT, K.BALANCE_DRIFT]),
        ({"fundings": None, "fundings_window": None}, [K.UNBOOKED_FUNDING, K.BALANCE_DRIFT]),
        ({"transfers": None, "transfers_window": None}, [K.UNBOOKED_TRANSFER, K.BALANCE_DRIFT]),
        ({"positions": None, "cash": None}, [K.POSITION_DRIFT, K.BALANCE_DRIFT, K.LEVERAGE_CHANGED]),
        ({"cash": None}, [K.BALANCE_DRIFT]),
    ],
)
def test_a_failed_query_is_never_an_empty_answer(
    case: Case, missing: dict[str, Any], unjudged: list[DiscrepancyKind]
) -> None:
    damage_everything(case)
    assert case.kinds(**missing) == [kind for kind in ALL if kind not in unjudged]


def test_nothing_is_found_where_nothing_could_be_asked(case: Case) -> None:
    damage_everything(case)
    case.follow()
    assert find_discrepancies(case.keeper.books(), VenueReport(taken_at_ms=NOW_MS)) == []


def test_cash_is_not_judged_while_the_books_do_not_know_theirs(case: Case) -> None:
    case.follow()
    books = msgspec.structs.replace(case.keeper.books(), cash=None)
    assert find_discrepancies(books, case.report(cash=Decimal(1))) == []


# -- any damage to any history -----------------------------------------------------------------------------


class Damaged(Case):
    """Each method does one damage to an order or payment of its own, and tells what is to be found."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.count = 0

    def order(self, *, foreign: bool = False, filled: bool = True) -> VenueOrder:
        self.count += 1
        order = self.venue.place(
            None if foreign else f"ol-{self.count}",
            "10",
            trading_pair=self.random.choice(list(STEPS)),
            trade_type=self.random.choice([BUY, SELL]),
            price=self.number(90, 110),
        )
        if filled:
            for _ in range(self.random.randint(1, 3)):
                self.venue.fill(order, self.number(1, 3))
        return order

    def number(self, low: int, high: int) -> Decimal:
        return Decimal(self.random.randint(low, high))

    def ending(self, order: VenueOrder) -> None:
        if order.status is UpdateStatus.OPEN and self.random.random() < 0.5:
            self.venue.end(order)

    def nothing(self) -> list[DiscrepancyKind]:
        self.ending(self.order(foreign=self.random.random() < 0.3))
        return []

    def missing_fill(self) -> list[DiscrepancyKind]:
        order = self.order()
        if self.random.random() < 0.5:
            self.venue.fill(order, order.amount - order.filled)
            self.but.add(f"end:{order.oid}")
        else:
            self.ending(order)
        self.but.add(self.random.choice(order.fills).fill_key)
        return [K.MISSING_FILL]

    def phantom_fill(self) -> list[DiscrepancyKind]:
        order = self.order()
        left = int(order.amount - order.filled)
        if self.random.random() < 0.5:
            self.venue.end(order)
        fake = a_fake(order, f"never-{order.oid}", str(self.random.randint(1, left)))
        self.later.append(lambda: self.keeper.filled(fake))
        return [K.PHANTOM_FILL]

    def duplicate_fill(self) -> list[DiscrepancyKind]:
        order = self.order()
        self.ending(order)
        again = msgspec.structs.replace(self.random.choice(order.fills), fill_key=f"again-{order.oid}")
        self.later.append(lambda: self.keeper.filled(again))
        return [K.DUPLICATE_FILL]

    def other_numbers(self) -> list[DiscrepancyKind]:
        order = self.order()
        self.ending(order)
        fill = self.random.choice(order.fills)
        members, kind = self.random.choice(
            [
                ({"amount": fill.amount + STEPS[order.trading_pair]}, K.QUANTITY_MISMATCH),
                ({"price": fill.price - 1}, K.PRICE_MISMATCH),
                ({"fee": -fill.fee}, K.FEE_MISMATCH),
                ({"fee": fill.fee + Decimal("1e-9")}, K.PRECISION_ONLY),
                ({"amount": fill.amount + Decimal("1e-9")}, K.PRECISION_ONLY),
            ]
        )
        self.booked_otherwise(fill, **members)
        return [kind]

    def untold_end(self) -> list[DiscrepancyKind]:
        order = self.order(foreign=self.random.random() < 0.3)
        self.venue.end(order, self.random.choice([CANCELLED, EXPIRED]))
        self.but.add(f"end:{order.oid}")
        return [K.STATE_MISMATCH]

    def untrue_end(self) -> list[DiscrepancyKind]:
        order = self.order()
        ended = OrderUpdate(status=CANCELLED, exchange_order_id=order.oid, exchange_time_ms=OLD_MS)
        self.later.append(lambda: self.keeper.told(ended))
        return [K.STATE_MISMATCH]

    def lost_answer(self) -> list[DiscrepancyKind]:
        order = self.order(filled=False)
        is_unknown = self.random.random() < 0.5
        self.but |= {order.oid, f"end:{order.oid}"}
        fate = self.random.choice(["open", "ended", "absent"])
        if fate == "ended":
            self.venue.end(order)
        elif fate == "absent":
            self.venue.orders.remove(order)
            self.asked[order.client_order_id or ""] = OrderAnswer(None, is_past_expiry=True)

        def send() -> None:
            held = self.keeper.sent(order)
            if is_unknown:
                self.keeper.tracker.submit_unknown(held, "timeout", "no answer")

        self.later.append(send)
        return [K.UNKNOWN_OUTCOME if is_unknown or fate == "absent" else K.STUCK_IN_FLIGHT]

    def lost_cancel(self) -> list[DiscrepancyKind]:
        order = self.order()
        is_unknown = self.random.random() < 0.5
        if self.random.random() < 0.5:
            self.venue.end(order)
            self.but.add(f"end:{order.oid}")

        def request() -> None:
            held = self.keeper.tracker.get(order.client_order_id or "")
            assert held is not None
            self.keeper.tracker.cancel_requested(held, 1, "requested")
            if is_unknown:
                self.keeper.tracker.cancel_unknown(held, "timeout", "no answer")

        self.later.append(request)
        return [K.UNKNOWN_OUTCOME if is_unknown else K.STUCK_IN_FLIGHT]

    def external_order(self) -> list[DiscrepancyKind]:
        order = self.order(foreign=True, filled=self.random.random() < 0.5)
        self.but |= {order.oid, *(fill.fill_key for fill in order.fills)}
        return [K.EXTERNAL_ORDER, *[K.EXTERNAL_FILL] * len(order.fills)]

    def external_fill(self) -> list[DiscrepancyKind]:
        order = self.order(foreign=True)
        if self.random.random() < 0.5:
            self.venue.end(order)
        else:
            self.venue.fill(order, order.amount - order.filled)
        self.but |= {order.oid, *(fill.fill_key for fill in order.fills)}
        return [K.EXTERNAL_FILL] * len(order.fills)

    def fill_without_order(self) -> list[DiscrepancyKind]:
        kinds: list[tuple[dict[str, Any], DiscrepancyKind]] = [
            ({"liquidation": True}, K.LIQUIDATION),
            ({"direction": "Auto-Deleveraging"}, K.AUTO_DELEVERAGING),
            ({"direction": "Settlement"}, K.EXTERNAL_FILL),
        ]
        members, kind = self.random.choice(kinds)
        pair, side = self.random.choice(list(STEPS)), self.random.choice([BUY, SELL])
        fill = self.venue.fill_without_order(pair, side, self.number(1, 4), **members)
        self.but.add(fill.fill_key)
        return [kind]

    def funding(self) -> list[DiscrepancyKind]:
        payment = self.venue.pay_funding(amount=self.number(-9, -1))
        self.but.add(payment.funding_key)
        if self.random.random() < 0.5:
            return [K.UNBOOKED_FUNDING]
        wrong = msgspec.structs.replace(payment, amount=payment.amount + 1)
        self.later.append(lambda: self.keeper.paid(wrong))
        return [K.FUNDING_MISMATCH]

    def transfer(self) -> list[DiscrepancyKind]:
        self.but.add(self.venue.transfer(self.number(-99, 99)).update_key)
        return [K.UNBOOKED_TRANSFER]

    DAMAGES = (
        nothing,
        missing_fill,
        phantom_fill,
        duplicate_fill,
        other_numbers,
        untold_end,
        untrue_end,
        lost_answer,
        lost_cancel,
        external_order,
        external_fill,
        fill_without_order,
        funding,
        transfer,
    )

    # These are done once, after everything that happened.

    def drift(self) -> list[DiscrepancyKind]:
        pair = self.random.choice(list(STEPS))
        before = self.venue.positions[pair]
        after = before + self.random.choice([-7, -1, 1, 7])
        self.venue.positions[pair] = after
        return [K.SIDE_FLIP if before * after < 0 else K.POSITION_DRIFT]

    def balance(self) -> list[DiscrepancyKind]:
        self.venue.cash += self.random.choice([Decimal(-5), Decimal("0.01")])
        return [K.BALANCE_DRIFT]

    def leverage(self) -> list[DiscrepancyKind]:
        pair = self.random.choice(list(STEPS))
        self.venue.leverage[pair] = (3, False)
        return [K.LEVERAGE_CHANGED] if self.venue.positions[pair] else []

    ENDINGS = (drift, balance, leverage)


@settings(max_examples=150, deadline=None)
@given(
    damages=st.lists(st.sampled_from(Damaged.DAMAGES), max_size=6),
    endings=st.lists(st.sampled_from(Damaged.ENDINGS), unique=True).map(
        lambda chosen: [ending for ending in Damaged.ENDINGS if ending in chosen]
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_was_damaged_is_found_once_and_repaired_once(
    damages: list[Callable[[Damaged], list[DiscrepancyKind]]],
    endings: list[Callable[[Damaged], list[DiscrepancyKind]]],
    seed: int,
) -> None:
    case = Damaged(seed)
    case.nothing()
    expected = [kind for damage in (*damages, *endings) for kind in damage(case)]
    found = case.found()
    assert sorted(one.kind for one in found) == sorted(expected)

    report, books = case.report(), case.keeper.books()
    shuffled = msgspec.structs.replace(
        report,
        **{
            name: case.random.sample(rows, len(rows))
            for name in ("open_orders", "fills", "fundings", "transfers", "positions")
            if (rows := getattr(report, name)) is not None
        },
        asked=dict(reversed(list(report.asked.items()))),
    )
    turned = msgspec.structs.replace(
        books, fills=list(reversed(books.fills)), orders=dict(reversed(list(books.orders.items())))
    )
    assert find_discrepancies(turned, shuffled) == found

    new = settle(found, case.keeper.log)
    log = [*case.keeper.log, *new]
    open_ids = {one.discrepancy_id for one in found if one.repair is None}
    again = find_discrepancies(books_of(log), report)
    assert {one.discrepancy_id for one in again} == open_ids
    assert settle(again, log) == []
    mended = books_of(log)
    for pair, step in STEPS.items():
        held = mended.positions[pair].amount if pair in mended.positions else Decimal(0)
        assert abs(held - case.venue.positions[pair]) < step
