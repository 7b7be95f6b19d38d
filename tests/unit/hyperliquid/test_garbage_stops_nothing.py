"""Whatever a venue sends, in whatever order: the core goes on, keeps what it cannot read, and recovers."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import LedgerError
from tests.support.core import (
    ACCOUNT,
    START_MS,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)

TEXTS = (
    "",
    "canceled",
    "filled",
    "open",
    "weirdCanceled",
    "triggered",
    "\x00",
    "BTC",
    "@107",
    "xyz:GOLD",
    "C",
)
NUMBERS = ("9" * 60, "0." + "0" * 55 + "1", "-1", "0", "NaN", "1e400", "x" * 70, "99999999999999999999.5")
WHOLE = (0, -1, 2**63, 2**64, 2**70, 10**30)
OTHERS: tuple[Any, ...] = (None, True, [], {}, 1.5, "7")
NONSENSE = (*TEXTS, *NUMBERS, *WHOLE, *OTHERS)

ROUNDS = 40


def spoiled(value: Any, rng: Random) -> Any:
    """The same with one thing in it missing, of another kind, or absurd."""
    if isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        rest = {name: member for name, member in value.items() if name != key}
        fate = rng.random()
        if fate < 0.15:
            return rest
        return rest | {key: rng.choice(NONSENSE) if fate < 0.3 else spoiled(value[key], rng)}
    if isinstance(value, list) and value:
        index = rng.randrange(len(value))
        return [*value[:index], spoiled(value[index], rng), *value[index + 1 :]]
    return rng.choice(NONSENSE)


class Venue:
    """Says plausible things about the orders of a core, most of them spoiled."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.core = CoreSession()
        self.ids: list[str] = []
        self.last_oid = 1_000
        self.good = dict(self.core.answers)

    def new_oid(self) -> int:
        self.last_oid += 1
        return self.last_oid

    def some_oid(self) -> int:
        return self.rng.randrange(1_000, self.last_oid + 3)

    def some_cloid(self) -> str | None:
        if not self.ids or self.rng.random() < 0.3:
            return None
        order = self.core.connector.tracker.get(self.rng.choice(self.ids))
        return None if order is None else order.venue_order_key

    def maybe_spoiled(self, value: Any, chance: float = 0.7) -> Any:
        return spoiled(value, self.rng) if self.rng.random() < chance else value

    def command(self) -> None:
        core, rng = self.core, self.rng
        kind = rng.randrange(5)
        if kind == 0 or not self.ids:
            self.ids.append(core.buy(rng.choice(("1", "0.5"))))
        elif kind == 1:
            core.cancel(rng.choice(self.ids))
        elif kind == 2:
            core.amend(rng.choice(self.ids), rng.choice(("43200", "43100")), rng.choice(("1", "2", "0.5")))
        elif kind == 3:
            core.connector.cancel_all()
            core.step_commands()
        else:
            self.ids.append(core.sell("1"))

    def frame(self) -> None:
        oid, cloid, rng = self.some_oid(), self.some_cloid(), self.rng
        fills = [fill_row(oid, rng.randrange(9), "0.1", cloid=cloid, startPosition="0.0") for _ in range(2)]
        funding = {"time": START_MS, "coin": "BTC", "usdc": "-3.6", "szi": "49.0", "fundingRate": "0.00004"}
        status = rng.choice(("open", "canceled", "filled", "triggered", "badAloPxRejected"))
        row = self.core.status_row(oid, status, cloid=cloid)
        level = {"px": "43000.0", "sz": "1.0", "n": 1}
        channel, data = rng.choice(
            (
                ("orderUpdates", [row, row]),
                ("user", {"fills": fills}),
                ("user", {"funding": funding}),
                ("user", {"liquidation": {"lid": 1}}),
                ("user", {"nonUserCancel": [{"coin": "BTC", "oid": oid}]}),
                ("userFills", {"user": ACCOUNT, "isSnapshot": True, "fills": fills}),
                ("userFundings", {"user": ACCOUNT, "isSnapshot": True, "fundings": [funding]}),
                ("l2Book", {"coin": "BTC", "time": START_MS, "levels": [[level], [level]]}),
                ("bbo", {"coin": "BTC", "time": START_MS, "bbo": [level, None]}),
                ("activeAssetCtx", {"coin": "BTC", "ctx": {"markPx": "1", "oraclePx": "1", "funding": "0"}}),
                ("error", "no"),
            )
        )
        self.core.frame(channel, self.maybe_spoiled(data))

    def answer(self) -> None:
        core, rng = self.core, self.rng
        if core.sends:
            request = core.sends.pop(rng.randrange(len(core.sends)))
            if rng.random() < 0.2:
                core.fail(request, sent=rng.random() < 0.5)
                return
            statuses = [
                rng.choice(
                    (
                        {"resting": {"oid": self.new_oid()}},
                        {"filled": {"oid": self.new_oid(), "totalSz": "1", "avgPx": "2"}},
                        {"error": "Post only order would have immediately matched"},
                        {"error": "Error placing new order during modify: x"},
                        {"error": "Order was never placed, already canceled, or filled."},
                        "success",
                        "waitingForFill",
                    )
                )
                for _ in range(rng.randrange(1, 4))
            ]
            answer = {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}
            core.answer(
                request, self.maybe_spoiled(answer, 0.5), status=rng.choice((200, 200, 429, 502, 422))
            )
        elif core.queries:
            query = core.queries.pop(rng.randrange(len(core.queries)))
            known = order_status_answer(
                self.some_oid(), rng.choice(("open", "filled", "canceled")), cloid=self.some_cloid()
            )
            core.answer(query, self.maybe_spoiled(rng.choice((known, {"status": "unknownOid"})), 0.5))

    def reconnect(self) -> None:
        core = self.core
        if self.rng.random() < 0.5:
            core.open_orders = [open_order_row(self.some_oid(), cloid=self.some_cloid())]
        for kind in (
            "frontendOpenOrders",
            "userFillsByTime",
            "userFunding",
            "userNonFundingLedgerUpdates",
            "clearinghouseState",
        ):
            core.answers[kind] = lambda body, kind=kind: self._once_spoiled(kind, body)
        core.lose_stream()
        core.connect()

    def _once_spoiled(self, kind: str, body: dict[str, Any]) -> Any:
        good = self.core.answers[kind] = self.good[kind]
        return spoiled(good(body) if callable(good) else good, self.rng)

    def run(self) -> None:
        core = self.core.ready()
        for _ in range(ROUNDS):
            act = self.rng.choice(
                (self.command, self.frame, self.frame, self.answer, self.answer, self.pause)
            )
            try:
                act()
            except LedgerError:
                continue  # the caller was told at once; nothing was recorded
        core.assert_consistent()

    def pause(self) -> None:
        if self.rng.random() < 0.3:
            self.reconnect()
        self.core.advance(self.rng.choice((0.3, 2, 20)))


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32))
def test_the_core_goes_on_whatever_the_venue_says(seed: int) -> None:
    Venue(seed).run()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_after_any_garbage_a_reconnect_leads_back_to_a_connector_that_trades(seed: int) -> None:
    venue = Venue(seed)
    venue.run()
    core = venue.core
    core.answers = dict(venue.good) | {"orderStatus": {"status": "unknownOid"}}
    core.open_orders = []
    core.lose_stream()
    core.connect()
    core.advance(60)
    core.books()
    assert core.connector.readiness == ()
