"""Bodies of `POST /info` requests and what each costs of the weight per minute (sheet 5, 9.1)."""

import msgspec

from adapters.hyperliquid.addresses import lowercase_address
from adapters.hyperliquid.client_ids import is_cloid

WEIGHT_LIGHT = 2
WEIGHT_DEFAULT = 20
WEIGHT_USER_ROLE = 60
ROWS_PER_WEIGHT = 20

HISTORY_ROWS = 2000
"""Most rows a `historicalOrders` answer has (5.4)."""

FILLS_PAGE_ROWS = 2000
"""Most rows one `userFills` or `userFillsByTime` answer has (5.5); a full page means that there may be
more."""

FILLS_KEPT = 10_000
"""How many of an account's latest fills the venue still tells (5.5)."""

TIME_PAGE_ROWS = 500
"""Most rows of one answer of the other reads by time, such as funding (5.5)."""


class InfoRequestError(ValueError):
    """A read cannot be asked for as given; nothing was sent."""


class InfoRequest(msgspec.Struct, frozen=True):
    """One read: its JSON body, its weight when sent, how many returned rows cost one weight more (0: none),
    and how many rows an answer has at most."""

    body: dict[str, object]
    weight: int = WEIGHT_DEFAULT
    rows_per_weight: int = 0
    rows_max: int = 0

    def encode(self) -> bytes:
        """The body as it is posted."""
        return msgspec.json.encode(self.body)

    def row_weight(self, rows: int) -> int:
        """The weight that an answer of `rows` rows adds to `weight`."""
        return rows // self.rows_per_weight if self.rows_per_weight else 0

    @property
    def weight_max(self) -> int:
        """The weight if its answer is as long as can be."""
        return self.weight + self.row_weight(self.rows_max)


def meta(dex: str = "") -> InfoRequest:
    """Perp markets of a dex; the empty name is the venue's own."""
    return InfoRequest(_with_dex({"type": "meta"}, dex))


def perp_dexs() -> InfoRequest:
    """The builder-deployed dexes; positions give asset ids."""
    return InfoRequest({"type": "perpDexs"})


def spot_meta() -> InfoRequest:
    """Spot tokens and markets."""
    return InfoRequest({"type": "spotMeta"})


def exchange_status() -> InfoRequest:
    """The venue's block time: the clock that expiries are compared with, and a cheap sign of health."""
    return InfoRequest({"type": "exchangeStatus"}, WEIGHT_LIGHT)


def frontend_open_orders(user: str, dex: str = "") -> InfoRequest:
    """Open orders of an account with everything known about them."""
    return InfoRequest(_with_dex(_of("frontendOpenOrders", user), dex))


def order_status(user: str, order_id: int | str) -> InfoRequest:
    """One order, by exchange order id or by cloid; both go into the same member (5.3)."""
    if isinstance(order_id, str) and not is_cloid(order_id):
        raise InfoRequestError(f"an order is asked for by exchange id or cloid, got {order_id!r}")
    return InfoRequest({**_of("orderStatus", user), "oid": order_id}, WEIGHT_LIGHT)


def historical_orders(user: str) -> InfoRequest:
    """The newest 2000 order statuses of an account."""
    return _list(_of("historicalOrders", user), HISTORY_ROWS)


def user_fills_by_time(user: str, start_ms: int, end_ms: int | None = None) -> InfoRequest:
    """Fills of an account from `start_ms` on, oldest first, both bounds included, never aggregated (5.5)."""
    body = {**_of("userFillsByTime", user), **_time_range(start_ms, end_ms), "aggregateByTime": False}
    return _list(body, FILLS_PAGE_ROWS)


def clearinghouse_state(user: str, dex: str = "") -> InfoRequest:
    """Positions and margin of an account."""
    return InfoRequest(_with_dex(_of("clearinghouseState", user), dex), WEIGHT_LIGHT)


def spot_clearinghouse_state(user: str) -> InfoRequest:
    """Balances of an account by spot token."""
    return InfoRequest(_of("spotClearinghouseState", user), WEIGHT_LIGHT)


def active_asset_data(user: str, coin: str) -> InfoRequest:
    """What an account may trade of a perp, and the leverage that is set for it, held or not (5.9)."""
    return InfoRequest({**_of("activeAssetData", user), "coin": coin})


def user_funding(user: str, start_ms: int, end_ms: int | None = None) -> InfoRequest:
    """Funding payments of an account."""
    return _list({**_of("userFunding", user), **_time_range(start_ms, end_ms)}, TIME_PAGE_ROWS)


def user_non_funding_ledger_updates(user: str, start_ms: int, end_ms: int | None = None) -> InfoRequest:
    """Deposits, withdrawals and transfers of an account."""
    body = {**_of("userNonFundingLedgerUpdates", user), **_time_range(start_ms, end_ms)}
    return _list(body, TIME_PAGE_ROWS)


def user_rate_limit(user: str) -> InfoRequest:
    """Used and permitted actions of an account (9.2)."""
    return InfoRequest(_of("userRateLimit", user))


def user_role(address: str) -> InfoRequest:
    """Whether an address is an account, a sub-account, a vault, an agent (and whose) or nothing (5.9)."""
    return InfoRequest(_of("userRole", address), WEIGHT_USER_ROLE)


def user_abstraction(user: str) -> InfoRequest:
    """Account mode: unified, portfolio margin or separate (5.6)."""
    return InfoRequest(_of("userAbstraction", user))


def _list(body: dict[str, object], rows_max: int) -> InfoRequest:
    """A read that also weighs by the rows of its answer (9.1)."""
    return InfoRequest(body, rows_per_weight=ROWS_PER_WEIGHT, rows_max=rows_max)


def _of(kind: str, user: str) -> dict[str, object]:
    return {"type": kind, "user": lowercase_address(user)}


def _with_dex(body: dict[str, object], dex: str) -> dict[str, object]:
    return {**body, "dex": dex} if dex else body


def _time_range(start_ms: int, end_ms: int | None) -> dict[str, object]:
    if start_ms < 0 or (end_ms is not None and end_ms < start_ms):
        raise InfoRequestError(f"not a time range in ms since the epoch: {start_ms} to {end_ms}")
    return {"startTime": start_ms} if end_ms is None else {"startTime": start_ms, "endTime": end_ms}
