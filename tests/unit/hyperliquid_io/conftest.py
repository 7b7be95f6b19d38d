"""The I/O tests run on both event loops a live process may have."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def each_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every `asyncio.run` of the module's tests uses the loop named by the parameter."""
    if request.param == "uvloop":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(None)
