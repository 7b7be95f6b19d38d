"""Missing fills show in the positions that fills start from: they are found, or what is off is said."""

from __future__ import annotations

from decimal import Decimal

from domain.effects import Query
from tests.support.core import START_MS, CoreSession, fill_row


def searches(core: CoreSession) -> int:
    return sum(
        isinstance(effect, Query) and effect.body["type"] == "userFillsByTime" for effect in core.effects
    )


def trading(core: CoreSession, oid: int = 5) -> str:
    order = core.open(oid, "100")
    assert core.connector.position("BTC-USD").amount == 0
    return order


def test_fills_of_one_block_in_the_wrong_order_are_no_gap() -> None:
    core = CoreSession().ready()
    order = trading(core)
    core.fill(5, 1, "1.0", cloid=order, startPosition="0.0", time_ms=START_MS + 1_000)
    core.fill(5, 3, "1.0", cloid=order, startPosition="2.0", time_ms=START_MS + 2_000)
    core.fill(5, 2, "1.0", cloid=order, startPosition="1.0", time_ms=START_MS + 2_000)
    before = searches(core)
    core.advance(5)
    assert searches(core) == before
    assert "position_gap" not in core.alert_codes()


def test_a_missing_fill_is_found_and_nothing_is_said() -> None:
    core = CoreSession().ready()
    order = trading(core)
    core.fill(5, 1, "1.0", cloid=order, startPosition="0.0", time_ms=START_MS + 1_000)
    core.fills.append(fill_row(5, 2, "1.0", cloid=order, startPosition="1.0", time_ms=START_MS + 2_000))
    core.fill(5, 3, "1.0", cloid=order, startPosition="2.0", time_ms=START_MS + 3_000)
    core.advance(5)
    assert core.connector.position("BTC-USD").amount == 3
    assert "position_gap" not in core.alert_codes()


def test_a_difference_that_no_fill_explains_is_said_once_and_not_searched_for_at_every_fill() -> None:
    core = CoreSession().ready()
    order = trading(core)
    for number in range(1, 11):
        start = f"{Decimal('0.5') + number - 1}"
        time_ms = START_MS + 10_000 * number
        core.fill(5, number, "1.0", cloid=order, startPosition=start, time_ms=time_ms)
        core.advance(10)
    assert core.connector.position("BTC-USD").amount == 10
    assert core.alert_codes().count("position_gap") == 1
    assert searches(core) <= 4, "at the start, at the sweeps, and once for the gap"
    alert = next(alert for alert in core.alerts if alert.code == "position_gap")
    assert "held 1.5, the books 1," in alert.message


def test_a_second_difference_of_the_same_size_is_looked_for_again() -> None:
    core = CoreSession().ready()
    order = trading(core)
    core.fill(5, 1, "1.0", cloid=order, startPosition="0.0", time_ms=START_MS + 1_000)
    for number in (3, 6):
        missing = fill_row(
            5,
            number - 1,
            "1.0",
            cloid=order,
            startPosition=f"{number - 2}.0",
            time_ms=START_MS + 1_000 * number,
        )
        core.fills.append(missing)
        core.fill(
            5,
            number,
            "1.0",
            cloid=order,
            startPosition=f"{number - 1}.0",
            time_ms=START_MS + 1_000 * number + 500,
        )
        core.advance(5)
        assert core.connector.position("BTC-USD").amount == number
        core.fill(
            5,
            number + 10,
            "1.0",
            cloid=order,
            startPosition=f"{number}.0",
            time_ms=START_MS + 1_000 * number + 700,
        )
    assert "position_gap" not in core.alert_codes()


def test_a_spot_balance_moves_without_fills_and_is_not_followed() -> None:
    core = CoreSession().ready()
    core.fill(9, 1, "100", coin="PURR/USDC", startPosition="7.0", feeToken="PURR", time_ms=START_MS + 1_000)
    core.advance(5)
    assert "position_gap" not in core.alert_codes()
