"""The sequence of blocks: all that changes the exchange passes here, at block time, and is then published."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from adapters.simulator.clock import BlockClock
from adapters.simulator.engine import Exchange, PendingAction, StreamMessage, Unprocessable

T = TypeVar("T")
Publish = Callable[[Sequence[StreamMessage]], None]


class Chain:
    """Applies actions to the engine, one block after the other, and hands what came of each to `publish`.

    Unbatched, an action makes a block of its own at once. Batched, the actions that arrived since the last
    `close_block` are executed together there, in the venue's three priority classes (sheet 4.7).
    """

    def __init__(self, exchange: Exchange, clock: BlockClock, *, publish: Publish, batched: bool) -> None:
        self._exchange = exchange
        self._clock = clock
        self._publish = publish
        self._batched = batched
        self._waiting: list[tuple[PendingAction, asyncio.Future[dict[str, Any]]]] = []

    def now_ms(self) -> int:
        """Block time in milliseconds since the epoch."""
        return self._clock.now_ms()

    def apply(self, change: Callable[[Exchange, int], T]) -> T:
        """Let `change` act on the exchange at the current block time, and publish; errors pass through."""
        now_ms = self._clock.now_ms()
        self._exchange.advance(now_ms)
        try:
            return change(self._exchange, now_ms)
        finally:
            self._publish(self._exchange.drain())

    def read(self, request: dict[str, Any]) -> Any:
        """Answer an info request from the latest block; raises Unprocessable for one nobody can answer."""
        return self._exchange.info(request, now_ms=self._clock.now_ms())

    async def execute(self, account: str, action: dict[str, Any], *, signer: str) -> dict[str, Any]:
        """Execute an authenticated action for `account` and return the answer's JSON body.

        Raises Unprocessable for an action the venue cannot deserialise (HTTP 422).
        """
        if not self._batched:
            return self.apply(
                lambda exchange, now: exchange.execute(account, action, signer=signer, now_ms=now)
            )
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((PendingAction(account, action, signer), answer))
        return await answer

    def waiting(self) -> int:
        """How many batched actions wait for the end of the block."""
        return len(self._waiting)

    def close_block(self) -> None:
        """Let block time pass: timers fire, and batched actions are executed and answered."""
        waiting, self._waiting = self._waiting, []
        now_ms = self._clock.now_ms()
        self._exchange.advance(now_ms)
        if waiting:
            answers = self._exchange.execute_block([pending for pending, _ in waiting], now_ms=now_ms)
            for (_, future), answer in zip(waiting, answers, strict=True):
                if future.done():
                    continue  # the client did not wait for it
                if isinstance(answer, Unprocessable):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        self._publish(self._exchange.drain())
