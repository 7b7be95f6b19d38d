"""The outer layer of a recording file: blocks that each check by themselves and against the one before.

Integers are little-endian. The file begins with 8 bytes: `OLSESS` and the format version (u16). A block is a
head of 12 bytes and its payload: [u32 payload length, top bit set for the footer] [u32 CRC-32 of the payload]
[u32 CRC-32 of these 8 bytes, seeded with that of the block before, the first with that of the 8 bytes at the
beginning]. A block that is missing, moved or from another file therefore does not check either.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple
from zlib import crc32

from replays.errors import (
    DamagedRecordingError,
    EmptyRecordingError,
    ForeignRecordingError,
    NewerRecordingError,
)

__all__ = ["HEAD_BYTES", "Block", "BlockReader", "BlockWriter", "last_footer"]

_NAME = b"OLSESS"
_SQLITE = b"SQLite format 3"
_MAGIC_BYTES = 8
_HEAD = Struct("<III")
_HEAD_START = Struct("<II")
_FOOTER_BIT = 1 << 31
_CHUNK_BYTES = 1 << 20

HEAD_BYTES = _HEAD.size


class Block(NamedTuple):
    """A payload that checked, and where its block begins in the file."""

    payload: bytes
    offset: int
    is_footer: bool


class BlockWriter:
    """Appends blocks to a new file that only its owner can read.

    `add` never fails; `write` hands what was added to the operating system, and after an `OSError` goes on
    from the byte at which the disk stopped.
    """

    def __init__(self, path: Path, format_version: int) -> None:
        self.bytes_written = 0
        self._unwritten = bytearray()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o600)
        magic = _NAME + format_version.to_bytes(2, "little")
        self._unwritten += magic
        self._seed = crc32(magic)

    def add(self, payload: bytes, *, is_footer: bool = False) -> None:
        head = _HEAD_START.pack(len(payload) | (_FOOTER_BIT if is_footer else 0), crc32(payload))
        self._seed = crc32(head, self._seed)
        self._unwritten += head + self._seed.to_bytes(4, "little") + payload

    def write(self) -> None:
        """Raises `OSError`."""
        while self._unwritten:
            written = os.write(self._descriptor, self._unwritten)
            del self._unwritten[:written]
            self.bytes_written += written

    def close(self, *, durable: bool) -> None:
        """Close the file; `durable` waits until it is on the disk. Raises `OSError`; may be tried again."""
        if self._descriptor >= 0:
            if durable:
                self.write()
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


class BlockReader:
    """Reads the blocks of a file that is at its beginning, or where `resume` was taken.

    `inputs` and `sequence` are for the error message alone: what the caller has read so far.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.torn = ""
        self.inputs = 0
        self.sequence = 0
        self.offset = 0
        self._file = file
        self._seed = 0

    def read_version(self, newest: int) -> int:
        """Check what the file begins with. Raises for anything that this version cannot read."""
        magic = self._file.read(_MAGIC_BYTES)
        if not magic:
            raise EmptyRecordingError(self.path, "the file is empty: nothing was recorded into it.")
        if magic[: len(_NAME)] != _NAME[: len(magic)]:
            hint = " It is an SQLite file: a ledger?" if _SQLITE.startswith(magic) else ""
            message = f"this is no recording of Order Ledger: check the path.{hint}"
            raise ForeignRecordingError(self.path, message)
        if len(magic) < _MAGIC_BYTES:
            raise self.damaged("it ends within its first bytes")
        version = int.from_bytes(magic[len(_NAME) :], "little")
        if version > newest:
            raise NewerRecordingError(
                self.path,
                f"it has format {version}, and this version reads up to {newest}: "
                "read it with a newer version of orderledger (or its first bytes are damaged).",
            )
        if version < 1:
            raise self.damaged(f"there is no format {version}")
        self._seed = crc32(magic)
        self.offset = _MAGIC_BYTES
        return version

    def next(self) -> Block | None:
        """The next block; None at the end of the file, which `torn` explains where it is not a clean one.

        Raises `DamagedRecordingError`.
        """
        head = self._file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            if head:
                self.torn = f"the last {len(head)} bytes are the beginning of a block that was not finished"
            return None
        word, payload_crc, head_crc = _HEAD.unpack(head)
        seed = crc32(head[: _HEAD_START.size], self._seed)
        if seed != head_crc:
            if self._only_zeros_from(head):
                self.torn = f"from byte {self.offset} there are only zeros: the disk never got what was there"
                return None
            raise self.damaged("the head of a block does not check")
        length = word & ~_FOOTER_BIT
        payload = self._file.read(length)
        if len(payload) < length:
            self.torn = f"the last block has {len(payload)} of its {length} bytes"
            return None
        if crc32(payload) != payload_crc:
            raise self.damaged("the content of a block does not check")
        block = Block(payload, self.offset, bool(word & _FOOTER_BIT))
        self._seed = seed
        self.offset += HEAD_BYTES + length
        return block

    def damaged(self, message: str, offset: int | None = None) -> DamagedRecordingError:
        """The error for the block at `offset`, or the one that comes next."""
        return DamagedRecordingError(
            self.path,
            f"{message}.",
            offset=self.offset if offset is None else offset,
            frame=self.inputs,
            sequence=self.sequence,
        )

    def _only_zeros_from(self, head: bytes) -> bool:
        """A power failure can leave a file longer than what was written to it."""
        chunk = head
        while chunk:
            if any(chunk):
                return False
            chunk = self._file.read(_CHUNK_BYTES)
        return True


def last_footer(file: BinaryIO, payload_bytes: int) -> bytes | None:
    """The payload of the footer at the end of a file, found without reading what is before it."""
    length = HEAD_BYTES + payload_bytes
    if file.seek(0, os.SEEK_END) < _MAGIC_BYTES + length:
        return None
    file.seek(-length, os.SEEK_END)
    head, payload = file.read(HEAD_BYTES), file.read(payload_bytes)
    word, payload_crc, _ = _HEAD.unpack(head)
    return payload if word == _FOOTER_BIT | payload_bytes and payload_crc == crc32(payload) else None
