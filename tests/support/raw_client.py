"""A client of the venue's protocol that knows nothing but JSON and how to sign: what anybody might write."""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiohttp
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

Predicate = Callable[[dict[str, Any]], bool]

_PATIENCE_S = 60.0


class RawClient:
    """One key, one HTTP session. Nonces are the wall clock's milliseconds, never repeated."""

    def __init__(self, url: str, key: str, *, is_mainnet: bool = False) -> None:
        self.wallet = Account.from_key(key)
        self.address: str = self.wallet.address.lower()
        self._url = url
        self._is_mainnet = is_mainnet
        self._nonce = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "RawClient":
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        assert self._session is not None
        return self._session

    def next_nonce(self, now_ms: int) -> int:
        """A nonce that was not used before, at or after `now_ms`."""
        self._nonce = max(self._nonce + 1, now_ms)
        return self._nonce

    def signed(
        self,
        action: dict[str, Any],
        nonce: int,
        *,
        vault: str | None = None,
        expires_after: int | None = None,
    ) -> dict[str, Any]:
        """The body of an L1 action, signed exactly as given."""
        signature = sign_l1_action(self.wallet, action, vault, nonce, expires_after, self._is_mainnet)
        return {
            "action": action,
            "nonce": nonce,
            "signature": signature,
            "vaultAddress": vault,
            "expiresAfter": expires_after,
        }

    async def send(self, body: Any) -> dict[str, Any]:
        """Post to ``/exchange`` and return the decoded 200."""
        async with self.session.post(f"{self._url}/exchange", json=body) as response:
            assert response.status == 200, (response.status, await response.text())
            answer: dict[str, Any] = await response.json()
            return answer

    async def act(self, action: dict[str, Any], **envelope: Any) -> dict[str, Any]:
        """Sign with a fresh nonce at the venue's time, and send."""
        now_ms = (await self.info(type="exchangeStatus"))["time"]
        return await self.send(self.signed(action, self.next_nonce(now_ms), **envelope))

    async def info(self, **request: Any) -> Any:
        """Post to ``/info`` and return the decoded 200."""
        async with self.session.post(f"{self._url}/info", json=request) as response:
            assert response.status == 200, (response.status, await response.text())
            return await response.json()

    async def post(self, path: str, data: bytes | str, **headers: str) -> tuple[int, str]:
        """Post any bytes with any headers; return status and text."""
        async with self.session.post(f"{self._url}{path}", data=data, headers=headers) as response:
            return response.status, await response.text()

    async def operate(self, path: str, **members: Any) -> tuple[int, dict[str, Any]]:
        """Post to one of the operator's endpoints; return status and decoded answer."""
        async with self.session.post(f"{self._url}/simulator/{path}", json=members) as response:
            return response.status, await response.json()

    async def connect(self) -> "RawSocket":
        """Open a WebSocket."""
        return RawSocket(await self.session.ws_connect(f"{self._url}/ws"))


class RawSocket:
    """A WebSocket whose frames are kept until somebody asks for them."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.texts: list[str] = []
        self.closed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @property
    def frames(self) -> list[dict[str, Any]]:
        """All JSON frames so far."""
        return [json.loads(text) for text in self.texts if text.startswith("{")]

    def on(self, channel: str) -> list[Any]:
        """The data of all frames of a channel so far."""
        return [frame.get("data") for frame in self.frames if frame["channel"] == channel]

    async def say(self, **message: Any) -> None:
        """Send one JSON frame."""
        await self.socket.send_str(json.dumps(message))

    async def subscribe(self, **subscription: Any) -> None:
        """Subscribe and wait for the acknowledgement."""
        many = len(self.on("subscriptionResponse"))
        await self.say(method="subscribe", subscription=subscription)
        await self.until(lambda: len(self.on("subscriptionResponse")) > many)

    async def sync(self) -> None:
        """Wait until everything the venue had queued so far has arrived: a ping comes behind it."""
        many = len(self._pongs())
        await self.say(method="ping")
        await self.until(lambda: len(self._pongs()) > many)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; fails with what did arrive."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not condition():
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"still waiting; received {self.texts}") from None

    async def until_closed(self) -> None:
        """Wait until the connection has ended."""
        async with asyncio.timeout(_PATIENCE_S):
            await self.closed.wait()

    async def close(self) -> None:
        """Close the connection."""
        await self.socket.close()
        await self._reader

    def _pongs(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["channel"] == "pong"]

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.texts.append(message.data)
                self._arrived.set()
        finally:
            self.closed.set()
            self._arrived.set()
