"""What the venue does with one request, whichever way it came: authenticate, sequence, execute, answer.

HTTP and WebSocket posts share this (sheet 7.4: same signing, same answers).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.simulator import peripheral
from adapters.simulator.action_faults import ActionFaults, cloids_in
from adapters.simulator.answers import Answer
from adapters.simulator.chain import Chain
from adapters.simulator.engine import ActionError, Unprocessable
from adapters.simulator.envelope import SignedRequest
from adapters.simulator.faults import Fault, FaultBoard, Occasion, Scope
from adapters.simulator.limits import Meter, entries_in, exchange_weight, info_weight, rows_weight
from adapters.simulator.network import Network
from adapters.simulator.nonces import NonceBook, NonceRefused
from adapters.simulator.read_faults import ReadFaults
from adapters.simulator.signatures import UnrecoverableSignature

_STALE_COST = 5
"""An action that arrives after its `expiresAfter` costs this many times its address budget (sheet 9.2)."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How requests are let in.

    `auto_fund_usdc` gives every signer the venue has not seen an account with so much USDC. It lets a client
    work without any set-up, and it hides wrong signatures: each recovers to another stranger, who is then
    funded too.
    """

    network: Network
    auto_fund_usdc: Decimal | None = None


class Gateway:
    """Answers ``/exchange`` and ``/info`` bodies that were already decoded from JSON."""

    def __init__(
        self,
        chain: Chain,
        board: FaultBoard,
        nonces: NonceBook,
        action_faults: ActionFaults,
        read_faults: ReadFaults,
        meter: Meter,
        options: GatewayOptions,
        stopping: asyncio.Event,
    ) -> None:
        self._chain = chain
        self._board = board
        self._nonces = nonces
        self._action_faults = action_faults
        self._read_faults = read_faults
        self._meter = meter
        self._options = options
        self._stopping = stopping

    async def act(self, body: Any, *, ip: str) -> Answer:
        """Answer the decoded body of ``POST /exchange``, charged to `ip` (sheet 9.1)."""
        action = body.get("action") if isinstance(body, dict) else None
        weight = exchange_weight(entries_in(action)) if isinstance(action, dict) else 1
        if not self._meter.charge(ip, weight, now_ms=self._chain.now_ms()):
            return Answer.from_edge(429)
        try:
            request = SignedRequest.parse(body)
            signer = request.signer(self._options.network)
        except Unprocessable as unreadable:
            return Answer.malformed(unreadable.text)
        except UnrecoverableSignature as unusable:
            return Answer.refused(str(unusable))
        faults = self._faults_of(request, signer)
        early = await self._before(faults)
        if early is not None:
            return early
        return await self._after(faults, await self._sequenced(request, signer, faults))

    async def read(self, body: Any, *, ip: str) -> Answer:
        """Answer the decoded body of ``POST /info``, charged to `ip` (sheet 9.1)."""
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            return Answer.malformed(Unprocessable().text)
        if not self._meter.charge(ip, info_weight(body["type"]), now_ms=self._chain.now_ms()):
            return Answer.from_edge(429)
        numbered = self._board.take(_read_occasion(body))
        faults = [fault for _, fault in numbered]
        early = await self._before(faults)
        if early is not None:
            return early
        try:
            answer = peripheral.answer(body) if peripheral.answers(body["type"]) else self._chain.read(body)
        except Unprocessable as unreadable:
            return Answer.malformed(unreadable.text)
        self._meter.add(ip, rows_weight(body["type"], answer), now_ms=self._chain.now_ms())
        return await self._after(faults, Answer.json(self._read_faults.applied(numbered, body, answer)))

    async def _sequenced(self, request: SignedRequest, signer: str, faults: Sequence[Fault]) -> Answer:
        now_ms = self._chain.now_ms()
        try:
            account = self._account_for(request, signer)
            self._nonces.use(signer, request.nonce, now_ms=now_ms)
            _check_inner_nonce(request)
            self._check_expiry(request, account, now_ms)
        except (ActionError, NonceRefused) as refused:
            return Answer.refused(str(refused))
        action = dict(request.action)
        self._action_faults.before(faults, account, action)
        try:
            body = await self._action_faults.instead(faults, account, action, signer)
            if body is None:
                todo = peripheral.translated(action, account)
                body = await self._chain.execute(account, todo, signer=signer)
        except Unprocessable as unreadable:
            return Answer.malformed(unreadable.text)
        except ActionError as refused:
            return Answer.refused(refused.text)
        return Answer.json(self._action_faults.after(faults, body))

    def _account_for(self, request: SignedRequest, signer: str) -> str:
        usdc = self._options.auto_fund_usdc
        if self._chain.read({"type": "userRole", "user": signer})["role"] == "missing":
            self._nonces.forget(signer)  # a pruned agent's history goes with it (sheet 3.5)
            if usdc is not None:
                self._chain.apply(lambda exchange, _: exchange.create_account(signer, usdc=usdc))
        if request.is_user_signed and request.expires_after is not None:
            raise ActionError("expiresAfter is not supported for user-signed actions")
        return self._resolved(request, signer)

    def _resolved(self, request: SignedRequest, signer: str) -> str:
        vault = None if request.is_user_signed else request.vault_address
        return self._chain.apply(
            lambda exchange, _: exchange.resolve_signer(signer, vault, user_signed=request.is_user_signed)
        )

    def _check_expiry(self, request: SignedRequest, account: str, now_ms: int) -> None:
        if request.expires_after is not None and now_ms > request.expires_after:
            cost = _STALE_COST * entries_in(request.action)
            self._chain.apply(lambda exchange, _: exchange.charge_requests(account, cost))
            raise ActionError("Action already expired")

    def _faults_of(self, request: SignedRequest, signer: str) -> list[Fault]:
        if self._board.is_empty:
            return []
        try:
            account = self._resolved(request, signer)
        except ActionError:
            account = signer
        occasion = Occasion(Scope.ACTION, request.kind, account, set(cloids_in(request.action)))
        return [fault for _, fault in self._board.take(occasion)]

    async def _before(self, faults: Sequence[Fault]) -> Answer | None:
        """Delay a request as its faults say; return what it gets if it is never executed."""
        for fault in faults:
            if fault.kind == "request_delay":
                await self._pause(fault.params["ms"])
        for fault in faults:
            if fault.kind == "request_lost":
                return Answer.from_edge(504).lost(fault.params["how"])
            if fault.kind == "http_status" and fault.params["when"] == "before":
                return Answer.from_edge(fault.params["status"])
        return None

    async def _after(self, faults: Sequence[Fault], answer: Answer) -> Answer:
        """Delay, replace or lose the answer of an executed request as its faults say."""
        for fault in faults:
            if fault.kind == "answer_delay":
                await self._pause(fault.params["ms"])
        for fault in faults:
            if fault.kind == "answer_lost":
                return answer.lost(fault.params["how"])
            if fault.kind == "http_status" and fault.params["when"] == "after":
                return Answer.from_edge(fault.params["status"])
        return answer

    async def _pause(self, ms: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), ms / 1000)


def _check_inner_nonce(request: SignedRequest) -> None:
    if request.inner_nonce != request.nonce:
        raise ActionError(f"Invalid nonce: action has {request.inner_nonce}, request has {request.nonce}")


def _read_occasion(body: Mapping[str, Any]) -> Occasion:
    user = body.get("user")
    oid = body.get("oid")
    return Occasion(
        Scope.READ,
        body["type"],
        user.lower() if isinstance(user, str) else None,
        {oid.lower()} if isinstance(oid, str) else set(),
    )
