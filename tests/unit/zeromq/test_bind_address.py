"""Which addresses a publisher may bind."""

import pytest

from adapters.zeromq.bind_address import BindAddressError, checked_bind_address, is_ipv6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:5557", "tcp://127.0.0.1:5557"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("tcp://127.8.0.1:1", "tcp://127.8.0.1:1"),
        ("tcp://localhost:5557", "tcp://127.0.0.1:5557"),
        ("tcp://[::1]:5557", "tcp://[::1]:5557"),
        ("tcp://127.0.0.1:65535", "tcp://127.0.0.1:65535"),
        ("ipc:///run/orders.sock", "ipc:///run/orders.sock"),
    ],
)
def test_addresses_of_this_machine_are_allowed(text: str, expected: str) -> None:
    assert checked_bind_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5557",
        "127.0.0.1:5557",
        "tcp://127.0.0.1",
        "tcp://:5557",
        "tcp://*:5557",
        "tcp://eth0:5557",
        "tcp://example.com:5557",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:٣",
        "tcp://127.0.0.1:5557/path",
        "udp://127.0.0.1:5557",
        "http://127.0.0.1:5557",
        "ipc://relative.sock",
        "ipc:///" + "x" * 107,
    ],
)
def test_what_is_no_address_is_refused_with_the_allowed_forms(text: str) -> None:
    with pytest.raises(BindAddressError, match=r"tcp://127\.0\.0\.1:PORT"):
        checked_bind_address(text)
    with pytest.raises(BindAddressError):
        checked_bind_address(text, allow_remote=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "[::]", "[2001:db8::1]"])
def test_addresses_other_machines_reach_need_permission(host: str) -> None:
    with pytest.raises(BindAddressError, match="other machines can reach"):
        checked_bind_address(f"tcp://{host}:5557")
    assert checked_bind_address(f"tcp://{host}:5557", allow_remote=True) == f"tcp://{host}:5557"


def test_ipv6_addresses_are_told_apart() -> None:
    assert is_ipv6(checked_bind_address("tcp://[::1]:0"))
    assert not is_ipv6(checked_bind_address("tcp://127.0.0.1:0"))
