"""The operator's endpoints on loopback: ``/simulator/faults`` and ``/simulator/control``. Not the venue's.

Both take one JSON object with an ``op`` and answer 200 with JSON, or 400 with ``{"error": …}`` that says
what to do. ``GET`` shows the faults waiting, and the state of the simulator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from aiohttp import web

from adapters.simulator.engine import ActionError, Unprocessable
from adapters.simulator.faults import KINDS, FaultBoard, fault_from_json
from adapters.simulator.inputs import (
    BadInput,
    Reader,
    address,
    count,
    decimal,
    duration_ms,
    flag,
    fraction,
    oid_or_cloid,
    positive,
    text,
    word,
)
from adapters.simulator.server import UnreadableBody, json_body


class Operated(Protocol):
    """What an operator can do to a running simulator. Amounts in USDC, sizes in base units, times in ms."""

    def status(self) -> dict[str, Any]: ...
    def advance(self, ms: int) -> None: ...
    def settle_funding(self, rates: Mapping[str, Decimal] | None) -> None: ...
    def set_mark_price(self, coin: str, price: Decimal) -> None: ...
    def set_oracle_price(self, coin: str, price: Decimal) -> None: ...
    def trade(self, coin: str, *, is_buy: bool, size: Decimal, price: Decimal | None) -> dict[str, Any]: ...
    def fill_order(self, user: str, oid: int | str, fraction: Decimal) -> Decimal: ...
    def liquidate(self, user: str, coin: str) -> None: ...
    def auto_deleverage(self, user: str, coin: str, size: Decimal, price: Decimal | None) -> None: ...
    def create_account(self, user: str, usdc: Decimal) -> None: ...
    def approve_agent(
        self, master: str, agent: str, name: str | None, valid_until_ms: int | None
    ) -> None: ...
    def drop_sockets(self, user: str | None) -> int: ...
    def release_fills(self) -> int: ...
    def run_market(self, running: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Operation:
    """One `op`: its members, those that may be left out, and what it does with them."""

    required: Mapping[str, Reader]
    optional: Mapping[str, Reader]
    perform: Callable[[Operated, Mapping[str, Any]], Mapping[str, Any] | None]


def _rates(value: Any) -> dict[str, Decimal]:
    if not isinstance(value, dict):
        raise BadInput('expected an object of hourly rates by coin, such as {"BTC": "0.0000125"}')
    return {coin: decimal(rate) for coin, rate in value.items()}


OPERATIONS: Mapping[str, Operation] = {
    "advance": Operation({"ms": duration_ms}, {}, lambda sim, given: sim.advance(given["ms"])),
    "settle_funding": Operation(
        {}, {"rates": _rates}, lambda sim, given: sim.settle_funding(given.get("rates"))
    ),
    "set_mark_price": Operation(
        {"coin": text, "price": positive},
        {},
        lambda sim, given: sim.set_mark_price(given["coin"], given["price"]),
    ),
    "set_oracle_price": Operation(
        {"coin": text, "price": positive},
        {},
        lambda sim, given: sim.set_oracle_price(given["coin"], given["price"]),
    ),
    "trade": Operation(
        {"coin": text, "side": word("buy", "sell"), "size": positive},
        {"price": positive},
        lambda sim, given: {
            "status": sim.trade(
                given["coin"], is_buy=given["side"] == "buy", size=given["size"], price=given.get("price")
            )
        },
    ),
    "fill_order": Operation(
        {"user": address, "oid": oid_or_cloid},
        {"fraction": fraction},
        lambda sim, given: {
            "filled": str(sim.fill_order(given["user"], given["oid"], given.get("fraction", Decimal(1))))
        },
    ),
    "liquidate": Operation(
        {"user": address, "coin": text},
        {},
        lambda sim, given: sim.liquidate(given["user"], given["coin"]),
    ),
    "auto_deleverage": Operation(
        {"user": address, "coin": text, "size": positive},
        {"price": positive},
        lambda sim, given: sim.auto_deleverage(
            given["user"], given["coin"], given["size"], given.get("price")
        ),
    ),
    "create_account": Operation(
        {"user": address, "usdc": positive},
        {},
        lambda sim, given: sim.create_account(given["user"], given["usdc"]),
    ),
    "approve_agent": Operation(
        {"master": address, "agent": address},
        {"name": text, "valid_until_ms": count},
        lambda sim, given: sim.approve_agent(
            given["master"], given["agent"], given.get("name"), given.get("valid_until_ms")
        ),
    ),
    "drop_sockets": Operation(
        {}, {"user": address}, lambda sim, given: {"dropped": sim.drop_sockets(given.get("user"))}
    ),
    "release_fills": Operation({}, {}, lambda sim, given: {"released": sim.release_fills()}),
    "market": Operation({"running": flag}, {}, lambda sim, given: sim.run_market(given["running"])),
    "status": Operation({}, {}, lambda sim, given: sim.status()),
}
"""Everything ``/simulator/control`` can do, by its `op`."""


class Control:
    """Serves the two endpoints."""

    def __init__(self, simulator: Operated, board: FaultBoard) -> None:
        self._simulator = simulator
        self._board = board

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to the simulator's application."""
        app.router.add_get("/simulator/faults", self._show_faults)
        app.router.add_post("/simulator/faults", self._change_faults)
        app.router.add_get("/simulator/control", self._show_status)
        app.router.add_post("/simulator/control", self._operate)

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return _json(self._faults())

    async def _show_status(self, _request: web.Request) -> web.Response:
        return _json(self._simulator.status())

    async def _change_faults(self, request: web.Request) -> web.Response:
        return await _answered(request, self._changed_faults)

    async def _operate(self, request: web.Request) -> web.Response:
        return await _answered(request, self._operated)

    def _faults(self) -> dict[str, Any]:
        kinds = {
            name: {
                "happens_to": kind.scope.value,
                "only": sorted(kind.only),
                "meaning": kind.meaning,
                "params": {parameter: spec.meaning for parameter, spec in kind.params.items()},
            }
            for name, kind in KINDS.items()
        }
        return {"faults": self._board.waiting(), "kinds": kinds}

    def _changed_faults(self, body: dict[str, Any]) -> dict[str, Any]:
        match body.get("op"):
            case "add":
                return {"id": self._board.inject(fault_from_json(body.get("fault")))}
            case "list":
                return self._faults()
            case "clear":
                fault_id = body.get("id")
                return {"cleared": self._board.clear(None if fault_id is None else count(fault_id))}
            case other:
                raise BadInput(
                    f"op: expected add (with a fault), list or clear (with an id, or all), not {other!r}"
                )

    def _operated(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("op")
        operation = OPERATIONS.get(name) if isinstance(name, str) else None
        if operation is None:
            raise BadInput(f"op: expected one of {', '.join(OPERATIONS)}, not {name!r}")
        result = operation.perform(self._simulator, _members(operation, body))
        return {"ok": True, **(result or {})}


def _members(operation: Operation, body: Mapping[str, Any]) -> dict[str, Any]:
    readers = {**operation.required, **operation.optional}
    unknown = body.keys() - readers.keys() - {"op"}
    if unknown:
        known = ", ".join(readers) or "none"
        raise BadInput(f"unknown member {', '.join(sorted(unknown))}; {body['op']} takes: {known}")
    found = {}
    for member, read in readers.items():
        value = body.get(member)
        if value is None:
            if member in operation.required:
                raise BadInput(f"{member}: required by {body['op']}")
            continue
        try:
            found[member] = read(value)
        except BadInput as wrong:
            raise BadInput(f"{member}: {wrong}") from None
    return found


async def _answered(
    request: web.Request, respond: Callable[[dict[str, Any]], dict[str, Any]]
) -> web.Response:
    try:
        body = await json_body(request)
        if not isinstance(body, dict):
            raise BadInput("expected one JSON object with an op")
        return _json(respond(body))
    except UnreadableBody as unreadable:
        return _json({"error": unreadable.answer.text}, status=unreadable.answer.status)
    except (ValueError, ActionError, Unprocessable) as refused:
        return _json({"error": str(refused)}, status=400)


def _json(body: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=msgspec.json.encode(body).decode(), content_type="application/json"
    )
