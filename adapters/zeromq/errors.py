"""Why a publisher cannot listen."""

from __future__ import annotations

__all__ = ["PublisherAddressInUseError", "PublisherBindError", "PublisherError"]


class PublisherError(Exception):
    """Base of what a publisher raises: only when it is made, never while it publishes."""


class PublisherBindError(PublisherError):
    """The address cannot be bound. The message says why."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"cannot publish on {address}: {why}")
        self.address = address


class PublisherAddressInUseError(PublisherBindError):
    """Something else listens there: often a second live process."""

    def __init__(self, address: str) -> None:
        super().__init__(
            address, "it is in use. Stop what listens there, or choose another port (0: any free one)"
        )
