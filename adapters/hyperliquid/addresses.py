"""Account addresses in the one spelling that is signed and sent: `0x` and 40 lowercase hex digits (sheet
1.1)."""

import re

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class AddressError(ValueError):
    """A text is not an account address."""


def lowercase_address(text: str) -> str:
    """The address in lowercase, as signatures need it: the venue rebuilds what was signed from lowercase
    text.

    Raises AddressError for anything but `0x` and 40 hex digits.
    """
    if not isinstance(text, str) or _ADDRESS.fullmatch(text) is None:
        # A mistaken paste may be a secret: its length is told, its text is not.
        length = len(text) if isinstance(text, str) else None
        raise AddressError(
            f"not an account address: expected 0x and 40 hex digits, got "
            f"{type(text).__name__ if length is None else f'{length} characters'}"
        )
    return text.lower()
