"""The recording file: frames in blocks, written so that a crash costs at most the last block.

Within the blocks of `replays.blocks`:

- the first block is the header, MessagePack, not compressed;
- the others are segments of one continuous zstd stream, flushed at each block. Inside, frames: [u32 length]
  [MessagePack of a `RecordedInput`]. No frame spans two blocks;
- a footer, written when the recording is closed: [u64 inputs][u64 last sequence][u64 last time, ns]
  [16 bytes BLAKE2b over all frames with their lengths].

A file without a footer is still being written, or its process was killed. What then follows the last
complete block is a torn tail: it is said, and is no damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from struct import Struct
from struct import error as StructError
from types import TracebackType
from typing import NamedTuple, Self, cast

import msgspec
import zstandard

from domain.event_codec import EncodedEvents
from domain.inputs import Input
from replays.blocks import Block, BlockReader, BlockWriter, last_footer
from replays.errors import SessionChainError
from replays.recording import (
    FORMAT_VERSION,
    NO_EFFECTS,
    AnyInput,
    AnyRequest,
    RecordedInput,
    SessionHeader,
    encode_recorded,
)
from replays.upcasting import header_decoder, input_decoder

__all__ = ["Footer", "SessionParts", "SessionReader", "SessionWriter", "read_sessions", "write_session"]

_LENGTH = Struct("<I")
_FOOTER = Struct("<QQQ16s")
_COMPRESSION_LEVEL = 3

BLOCK_BYTES = 256 * 1024
"""So much of frames makes a block when nobody asks for one sooner."""


class Footer(NamedTuple):
    """What a closed recording says of itself. `digest` covers every frame."""

    inputs: int
    last_sequence: int
    last_at_ns: int
    digest: bytes


class SessionWriter:
    """Writes one recording file. Not for several threads at once.

    The file must not exist yet; only its owner can read it. `append` keeps frames in memory until a block is
    full or `flush` asks for it. A write that fails (`OSError`) loses nothing: the same bytes are due again at
    the next `flush`, from where the disk stopped taking them.
    """

    def __init__(self, path: Path | str, header: SessionHeader) -> None:
        self.path = Path(path)
        self.header = header
        self._frames = bytearray()
        self._digest = blake2b(digest_size=16)
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compressobj()
        self._footer = Footer(0, header.previous_sequence, 0, self._digest.digest())
        self._inputs = 0
        self._last_sequence = header.previous_sequence
        self._last_at_ns = 0
        self._has_footer = False
        self._blocks = BlockWriter(self.path, FORMAT_VERSION)
        self._blocks.add(msgspec.msgpack.encode(header))

    @property
    def bytes_written(self) -> int:
        """How much of the file the operating system has."""
        return self._blocks.bytes_written

    def append(
        self,
        item: Input,
        events: EncodedEvents = (),
        effects_digest: bytes = NO_EFFECTS,
        failure: str = "",
        answers: AnyRequest | None = None,
    ) -> None:
        """Add one input with what it led to. Raises `OSError` when a full block cannot be written."""
        recorded = RecordedInput(cast(AnyInput, item), events, effects_digest, failure, answers)
        self.append_frame(encode_recorded(recorded), item.sequence, item.at_ns)

    def append_frame(self, frame: bytes, sequence: int, at_ns: int) -> None:
        """Add an input that is encoded already. Raises like `append`."""
        self._frames += _LENGTH.pack(len(frame))
        self._frames += frame
        self._inputs += 1
        self._last_sequence = sequence
        self._last_at_ns = at_ns
        if len(self._frames) >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the operating system, as one block. Raises `OSError`."""
        self._seal()
        self._blocks.write()

    def close(self) -> Footer:
        """Write what is left and the footer, and make the file durable. Raises `OSError`; may be tried
        again."""
        if not self._has_footer:
            self._seal()
            self._footer = Footer(self._inputs, self._last_sequence, self._last_at_ns, self._digest.digest())
            self._blocks.add(_FOOTER.pack(*self._footer), is_footer=True)
            self._has_footer = True
        self._blocks.close(durable=True)
        return self._footer

    def abandon(self) -> None:
        """Let go of the file as it is, without a footer."""
        self._blocks.close(durable=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _seal(self) -> None:
        """Make a block of the frames that are waiting."""
        if self._frames:
            self._digest.update(self._frames)
            segment = self._compressor.compress(self._frames)
            segment += self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            self._frames = bytearray()
            self._blocks.add(segment)


class SessionReader:
    """Reads one recording. The header is there at once; iterating yields the inputs, in flat memory.

    Raises `ForeignRecordingError`, `NewerRecordingError` or `DamagedRecordingError` when it is made, and the
    last of these also while iterating, after everything before the damage was yielded. An older format
    (`format_version`) is brought forward. Once an iteration has ended, `inputs`, `last_sequence`, `digest`,
    `is_closed` and `torn` say what was found and how the file ends. It may be iterated again, also while the
    file grows.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.torn = ""
        self.is_closed = False
        self.inputs = 0
        self.last_sequence = 0
        self.digest = b""
        self.format_version = FORMAT_VERSION
        with self.path.open("rb") as file:
            self.header = self._read_header(BlockReader(self.path, file))

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return self.path.stat().st_size

    def footer(self) -> Footer | None:
        """The footer without reading what is before it; None when there is none (yet)."""
        with self.path.open("rb") as file:
            payload = last_footer(file, _FOOTER.size)
        return None if payload is None else Footer(*_FOOTER.unpack(payload))

    def __iter__(self) -> Iterator[RecordedInput]:
        self.torn, self.is_closed = "", False
        digest = blake2b(digest_size=16)
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        with self.path.open("rb") as file:
            blocks = BlockReader(self.path, file)
            self._read_header(blocks)
            blocks.sequence = self.header.previous_sequence
            while (block := blocks.next()) is not None:
                if block.is_footer:
                    self._check_end(blocks, block, digest.digest())
                    self.is_closed = True
                    break
                try:
                    frames = decompressor.decompress(block.payload)
                except zstandard.ZstdError as error:
                    raise blocks.damaged(f"a block cannot be decompressed: {error}", block.offset) from None
                digest.update(frames)
                yield from self._read_frames(blocks, block.offset, frames)
            self.torn = blocks.torn
        self.inputs, self.last_sequence, self.digest = blocks.inputs, blocks.sequence, digest.digest()

    def _read_header(self, blocks: BlockReader) -> SessionHeader:
        self.format_version = blocks.read_version(FORMAT_VERSION)
        block = blocks.next()
        if block is None:
            raise blocks.damaged("it ends within its header; nothing of it can be used")
        try:
            return header_decoder(self.format_version, FORMAT_VERSION)(block.payload)
        except msgspec.MsgspecError as error:
            raise blocks.damaged(f"the header cannot be read: {error}", block.offset) from None

    def _read_frames(self, blocks: BlockReader, offset: int, frames: bytes) -> Iterator[RecordedInput]:
        view = memoryview(frames)
        decode = input_decoder(self.format_version, FORMAT_VERSION)
        may_skip = bool(self.header.derived_from)
        at, end = 0, len(frames)
        while at < end:
            try:
                (length,) = _LENGTH.unpack_from(view, at)
                at += _LENGTH.size
                recorded = decode(view[at : at + length])
            except (msgspec.MsgspecError, StructError) as error:
                raise blocks.damaged(f"the next input cannot be read: {error}", offset) from None
            at += length
            sequence = recorded.item.sequence
            if sequence != blocks.sequence + 1 and not (may_skip and sequence > blocks.sequence):
                raise blocks.damaged(f"input {sequence} stands where the next one should", offset)
            blocks.inputs += 1
            blocks.sequence = sequence
            yield recorded

    @staticmethod
    def _check_end(blocks: BlockReader, block: Block, digest: bytes) -> None:
        if len(block.payload) != _FOOTER.size:
            raise blocks.damaged("the footer has the wrong length", block.offset)
        footer = Footer(*_FOOTER.unpack(block.payload))
        if (footer.inputs, footer.last_sequence, footer.digest) != (blocks.inputs, blocks.sequence, digest):
            raise blocks.damaged(
                f"the footer speaks of {footer.inputs} inputs up to {footer.last_sequence}", block.offset
            )
        if blocks.next() is not None or blocks.torn:
            raise blocks.damaged("there are bytes after the footer")


class SessionParts:
    """The parts of one session as one recording. `header` is the first part's; iterating yields the inputs of
    all of them, and raises `SessionChainError` where one part does not begin where the last one ended.
    """

    def __init__(self, readers: Sequence[SessionReader]) -> None:
        self.readers = tuple(readers)
        self.header = readers[0].header

    @property
    def torn(self) -> str:
        """How the last part ends when its end is torn; known after an iteration."""
        return self.readers[-1].torn

    @property
    def is_closed(self) -> bool:
        """Whether the last part has its footer; known after an iteration."""
        return self.readers[-1].is_closed

    def __iter__(self) -> Iterator[RecordedInput]:
        before: SessionReader | None = None
        for reader in self.readers:
            if before is not None:
                self._check_joint(before, reader)
            yield from reader
            before = reader

    @staticmethod
    def _check_joint(before: SessionReader, after: SessionReader) -> None:
        begins, ends = after.header.previous_sequence, before.last_sequence
        if begins > ends:
            raise SessionChainError(
                after.path, f"it begins after input {begins}, and {before.path.name} ends with {ends}: a gap."
            )
        if begins < ends:
            raise SessionChainError(
                after.path,
                f"it begins after input {begins}, and {before.path.name} ends with {ends}: they overlap.",
            )
        if after.header.previous_digest != before.digest.hex():
            raise SessionChainError(
                after.path, f"what it follows is not what {before.path.name} holds: one of them was changed."
            )


def read_sessions(paths: Iterable[Path | str]) -> SessionParts:
    """The parts of one session, in whatever order they are named, as one recording.

    Raises `SessionChainError` for parts of different sessions, for a part named twice and for one that is
    missing between two others; and what `SessionReader` raises. A replay also needs the first part: see
    `SessionHeader.part`.
    """
    readers = sorted((SessionReader(path) for path in paths), key=lambda reader: reader.header.part)
    if not readers:
        raise ValueError("no recording was named")
    for before, after in pairwise(readers):
        first, then = before.header, after.header
        if then.session_id != first.session_id or then.account != first.account:
            raise SessionChainError(
                after.path,
                f"it is of session {then.session_id} of {then.account}, {before.path.name} of session "
                f"{first.session_id} of {first.account}: name the parts of one session only.",
            )
        if then.part == first.part:
            raise SessionChainError(
                after.path, f"it overlaps {before.path.name}: both are part {then.part} of the session."
            )
        if then.part != first.part + 1:
            raise SessionChainError(
                after.path, f"part {first.part + 1} is missing between {before.path.name} and this one."
            )
    return SessionParts(readers)


def write_session(path: Path | str, header: SessionHeader, inputs: Iterable[RecordedInput]) -> Footer:
    """Write a whole recording at once: the file is complete or, when anything raises, not there at all.

    An existing file is replaced.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with SessionWriter(unfinished, header) as writer:
            for recorded in inputs:
                item = recorded.item
                writer.append_frame(encode_recorded(recorded), item.sequence, item.at_ns)
            footer = writer.close()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return footer
