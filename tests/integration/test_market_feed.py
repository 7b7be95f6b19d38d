"""A live process that takes its market data from somebody else's stream and opens one socket only."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import aiohttp
import zmq

from tests.support.process import LiveRun, running_venue, wait_for


def test_quotes_are_made_from_a_zeromq_feed(tmp_path: Path) -> None:
    with running_venue(seed=31) as venue:
        context = zmq.Context()
        socket = context.socket(zmq.PUB)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        stop = threading.Event()
        relay = threading.Thread(target=lambda: asyncio.run(_relay(venue.ready["ws"], socket, stop)))
        relay.start()
        try:
            run = LiveRun(tmp_path, venue)
            config = tmp_path / "orderledger.toml"
            feed = f'market_feed = "tcp://127.0.0.1:{port}"\n'
            config.write_text(config.read_text().replace("[secrets]", f"{feed}[secrets]", 1))
            with run:
                wait_for("an order priced by the feed", lambda: run.has_logged("order.acknowledged"))
                assert run.stop() == 0, run.output()
        finally:
            stop.set()
            relay.join()
            socket.close(linger=0)
            context.term()


async def _relay(ws_url: str, socket: zmq.Socket[bytes], stop: threading.Event) -> None:
    """The existing stream: one program that holds the venue's market data and hands it on."""
    async with aiohttp.ClientSession() as session, session.ws_connect(ws_url) as ws:
        for kind in ("l2Book", "bbo", "activeAssetCtx"):
            await ws.send_json({"method": "subscribe", "subscription": {"type": kind, "coin": "BTC"}})
        last: dict[str, bytes] = {}
        while not stop.is_set():
            try:
                frame = await ws.receive(timeout=0.2)
            except TimeoutError:
                frame = None
            if frame is not None and frame.type is aiohttp.WSMsgType.TEXT:
                channel = json.loads(frame.data)["channel"]
                if channel in ("l2Book", "bbo", "activeAssetCtx"):
                    last[channel] = frame.data.encode()
            for payload in last.values():
                socket.send_multipart([b"market", payload])
