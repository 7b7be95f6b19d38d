"""A market is found by trading pair, coin or asset id, on whichever network the metadata came from."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.price_rules import MarketKind
from adapters.hyperliquid.symbols import (
    SymbolError,
    SymbolMap,
    UnknownAsset,
    UnknownCoin,
    UnknownTradingPair,
)

RECORDED_META = Path(__file__).parents[4] / "shared/data/hyperliquid/info/get_info.json"


def perp(name: str, sz_decimals: Any = 2, **members: Any) -> dict[str, Any]:
    return {"name": name, "szDecimals": sz_decimals, "maxLeverage": 20, "marginTableId": 20, **members}


def meta(*universe: Any) -> bytes:
    return json.dumps({"universe": universe, "marginTables": [], "collateralToken": 0}).encode()


META = meta(
    perp("BTC", 5, maxLeverage=40),
    perp("ETH", 4, maxLeverage=25),
    perp("ATOM"),
    perp("MATIC", 1, isDelisted=True),
    perp("DYDX", 1),
    perp("SOL", 2),
    perp("kPEPE", 0, onlyIsolated=True, marginMode="strictIsolated"),
)
PERP_DEXS = json.dumps(
    [None, {"name": "xyz", "fullName": "Stocks", "deployer": "0x0"}, {"name": "abc"}]
).encode()
SPOT_META = json.dumps(
    {
        "tokens": [
            {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "isCanonical": True},
            {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "isCanonical": True},
            {"name": "UBTC", "szDecimals": 5, "weiDecimals": 10, "index": 197, "fullName": None},
            {"name": "HYPE", "szDecimals": 2, "weiDecimals": 8, "index": 150},
            {"name": "HYPE", "szDecimals": 3, "weiDecimals": 8, "index": 300},
        ],
        "universe": [
            {"name": "@400", "tokens": [300, 0], "index": 400, "isCanonical": False},
            {"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True},
            {"name": "@107", "tokens": [150, 0], "index": 107, "isCanonical": False},
            {"name": "@142", "tokens": [197, 0], "index": 142, "isCanonical": False},
        ],
    }
).encode()


def test_the_asset_id_is_the_slot_counted_with_delisted_markets() -> None:
    symbols = SymbolMap.from_json(META)
    assert symbols.market("SOL-USD").asset == 5
    matic = symbols.market("MATIC-USD")
    assert (matic.asset, matic.is_delisted) == (3, True)
    assert [market.asset for market in symbols] == list(range(7))


def test_a_perp_carries_what_binds_its_orders() -> None:
    market = SymbolMap.from_json(META).market("BTC-USD")
    assert (market.coin, market.asset, market.kind) == ("BTC", 0, MarketKind.PERP)
    assert (market.base, market.quote, market.dex) == ("BTC", "USD", "")
    assert (market.sz_decimals, market.max_leverage) == (5, 40)
    assert (market.only_isolated, market.is_delisted) == (False, False)


def test_letter_case_is_part_of_a_name() -> None:
    symbols = SymbolMap.from_json(META)
    assert symbols.market("kPEPE-USD").coin == "kPEPE"
    assert symbols.by_coin("kPEPE").only_isolated
    assert "KPEPE-USD" not in symbols
    with pytest.raises(UnknownCoin, match="KPEPE"):
        symbols.by_coin("KPEPE")


def test_builder_dex_markets_are_numbered_by_the_position_of_their_dex() -> None:
    symbols = SymbolMap.from_json(
        META,
        perp_dexs=PERP_DEXS,
        dex_metas={"abc": meta(perp("abc:GOLD")), "xyz": meta(perp("xyz:NVDA"), perp("xyz:TSLA", 3))},
    )
    tesla = symbols.market("xyz:TSLA-USD")
    assert (tesla.coin, tesla.asset, tesla.dex, tesla.base) == ("xyz:TSLA", 110_001, "xyz", "TSLA")
    assert tesla.sz_decimals == 3
    assert symbols.market("abc:GOLD-USD").asset == 120_000
    assert symbols.by_coin("xyz:NVDA").asset == 110_000
    assert symbols.by_asset(110_001) is tesla


def test_a_dex_name_left_out_of_its_own_universe_is_added() -> None:
    symbols = SymbolMap.from_json(META, perp_dexs=PERP_DEXS, dex_metas={"xyz": meta(perp("TSLA"))})
    assert symbols.by_coin("xyz:TSLA").trading_pair == "xyz:TSLA-USD"


def test_a_dex_the_venue_does_not_list_is_refused() -> None:
    with pytest.raises(SymbolError, match="'nope'; listed: xyz, abc"):
        SymbolMap.from_json(META, perp_dexs=PERP_DEXS, dex_metas={"nope": meta()})
    with pytest.raises(SymbolError, match="perpDexs"):
        SymbolMap.from_json(META, dex_metas={"xyz": meta()})


def test_spot_ids_come_from_the_index_field_and_names_from_the_tokens() -> None:
    symbols = SymbolMap.from_json(META, spot_meta=SPOT_META)
    purr = symbols.market("PURR-USDC")
    assert (purr.coin, purr.asset, purr.sz_decimals) == ("PURR/USDC", 10_000, 0)
    hype = symbols.market("HYPE-USDC")
    assert (hype.coin, hype.asset, hype.sz_decimals) == ("@107", 10_107, 2)
    assert (hype.kind, hype.max_leverage, hype.quote) == (MarketKind.SPOT, None, "USDC")
    # The web page calls this one BTC/USDC; the venue's interface never does.
    assert symbols.market("UBTC-USDC").coin == "@142"


def test_a_later_namesake_does_not_take_over_the_pair_of_an_older_token() -> None:
    symbols = SymbolMap.from_json(META, spot_meta=SPOT_META)
    assert symbols.market("HYPE-USDC").asset == 10_107
    assert symbols.market("@400-USDC").asset == 10_400
    assert symbols.by_coin("@400").sz_decimals == 3


def test_the_venues_own_pair_keeps_its_name_even_against_an_older_namesake() -> None:
    spot = json.loads(SPOT_META)
    spot["universe"][0]["isCanonical"] = True
    symbols = SymbolMap.from_json(META, spot_meta=json.dumps(spot).encode())
    assert symbols.market("HYPE-USDC").coin == "@400"
    assert symbols.market("@107-USDC").asset == 10_107


@pytest.mark.parametrize(
    ("wanted", "suggested"),
    [
        ("btc-usd", "BTC-USD"),
        ("BTC", "BTC-USD"),
        ("BTC-USDC", "BTC-USD"),
        ("KPEPE-USD", "kPEPE-USD"),
        ("@107", "HYPE-USDC"),
        ("ETH/USD", "ETH-USD"),
        ("TSLA", "xyz:TSLA-USD"),
    ],
)
def test_an_unknown_pair_is_refused_with_what_may_have_been_meant(wanted: str, suggested: str) -> None:
    symbols = SymbolMap.from_json(
        META, perp_dexs=PERP_DEXS, dex_metas={"xyz": meta(perp("xyz:TSLA"))}, spot_meta=SPOT_META
    )
    with pytest.raises(UnknownTradingPair) as caught:
        symbols.market(wanted)
    assert suggested in caught.value.near_matches
    assert repr(wanted) in str(caught.value)
    assert suggested in str(caught.value)


def test_an_unknown_pair_without_anything_near_says_so_plainly() -> None:
    with pytest.raises(UnknownTradingPair, match=r"^no market with trading pair 'QQQQQQ-ZZZ'$"):
        SymbolMap.from_json(META).market("QQQQQQ-ZZZ")


def test_an_unknown_asset_id_is_refused() -> None:
    with pytest.raises(UnknownAsset, match="99"):
        SymbolMap.from_json(META).by_asset(99)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        {"name": "BAD"},
        perp("BAD", "2"),
        perp("BAD", 2.5),
        perp("BAD", -1),
        perp("BAD", 900),
        perp(""),
        perp("BAD", maxLeverage=0),
    ],
)
def test_one_unreadable_entry_keeps_its_slot_and_never_discards_its_neighbours(bad: Any) -> None:
    symbols = SymbolMap.from_json(meta(perp("BTC"), bad, perp("ETH")))
    assert [(market.coin, market.asset) for market in symbols] == [("BTC", 0), ("ETH", 2)]
    assert len(symbols.unreadable) == 1
    assert symbols.unreadable[0].startswith("meta entry 1: ")


def test_a_spot_market_of_an_unlisted_token_is_left_out_and_told() -> None:
    spot = json.loads(SPOT_META)
    spot["universe"].insert(0, {"name": "@9", "tokens": [9999, 0], "index": 9})
    spot["universe"].insert(0, {"name": "@8", "tokens": [1], "index": 8})
    spot["tokens"].insert(0, {"name": "NOIDX"})
    symbols = SymbolMap.from_json(META, spot_meta=json.dumps(spot).encode())
    assert "HYPE-USDC" in symbols
    assert "@9" not in [market.coin for market in symbols]
    told = "\n".join(symbols.unreadable)
    assert len(symbols.unreadable) == 3
    assert "spotMeta token entry 0" in told
    assert "spotMeta universe @9" in told


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[]", b"{}", b'{"universe":7}', b'{"universe":[', b"\xff\xfe"]
)
def test_an_unreadable_answer_is_a_typed_error(answer: bytes) -> None:
    with pytest.raises(SymbolError, match="meta"):
        SymbolMap.from_json(answer)
    with pytest.raises(SymbolError, match="spotMeta"):
        SymbolMap.from_json(META, spot_meta=answer)
    with pytest.raises(SymbolError, match=r"perpDexs|does not list"):
        SymbolMap.from_json(META, perp_dexs=answer, dex_metas={"xyz": META})


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@given(st.lists(st.tuples(names, st.booleans()), max_size=30, unique_by=lambda entry: entry[0]))
@settings(deadline=None, max_examples=60)
def test_the_three_names_of_every_market_lead_to_the_same_market(universe: list[tuple[str, bool]]) -> None:
    symbols = SymbolMap.from_json(meta(*(perp(name, isDelisted=gone) for name, gone in universe)))
    assert [market.coin for market in symbols] == [name for name, _ in universe]
    assert len(symbols) == len(universe)
    for market in symbols:
        assert symbols.market(market.trading_pair) is market
        assert symbols.by_coin(market.coin) is market
        assert symbols.by_asset(market.asset) is market


@pytest.mark.skipif(
    not RECORDED_META.is_file(), reason="the recorded answers of the venue are not beside this checkout"
)
def test_the_recorded_metadata_of_2023_is_read() -> None:
    recorded = json.loads(RECORDED_META.read_text())[0]["response"]
    symbols = SymbolMap.from_json(json.dumps(recorded).encode())
    assert symbols.unreadable == ()
    assert len(symbols) == 28
    assert symbols.market("BTC-USD").asset == 0
    assert symbols.market("SOL-USD").asset == 5
    assert symbols.market("kPEPE-USD").sz_decimals == 0
    assert symbols.market("ETH-USD").max_leverage == 50
