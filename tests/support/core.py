"""A connector core driven by hand: inputs in, events and effects out, no sockets.

`CoreSession` plays the shell and the ledger. It numbers and stamps inputs, keeps every event the way a store
would (versions without gaps, look-ups by key), answers the reads whose answer a test does not care about, and
leaves actions and the other reads to the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from adapters.hyperliquid.connector import HyperliquidOptions, HyperliquidPerpetualConnector
from adapters.hyperliquid.transfer_effects import collateral_effect
from adapters.storage.keys import lookup_keys
from domain.cash import Cash
from domain.connector_base import OrderRequest
from domain.effects import Alert, ConnectStreams, Effect, LookUpOrder, Query, SendAction
from domain.enums import TradeType
from domain.event_codec import decode_event, encode_events
from domain.events import (
    AccountBalanceAsserted,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.in_flight_order import InFlightOrder, OrderView
from domain.inputs import (
    Input,
    OrderLookedUp,
    RequestAnswered,
    RequestFailed,
    Started,
    StreamConnected,
    StreamFrame,
    StreamLost,
    TimerFired,
)
from domain.listeners import Committed
from domain.outcome import Outcome

__all__ = [
    "ACCOUNT",
    "BOOKS_BEGIN_MS",
    "MASTER",
    "META",
    "START_MS",
    "START_NS",
    "TRADER",
    "CoreSession",
    "facts_of",
    "fill_row",
    "funding_row",
    "open_order_row",
    "order_row",
    "order_status_answer",
    "transfer_row",
]

ACCOUNT = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
MASTER = "0x00000000000000000000000000000000000000aa"
TRADER = "0x14791697260e4c9a71f18484c9f997b308e59325"
START_NS = 1_700_000_000_000_000_000
START_MS = START_NS // 1_000_000
BOOKS_BEGIN_MS = START_MS - 1_000
SECOND = 1_000_000_000

META = {
    "universe": [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 56},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25, "marginTableId": 25},
        {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10, "marginTableId": 10},
    ],
    "marginTables": [],
    "collateralToken": 0,
}
SPOT_META = {
    "tokens": [
        {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "isCanonical": True},
        {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "isCanonical": True},
    ],
    "universe": [{"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True}],
}


def order_row(
    oid: int,
    *,
    cloid: str | None = None,
    coin: str = "BTC",
    side: str = "B",
    price: str = "43210.0",
    size: str = "1.0",
    remaining: str | None = None,
    **members: Any,
) -> dict[str, Any]:
    """An order as `orderUpdates` and `openOrders` show it."""
    row: dict[str, Any] = {
        "coin": coin,
        "side": side,
        "limitPx": price,
        "sz": size if remaining is None else remaining,
        "oid": oid,
        "timestamp": START_MS,
        "origSz": size,
    }
    if cloid is not None:
        row["cloid"] = cloid
    return row | members


def open_order_row(oid: int, *, cloid: str | None = None, tif: str = "Gtc", **members: Any) -> dict[str, Any]:
    """An order as `frontendOpenOrders` lists it."""
    row = order_row(oid, **members)
    return row | {
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": members.get("reduceOnly", False),
        "orderType": members.get("orderType", "Limit"),
        "tif": tif,
        "cloid": cloid,
    }


def order_status_answer(
    oid: int, status: str, *, cloid: str | None = None, time_ms: int = START_MS, **members: Any
) -> dict[str, Any]:
    """The answer to `orderStatus` for an order that the venue knows."""
    row = open_order_row(oid, cloid=cloid, **members)
    return {"status": "order", "order": {"order": row, "status": status, "statusTimestamp": time_ms}}


def fill_row(
    oid: int,
    tid: int,
    size: str,
    *,
    cloid: str | None = None,
    coin: str = "BTC",
    side: str = "B",
    price: str = "43210.0",
    fee: str = "0.012",
    time_ms: int = START_MS + 500,
    **members: Any,
) -> dict[str, Any]:
    """A fill as streams and queries show it. Without `startPosition` unless it is given."""
    row: dict[str, Any] = {
        "coin": coin,
        "px": price,
        "sz": size,
        "side": side,
        "time": time_ms,
        "dir": "Open Long" if side == "B" else "Open Short",
        "closedPnl": "0.0",
        "hash": "0x" + "e2" * 32,
        "oid": oid,
        "crossed": False,
        "fee": fee,
        "tid": tid,
        "feeToken": "USDC",
        "twapId": None,
    }
    if cloid is not None:
        row["cloid"] = cloid
    return row | members


def funding_row(time_ms: int, amount: str) -> dict[str, Any]:
    """A row of `userFunding`."""
    delta = {"type": "funding", "coin": "BTC", "usdc": amount, "szi": "1.0", "fundingRate": "0.0000125"}
    return {"time": time_ms, "hash": "0x" + "0" * 64, "delta": delta}


def transfer_row(time_ms: int, amount: str, kind: str = "deposit", **members: Any) -> dict[str, Any]:
    """A row of `userNonFundingLedgerUpdates`."""
    return {
        "time": time_ms,
        "hash": f"0x{time_ms:064x}",
        "delta": {"type": kind, "usdc": amount, **members},
    }


class CoreSession:
    """One core, its clock, and everything that came out of it.

    `answers` maps a read's type to the payload it is answered with at once (a callable gets the request body
    and returns the payload, or None for "no answer"); reads of other types wait in `queries`. Actions wait in
    `sends` until the test answers them.
    """

    def __init__(
        self,
        *,
        account: str = ACCOUNT,
        signer: str | None = ACCOUNT,
        options: Mapping[str, Any] | None = None,
        session_id: int = 0xABCDEF,
        started: Started | None = None,
        ledger: Mapping[str, list[LedgerEvent]] | None = None,
        pairs: tuple[str, ...] = ("BTC-USD", "ETH-USD"),
    ) -> None:
        self.account = account
        self.options = HyperliquidOptions(
            **({"trading_pairs": pairs, "signer": signer} | dict(options or {}))
        )
        self.connector = HyperliquidPerpetualConnector(
            self.options,
            network="testnet",
            account=account,
            session_id=session_id,
            decode_event=decode_event,
        )
        self.connector.attach(self.inbox_put)
        self.inbox: list[Input] = []
        self.inputs: list[Input] = []
        self.now_ns = START_NS
        self.events: list[LedgerEvent] = []
        self.committed: list[Committed] = []
        self.alerts: list[Alert] = []
        self.effects: list[Effect] = []
        self.sends: list[SendAction] = []
        self.queries: list[Query] = []
        self.lookups: list[str] = []
        self.streams: dict[str, tuple[dict[str, Any], ...]] = {}
        self.answer_lookups = True
        self.stored: dict[str, list[LedgerEvent]] = {key: list(kept) for key, kept in (ledger or {}).items()}
        self._keys: dict[str, str] = {}
        for kept in self.stored.values():
            self._index(kept)
        self.fills: list[dict[str, Any]] = []
        self.open_orders: list[dict[str, Any]] = []
        self.positions: list[dict[str, Any]] = []
        self.fundings: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.unexplained_cash = Decimal(0)
        self.answers: dict[str, Any] = {
            "meta": META,
            "spotMeta": SPOT_META,
            "exchangeStatus": lambda body: {"time": self.now_ms, "specialStatuses": None},
            "userRole": {"role": "user"},
            "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": 10_000},
            "clearinghouseState": lambda body: self.account_state(),
            "frontendOpenOrders": lambda body: self.open_orders,
            "userFillsByTime": lambda body: _since(body, self.fills),
            "userAbstraction": "default",
            "perpDexs": [None],
            "userFunding": lambda body: _since(body, self.fundings),
            "userNonFundingLedgerUpdates": lambda body: _since(body, self.transfers),
        }
        self._started = started

    # -- the shell -----------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.now_ns // 1_000_000

    def inbox_put(self, item: Input) -> None:
        """Where the core's commands go; stepped by `step_commands`."""
        self.inbox.append(item)

    def step(self, item: Input) -> Outcome:
        """Feed one input, and after it whatever the automatic answers lead to."""
        outcome = self._step(item)
        self.answer_reads()
        return outcome

    def _step(self, item: Input) -> Outcome:
        members = {name: getattr(item, name) for name in item.__struct_fields__}
        item = type(item)(**(members | {"sequence": len(self.inputs) + 1, "at_ns": self.now_ns}))
        self.inputs.append(item)
        outcome = self.connector.step(item)
        for change in outcome.changes:
            self._store(change.event)
            self.committed.append(Committed(len(self.events), change.event, change.view, change.repeats))
        self.effects += outcome.effects
        for effect in outcome.effects:
            match effect:
                case Alert():
                    self.alerts.append(effect)
                case SendAction():
                    self.sends.append(effect)
                case Query():
                    self.queries.append(effect)
                case LookUpOrder():
                    self.lookups.append(effect.key)
                case ConnectStreams():
                    self.streams = effect.streams
        return outcome

    def _store(self, event: LedgerEvent) -> None:
        kept = self.stored.setdefault(event.originator_id, [])
        expected = kept[-1].originator_version + 1 if kept else self._first_version(event)
        assert event.originator_version == expected, (
            f"the ledger refuses {event.topic} version {event.originator_version} "
            f"of {event.originator_id}: it stands at {expected - 1}"
        )
        kept.append(event)
        self.events.append(event)
        self._index([event])

    def _first_version(self, event: LedgerEvent) -> int:
        if self._started is not None and event.originator_id == self.connector.account.id:
            return self._started.account_version + 1
        return 1

    def _index(self, events: Iterable[LedgerEvent]) -> None:
        for event in events:
            for key in lookup_keys(event):
                self._keys.setdefault(key, event.originator_id)

    def look_up(self, key: str) -> list[LedgerEvent]:
        """What the ledger holds under a key, resolved as the runtime does."""
        plain = key.removeprefix("key:")
        owner = plain if plain in self.stored else self._keys.get(key)
        return self.stored.get(owner, []) if owner is not None else []

    def answer_reads(self) -> None:
        """Answer reads and look-ups until none is left that answers itself."""
        for _ in range(10_000):
            if self.lookups and self.answer_lookups:
                key = self.lookups.pop(0)
                self._step(OrderLookedUp(key=key, events=encode_events(self.look_up(key))))
                continue
            query = next((query for query in self.queries if query.body["type"] in self.answers), None)
            if query is None:
                return
            self.queries.remove(query)
            payload = self.answers[query.body["type"]]
            payload = payload(query.body) if callable(payload) else payload
            if payload is None:
                self._step(RequestFailed(request_id=query.request_id, reason="no answer", sent=True))
            else:
                self._step(_answered(query.request_id, payload))
        raise AssertionError("the core never stops asking")

    def step_commands(self) -> None:
        """Step what `buy`, `cancel` and the like have queued."""
        while self.inbox:
            self.step(self.inbox.pop(0))

    def restarted(self, **members: Any) -> CoreSession:
        """A new session on this one's ledger, begun as the bootstrap would; what was under way is lost.

        `members` replace those of its `Started` input.
        """
        old = self.connector
        fills = [event.fill for event in self.events if isinstance(event, OrderFilled | AccountFillBooked)]
        funding = [event for event in self.events if isinstance(event, AccountFundingBooked)]
        transfers = [event for event in self.events if isinstance(event, AccountLedgerUpdateBooked)]
        unfinished = (*old.tracker.live_orders(), *old.tracker.incomplete_orders())
        nonces = [getattr(event, "nonce", 0) for event in self.events]
        started = Started(
            **{
                "session_id": "000000fedcba",
                "ledger_position": len(self.events),
                "last_nonce": max(nonces, default=0),
                "books_begin_ms": old.books_begin_ms,
                "account_version": old.account.version,
                "open_orders": tuple(encode_events(self.stored[order.id]) for order in unfinished),
                "positions": tuple(old.positions.values()),
                "recent_fill_keys": tuple(fill.fill_key for fill in fills),
                "recent_funding_keys": tuple(event.funding_key for event in funding),
                "recent_transfer_keys": tuple(event.update_key for event in transfers),
                "last_fill_time_ms": max((fill.exchange_time_ms for fill in fills), default=0),
                "last_funding_time_ms": max((event.exchange_time_ms or 0 for event in funding), default=0),
                "last_transfer_time_ms": max((event.exchange_time_ms or 0 for event in transfers), default=0),
                "cash": self._cash_of_books(),
                **members,
            }
        )
        again = CoreSession(started=started, ledger=self.stored, session_id=0xFEDCBA)
        again.now_ns = self.now_ns + 60 * SECOND
        again.fills, again.fundings, again.transfers = self.fills, self.fundings, self.transfers
        again.unexplained_cash = self.unexplained_cash
        return again

    def _cash_of_books(self) -> Cash | None:
        """What the events of this session come to."""
        cash: Cash | None = None
        for event in self.events:
            match event:
                case AccountBalanceAsserted() if event.opening or event.adjustment:
                    cash = Cash(token=event.token, paid=event.amount)
                case OrderFilled() | AccountFillBooked() if cash is not None:
                    cash.book(event.fill)
                case OrderFillCorrected() | AccountFillCorrected() if cash is not None:
                    cash.take_back(event.was)
                    if event.now is not None:
                        cash.book(event.now)
                case AccountFundingBooked() if cash is not None:
                    cash.pay(event.amount)
                case AccountLedgerUpdateBooked() if cash is not None:
                    cash.pay(collateral_effect(self.account, event.detail) or Decimal(0))
        return cash

    # -- start-up ------------------------------------------------------------------------------------------

    def account_state(self) -> dict[str, Any]:
        """`clearinghouseState` as of now: `positions`, or else what the venue's own fills come to. Before the
        books are open it is as of `BOOKS_BEGIN_MS`, which all fills of tests are later than."""
        has_begun = self.connector.books_begin_ms > 0
        positions = self.positions or self._positions_of_fills()
        return {
            "marginSummary": {
                "accountValue": "1000.0",
                "totalNtlPos": "0.0",
                "totalRawUsd": str(self.cash),
                "totalMarginUsed": "0.0",
            },
            "withdrawable": "1000.0",
            "assetPositions": [{"type": "oneWay", "position": position} for position in positions],
            "time": self.now_ms if has_begun else BOOKS_BEGIN_MS,
        }

    @property
    def cash(self) -> Decimal:
        """What the venue's own lists come to, from the 1,000 USDC that the account began with."""
        cash = Decimal(1_000)
        for row in {row["tid"]: row for row in self.fills}.values():
            value = Decimal(row["px"]) * Decimal(row["sz"])
            cash += (-value if row["side"] == "B" else value) - Decimal(row["fee"])
        for row in self.fundings:
            cash += Decimal(row["delta"]["usdc"])
        for row in self.transfers:
            sign = 1 if row["delta"]["type"] == "deposit" else -1
            cash += sign * Decimal(row["delta"]["usdc"]) - Decimal(row["delta"].get("fee", 0))
        return cash + self.unexplained_cash

    def _positions_of_fills(self) -> list[dict[str, Any]]:
        amounts: dict[str, Decimal] = {}
        if self.connector.books_begin_ms:
            for row in {row["tid"]: row for row in self.fills}.values():
                change = Decimal(row["sz"]) if row["side"] == "B" else -Decimal(row["sz"])
                amounts[row["coin"]] = amounts.get(row["coin"], Decimal(0)) + change
        return [{"coin": coin, "szi": str(amount)} for coin, amount in amounts.items() if amount]

    def begin(self) -> CoreSession:
        """Feed `Started`; metadata and roles are asked for and answered."""
        self.step(self._started or Started(session_id=self.connector.session_id, ledger_position=0))
        return self

    def ready(self) -> CoreSession:
        """The whole way to a connector that trades."""
        self.begin()
        self.connect()
        self.books()
        assert self.connector.ready, self.connector.readiness
        return self

    def exhaust_budget(self) -> None:
        """The venue says that the account has used up its actions: orders wait 10 s, cancels do not."""
        self.buy()
        self.answer_error(
            "Too many cumulative requests sent (97460 > 97456) for cumulative volume traded $1."
        )

    def connect(self) -> None:
        self.step(StreamConnected(stream="market"))
        self.step(StreamConnected(stream="user"))

    def books(self) -> None:
        """A best price for every market that is followed."""
        for pair in self.options.trading_pairs:
            self.best(pair.rpartition("-")[0])

    def best(self, coin: str, bid: str = "43209.0", ask: str = "43211.0") -> None:
        levels = [{"px": bid, "sz": "4.1", "n": 12}, {"px": ask, "sz": "3.7", "n": 9}]
        self.frame("bbo", {"coin": coin, "time": self.now_ms, "bbo": levels}, stream="market")

    # -- what the venue says -------------------------------------------------------------------------------

    def frame(self, channel: str, data: object, *, stream: str = "user") -> Outcome:
        return self.raw_frame(json.dumps({"channel": channel, "data": data}).encode(), stream=stream)

    def raw_frame(self, data: bytes, *, stream: str = "user") -> Outcome:
        return self.step(StreamFrame(stream=stream, data=data))

    def status(self, oid: int, status: str, *, time_ms: int = START_MS + 100, **row: Any) -> Outcome:
        """One order update on the stream."""
        return self.frame("orderUpdates", [self.status_row(oid, status, time_ms=time_ms, **row)])

    @staticmethod
    def status_row(oid: int, status: str, *, time_ms: int = START_MS + 100, **row: Any) -> dict[str, Any]:
        return {"order": order_row(oid, **row), "status": status, "statusTimestamp": time_ms}

    def fill(self, oid: int, tid: int, size: str, *, channel: str = "user", **row: Any) -> Outcome:
        """One fill on a stream; the venue's own history has it too."""
        found = fill_row(oid, tid, size, **row)
        if found not in self.fills:
            self.fills.append(found)
        return self.show_fills([found], channel=channel)

    def show_fills(self, rows: list[dict[str, Any]], *, channel: str = "user") -> Outcome:
        if channel == "user":
            return self.frame("user", {"fills": rows})
        return self.frame("userFills", {"user": self.account, "isSnapshot": True, "fills": rows})

    def lose_stream(self, stream: str = "user", reason: str = "reset by peer") -> Outcome:
        return self.step(StreamLost(stream=stream, reason=reason))

    # -- answers -------------------------------------------------------------------------------------------

    def take_send(self, kind: str | None = None) -> SendAction:
        """The oldest action without an answer (of this action type), which now is the test's to answer."""
        for sent in self.sends:
            if kind is None or sent.action["type"] == kind:
                self.sends.remove(sent)
                return sent
        raise AssertionError(f"no {kind or 'action'} waits for an answer: {self.sends}")

    def take_query(self, kind: str) -> Query:
        """The oldest read of this type that nothing has answered."""
        for query in self.queries:
            if query.body["type"] == kind:
                self.queries.remove(query)
                return query
        raise AssertionError(f"no {kind} waits for an answer: {self.queries}")

    def answer(self, request: SendAction | Query, payload: object, *, status: int = 200) -> Outcome:
        return self.step(_answered(request.request_id, payload, status=status))

    def answer_raw(self, request: SendAction | Query, body: bytes, *, status: int = 200) -> Outcome:
        return self.step(RequestAnswered(request_id=request.request_id, status=status, body=body))

    def fail(self, request: SendAction | Query, reason: str = "timed out", *, sent: bool = True) -> Outcome:
        return self.step(RequestFailed(request_id=request.request_id, reason=reason, sent=sent))

    def answer_orders(self, *statuses: object, request: SendAction | None = None) -> Outcome:
        """Answer an order or modify action with these entries."""
        request = request or self.take_send()
        return self.answer(
            request,
            {"status": "ok", "response": {"type": "order", "data": {"statuses": list(statuses)}}},
        )

    def answer_cancels(self, *statuses: object, request: SendAction | None = None) -> Outcome:
        request = request or self._take_cancel()
        return self.answer(
            request,
            {"status": "ok", "response": {"type": "cancel", "data": {"statuses": list(statuses)}}},
        )

    def _take_cancel(self) -> SendAction:
        sent = next((sent for sent in self.sends if sent.action["type"].startswith("cancel")), None)
        assert sent is not None, f"no cancel waits for an answer: {self.sends}"
        self.sends.remove(sent)
        return sent

    def answer_error(self, text: str, *, request: SendAction | None = None) -> Outcome:
        """A top-level error to an action."""
        return self.answer(request or self.take_send(), {"status": "err", "response": text})

    # -- orders --------------------------------------------------------------------------------------------

    def buy(self, amount: str = "1", price: str = "43210", pair: str = "BTC-USD", **options: Any) -> str:
        client_order_id = self.connector.buy(pair, Decimal(amount), Decimal(price), **options)
        self.step_commands()
        return client_order_id

    def sell(self, amount: str = "1", price: str = "43210", pair: str = "BTC-USD", **options: Any) -> str:
        client_order_id = self.connector.sell(pair, Decimal(amount), Decimal(price), **options)
        self.step_commands()
        return client_order_id

    def place(self, *amounts: str, price: str = "43210") -> tuple[str, ...]:
        """Several buy orders in one call."""
        orders = self.connector.place(
            [
                OrderRequest(
                    trading_pair="BTC-USD",
                    trade_type=TradeType.BUY,
                    amount=Decimal(amount),
                    price=Decimal(price),
                )
                for amount in amounts
            ]
        )
        self.step_commands()
        return orders

    def open(self, oid: int = 1001, amount: str = "1", price: str = "43210", **options: Any) -> str:
        """A resting buy order that the venue has acknowledged."""
        client_order_id = self.buy(amount, price, **options)
        self.answer_orders({"resting": {"oid": oid}})
        assert self.view(client_order_id).state == "open"
        return client_order_id

    def cancel(self, client_order_id: str) -> None:
        self.connector.cancel(client_order_id)
        self.step_commands()

    def amend(self, client_order_id: str, price: str, amount: str) -> None:
        self.connector.amend(client_order_id, Decimal(price), Decimal(amount))
        self.step_commands()

    # -- time ----------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, firing the timer whenever the core asked for it."""
        until_ns = self.now_ns + int(seconds * SECOND)
        for _ in range(100_000):
            due_ns = self.connector.next_wakeup_ns
            if due_ns is None or due_ns > until_ns:
                self.now_ns = until_ns
                return
            self.now_ns = max(self.now_ns, due_ns)
            self.step(TimerFired())
        raise AssertionError("the core asks to be woken without end")

    # -- looking -------------------------------------------------------------------------------------------

    def order(self, client_order_id: str) -> InFlightOrder:
        order = self.connector.tracker.get(client_order_id)
        assert order is not None, f"{client_order_id} is not in memory"
        return order

    def view(self, client_order_id: str) -> OrderView:
        return self.order(client_order_id).view()

    def state(self, client_order_id: str) -> str:
        return self.order(client_order_id).state.value

    def topics(self, client_order_id: str) -> list[str]:
        """The events of an order, by name."""
        return [event.topic for event in self.stored.get(client_order_id, [])]

    def account_topics(self) -> list[str]:
        return [event.topic for event in self.stored.get(self.connector.account.id, [])]

    def events_of(self, kind: type[LedgerEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def alert_codes(self) -> list[str]:
        return [alert.code for alert in self.alerts]

    def assert_consistent(self) -> None:
        """Memory is the fold of what was stored, through MessagePack and back; and a replay repeats it."""
        for client_order_id, events in self.stored.items():
            order = self.connector.tracker.get(client_order_id)
            if order is not None:
                folded = InFlightOrder.fold(decode_event(*packed) for packed in encode_events(events))
                assert facts_of(folded) == facts_of(order), client_order_id
        self.assert_replays()

    def assert_replays(self) -> None:
        """A fresh core fed the same inputs does the same, byte for byte."""
        again = HyperliquidPerpetualConnector(
            self.options,
            network="testnet",
            account=self.account,
            session_id=int(self.connector.session_id, 16),
            decode_event=decode_event,
        )
        events: list[LedgerEvent] = []
        effects: list[Effect] = []
        for item in self.inputs:
            outcome = again.step(item)
            events += [change.event for change in outcome.changes]
            effects += outcome.effects
        assert encode_events(events) == encode_events(self.events)
        assert msgspec.msgpack.encode(effects) == msgspec.msgpack.encode(self.effects)


def facts_of(order: InFlightOrder) -> dict[str, Any]:
    """Every fact an order holds, and its derived state."""
    facts = {name: getattr(order, name) for name in InFlightOrder.__slots__}
    return facts | {"state": order.state, "view": order.view()}


def _since(body: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a read by time is answered with."""
    return [row for row in rows if row["time"] >= body["startTime"]]


def _answered(request_id: int, payload: object, *, status: int = 200) -> RequestAnswered:
    return RequestAnswered(request_id=request_id, status=status, body=json.dumps(payload).encode())
