"""Reads about markets: meta, contexts, mids, books, trades, candles, funding rates (sheet 5.1, 5.8)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from . import encoders
from .accounts import USDC_INDEX
from .candles import INTERVALS
from .encoders import Json
from .errors import Unprocessable
from .funding import Funding
from .lookup import Lookup, slice_by_time
from .markets import Market, PerpMarket, SpotMarket
from .numbers import ZERO, read_text
from .parsing import as_object, count_member, member, optional_count, text_member
from .state import VenueState

ROWS_PER_READ = 500
RECENT_TRADES_SHOWN = 10
PREDICTION_VENUES = ("BinPerp", "HlPerp", "BybitPerp")


class MarketReads:
    def __init__(self, state: VenueState, lookup: Lookup, funding: Funding) -> None:
        self._state = state
        self._lookup = lookup
        self._funding = funding
        self.handlers: dict[str, Callable[[Json], object]] = {
            "meta": self._meta,
            "metaAndAssetCtxs": self._meta_and_contexts,
            "allPerpMetas": self._all_perp_metas,
            "perpDexs": self._perp_dexs,
            "spotMeta": lambda _: self.spot_meta(),
            "spotMetaAndAssetCtxs": lambda _: [self.spot_meta(), self.spot_contexts()],
            "allMids": lambda request: self.all_mids(self._lookup.dex(request)),
            "l2Book": self._l2_book,
            "recentTrades": self._recent_trades,
            "candleSnapshot": self._candle_snapshot,
            "exchangeStatus": lambda _: {"time": self._state.now_ms, "specialStatuses": None},
            "fundingHistory": self._funding_history,
            "predictedFundings": lambda _: self._predicted_fundings(),
            "perpsAtOpenInterestCap": lambda request: self.capped(self._lookup.dex(request)),
        }

    def _meta(self, request: Json) -> Json:
        return self.meta(self._lookup.dex(request))

    def meta(self, dex: str) -> Json:
        markets = self._state.universe.perps_by_dex[dex]
        universe = []
        used_tables: dict[int, None] = {}
        for market in markets:
            spec = market.spec
            table = spec.max_leverage if spec.margin_table_id is None else spec.margin_table_id
            used_tables[table] = None
            row: Json = {
                "szDecimals": spec.sz_decimals,
                "name": market.coin,
                "maxLeverage": spec.max_leverage,
                "marginTableId": table,
            }
            if spec.only_isolated:
                row["onlyIsolated"] = True
                row["marginMode"] = "strictIsolated"
            if spec.is_delisted:
                row["isDelisted"] = True
            universe.append(row)
        return {
            "universe": universe,
            "marginTables": [
                [
                    number,
                    {
                        "description": table.description,
                        "marginTiers": [
                            {"lowerBound": read_text(tier.lower_bound), "maxLeverage": tier.max_leverage}
                            for tier in table.tiers
                        ],
                    },
                ]
                for number, table in self._state.options.margin_tables.items()
                if number in used_tables
            ],
            "collateralToken": USDC_INDEX,
        }

    def perp_contexts(self, dex: str) -> list[Json]:
        now = self._state.now_ms
        return [self.perp_context(market, now) for market in self._state.universe.perps_by_dex[dex]]

    def perp_context(self, market: PerpMarket, now_ms: int) -> Json:
        return encoders.perp_context(market, self._funding.current_rate(market), now_ms)

    def _meta_and_contexts(self, request: Json) -> object:
        dex = self._lookup.dex(request)
        return [self.meta(dex), self.perp_contexts(dex)]

    def _all_perp_metas(self, _: Json) -> object:
        return [self.meta(dex) for dex in self._state.universe.perps_by_dex]

    def _perp_dexs(self, _: Json) -> object:
        rows: list[Json | None] = [None]
        rows += [
            {
                "name": dex.name,
                "fullName": dex.full_name,
                "deployer": dex.deployer,
                "oracleUpdater": None,
                "feeRecipient": dex.deployer,
                "assetToStreamingOiCap": [],
            }
            for dex in self._state.universe.dexes
        ]
        return rows

    def spot_meta(self) -> Json:
        universe = self._state.universe
        return {
            "universe": [
                {
                    "tokens": [market.base.index, market.quote.index],
                    "name": market.coin,
                    "index": market.spec.index,
                    "isCanonical": market.spec.name is not None,
                }
                for market in universe.spot_markets
            ],
            "tokens": [
                {
                    "name": token.name,
                    "szDecimals": token.sz_decimals,
                    "weiDecimals": token.wei_decimals,
                    "index": token.index,
                    "tokenId": token.token_id,
                    "isCanonical": token.index <= 1,
                    "evmContract": None,
                    "fullName": token.full_name,
                }
                for token in universe.tokens.values()
            ],
        }

    def spot_context(self, market: SpotMarket) -> Json:
        supply = sum(
            (
                balance.total
                for account in self._state.accounts.values()
                if (balance := account.spot.get(market.base.index)) is not None
            ),
            ZERO,
        )
        return encoders.spot_context(market, supply, self._state.now_ms)

    def spot_contexts(self) -> list[Json]:
        return [self.spot_context(market) for market in self._state.universe.spot_markets]

    def all_mids(self, dex: str) -> dict[str, str]:
        """Spot mids come with the first dex only (sheet 1.2). Delisted perps have none."""
        universe = self._state.universe
        markets: list[Market] = [m for m in universe.perps_by_dex[dex] if not m.is_halted]
        if not dex:
            markets += universe.spot_markets
        return {market.coin: read_text(market.mid_or_last) for market in markets}

    def _l2_book(self, request: Json) -> object:
        return self.l2_book(request)

    def l2_book(self, request: Json, *, depth: int = encoders.LEVELS_PER_SIDE) -> object:
        """Also serves subscriptions: their objects have the same members."""
        market = self._lookup.market(request)
        figures = optional_count(request, "nSigFigs")
        mantissa = optional_count(request, "mantissa")
        if figures is not None and not 2 <= figures <= 5:
            raise Unprocessable
        if mantissa is not None and (figures != 5 or mantissa not in (1, 2, 5)):
            raise Unprocessable
        if market is None:
            return None
        return encoders.l2_book(market, self._state.now_ms, figures=figures, mantissa=mantissa, depth=depth)

    def _recent_trades(self, request: Json) -> object:
        market = self._lookup.market(request)
        return [] if market is None else self.recent_trades(market)

    def recent_trades(self, market: Market) -> list[Json]:
        """Newest first."""
        return [trade.encode() for trade in islice(reversed(market.tape.recent), RECENT_TRADES_SHOWN)]

    def _candle_snapshot(self, request: Json) -> object:
        spec = as_object(member(request, "req"))
        market = self._lookup.market(spec)
        interval = text_member(spec, "interval")
        if interval not in INTERVALS:
            raise Unprocessable
        start = count_member(spec, "startTime")
        end = optional_count(spec, "endTime")
        if market is None:
            return []
        return market.tape.bars(interval, start, self._state.now_ms if end is None else end)

    def _funding_history(self, request: Json) -> object:
        market = self._lookup.market(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if not isinstance(market, PerpMarket):
            return []
        rows = slice_by_time(market.funding_history, start, end, lambda row: row[0])
        return [
            {
                "coin": market.coin,
                "fundingRate": read_text(rate),
                "premium": read_text(premium),
                "time": time,
            }
            for time, rate, premium in rows[:ROWS_PER_READ]
        ]

    def _predicted_fundings(self) -> object:
        """Other venues' rates are not known here: null, as the venue answers for coins they do not list."""
        due = self._funding.next_settlement_ms()
        rows: list[Any] = []
        for market in self._state.universe.perps_by_dex[""]:
            if market.is_halted:
                continue
            own = {
                "fundingRate": read_text(self._funding.current_rate(market)),
                "nextFundingTime": due,
                "fundingIntervalHours": 1,
            }
            rows.append(
                [market.coin, [[name, own if name == "HlPerp" else None] for name in PREDICTION_VENUES]]
            )
        return rows

    def capped(self, dex: str) -> list[str]:
        """Coins whose open interest has reached its cap."""
        return [
            market.coin
            for market in self._state.universe.perps_by_dex[dex]
            if market.spec.open_interest_cap is not None
            and market.open_interest * market.mark_px >= market.spec.open_interest_cap
        ]
