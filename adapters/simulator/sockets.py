"""Breaking connections the way networks do."""

import asyncio
import socket
import struct

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Reset a TCP connection: the other side gets an error, not an orderly end. No-op if it is gone."""
    if transport is None or transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    # Not by type: the transports of other event loops (uvloop) do not derive from asyncio's.
    abort = getattr(transport, "abort", None)
    if abort is not None:
        abort()
