"""Client order ids and the venue's `cloid`: `0x` and exactly 32 lowercase hex digits (sheet 4.1, 13.2)."""

import re
from hashlib import sha256

_CLOID = re.compile(r"0x[0-9a-f]{32}")
_CLOID_ANY_CASE = re.compile(r"0x[0-9a-fA-F]{32}")
_CLOID_BYTES = 16


def is_cloid(text: str) -> bool:
    """Whether `text` is a cloid exactly as it is signed: lowercase."""
    return _CLOID.fullmatch(text) is not None


def cloid_for(client_order_id: str) -> str:
    """The cloid under which an order is known at the venue; the same for the same id, always.

    An id that has the form of a cloid is its own cloid, in lowercase; any other text is hashed, so that the
    mapping can be computed again after a loss of the index. Two ids that differ only in the letter case of a
    cloid therefore collide; whoever registers orders must refuse the second.
    """
    if _CLOID_ANY_CASE.fullmatch(client_order_id):
        return client_order_id.lower()
    # surrogatepass: an id is any text, also one that came out of a file name with undecodable bytes.
    digest = sha256(client_order_id.encode("utf-8", "surrogatepass")).digest()
    return "0x" + digest[:_CLOID_BYTES].hex()
