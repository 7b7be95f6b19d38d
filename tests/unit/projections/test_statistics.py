"""How trading went: ratios, times, costs and refusals, from orders whose story is known."""

from __future__ import annotations

from decimal import Decimal

from domain.enums import TradeType
from domain.events import OrderCancelled, OrderFailed, OrderSubmitUnknown
from projections import Latency, stats
from tests.unit.projections.conftest import OpenViews
from tests.unit.projections.logs import LogBuilder, MemoryLog

_MS = 1_000_000


def test_what_filled_how_fast_and_at_what_cost(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("bought", "70", reference_price=Decimal("42000"), amount=Decimal("1"))
    builder.filled("bought", exchange_order_id="70", price=Decimal("42042"), amount=Decimal("1"))
    builder.open_order(
        "sold", "71", reference_price=Decimal("42000"), amount=Decimal("1"), trade_type=TradeType.SELL
    )
    builder.filled(
        "sold",
        fill_key="2",
        exchange_order_id="71",
        price=Decimal("42021"),
        amount=Decimal("0.5"),
        trade_type=TradeType.SELL,
    )
    builder.add(OrderCancelled, "sold", reason_code="requested")
    market, total = stats(views_of(builder.events))
    assert (market.orders, market.done_orders, market.filled_orders) == (2, 2, 1)
    assert market.fill_ratio == Decimal("0.75")
    # Paid 42 more than mid for one, and got 21 more than mid for half a one.
    assert market.slippage == Decimal("42") - Decimal("10.5")
    assert market.slippage_bps == Decimal("5")
    assert market.volume == Decimal("42042") + Decimal("21010.5")
    assert market.fees == {"USDC": Decimal("3.44")}
    assert market.acknowledgement == Latency(count=2, median_ns=_MS, p99_ns=_MS, max_ns=_MS)
    assert (total.trading_pair, total.fill_ratio, total.slippage) == (None, None, market.slippage)


def test_refusals_are_counted_by_reason_and_unknown_outcomes_apart(views_of: OpenViews) -> None:
    builder = LogBuilder()
    for number, reason in enumerate(("too_small", "no_margin", "too_small")):
        builder.created(f"refused-{number}")
        builder.add(OrderFailed, f"refused-{number}", reason_code=reason)
    builder.created("lost")
    builder.submitted("lost")
    builder.add(OrderSubmitUnknown, "lost", reason_code="timeout")
    market, _ = stats(views_of(builder.events))
    assert market.reject_reasons == {"no_margin": 1, "too_small": 2}
    assert (market.orders, market.done_orders, market.unknown_orders) == (4, 3, 1)
    assert (market.fill_ratio, market.slippage, market.slippage_bps, market.acknowledgement) == (
        Decimal(0),
        None,
        None,
        None,
    )


def test_orders_placed_elsewhere_are_counted_and_not_judged(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("theirs", "70", external=True)
    builder.filled("theirs", exchange_order_id="70")
    market, _ = stats(views_of(builder.events))
    assert (market.orders, market.external_orders, market.fees, market.volume) == (0, 1, {}, Decimal(0))


def test_no_orders_give_no_rows(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.created("a", tag="maker")
    assert stats(views_of(builder.events), tag="taker") == []


def test_the_figures_of_the_past_leave_out_what_came_later(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.created("a")
    builder.submitted("a")
    builder.acknowledged("a", "70")
    views = views_of(builder.events)
    with views.at(2, MemoryLog(builder.events)) as past:
        assert stats(past)[0].acknowledgement is None
    assert stats(views)[0].acknowledgement is not None


def test_percentiles_are_cases_that_happened(views_of: OpenViews) -> None:
    builder = LogBuilder()
    for number in range(3):
        builder.created(f"o{number}")
        builder.submitted(f"o{number}")
        for waited in range(number):
            builder.created(f"noise-{number}-{waited}")
        builder.acknowledged(f"o{number}", str(number))
    acknowledged = stats(views_of(builder.events))[0].acknowledgement
    assert acknowledged == Latency(count=3, median_ns=2 * _MS, p99_ns=3 * _MS, max_ns=3 * _MS)
