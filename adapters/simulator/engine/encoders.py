"""How the venue's state reads as JSON: orders, books, contexts, accounts (sheet 5 and 7.3)."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from . import margin
from .accounts import Account, FundingPayment
from .markets import Market, PerpMarket, SpotMarket
from .numbers import MICRO_USDC, ONE, SPOT_UNIT, ZERO, read_text, rounded
from .orders import Order, Place, StatusRow
from .positions import PerpWallet, Position

Json = dict[str, Any]
LEVELS_PER_SIDE = 20
RATE_UNIT = Decimal("0.00000001")


def usd(value: Decimal) -> str:
    """An amount of USD, in micro-USD."""
    return read_text(rounded(value, MICRO_USDC))


# -- orders -----------------------------------------------------------------------------------------------


def open_order(order: Order, size: Decimal | None = None, oid: int | None = None) -> Json:
    """A row of `openOrders`, and the order of `orderUpdates`: unset members are absent (sheet 5.2, 7.3)."""
    row: Json = {
        "coin": order.market.coin,
        "side": order.side,
        "limitPx": read_text(order.limit_px),
        "sz": read_text(order.size if size is None else size),
        "oid": order.oid if oid is None else oid,
        "timestamp": order.time,
        "origSz": read_text(order.orig_size),
    }
    if order.cloid is not None:
        row["cloid"] = order.cloid
    if order.reduce_only:
        row["reduceOnly"] = True
    return row


def frontend_order(order: Order, size: Decimal | None = None) -> Json:
    """The order in `frontendOpenOrders`, `orderStatus`, `historicalOrders`: unset members are null (5.2)."""
    return {
        "coin": order.market.coin,
        "side": order.side,
        "limitPx": read_text(order.limit_px),
        "sz": read_text(order.size if size is None else size),
        "oid": order.oid,
        "timestamp": order.time,
        "triggerCondition": order.trigger_condition,
        "isTrigger": order.trigger is not None and order.place is not Place.BOOK,
        "triggerPx": read_text(ZERO if order.trigger is None else order.trigger.price),
        "children": [frontend_order(child) for child in order.children],
        "isPositionTpsl": order.is_position_tpsl,
        "reduceOnly": order.reduce_only,
        "orderType": order.order_type,
        "origSz": read_text(order.orig_size),
        "tif": None if order.trigger is not None else order.tif,
        "cloid": order.cloid,
    }


def order_update(row: StatusRow) -> Json:
    """One element of an `orderUpdates` frame."""
    return {
        "order": open_order(row.order, row.size, row.oid),
        "status": row.status,
        "statusTimestamp": row.time,
    }


def history_row(row: StatusRow) -> Json:
    """One row of `historicalOrders`."""
    return {
        "order": frontend_order(row.order, row.size),
        "status": row.status,
        "statusTimestamp": row.time,
    }


# -- books ------------------------------------------------------------------------------------------------


def _level(price: Decimal, size: Decimal, count: int) -> Json:
    return {"px": read_text(price), "sz": read_text(size), "n": count}


def _bucket(price: Decimal, figures: int, mantissa: int, *, is_bid: bool) -> Decimal:
    """The price rounded to `figures` significant figures, away from the spread, in steps of `mantissa`."""
    step = ONE.scaleb(price.adjusted() - figures + 1) * mantissa
    rounding = ROUND_FLOOR if is_bid else ROUND_CEILING
    return (price / step).to_integral_value(rounding) * step


def _side_levels(
    market: Market, *, is_bid: bool, figures: int | None, mantissa: int, depth: int
) -> list[Json]:
    side = market.book.side(is_bid)
    buckets: list[tuple[Decimal, Decimal, int]] = []
    for level in side.from_best():
        price = level.price if figures is None else _bucket(level.price, figures, mantissa, is_bid=is_bid)
        if buckets and buckets[-1][0] == price:
            _, size, count = buckets[-1]
            buckets[-1] = (price, size + level.size, count + len(level.orders))
        elif len(buckets) == depth:
            break
        else:
            buckets.append((price, level.size, len(level.orders)))
    return [_level(price, size, count) for price, size, count in buckets]


def l2_book(
    market: Market,
    now_ms: int,
    *,
    figures: int | None = None,
    mantissa: int | None = None,
    depth: int = LEVELS_PER_SIDE,
) -> Json:
    """Up to 20 levels a side, best first, optionally aggregated to significant figures (sheet 5.1)."""
    step = 1 if mantissa is None else mantissa
    return {
        "coin": market.coin,
        "time": now_ms,
        "levels": [
            _side_levels(market, is_bid=True, figures=figures, mantissa=step, depth=depth),
            _side_levels(market, is_bid=False, figures=figures, mantissa=step, depth=depth),
        ],
    }


def bbo(market: Market, now_ms: int) -> Json:
    """Best bid and offer; null for an empty side (sheet 7.3)."""
    sides = []
    for side in (market.book.bids, market.book.asks):
        best = side.best()
        sides.append(None if best is None else _level(best.price, best.size, len(best.orders)))
    return {"coin": market.coin, "time": now_ms, "bbo": sides}


# -- contexts ---------------------------------------------------------------------------------------------


def perp_context(market: PerpMarket, funding: Decimal, now_ms: int) -> Json:
    """An asset context of `metaAndAssetCtxs`; `funding` is the current hourly rate (sheet 5.1)."""
    notional, base = market.tape.day_volume(now_ms)
    mid = market.book.mid()
    premium = None if market.is_halted else market.premium()
    impact = [market.book.impact_price(is_buy, market.spec.impact_ntl) for is_buy in (False, True)]
    unit = ONE.scaleb(-market.max_decimals)
    return {
        "funding": read_text(rounded(funding, RATE_UNIT)),
        "openInterest": read_text(market.open_interest),
        "prevDayPx": read_text(market.prev_day_px(now_ms)),
        "dayNtlVlm": usd(notional),
        "premium": None if premium is None else read_text(rounded(premium, RATE_UNIT)),
        "oraclePx": read_text(market.oracle_px),
        "markPx": read_text(market.mark_px),
        "midPx": None if mid is None else read_text(mid),
        "impactPxs": None
        if impact[0] is None or impact[1] is None
        else [read_text(rounded(price, unit)) for price in impact if price is not None],
        "dayBaseVlm": read_text(base),
    }


def spot_context(market: SpotMarket, supply: Decimal, now_ms: int) -> Json:
    """An asset context of `spotMetaAndAssetCtxs`, found by `coin` (sheet 5.1)."""
    notional, base = market.tape.day_volume(now_ms)
    mid = market.book.mid()
    return {
        "prevDayPx": read_text(market.prev_day_px(now_ms)),
        "dayNtlVlm": usd(notional),
        "markPx": read_text(market.mark_px),
        "midPx": None if mid is None else read_text(mid),
        "circulatingSupply": read_text(supply),
        "coin": market.coin,
        "totalSupply": read_text(supply),
        "dayBaseVlm": read_text(base),
    }


# -- accounts ---------------------------------------------------------------------------------------------


def leverage(position: Position) -> Json:
    if position.is_cross:
        return {"type": "cross", "value": position.leverage}
    return {"type": "isolated", "value": position.leverage, "rawUsd": usd(position.isolated_usd)}


def asset_position(account: Account, wallet: PerpWallet, position: Position) -> Json:
    market = position.market
    entry_notional = abs(position.szi) * position.entry_px
    on_equity = position.unrealized_pnl * position.leverage / entry_notional if entry_notional else ZERO
    liquidation = margin.liquidation_price(account, position)
    return {
        "type": "oneWay",
        "position": {
            "coin": market.coin,
            "szi": read_text(position.szi),
            "leverage": leverage(position),
            "entryPx": read_text(rounded(position.entry_px, ONE.scaleb(-market.price_decimals))),
            "positionValue": usd(position.value),
            "unrealizedPnl": usd(position.unrealized_pnl),
            "returnOnEquity": read_text(rounded(on_equity, Decimal("0.0000000001"))),
            "liquidationPx": None if liquidation is None else read_text(rounded(liquidation, SPOT_UNIT)),
            "marginUsed": usd(margin.margin_used(position)),
            "maxLeverage": market.max_leverage,
            "cumFunding": {
                "allTime": usd(wallet.funding_all_time.get(market.coin, ZERO)),
                "sinceOpen": usd(position.funding_since_open),
                "sinceChange": usd(position.funding_since_change),
            },
        },
    }


def _margin_summary(value: Decimal, notional: Decimal, used: Decimal, signed_notional: Decimal) -> Json:
    return {
        "accountValue": usd(value),
        "totalNtlPos": usd(notional),
        "totalRawUsd": usd(value - signed_notional),
        "totalMarginUsed": usd(used),
    }


def clearinghouse_state(account: Account | None, dex: str, now_ms: int) -> Json:
    """Sheet 5.6. In unified mode the value shown is what the perps use: the rest is spot."""
    wallet = None if account is None else account.wallets.get(dex)
    if account is None or wallet is None:
        wallet = PerpWallet(dex)
    value, cross = margin.account_value(wallet), margin.cross_value(wallet)
    used, cross_used = margin.total_margin_used(wallet), margin.cross_margin_used(wallet)
    if account is not None and account.is_unified:
        value, cross = used, cross_used
    signed = sum((p.szi * p.market.mark_px for p in wallet.positions.values()), ZERO)
    cross_signed = sum((p.szi * p.market.mark_px for p in wallet.positions.values() if p.is_cross), ZERO)
    return {
        "marginSummary": _margin_summary(value, margin.total_notional(wallet), used, signed),
        "crossMarginSummary": _margin_summary(cross, margin.cross_notional(wallet), cross_used, cross_signed),
        "crossMaintenanceMarginUsed": usd(margin.cross_maintenance_margin(wallet)),
        "withdrawable": usd(ZERO if account is None else margin.withdrawable(account, wallet)),
        "assetPositions": []
        if account is None
        else [asset_position(account, wallet, position) for position in wallet.positions.values()],
        "time": now_ms,
    }


def funding_row(payment: FundingPayment) -> Json:
    """A row of `userFunding` (sheet 5.8)."""
    return {
        "time": payment.time,
        "hash": payment.tx_hash,
        "delta": {
            "type": "funding",
            "coin": payment.coin,
            "usdc": read_text(payment.usdc),
            "szi": read_text(payment.szi),
            "fundingRate": read_text(payment.rate),
            "nSamples": None,
        },
    }


def funding_event(payment: FundingPayment, *, with_samples: bool) -> Json:
    """An element of `userFundings` frames; without `nSamples` that of the `user` channel (sheet 7.3)."""
    row: Json = {
        "time": payment.time,
        "coin": payment.coin,
        "usdc": read_text(payment.usdc),
        "szi": read_text(payment.szi),
        "fundingRate": read_text(payment.rate),
    }
    if with_samples:
        row["nSamples"] = None
    return row
