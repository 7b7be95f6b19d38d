from __future__ import annotations

from decimal import Decimal

import pytest

from domain.funding import FundingInfo, next_funding_time_ms

INFO = FundingInfo(
    trading_pair="ETH-USD",
    rate=Decimal("0.0000125"),
    mark_price=Decimal("3001.5"),
    index_price=Decimal(3000),
    next_funding_time_ms=1_700_002_800_000,
)


def test_with_a_positive_rate_a_long_pays_and_a_short_receives() -> None:
    assert INFO.payment(Decimal("1.5")) == Decimal("-0.05625")
    assert INFO.payment(Decimal("-1.5")) == Decimal("0.05625")
    assert INFO.payment(Decimal(0)) == 0


@pytest.mark.parametrize(
    ("now_ms", "next_ms"),
    [(0, 3_600_000), (3_599_999, 3_600_000), (3_600_000, 7_200_000), (1_700_000_000_123, 1_700_002_800_000)],
)
def test_funding_is_paid_on_the_next_full_hour(now_ms: int, next_ms: int) -> None:
    assert next_funding_time_ms(now_ms) == next_ms
