"""Orders go to the network that was named, and what is meant for a simulator stays on this machine."""

import pytest

from adapters.hyperliquid.networks import (
    MAINNET,
    TESTNET,
    Network,
    NetworkError,
    network_named,
    simulator_network,
)


def test_the_real_networks_have_the_hosts_and_sources_of_the_venue() -> None:
    assert network_named("mainnet") is MAINNET
    assert network_named("testnet") is TESTNET
    assert (MAINNET.http_url, MAINNET.ws_url) == (
        "https://api.hyperliquid.xyz",
        "wss://api.hyperliquid.xyz/ws",
    )
    assert (TESTNET.http_url, TESTNET.ws_url) == (
        "https://api.hyperliquid-testnet.xyz",
        "wss://api.hyperliquid-testnet.xyz/ws",
    )
    assert (MAINNET.source, TESTNET.source) == ("a", "b")


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://127.0.0.1:3001", "127.0.0.1:3001"),
        ("http://127.8.9.10:3001/", "127.8.9.10:3001"),
        ("http://localhost:3001", "localhost:3001"),
        ("http://[::1]:3001", "[::1]:3001"),
        ("http://localhost", "localhost"),
    ],
)
def test_a_simulator_is_reached_on_loopback(url: str, authority: str) -> None:
    assert network_named("simulator", simulator_url=url) == Network(
        name="simulator", http_url=f"http://{authority}", ws_url=f"ws://{authority}/ws", is_mainnet=False
    )
    assert simulator_network(url, is_mainnet=True).source == "a"


@pytest.mark.parametrize(
    "url",
    [
        "http://api.hyperliquid.xyz",
        "http://10.0.0.1:3001",
        "http://0.0.0.0:3001",
        "http://localhost.example.org:3001",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org:3001",
        "https://127.0.0.1:3001",
        "ws://127.0.0.1:3001",
        "http://127.0.0.1:3001/info",
        "http://127.0.0.1:99999",
        "http://",
        "127.0.0.1:3001",
        "",
    ],
)
def test_anything_else_is_no_simulator(url: str) -> None:
    with pytest.raises(NetworkError):
        simulator_network(url)


def test_only_the_simulator_takes_a_url_and_it_needs_one() -> None:
    with pytest.raises(NetworkError, match="needs the URL"):
        network_named("simulator")
    with pytest.raises(NetworkError, match="fixed hosts"):
        network_named("mainnet", simulator_url="http://127.0.0.1:3001")
    with pytest.raises(NetworkError, match="known: simulator, testnet, mainnet"):
        network_named("Mainnet")
