"""Redaction: nothing of the account is left, everything still fits together, and it replays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.replaying import make_core
from adapters.hyperliquid.rewriting import HyperliquidRewriter
from domain.cash import Cash
from domain.effects import Query, SendAction
from domain.event_codec import encode_events
from domain.inputs import PlaceOrders, RequestAnswered, Started, StreamFrame
from domain.position import Position
from replays.blocks import BlockReader
from replays.recording import AnyInput
from replays.redacting import Redaction, secret_factor
from replays.replaying import MemoryRecording, Replay
from replays.rewriting import RewritingError
from replays.session_file import write_session
from tests.support.core import ACCOUNT, CoreSession
from tests.support.recordings import busy_session, recording_of

SIGNER = "0xABCDEF0123456789abcdef0123456789ABCDEF01"
SECRET = b"only for this test"


def redacted(
    recording: MemoryRecording,
    factor: str | None = "7",
    *,
    order_ids: bool = False,
    secret: bytes | None = SECRET,
) -> MemoryRecording:
    redaction = Redaction(
        HyperliquidRewriter(),
        factor=None if factor is None else Decimal(factor),
        order_ids=order_ids,
        secret=secret,
    )
    header = redaction.header(recording.header, is_factor_secret=False)
    return MemoryRecording(header, redaction.rewrite(recording, header, make_core))


def written(recording: MemoryRecording, folder: Path) -> bytes:
    """Everything that is in the file, decompressed."""
    path = folder / "written.session"
    write_session(path, recording.header, recording)
    with path.open("rb") as file:
        blocks = BlockReader(path, file)
        blocks.read_version(1)
        payloads = list(iter(blocks.next, None))
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    header, *others = payloads
    return header.payload + b"".join(
        b"" if block.is_footer else decompressor.decompress(block.payload) for block in others
    )


@pytest.fixture
def traded() -> CoreSession:
    """A session with a tagged order of a chosen id, fills, funding, an answer that tells of a signer."""
    session = CoreSession(signer=SIGNER)
    session.answers["userRole"] = lambda body: (
        {"role": "agent", "data": {"user": ACCOUNT}} if body["user"] == SIGNER.lower() else {"role": "user"}
    )
    session.ready()
    order = session.open(1001, amount="2.5", client_order_id="alice-1", tag="secret strategy")
    key = session.order(order).venue_order_key
    session.fill(1001, 1, "0.75", cloid=key, startPosition="0.0", closedPnl="3.25")
    session.fill(1001, 2, "1.75", cloid=key, startPosition="0.75")
    session.frame(
        "user",
        {
            "funding": {
                "coin": "BTC",
                "usdc": "-1.2345",
                "szi": "2.5",
                "fundingRate": "0.0000125",
                "time": session.now_ms,
            }
        },
    )
    return session


def test_no_address_hash_or_amount_of_the_session_is_left(traded: CoreSession, tmp_path: Path) -> None:
    recording = recording_of(traded, note=f"the night of {ACCOUNT}")
    before = written(recording, tmp_path)
    after = written(redacted(recording, "7"), tmp_path)
    for original in (ACCOUNT, SIGNER.lower(), "e2" * 32, "1.2345", '"0.75"', '"3.25"'):
        assert original.encode() in before.lower(), original
        assert original.encode() not in after.lower(), original
    assert ACCOUNT.removeprefix("0x").encode() not in after.lower()
    assert not re.search(rb"[0-9a-fA-F]{64,}", after), "nothing that looks like a key"


def test_a_redacted_recording_replays_with_the_same_story(traded: CoreSession) -> None:
    recording = recording_of(traded)
    result = redacted(recording, "7")
    replay = Replay(result)
    assert replay.run().identical
    assert [[topic for topic, _ in each.events] for each in result] == [
        [topic for topic, _ in each.events] for each in recording
    ]
    order = replay.core.order("alice-1")
    assert order is not None
    assert (order.state, order.filled_amount, order.average_fill_price) == (
        "filled",
        Decimal("17.5"),
        traded.view("alice-1").average_fill_price,
    )


def test_an_answer_of_a_redacted_recording_is_to_the_redacted_question(traded: CoreSession) -> None:
    recording = recording_of(traded)
    before, after = (
        [each.answers for each in made if isinstance(each.item, RequestAnswered)]
        for made in (recording, redacted(recording, "7"))
    )
    assert len(before) == len(after)
    assert any(isinstance(each, Query) and each.body.get("user") == ACCOUNT for each in before)
    assert all(isinstance(each, Query | SendAction) and ACCOUNT not in repr(each) for each in after)


def test_positions_profit_and_fees_stay_in_proportion(traded: CoreSession) -> None:
    replay = Replay(redacted(recording_of(traded), "0.5"))
    replay.run()
    core = replay.core
    held, scaled = traded.connector.position("BTC-USD"), core.position("BTC-USD")  # type: ignore[attr-defined]
    assert scaled.amount == held.amount / 2
    assert scaled.entry_cost is not None
    assert held.entry_cost is not None
    assert scaled.entry_cost / scaled.entry_amount == held.entry_cost / held.entry_amount
    assert scaled.funding == held.funding / 2
    assert scaled.fees.of("USDC") == held.fees.of("USDC") / 2


def test_an_address_becomes_the_same_other_one_everywhere(traded: CoreSession) -> None:
    result = redacted(recording_of(traded))
    account = result.header.account
    assert account != ACCOUNT
    assert re.fullmatch("0x[0-9a-f]{40}", account)
    assert result.header.core_options["signer"] == result.header.signer != SIGNER.lower()
    events = b"".join(state for each in result for _, state in each.events)
    assert account.encode() in events
    frames = [json.loads(each.item.data) for each in result if isinstance(each.item, StreamFrame)]
    assert any(frame["channel"] == "user" for frame in frames)


def test_two_redactions_cannot_be_told_to_be_of_one_account(traded: CoreSession) -> None:
    recording = recording_of(traded)
    first, second = (redacted(recording, secret=None).header.account for _ in range(2))
    assert first != second


def test_order_ids_and_tags_go_when_asked(traded: CoreSession, tmp_path: Path) -> None:
    recording = recording_of(traded)
    key = str(traded.order("alice-1").venue_order_key)
    assert b"alice-1" in written(redacted(recording), tmp_path)
    result = redacted(recording, order_ids=True)
    after = written(result, tmp_path)
    for original in ("alice-1", "secret strategy", key):
        assert original.encode() in written(recording, tmp_path)
        assert original.encode() not in after
    assert Replay(result).run().identical
    [placed] = [each.item for each in result if isinstance(each.item, PlaceOrders)]
    assert re.fullmatch("order-[0-9a-f]{16}", placed.orders[0].client_order_id)
    assert placed.orders[0].tag == ""


def test_market_data_and_prices_stay_as_they_are(traded: CoreSession) -> None:
    recording, result = recording_of(traded), redacted(recording_of(traded))
    rewriter = HyperliquidRewriter()
    market = [each.item for each in recording if rewriter.market_of(each.item)]
    assert market
    assert [each.item for each in result if rewriter.market_of(each.item)] == market
    prices = {row["px"] for row in fills(result)}
    assert prices == {"43210.0"}


def test_amounts_can_stay(traded: CoreSession) -> None:
    result = redacted(recording_of(traded), None)
    assert [row["sz"] for row in fills(result)] == ["0.75", "1.75"]
    assert "amounts" not in result.header.derived_from
    assert Replay(result).run().identical


def test_the_header_says_what_was_done_and_not_the_fingerprint(traded: CoreSession) -> None:
    header = redacted(recording_of(traded), "7", order_ids=True).header
    assert header.derived_from == "session 000000abcdef; redacted: addresses, amounts times 7, order ids"
    assert header.config_fingerprint == ""


def test_a_secret_factor_is_not_told(traded: CoreSession) -> None:
    redaction = Redaction(HyperliquidRewriter(), factor=secret_factor())
    header = redaction.header(recording_of(traded).header, is_factor_secret=True)
    assert header.derived_from.endswith("redacted: addresses, amounts")
    assert len({secret_factor() for _ in range(20)}) > 10
    assert all(factor == int(factor) > 1 for factor in (secret_factor() for _ in range(20)))


def test_an_earlier_session_in_the_start_is_redacted_too(tmp_path: Path) -> None:
    before = CoreSession().ready()
    order = before.open(1001, amount="4", client_order_id="bob-7", tag="hidden")
    started = Started(
        session_id="0000000000ee",
        ledger_position=12,
        books_begin_ms=1,
        account_version=before.connector.account.version,
        open_orders=(encode_events(before.stored[order]),),
        positions=(
            Position(
                trading_pair="BTC-USD",
                amount=Decimal("1.5"),
                entry_cost=Decimal("64515"),
                entry_amount=Decimal("1.5"),
            ),
        ),
        recent_fill_keys=("BTC:1:2", "BTC:0:1700000000000:B:43210.0:0.123:1.5"),
        recent_transfer_keys=('1700000000000:0x1:deposit:{"type":"deposit","usdc":"12.5"}',),
        cash=Cash(token="USDC", paid=Decimal(100), markets={"BTC-USD": Decimal(-7)}, summands=2),
    )
    session = CoreSession(started=started, session_id=0xEE, ledger=before.stored)
    session.positions = [{"coin": "BTC", "szi": "1.5", "entryPx": "43010.0"}]
    session.ready()
    session.fill(1001, 1, "4", cloid=before.order(order).venue_order_key, startPosition="1.5")
    result = redacted(recording_of(session), "3", order_ids=True)
    assert Replay(result).run().identical
    kept = result.inputs[0].item
    assert isinstance(kept, Started)
    assert (kept.positions[0].amount, kept.positions[0].entry_cost) == (Decimal("4.5"), Decimal(193_545))
    assert kept.recent_fill_keys == ("BTC:1:2", "BTC:0:1700000000000:B:43210.0:0.369:4.5")
    assert kept.recent_transfer_keys == ('1700000000000:0x1:deposit:{"type":"deposit","usdc":"37.5"}',)
    assert kept.cash == Cash(token="USDC", paid=Decimal(300), markets={"BTC-USD": Decimal(-21)}, summands=2)
    after = written(result, tmp_path)
    for original in (ACCOUNT, "bob-7", "hidden"):
        assert original.encode() not in after


def test_a_factor_that_gives_amounts_the_venue_cannot_write_is_refused() -> None:
    session = CoreSession().ready()
    session.open(1001, amount="0.00123")
    with pytest.raises(RewritingError, match="WireNumberError"):
        redacted(recording_of(session), "0.0001")


@pytest.mark.parametrize("seed", range(5))
def test_any_busy_session_replays_when_redacted(seed: int) -> None:
    recording = recording_of(busy_session(600, seed=seed))
    result = redacted(recording, str(secret_factor()), order_ids=True, secret=None)
    assert len(result) == len(recording)
    assert Replay(result).run().identical
    assert ACCOUNT not in repr(result.inputs)


_words = st.sampled_from(
    [ACCOUNT, ACCOUNT.upper().replace("X", "x"), ACCOUNT[2:], "ab" * 32, "0x" + "CD" * 32, "e" * 41]
)


@settings(deadline=None, max_examples=80)
@given(around=st.lists(st.one_of(st.binary(max_size=12), _words.map(str.encode)), max_size=6))
def test_no_long_hex_of_any_garbage_frame_is_left(around: list[bytes]) -> None:
    data = b"".join(around)
    redaction = Redaction(HyperliquidRewriter(), factor=Decimal(7), secret=SECRET)
    frame = redaction.item(StreamFrame(stream="user", data=data), None)
    assert isinstance(frame, StreamFrame)
    left = re.findall(rb"[0-9a-fA-F]{40,}", frame.data)
    assert not any(text.lower() in data.lower() for text in left)
    assert not re.search(rb"[0-9a-fA-F]{41,}", frame.data)


def test_numbers_in_a_frame_that_is_no_json_are_hidden() -> None:
    redaction = Redaction(HyperliquidRewriter(), factor=Decimal(7), secret=SECRET)
    frame = redaction.item(StreamFrame(stream="user", data=b'{"sz": "12.75", "broken'), None)
    assert isinstance(frame, StreamFrame)
    assert b"12.75" not in frame.data


@pytest.mark.parametrize(
    ("asked", "body", "expected"),
    [
        ({"type": "meta"}, {"universe": [{"maxLeverage": 40, "lowerBound": "5.5"}]}, None),
        (
            {"type": "clearinghouseState"},
            {"withdrawable": "10.5", "time": 12, "rows": ["1.5", {"liquidationPx": "9.5"}]},
            {"withdrawable": "31.5", "time": 12, "rows": ["4.5", {"liquidationPx": "9.5"}]},
        ),
        (None, {"status": "err", "response": "have 12.5"}, {"status": "err", "response": "have 0.0"}),
    ],
)
def test_what_is_not_known_to_be_public_is_scaled(
    asked: dict[str, str] | None, body: object, expected: object
) -> None:
    answered = None if asked is None else Query(request_id=1, body=asked)
    item: AnyInput = RequestAnswered(request_id=1, status=200, body=json.dumps(body).encode())
    redaction = Redaction(HyperliquidRewriter(), factor=Decimal(3), secret=SECRET)
    changed = redaction.item(item, answered)
    assert isinstance(changed, RequestAnswered)
    assert json.loads(changed.body) == (body if expected is None else expected)


def fills(recording: MemoryRecording) -> Iterator[dict[str, str]]:
    for each in recording:
        if isinstance(each.item, StreamFrame):
            frame = json.loads(each.item.data)
            if frame["channel"] == "user":
                yield from frame["data"].get("fills", ())


def test_inputs_without_anything_to_hide_are_left_alone(traded: CoreSession) -> None:
    recording = recording_of(traded)
    result = redacted(recording)
    kept = {msgspec.msgpack.encode(each.item) for each in recording}
    same = sum(msgspec.msgpack.encode(each.item) in kept for each in result)
    assert same > len(recording) // 2
