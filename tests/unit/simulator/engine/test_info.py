"""The reads: shapes, paging, unknown accounts, bad requests (sheet 5)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import Unprocessable, VenueOptions
from adapters.simulator.engine.options import TESTNET_PERPS
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    ETH,
    START_MS,
    STRANGER,
    TSLA,
    Venue,
    cloid,
    limit,
    trigger,
)

EMPTY: dict[str, object] = {
    "openOrders": [],
    "frontendOpenOrders": [],
    "historicalOrders": [],
    "userFills": [],
    "extraAgents": [],
    "subAccounts": None,
    "userTwapSliceFills": [],
    "twapHistory": [],
    "userVaultEquities": [],
    "spotClearinghouseState": {"balances": []},
    "userRole": {"role": "missing"},
    "userAbstraction": "disabled",
    "userRateLimit": {
        "cumVlm": "0.0",
        "nRequestsUsed": 0,
        "nRequestsCap": 10_000,
        "nRequestsSurplus": 0,
    },
}


@pytest.mark.parametrize("kind", EMPTY)
def test_unknown_accounts_read_as_empty(kind: str) -> None:
    assert Venue().info(kind, user=STRANGER) == EMPTY[kind]


@pytest.mark.parametrize("kind", ["userFillsByTime", "userFunding", "userNonFundingLedgerUpdates"])
def test_unknown_accounts_have_no_history(kind: str) -> None:
    assert Venue().info(kind, user=STRANGER, startTime=0) == []


def test_unknown_accounts_have_a_state_of_zeros() -> None:
    venue = Venue()
    state = venue.info("clearinghouseState", user=STRANGER)
    assert state["marginSummary"]["accountValue"] == "0.0"
    assert state["time"] == venue.now
    assert venue.info("orderStatus", user=STRANGER, oid=1) == {"status": "unknownOid"}
    assert venue.info("userFees", user=STRANGER)["userCrossRate"] == "0.00045"
    assert venue.info("activeAssetData", user=STRANGER, coin="BTC")["leverage"]["value"] == 20
    assert venue.info("maxBuilderFee", user=STRANGER, builder=BOB) == 0
    assert len(venue.info("portfolio", user=STRANGER)) == 8
    assert venue.info("userRole", user=STRANGER) == {"role": "missing"}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"type": "orderBook"},
        {"type": 3},
        {"type": "openOrders"},
        {"type": "openOrders", "user": "0x12"},
        {"type": "openOrders", "user": ALICE, "dex": "nowhere"},
        {"type": "orderStatus", "user": ALICE},
        {"type": "orderStatus", "user": ALICE, "oid": "0x12"},
        {"type": "userFillsByTime", "user": ALICE},
        {"type": "userFillsByTime", "user": ALICE, "startTime": "0"},
        {"type": "l2Book"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 4, "mantissa": 2},
        {"type": "candleSnapshot", "coin": "BTC", "interval": "1m", "startTime": 0},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m", "startTime": 0}},
        {"type": "activeAssetData", "user": ALICE, "coin": "NOPE"},
    ],
)
def test_bad_requests_are_unprocessable(request_body: dict[str, object]) -> None:
    venue = Venue()
    with pytest.raises(Unprocessable):
        venue.exchange.info(request_body, now_ms=venue.now)


def test_addresses_are_read_in_any_letter_case() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    shouted = "0x" + ALICE[2:].upper()
    assert [row["oid"] for row in venue.info("openOrders", user=shouted)] == [oid]


# -- markets ------------------------------------------------------------------


def test_ids_come_from_the_slot_in_the_universe_delisted_or_not() -> None:
    universe = Venue().info("meta")["universe"]
    names = [row["name"] for row in universe]
    assert [names.index(name) for name in ("BTC", "ETH", "MATIC", "SOL")] == [0, 1, 3, 5]
    assert universe[3]["isDelisted"] is True
    assert "isDelisted" not in universe[0]
    assert {row["name"]: row["szDecimals"] for row in universe}["kPEPE"] == 0


def test_the_universe_may_be_ordered_as_on_testnet() -> None:
    venue = Venue(VenueOptions(perps=TESTNET_PERPS))
    names = [row["name"] for row in venue.info("meta")["universe"]]
    assert [names.index(name) for name in ("SOL", "BTC", "ETH")] == [0, 3, 4]


def test_margin_tables_are_listed_where_they_are_tiered() -> None:
    meta = Venue().info("meta")
    tables = dict(meta["marginTables"])
    assert tables[56]["marginTiers"] == [
        {"lowerBound": "0.0", "maxLeverage": 40},
        {"lowerBound": "150000000.0", "maxLeverage": 20},
    ]
    assert 20 not in tables
    assert meta["collateralToken"] == 0


def test_contexts_come_in_the_order_of_the_universe() -> None:
    venue = Venue()
    meta, contexts = venue.info("metaAndAssetCtxs")
    assert len(meta["universe"]) == len(contexts)
    assert contexts[1] == {
        "funding": "0.0000125",
        "openInterest": "0.0",
        "prevDayPx": "2298.4",
        "dayNtlVlm": "0.0",
        "premium": None,
        "oraclePx": "2298.4",
        "markPx": "2298.4",
        "midPx": None,
        "impactPxs": None,
        "dayBaseVlm": "0.0",
    }


def test_contexts_follow_trading() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, ETH, "2300", "2")
    context = venue.info("metaAndAssetCtxs")[1][1]
    assert (context["openInterest"], context["dayNtlVlm"], context["dayBaseVlm"]) == ("2.0", "4600.0", "2.0")
    venue.exchange.advance(START_MS + 2 * 86_400_000)
    context = venue.info("metaAndAssetCtxs")[1][1]
    assert (context["dayNtlVlm"], context["prevDayPx"]) == ("0.0", "2300.0")


def test_builder_dexes_have_markets_of_their_own() -> None:
    venue = Venue()
    dexes = venue.info("perpDexs")
    assert dexes[0] is None
    assert dexes[1]["name"] == "xyz"
    assert venue.info("meta", dex="xyz")["universe"][0]["name"] == "xyz:TSLA"
    assert [len(meta["universe"]) for meta in venue.info("allPerpMetas")][1] == 2
    assert venue.info("allMids", dex="xyz") == {"xyz:TSLA": "248.42", "xyz:XYZ100": "24310.0"}
    assert "xyz:TSLA" not in venue.info("allMids")


def test_spot_meta_and_contexts_match_by_coin() -> None:
    venue = Venue()
    meta, contexts = venue.info("spotMetaAndAssetCtxs")
    assert meta == venue.info("spotMeta")
    assert meta["universe"][1] == {"tokens": [150, 0], "name": "@107", "index": 107, "isCanonical": False}
    assert meta["tokens"][0]["name"] == "USDC"
    assert meta["tokens"][0]["tokenId"] == "0x6d1e7cde53ba9467b783cb7c530ce054"
    assert {row["coin"] for row in contexts} == {row["name"] for row in meta["universe"]}


def test_mids_fall_back_to_the_last_trade() -> None:
    venue = Venue()
    assert venue.info("allMids")["BTC"] == "43210.0"
    venue.trade(ALICE, BOB, BTC, "43100", "0.01")
    assert venue.info("allMids")["BTC"] == "43100.0"
    venue.rest(BOB, limit(BTC, True, "43200", "0.01"))
    venue.rest(BOB, limit(BTC, False, "43205", "0.01"))
    assert venue.info("allMids")["BTC"] == "43202.5"
    assert "MATIC" not in venue.info("allMids")


def test_the_book_lists_twenty_levels_best_first() -> None:
    venue = Venue()
    for number in range(25):
        venue.rest(ALICE, limit(BTC, True, str(43000 - number), "0.01"))
    venue.rest(BOB, limit(BTC, True, "43000", "0.02"))
    book = venue.info("l2Book", coin="BTC")
    assert book["coin"] == "BTC"
    assert book["time"] == venue.now
    assert len(book["levels"][0]) == 20
    assert book["levels"][0][0] == {"px": "43000.0", "sz": "0.03", "n": 2}
    assert book["levels"][1] == []
    assert venue.info("l2Book", coin="NOPE") is None


def test_books_aggregate_away_from_the_spread() -> None:
    venue = Venue()
    for price in ("43219", "43211", "43209"):
        venue.rest(ALICE, limit(BTC, True, price, "0.01"))
    for price in ("43221", "43229", "43231"):
        venue.rest(BOB, limit(BTC, False, price, "0.01"))
    bids, asks = venue.info("l2Book", coin="BTC", nSigFigs=4)["levels"]
    assert [(level["px"], level["sz"], level["n"]) for level in bids] == [
        ("43210.0", "0.02", 2),
        ("43200.0", "0.01", 1),
    ]
    assert [(level["px"], level["sz"], level["n"]) for level in asks] == [
        ("43230.0", "0.02", 2),
        ("43240.0", "0.01", 1),
    ]
    bids, asks = venue.info("l2Book", coin="BTC", nSigFigs=5, mantissa=5)["levels"]
    assert [level["px"] for level in bids] == ["43215.0", "43210.0", "43205.0"]
    assert [level["px"] for level in asks] == ["43225.0", "43230.0", "43235.0"]
    plain = venue.info("l2Book", coin="BTC", nSigFigs=None, mantissa=None)
    assert plain == venue.info("l2Book", coin="BTC")


def test_recent_trades_name_both_sides() -> None:
    venue = Venue()
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    (trade,) = venue.info("recentTrades", coin="BTC")
    assert trade["side"] == "B"
    assert trade["users"] == [ALICE, BOB]
    assert trade["tid"] == venue.fills(ALICE)[0]["tid"]


def test_candles_are_folded_from_trades() -> None:
    venue = Venue()
    minute = START_MS - START_MS % 60_000 + 60_000
    for offset, price in ((0, "43210"), (10_000, "43250"), (20_000, "43200"), (180_000, "43300")):
        venue.exchange.advance(minute + offset)
        venue.trade(ALICE, BOB, BTC, price, "0.01")
    bars = venue.info(
        "candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": venue.now}
    )
    assert [bar["t"] for bar in bars] == [minute + n * 60_000 for n in range(4)]
    assert bars[0] == {
        "t": minute,
        "T": minute + 59_999,
        "s": "BTC",
        "i": "1m",
        "o": "43210.0",
        "c": "43200.0",
        "h": "43250.0",
        "l": "43200.0",
        "v": "0.03",
        "n": 3,
    }
    assert (bars[1]["o"], bars[1]["c"], bars[1]["v"], bars[1]["n"]) == ("43200.0", "43200.0", "0.0", 0)
    (day,) = venue.info("candleSnapshot", req={"coin": "BTC", "interval": "1d", "startTime": 0})
    assert (day["n"], day["h"], day["v"]) == (4, "43300.0", "0.04")


def test_markets_without_trades_have_no_candles() -> None:
    venue = Venue()
    assert venue.info("candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": 0}) == []
    assert venue.info("candleSnapshot", req={"coin": "NOPE", "interval": "1m", "startTime": 0}) == []
    assert venue.info("fundingHistory", coin="@107", startTime=0) == []
    assert venue.info("recentTrades", coin="NOPE") == []


def test_unknown_vaults_have_no_details() -> None:
    assert Venue().info("vaultDetails", vaultAddress=STRANGER) is None


def test_the_clock_can_be_asked() -> None:
    venue = Venue()
    assert venue.exchange.info({"type": "exchangeStatus"}, now_ms=venue.now + 5)["time"] == venue.now  # type: ignore[index]
    assert venue.now == START_MS + 5


def test_time_never_goes_back() -> None:
    venue = Venue()
    venue.exchange.advance(START_MS + 1000)
    venue.exchange.advance(START_MS)
    assert venue.info("exchangeStatus")["time"] == START_MS + 1000


# -- orders -------------------------------------------------------------------


def test_open_orders_leave_out_what_is_unset_and_hide_triggers() -> None:
    venue = Venue()
    venue.open_long(ALICE, ETH, "2300", "1")
    venue.rest(ALICE, limit(ETH, True, "2200", "1"))
    venue.rest(ALICE, limit(ETH, False, "2400", "1", reduce_only=True, cloid=cloid(1)))
    venue.rest(ALICE, trigger(ETH, False, "2100", "1", "sl", reduce_only=False))
    stop, closing, opening = venue.info("openOrders", user=ALICE)
    plain = {"coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz"}
    assert set(opening) == plain
    assert set(stop) == plain
    assert set(closing) == plain | {"cloid", "reduceOnly"}
    assert closing["reduceOnly"] is True


def test_frontend_rows_have_nulls_instead() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(ETH, True, "2200", "1"))
    assert venue.info("frontendOpenOrders", user=ALICE) == [
        {
            "coin": "ETH",
            "side": "B",
            "limitPx": "2200.0",
            "sz": "1.0",
            "oid": oid,
            "timestamp": venue.now,
            "triggerCondition": "N/A",
            "isTrigger": False,
            "triggerPx": "0.0",
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": False,
            "orderType": "Limit",
            "origSz": "1.0",
            "tif": "Gtc",
            "cloid": None,
        }
    ]


def test_order_status_has_three_levels() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(ETH, True, "2200", "1", cloid=cloid(5)))
    found = venue.info("orderStatus", user=ALICE, oid=oid)
    assert found["status"] == "order"
    assert found["order"]["status"] == "open"
    assert found["order"]["statusTimestamp"] == venue.now
    assert found["order"]["order"]["oid"] == oid
    assert venue.info("orderStatus", user=ALICE, oid=cloid(5)) == found
    assert venue.info("orderStatus", user=BOB, oid=oid) == {"status": "unknownOid"}
    assert venue.info("orderStatus", user=ALICE, oid=oid + 1) == {"status": "unknownOid"}


@pytest.mark.parametrize(("size", "shown"), [("live", "0.6"), ("last_status_change", "1.0")])
def test_the_size_in_order_status_can_lag(size: str, shown: str) -> None:
    venue = Venue(VenueOptions(order_status_size=size))  # type: ignore[arg-type]
    oid = venue.rest(ALICE, limit(ETH, True, "2200", "1"))
    venue.sell(BOB, ETH, "2200", "0.4", "Ioc")
    assert venue.order_row(ALICE, oid)["sz"] == shown
    assert venue.info("openOrders", user=ALICE)[0]["sz"] == "0.6"


def test_history_has_one_row_per_status_newest_first() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(ETH, True, "2200", "1"))
    venue.cancel(ALICE, ETH, oid)
    rows = venue.info("historicalOrders", user=ALICE)
    assert [(row["order"]["oid"], row["status"], row["order"]["sz"]) for row in rows] == [
        (oid, "canceled", "1.0"),
        (oid, "open", "1.0"),
    ]


def test_old_orders_are_forgotten() -> None:
    venue = Venue(VenueOptions(finished_orders_kept=2))
    oids = []
    for number in range(3):
        oids.append(venue.rest(ALICE, limit(ETH, True, "2200", "1", cloid=cloid(number))))
        venue.cancel(ALICE, ETH, oids[-1])
    assert [venue.status(ALICE, oid) for oid in oids] == ["unknownOid", "canceled", "canceled"]
    assert venue.status(ALICE, cloid(0)) == "unknownOid"


# -- fills --------------------------------------------------------------------


def many_fills(count: int, *, per_block: int = 1, options: VenueOptions | None = None) -> Venue:
    venue = Venue(options or VenueOptions(address_budget=None), usdc="1000000000")
    left = count
    venue.rest(BOB, limit(BTC, False, "43210", "100"))
    while left:
        batch = min(per_block, left)
        venue.orders(ALICE, *[limit(BTC, True, "43210", "0.00025", "Ioc")] * batch)
        left -= batch
    return venue


def test_fills_by_time_are_oldest_first_with_inclusive_bounds() -> None:
    venue = many_fills(5)
    fills = venue.fills(ALICE)
    times = [fill["time"] for fill in fills]
    assert times == sorted(times)
    found = venue.info("userFillsByTime", user=ALICE, startTime=times[1], endTime=times[3])
    assert found == fills[1:4]
    backwards = venue.info("userFillsByTime", user=ALICE, startTime=0, reversed=True)
    assert backwards == fills[::-1]


def test_fills_page_at_two_thousand() -> None:
    venue = many_fills(2100, per_block=100)
    first = venue.info("userFillsByTime", user=ALICE, startTime=0)
    assert len(first) == 2000
    second = venue.info("userFillsByTime", user=ALICE, startTime=first[-1]["time"])
    assert len({fill["tid"] for fill in first + second}) == 2100
    newest = venue.info("userFills", user=ALICE)
    assert len(newest) == 2000
    assert newest[0]["time"] >= newest[-1]["time"]
    assert newest[0]["time"] == second[-1]["time"]


def test_newest_fills_keep_execution_order_within_a_block() -> None:
    venue = many_fills(6, per_block=3)
    newest = venue.info("userFills", user=ALICE)
    starts = [Decimal(fill["startPosition"]) for fill in newest]
    assert starts == [Decimal("0.00025") * n for n in (3, 4, 5, 0, 1, 2)]


def test_only_the_last_fills_exist() -> None:
    venue = many_fills(45, options=VenueOptions(fills_kept=20, address_budget=None))
    fills = venue.fills(ALICE)
    assert len(fills) == 20
    assert fills[-1]["startPosition"] == "0.011"
    assert len(venue.info("userFills", user=ALICE)) == 20


def test_aggregation_merges_the_fills_of_one_order_in_one_block() -> None:
    venue = Venue()
    for price in ("43200", "43210"):
        venue.rest(BOB, limit(BTC, False, price, "0.01"))
    venue.orders(ALICE, limit(BTC, True, "43210", "0.02", "Ioc"))
    plain = venue.fills(ALICE)
    assert len(plain) == 2
    (merged,) = venue.info("userFillsByTime", user=ALICE, startTime=0, aggregateByTime=True)
    assert (merged["px"], merged["sz"], merged["startPosition"]) == ("43205.0", "0.02", "0.0")
    assert Decimal(merged["fee"]) == sum(Decimal(fill["fee"]) for fill in plain)
    assert venue.info("userFills", user=ALICE, aggregateByTime=True) == [merged]
    assert len(venue.info("userFills", user=BOB, aggregateByTime=True)) == 2


def test_aggregation_adds_up_builder_fees() -> None:
    venue = Venue()
    venue.act(ALICE, {"type": "approveBuilderFee", "maxFeeRate": "0.1%", "builder": STRANGER, "nonce": 1})
    for price in ("43200", "43210"):
        venue.rest(BOB, limit(BTC, False, price, "0.01"))
    order = limit(BTC, True, "43210", "0.02", "Ioc")
    venue.orders(ALICE, order, builder={"b": STRANGER, "f": 10})
    (merged,) = venue.info("userFills", user=ALICE, aggregateByTime=True)
    assert merged["builderFee"] == "0.08641"


def test_a_builder_dex_has_its_own_orders_and_positions() -> None:
    venue = Venue()
    for user in (ALICE, BOB):
        members = {"destination": user, "sourceDex": "", "destinationDex": "xyz", "token": "USDC"}
        venue.act(user, {"type": "sendAsset", **members, "amount": "1000", "nonce": 1})
    oid = venue.rest(ALICE, limit(TSLA, True, "240", "1"))
    assert venue.info("openOrders", user=ALICE) == []
    assert venue.info("openOrders", user=ALICE, dex="xyz")[0]["oid"] == oid
    venue.trade(ALICE, BOB, TSLA, "250", "1")
    assert venue.szi(ALICE, "xyz:TSLA") == "1.0"
    assert venue.info("clearinghouseState", user=ALICE)["assetPositions"] == []
