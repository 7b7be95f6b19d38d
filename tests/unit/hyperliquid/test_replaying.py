"""The core made again from a header, and requests told apart by what they ask."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import replays
from adapters.hyperliquid.connector import HyperliquidOptions
from adapters.hyperliquid.replaying import core_options, make_core
from adapters.hyperliquid.rewriting import HyperliquidRewriter
from domain.effects import Query, SendAction
from domain.errors import VersionError
from domain.inputs import StreamFrame, TimerFired
from replays.cores import CORES_GROUP, REWRITERS_GROUP, installed, installed_core
from replays.errors import CoreNotFoundError
from replays.recording import SessionHeader
from replays.session_file import SessionReader
from tests.support.core import CoreSession
from tests.support.recordings import header_of

CORPUS = Path(replays.__file__).parent / "sessions"
OPTIONS = HyperliquidOptions(
    trading_pairs=("BTC-USD", "kPEPE-USD"),
    signer="0x" + "ab" * 20,
    order_ttl_ms=7_000,
    slippage=Decimal("0.0125"),
    weight_share=0.5,
    not_found_limit=9,
)


def header(**members: Any) -> SessionHeader:
    known = header_of(CoreSession())
    return msgspec.structs.replace(known, **members)


def test_options_come_back_from_a_header_as_they_were() -> None:
    written = msgspec.msgpack.encode(header(core_options=core_options(OPTIONS)))
    read = msgspec.msgpack.decode(written, type=SessionHeader)
    core = make_core(read)
    assert core.options == OPTIONS
    assert read.core_options == core_options(OPTIONS)
    assert (core.network, core.account_address, core.session_id) == (
        read.network,
        read.account,
        read.session_id,
    )


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"core_options": core_options(OPTIONS) | {"warp_speed": 9}}, "warp_speed"),
        ({"core_options": core_options(OPTIONS) | {"order_ttl_ms": "soon"}}, "order_ttl_ms"),
        ({"core_options": {}}, "trading_pairs"),
        ({"session_id": "not hex"}, "cannot be used"),
    ],
)
def test_a_header_this_version_cannot_use_is_refused(members: dict[str, Any], says: str) -> None:
    with pytest.raises(VersionError, match=says):
        make_core(header(**members))


@pytest.mark.parametrize("option", ["thorough_every_ns", "not_found_span_ns"])
def test_a_recording_of_a_version_that_asked_for_less_is_replayed_without_asking_for_more(
    option: str,
) -> None:
    first = SessionReader(CORPUS / "format-1.session").header.core_options
    assert getattr(make_core(header(core_options=first)).options, option) == 0
    assert getattr(make_core(header(core_options=core_options(OPTIONS))).options, option) > 0


def test_a_recording_of_a_version_without_them_is_paced_as_that_version_paced_it() -> None:
    then = core_options(OPTIONS)
    for name in ("order_wait_ms", "weight_slices"):
        del then[name]
    options = make_core(header(core_options=then)).options
    assert (options.order_wait_ms, options.weight_slices) == (0, False)


def test_the_installed_package_says_who_makes_the_core_and_who_rewrites() -> None:
    assert installed_core("hyperliquid") is make_core
    assert installed(REWRITERS_GROUP, "hyperliquid") is HyperliquidRewriter
    with pytest.raises(CoreNotFoundError, match=r"'elsewhere' .installed: .*hyperliquid"):
        installed(CORES_GROUP, "elsewhere")


def action(request_id: int = 1, **members: Any) -> SendAction:
    return SendAction(request_id=request_id, action=members, nonce=request_id)


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (action(type="order", orders=[{"a": 0, "c": "0x01"}, {"a": 0, "c": "0x02"}]), ("0x01", "0x02")),
        (action(type="cancel", cancels=[{"a": 0, "o": 7}]), ("7",)),
        (action(type="cancelByCloid", cancels=[{"asset": 0, "cloid": "0x01"}]), ("0x01",)),
        (action(type="batchModify", modifies=[{"oid": 7, "order": {"c": "0x01"}}]), ("7",)),
        (action(type="updateLeverage", asset=3, leverage=5), ()),
        (Query(request_id=1, body={"type": "orderStatus", "user": "0x0", "oid": 7}), ("7",)),
        (Query(request_id=1, body={"type": "meta"}), ()),
    ],
)
def test_a_request_names_the_orders_it_is_about(request_: SendAction | Query, names: tuple[str, ...]) -> None:
    assert HyperliquidRewriter().question(request_)[1] == names


def test_requests_that_ask_the_same_at_other_times_are_one_question() -> None:
    question = HyperliquidRewriter().question
    fills = {"type": "userFillsByTime", "user": "0x0"}
    assert question(Query(request_id=1, body=fills | {"startTime": 5})) == question(
        Query(request_id=9, body=fills | {"startTime": 6, "endTime": 8})
    )
    leverage = action(1, type="updateLeverage", asset=3, leverage=5)
    assert question(leverage) == question(action(2, type="updateLeverage", asset=3, leverage=9))


def test_requests_that_ask_something_else_are_other_questions() -> None:
    bodies: list[dict[str, Any]] = [
        {"type": "meta"},
        {"type": "meta", "dex": "xyz"},
        {"type": "userRole", "user": "0x0"},
        {"type": "userRole", "user": "0x1"},
        {"type": "orderStatus", "user": "0x0", "oid": 7},
        {"type": "orderStatus", "user": "0x0", "oid": 8},
    ]
    asked = {HyperliquidRewriter().question(Query(request_id=1, body=body)) for body in bodies}
    assert len(asked) == len(bodies)


@pytest.mark.parametrize(
    ("data", "market"),
    [
        (b'{"channel":"bbo","data":{"coin":"BTC"}}', "bbo BTC"),
        (b'{"channel":"l2Book","data":{"coin":"@1"}}', "l2Book @1"),
        (b'{"channel":"allMids","data":{"mids":{}}}', "allMids "),
        (b'{"channel":"orderUpdates","data":[]}', ""),
        (b"[1]", ""),
        (b"garbage", ""),
        (b"\xff\xfe", ""),
    ],
)
def test_market_data_is_told_from_what_concerns_the_account(data: bytes, market: str) -> None:
    rewriter = HyperliquidRewriter()
    assert rewriter.market_of(StreamFrame(stream="market", data=data)) == market
    assert rewriter.market_of(TimerFired()) == ""
