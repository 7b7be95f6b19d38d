"""The two networks of the venue and what separates them in a signature (protocol sheet 3.3, 3.4)."""

import enum


class Network(enum.Enum):
    """Which network a simulator claims to be. Nothing but the signatures tells them apart."""

    MAINNET = "mainnet"
    TESTNET = "testnet"

    @property
    def source(self) -> str:
        """The phantom agent's ``source`` member (sheet 3.3)."""
        return "a" if self is Network.MAINNET else "b"

    @property
    def chain_name(self) -> str:
        """The ``hyperliquidChain`` member of user-signed actions (sheet 3.4)."""
        return "Mainnet" if self is Network.MAINNET else "Testnet"
