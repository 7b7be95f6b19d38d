"""Where a publisher may listen: `tcp://address:port` or `ipc:///path`, this machine only unless told
otherwise.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

__all__ = ["BindAddressError", "checked_bind_address", "is_ipv6"]

_FORMS = "tcp://127.0.0.1:PORT (port 0: any free one) or ipc:///PATH"
_LARGEST_PORT = 65535
# A UNIX socket's path is copied into a fixed field of the kernel's (108 bytes with its end on Linux).
_LONGEST_IPC_PATH_BYTES = 107


class BindAddressError(ValueError):
    """Not an address a publisher may bind. `allowed` says what would be."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"cannot publish on {found}: allowed is {allowed}")
        self.found = found
        self.allowed = allowed


def checked_bind_address(text: str, *, allow_remote: bool = False) -> str:
    """The address in the spelling that ZeroMQ binds. Raises `BindAddressError`.

    Hosts are numeric addresses or `localhost`: a name would be looked up, and an interface name or `*`
    listens further than it looks. Other machines can reach anything but a loopback address, so that takes
    `allow_remote`.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "ipc":
        if not rest.startswith("/") or len(rest.encode()) > _LONGEST_IPC_PATH_BYTES:
            raise BindAddressError(repr(text), _FORMS)
        return text
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not (port.isascii() and port.isdigit()) or int(port) > _LARGEST_PORT:
        raise BindAddressError(repr(text), _FORMS)
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise BindAddressError(repr(text), _FORMS) from None
    if not address.is_loopback and not allow_remote:
        raise BindAddressError(
            f"{host}, which other machines can reach",
            "a loopback address such as 127.0.0.1, unless remote subscribers are explicitly allowed",
        )
    return (
        f"tcp://[{address}]:{int(port)}"
        if isinstance(address, IPv6Address)
        else f"tcp://{address}:{int(port)}"
    )


def is_ipv6(checked: str) -> bool:
    """Whether an address that was checked is an IPv6 one, for which a socket needs an option."""
    return checked.startswith("tcp://[")
