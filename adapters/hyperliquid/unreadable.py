"""What decoding raises for bytes that are no message of the venue."""

from __future__ import annotations

import msgspec

__all__ = ["UNREADABLE"]

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""To be caught wherever the venue's bytes are decoded. `RecursionError` is for brackets within brackets,
deeper than anything means."""
