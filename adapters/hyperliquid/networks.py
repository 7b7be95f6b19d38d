"""The networks one can connect to: their hosts and what separates their signatures (sheet 1.1, 3.3)."""

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

__all__ = ["MAINNET", "TESTNET", "Network", "NetworkError", "network_named", "simulator_network"]


class NetworkError(ValueError):
    """No such network, or an address it must not have."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One network. `http_url` has no trailing slash; `ws_url` is complete.

    `is_mainnet` is what `HyperliquidAuth` signs for. A signature for the wrong network only shows as an
    unknown signer (sheet 3.6).
    """

    name: str
    http_url: str
    ws_url: str
    is_mainnet: bool

    @property
    def source(self) -> str:
        """The phantom agent's source letter."""
        return "a" if self.is_mainnet else "b"


MAINNET = Network(
    name="mainnet",
    http_url="https://api.hyperliquid.xyz",
    ws_url="wss://api.hyperliquid.xyz/ws",
    is_mainnet=True,
)
TESTNET = Network(
    name="testnet",
    http_url="https://api.hyperliquid-testnet.xyz",
    ws_url="wss://api.hyperliquid-testnet.xyz/ws",
    is_mainnet=False,
)


def network_named(name: str, *, simulator_url: str | None = None) -> Network:
    """`mainnet`, `testnet`, or `simulator` at `simulator_url`. Raises NetworkError.

    Only the simulator takes an address: orders signed for a real network go to its own hosts and nowhere
    else.
    """
    if name == "simulator":
        if simulator_url is None:
            raise NetworkError("the simulator network needs the URL that `orderledger sim` printed")
        return simulator_network(simulator_url)
    for network in (MAINNET, TESTNET):
        if network.name == name:
            if simulator_url is not None:
                raise NetworkError(f"{name} has fixed hosts; a URL belongs to the simulator network")
            return network
    raise NetworkError(f"no network {name!r}; known: simulator, testnet, mainnet")


def simulator_network(http_url: str, *, is_mainnet: bool = False) -> Network:
    """A simulator on this machine. `is_mainnet` is the network whose signatures it expects.

    Raises NetworkError unless the host is a loopback address: what is meant for a simulator must never reach
    a real venue.
    """
    parts = urlsplit(http_url)
    try:
        port = parts.port
    except ValueError as error:
        raise NetworkError(f"{http_url!r} has no usable port: {error}") from None
    if parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise NetworkError(f"a simulator's URL looks like http://127.0.0.1:3001, got {http_url!r}")
    if not _is_loopback(parts.hostname):
        raise NetworkError(
            f"a simulator runs on this machine, but {http_url!r} is no loopback address (such as 127.0.0.1)"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    authority = f"{host}:{port}" if port is not None else host
    return Network(
        name="simulator",
        http_url=f"http://{authority}",
        ws_url=f"ws://{authority}/ws",
        is_mainnet=is_mainnet,
    )


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
