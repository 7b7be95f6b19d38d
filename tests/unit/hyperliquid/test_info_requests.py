"""Reads are asked for in the venue's own words and cost what the sheet says."""

import json

import pytest

from adapters.hyperliquid import info_requests as info
from adapters.hyperliquid.addresses import AddressError

USER = "0x14791697260E4c9a71f18484C9f997B308e59325"
LOWER = USER.lower()
CLOID = "0x5e1f00000000000000000000000000a1"

REQUESTS: list[tuple[info.InfoRequest, dict[str, object], int]] = [
    (info.meta(), {"type": "meta"}, 20),
    (info.meta("xyz"), {"type": "meta", "dex": "xyz"}, 20),
    (info.perp_dexs(), {"type": "perpDexs"}, 20),
    (info.spot_meta(), {"type": "spotMeta"}, 20),
    (info.exchange_status(), {"type": "exchangeStatus"}, 2),
    (
        info.frontend_open_orders(USER, "xyz"),
        {"type": "frontendOpenOrders", "user": LOWER, "dex": "xyz"},
        20,
    ),
    (info.order_status(USER, 7), {"type": "orderStatus", "user": LOWER, "oid": 7}, 2),
    (info.order_status(USER, CLOID), {"type": "orderStatus", "user": LOWER, "oid": CLOID}, 2),
    (info.historical_orders(USER), {"type": "historicalOrders", "user": LOWER}, 20),
    (
        info.user_fills_by_time(USER, 5),
        {"type": "userFillsByTime", "user": LOWER, "startTime": 5, "aggregateByTime": False},
        20,
    ),
    (info.clearinghouse_state(USER), {"type": "clearinghouseState", "user": LOWER}, 2),
    (info.spot_clearinghouse_state(USER), {"type": "spotClearinghouseState", "user": LOWER}, 2),
    (info.user_funding(USER, 5, 6), {"type": "userFunding", "user": LOWER, "startTime": 5, "endTime": 6}, 20),
    (
        info.user_non_funding_ledger_updates(USER, 5),
        {"type": "userNonFundingLedgerUpdates", "user": LOWER, "startTime": 5},
        20,
    ),
    (info.user_rate_limit(USER), {"type": "userRateLimit", "user": LOWER}, 20),
    (info.user_role(USER), {"type": "userRole", "user": LOWER}, 60),
    (info.user_abstraction(USER), {"type": "userAbstraction", "user": LOWER}, 20),
]


@pytest.mark.parametrize(
    ("request_", "body", "weight"), REQUESTS, ids=[str(body["type"]) for _, body, _ in REQUESTS]
)
def test_body_and_weight_of_every_read(
    request_: info.InfoRequest, body: dict[str, object], weight: int
) -> None:
    assert json.loads(request_.encode()) == body
    assert request_.weight == weight


def test_rows_of_lists_cost_extra() -> None:
    assert info.user_fills_by_time(USER, 0).row_weight(2000) == 100
    assert info.user_fills_by_time(USER, 0).row_weight(19) == 0
    assert info.meta().row_weight(500) == 0
    for listed in (
        info.historical_orders(USER),
        info.user_funding(USER, 0),
        info.user_non_funding_ledger_updates(USER, 0),
    ):
        assert listed.row_weight(40) == 2


def test_nonsense_is_refused_before_it_is_sent() -> None:
    with pytest.raises(AddressError):
        info.user_role("0x1234")
    with pytest.raises(info.InfoRequestError, match="LS-12345"):
        info.order_status(USER, "LS-12345")
    with pytest.raises(info.InfoRequestError, match="time range"):
        info.user_fills_by_time(USER, 10, 9)
    with pytest.raises(info.InfoRequestError, match="time range"):
        info.user_funding(USER, -1)
