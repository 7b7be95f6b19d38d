"""The recording file: what is written is read, a torn end costs only itself, and no changed byte passes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import OrderType, TradeType
from domain.inputs import (
    CancelOrders,
    Input,
    LedgerStalled,
    OrderLookedUp,
    PlaceOrders,
    RequestAnswered,
    RequestFailed,
    SetLeverage,
    Started,
    StreamFrame,
    TimerFired,
    UpdateMargin,
)
from domain.order_params import OrderParams
from domain.position import Position
from replays.blocks import HEAD_BYTES, BlockWriter
from replays.errors import (
    DamagedRecordingError,
    ForeignRecordingError,
    NewerRecordingError,
    RecordingError,
    SessionChainError,
)
from replays.recording import AnyInput, RecordedInput, SessionHeader, outcome_digest
from replays.session_file import (
    BLOCK_BYTES,
    SessionReader,
    SessionWriter,
    read_sessions,
    write_session,
)

FOOTER_BYTES = HEAD_BYTES + 40


def header(**members: object) -> SessionHeader:
    known = {
        "package_version": "1.2.3",
        "config_fingerprint": "ab" * 8,
        "venue": "hyperliquid",
        "network": "simulator",
        "account": "0x" + "11" * 20,
        "signer": "0x" + "22" * 20,
        "session_id": "0000000000ab",
        "core_options": {"trading_pairs": ["BTC-USD"], "slippage": "0.05"},
        "started_at_ns": 1_700_000_000_000_000_000,
    }
    return SessionHeader(**(known | members))  # type: ignore[arg-type]


def inputs(count: int, first: int = 1) -> list[RecordedInput]:
    kept = []
    for sequence in range(first, first + count):
        item = StreamFrame(
            sequence=sequence, at_ns=sequence * 1_000, stream="user", data=b'{"n":%d}' % sequence
        )
        kept.append(RecordedInput(item, (("order.created", b"\x81\xa1a\x01"),), bytes(16)))
    return kept


def write(path: Path, kept: list[RecordedInput], *, per_block: int = 3, **members: object) -> None:
    """A closed recording of several blocks."""
    with SessionWriter(path, header(**members)) as writer:
        for number, recorded in enumerate(kept, 1):
            writer.append(recorded.item, recorded.events, recorded.effects_digest, recorded.failure)
            if number % per_block == 0:
                writer.flush()


def read_until_it_raises(
    path: Path,
) -> tuple[list[RecordedInput], SessionReader | None, RecordingError | None]:
    """Everything that can be read, and what stopped it."""
    read: list[RecordedInput] = []
    try:
        reader = SessionReader(path)
    except RecordingError as error:
        return read, None, error
    try:
        read.extend(reader)
    except RecordingError as error:
        return read, reader, error
    return read, reader, None


def chain_until_it_raises(paths: list[Path]) -> tuple[list[RecordedInput], RecordingError | None]:
    read: list[RecordedInput] = []
    try:
        read.extend(read_sessions(paths))
    except RecordingError as error:
        return read, error
    return read, None


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.session"
    write(path, inputs(8))
    return path


# -- what is written is read ---------------------------------------------------------------------------------

_decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
_blobs = st.binary(max_size=300)
_events = st.lists(st.tuples(st.text(max_size=20), _blobs), max_size=3).map(tuple)


def _numbered(item: AnyInput, sequence: int) -> AnyInput:
    return msgspec.structs.replace(item, sequence=sequence, at_ns=sequence)


_items = st.one_of(
    st.builds(
        Started,
        session_id=st.text(max_size=12),
        ledger_position=st.integers(0, 2**62),
        open_orders=st.lists(_events, max_size=2).map(tuple),
        positions=st.builds(Position, trading_pair=st.text(max_size=9), amount=_decimals).map(lambda p: (p,)),
        recent_fill_keys=st.lists(st.text(max_size=30), max_size=3).map(tuple),
    ),
    st.builds(StreamFrame, stream=st.sampled_from(("user", "market")), data=_blobs),
    st.builds(RequestAnswered, request_id=st.integers(0, 2**40), status=st.integers(100, 599), body=_blobs),
    st.builds(RequestFailed, request_id=st.integers(0, 2**40), reason=st.text(), sent=st.booleans()),
    st.builds(
        PlaceOrders,
        orders=st.builds(
            OrderParams,
            client_order_id=st.text(max_size=40),
            venue_order_key=st.text(max_size=40),
            trading_pair=st.just("BTC-USD"),
            instrument=st.just("BTC"),
            order_type=st.sampled_from(OrderType),
            trade_type=st.sampled_from(TradeType),
            amount=_decimals,
            price=_decimals,
            tag=st.text(max_size=9),
        ).map(lambda params: (params,)),
    ),
    st.builds(CancelOrders, client_order_ids=st.lists(st.text(max_size=9)).map(tuple)),
    st.builds(
        SetLeverage, trading_pair=st.text(max_size=9), leverage=st.integers(1, 50), is_cross=st.booleans()
    ),
    st.builds(UpdateMargin, trading_pair=st.text(max_size=9), amount=_decimals),
    st.builds(OrderLookedUp, key=st.text(max_size=9), events=_events),
    st.builds(LedgerStalled, reason=st.text(max_size=30)),
    st.just(TimerFired()),
)


@settings(deadline=None, max_examples=60)
@given(
    kept=st.lists(
        st.tuples(_items, _events, st.sampled_from((b"", bytes(16))), st.text(max_size=20), st.booleans()),
        max_size=12,
    )
)
def test_whatever_is_written_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    kept: list[tuple[AnyInput, tuple[tuple[str, bytes], ...], bytes, str, bool]],
) -> None:
    path = tmp_path_factory.mktemp("written") / "a.session"
    expected = []
    with SessionWriter(path, header()) as writer:
        for sequence, (item, events, digest, failure, flushed) in enumerate(kept, 1):
            recorded = RecordedInput(_numbered(item, sequence), events, digest, failure)
            expected.append(recorded)
            writer.append(recorded.item, events, digest, failure)
            if flushed:
                writer.flush()
    reader = SessionReader(path)
    assert reader.header == header()
    assert list(reader) == expected
    assert list(reader) == expected, "and again"
    assert (reader.is_closed, reader.torn, reader.inputs) == (True, "", len(kept))
    footer = reader.footer()
    assert footer is not None
    assert (footer.inputs, footer.last_sequence, footer.digest) == (len(kept), len(kept), reader.digest)


def test_every_kind_of_input_can_be_recorded() -> None:
    kinds = set(Input.__subclasses__())
    assert set(AnyInput.__args__) == kinds


def test_a_frame_larger_than_a_block_is_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "large.session"
    answer = RequestAnswered(sequence=1, request_id=1, status=200, body=os.urandom(3 * BLOCK_BYTES))
    write(path, [RecordedInput(answer), *inputs(2, first=2)])
    assert next(recorded.item for recorded in SessionReader(path)) == answer


def test_a_recording_is_for_its_owner_alone(small: Path) -> None:
    assert stat.S_IMODE(small.stat().st_mode) == 0o600


def test_an_existing_file_is_never_written_over(small: Path) -> None:
    before = small.read_bytes()
    with pytest.raises(FileExistsError):
        SessionWriter(small, header())
    assert small.read_bytes() == before


def test_what_is_flushed_can_be_read_while_the_rest_is_written(tmp_path: Path) -> None:
    path = tmp_path / "growing.session"
    writer = SessionWriter(path, header())
    kept = inputs(4)
    for recorded in kept[:3]:
        writer.append(recorded.item, recorded.events, recorded.effects_digest)
    writer.flush()
    reader = SessionReader(path)
    assert list(reader) == kept[:3]
    assert (reader.is_closed, reader.torn, reader.footer()) == (False, "", None)
    writer.append(kept[3].item, kept[3].events, kept[3].effects_digest)
    writer.close()
    assert list(reader) == kept
    assert reader.is_closed


def test_a_digest_covers_events_effects_and_failure() -> None:
    [recorded] = inputs(1)
    others = [
        msgspec.structs.replace(recorded, events=()),
        msgspec.structs.replace(recorded, effects_digest=b"\x01" * 16),
        msgspec.structs.replace(recorded, failure="ValueError: no"),
    ]
    assert len({outcome_digest(each) for each in [recorded, *others]}) == 4
    assert outcome_digest(recorded) == outcome_digest(msgspec.structs.replace(recorded, item=TimerFired()))


# -- damage --------------------------------------------------------------------------------------------------


def test_every_single_changed_byte_is_noticed(small: Path) -> None:
    good = small.read_bytes()
    expected = inputs(8)
    for offset in range(len(good)):
        for mask in (0x01, 0x80):
            changed = bytearray(good)
            changed[offset] ^= mask
            small.write_bytes(changed)
            read, _, error = read_until_it_raises(small)
            assert error is not None, f"byte {offset} changed by {mask:#x} went unnoticed"
            assert read == expected[: len(read)], "what is delivered before is what was written"


def test_every_single_changed_byte_of_a_recording_without_end_is_noticed(small: Path) -> None:
    good = small.read_bytes()[:-FOOTER_BYTES]
    for offset in range(len(good)):
        changed = bytearray(good)
        changed[offset] ^= 0x20
        small.write_bytes(changed)
        _, _, error = read_until_it_raises(small)
        assert error is not None, f"byte {offset} went unnoticed"


def test_a_recording_cut_off_anywhere_gives_what_is_whole_and_says_that_its_end_is_torn(small: Path) -> None:
    good = small.read_bytes()
    ends = set(_block_ends(good))
    counts = set()
    for length in range(min(ends), len(good)):
        small.write_bytes(good[:length])
        read, reader, error = read_until_it_raises(small)
        assert error is None
        assert reader is not None
        assert read == inputs(8)[: len(read)]
        assert not reader.is_closed
        assert bool(reader.torn) == (length not in ends)
        counts.add(len(read))
    assert counts == {0, 3, 6, 8}


def test_a_recording_cut_off_within_its_header_cannot_be_used(small: Path) -> None:
    good = small.read_bytes()
    for length in range(1, min(_block_ends(good))):
        small.write_bytes(good[:length])
        with pytest.raises(DamagedRecordingError, match="ends within its"):
            SessionReader(small)


def test_the_damaged_place_is_named(small: Path) -> None:
    good = bytearray(small.read_bytes())
    _, first, second, *_ = _block_ends(bytes(good))
    good[second - 1] ^= 0x10
    small.write_bytes(good)
    read, _, error = read_until_it_raises(small)
    assert isinstance(error, DamagedRecordingError)
    assert (error.path, error.offset, error.frame, error.sequence) == (small, first, 3, 3)
    assert f"damaged at byte {first}, after input 3 (3 read before it)" in str(error)
    assert len(read) == 3


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 2, 3), (0, 1, 1, 2, 3), (0, 1, 3), (0, 1, 2)])
def test_blocks_that_are_missing_moved_or_doubled_are_noticed(small: Path, order: tuple[int, ...]) -> None:
    good = small.read_bytes()
    ends = _block_ends(good)
    blocks = [good[begin:end] for begin, end in pairwise(ends[:-1])]
    header_part, footer = good[: ends[0]], good[ends[-2] :]
    blocks = [blocks[number - 1] for number in order if number]
    small.write_bytes(header_part + b"".join(blocks) + footer)
    _, _, error = read_until_it_raises(small)
    assert isinstance(error, DamagedRecordingError)


def test_a_block_of_another_recording_is_noticed(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.session"
    write(other, inputs(8), note="another header, the same inputs")
    good, foreign = small.read_bytes(), other.read_bytes()
    own_ends, foreign_ends = _block_ends(good), _block_ends(foreign)
    small.write_bytes(good[: own_ends[0]] + foreign[foreign_ends[0] :])
    read, _, error = read_until_it_raises(small)
    assert isinstance(error, DamagedRecordingError)
    assert read == []


@pytest.mark.parametrize("more", [b"\x00", b"x" * 40, b"\x00" * 400])
def test_bytes_after_the_end_are_noticed(small: Path, more: bytes) -> None:
    small.write_bytes(small.read_bytes() + more)
    read, _, error = read_until_it_raises(small)
    assert isinstance(error, DamagedRecordingError)
    assert len(read) == 8


def test_zeros_that_a_power_failure_left_are_a_torn_end(small: Path) -> None:
    good = small.read_bytes()[:-FOOTER_BYTES]
    small.write_bytes(good + bytes(5_000))
    read, reader, error = read_until_it_raises(small)
    assert error is None
    assert len(read) == 8
    assert reader is not None
    assert "only zeros" in reader.torn


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", ForeignRecordingError, "empty"),
        (b"SQLite format 3\x00" + bytes(100), ForeignRecordingError, "no recording"),
        (b"OLS", DamagedRecordingError, "first bytes"),
        (b"OLSESS\x02\x00" + bytes(100), NewerRecordingError, "format 2"),
        (b"OLSESS\x00\x00" + bytes(100), DamagedRecordingError, "no format 0"),
    ],
)
def test_a_file_that_is_no_readable_recording_is_refused(
    tmp_path: Path, content: bytes, error: type[RecordingError], says: str
) -> None:
    path = tmp_path / "what.session"
    path.write_bytes(content)
    with pytest.raises(error, match=says):
        SessionReader(path)


def test_a_header_without_a_member_it_needs_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "headless.session"
    blocks = BlockWriter(path, 1)
    blocks.add(msgspec.msgpack.encode({"package_version": "1"}))
    blocks.close(durable=True)
    with pytest.raises(DamagedRecordingError, match="header cannot be read"):
        SessionReader(path)


def test_a_missing_number_is_noticed_unless_the_recording_is_an_excerpt(tmp_path: Path) -> None:
    kept = [inputs(9)[at] for at in (0, 1, 4)]
    write(tmp_path / "whole.session", kept)
    write(tmp_path / "excerpt.session", kept, derived_from="another")
    read, _, error = read_until_it_raises(tmp_path / "whole.session")
    assert read == kept[:2]
    assert "input 5 stands where the next one should" in str(error)
    assert list(SessionReader(tmp_path / "excerpt.session")) == kept


@settings(deadline=None, max_examples=60)
@given(garbage=st.binary(max_size=400), keep=st.integers(0, 400))
def test_garbage_never_ends_in_anything_but_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, keep: int
) -> None:
    path = tmp_path_factory.mktemp("garbage") / "g.session"
    write(path, inputs(4))
    path.write_bytes(path.read_bytes()[:keep] + garbage)
    read, _, _ = read_until_it_raises(path)
    assert read == inputs(4)[: len(read)]


# -- whole recordings ----------------------------------------------------------------------------------------


def test_writing_a_whole_recording_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.session"
    write_session(path, header(), inputs(3))

    def failing() -> Iterator[RecordedInput]:
        yield from inputs(2)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_session(path, header(), failing())
    assert [each.name for each in tmp_path.iterdir()] == ["a.session"]
    assert len(list(SessionReader(path))) == 3


# -- parts ---------------------------------------------------------------------------------------------------


def parts(folder: Path) -> list[Path]:
    """Three parts of one session, four inputs each."""
    paths = []
    previous_sequence, previous_digest = 0, ""
    for part in (1, 2, 3):
        path = folder / f"part{part}.session"
        write(
            path,
            inputs(4, first=previous_sequence + 1),
            part=part,
            previous_sequence=previous_sequence,
            previous_digest=previous_digest,
        )
        footer = SessionReader(path).footer()
        assert footer is not None
        previous_sequence, previous_digest = footer.last_sequence, footer.digest.hex()
        paths.append(path)
    return paths


def test_parts_are_one_recording_in_whatever_order_they_are_named(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    recording = read_sessions([third, first, second])
    assert list(recording) == inputs(12)
    assert recording.header.part == 1
    assert recording.is_closed


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    first, _, third = parts(tmp_path)
    with pytest.raises(SessionChainError, match=r"part 2 is missing between part1\.session"):
        read_sessions([first, third])


def test_a_part_given_twice_overlaps(tmp_path: Path) -> None:
    first, second, _ = parts(tmp_path)
    copy = tmp_path / "copy.session"
    copy.write_bytes(second.read_bytes())
    with pytest.raises(SessionChainError, match=r"overlaps .*both are part 2"):
        read_sessions([first, second, copy])


def test_parts_of_different_sessions_are_not_one_recording(tmp_path: Path) -> None:
    first, _, _ = parts(tmp_path)
    other = tmp_path / "other.session"
    write(other, inputs(4, first=5), part=2, previous_sequence=4, session_id="0000000000ff")
    with pytest.raises(SessionChainError, match="session 0000000000ff"):
        read_sessions([first, other])


@pytest.mark.parametrize(
    ("begins_after", "says"), [(6, "a gap"), (2, "they overlap"), (4, "one of them was changed")]
)
def test_a_part_that_does_not_begin_where_the_last_one_ended_is_refused(
    tmp_path: Path, begins_after: int, says: str
) -> None:
    first, _, _ = parts(tmp_path)
    second = tmp_path / "second.session"
    write(
        second,
        inputs(4, first=begins_after + 1),
        part=2,
        previous_sequence=begins_after,
        previous_digest="00" * 16,
    )
    read, error = chain_until_it_raises([first, second])
    assert says in str(error)
    assert read == inputs(4)


def test_a_part_that_lost_its_end_leaves_a_gap(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    good = second.read_bytes()
    second.write_bytes(good[: _block_ends(good)[1]])
    read, error = chain_until_it_raises([first, second, third])
    assert "begins after input 8, and part2.session ends with 7: a gap" in str(error)
    assert read == inputs(7)


def _block_ends(data: bytes) -> list[int]:
    """Where each block of a good recording ends, the header first."""
    ends = []
    at = 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little") & ~(1 << 31)
        at += HEAD_BYTES + length
        ends.append(at)
    return ends


def test_amounts_come_back_with_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "digits.session"
    item = UpdateMargin(sequence=1, trading_pair="BTC-USD", amount=Decimal("0.10"))
    write(path, [RecordedInput(item)])
    [recorded] = SessionReader(path)
    assert str(recorded.item.amount) == "0.10"  # type: ignore[union-attr]
