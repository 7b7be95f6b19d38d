"""The settings of a live process: every section and key, its type, its default, and what it means.

These structs are the only list of settings there is: reading, validation, environment overrides and the file
that `orderledger init` writes all follow from them. Times end in their unit. Paths are relative to the config
file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "DEFAULT_CONFIG_FILE",
    "SECTIONS",
    "Config",
    "LedgerSettings",
    "LimitSettings",
    "LogSettings",
    "Network",
    "PublisherSettings",
    "ReconciliationSettings",
    "RecordingSettings",
    "SecretSettings",
    "ShutdownSettings",
    "StrategySettings",
    "VenueSettings",
]

DEFAULT_CONFIG_FILE = "orderledger.toml"

Network = Literal["simulator", "testnet", "mainnet"]


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where orders go, and for whom."""

    name: Annotated[Literal["hyperliquid"], Meta(description="The venue's protocol.")] = "hyperliquid"
    network: Annotated[
        Network,
        Meta(
            description="simulator: a venue on this machine (`orderledger sim`). testnet: the venue's, with"
            " play money. mainnet: real money, and only with --live on the command line."
        ),
    ] = "simulator"
    account_address: Annotated[
        str,
        Meta(
            description="The account whose orders and balances are kept: 0x and 40 hex digits. Your main "
            "account, never the address of an agent (API wallet). On the simulator it may be "
            "left out: the address of the signing key.",
            examples=["0x0000000000000000000000000000000000000000"],
        ),
    ] = ""
    vault_address: Annotated[
        str,
        Meta(
            description="Trade for this sub-account or vault of the account instead; its orders, positions "
            "and balances are then the ones that are kept.",
            examples=["0x0000000000000000000000000000000000000000"],
        ),
    ] = ""
    trading_pairs: Annotated[
        tuple[str, ...],
        Meta(description="The markets to follow, as BASE-QUOTE, spelled as the venue does (kPEPE-USD)."),
    ] = ("BTC-USD",)
    simulator_url: Annotated[
        str,
        Meta(
            description="Where the simulator is, as `orderledger sim` printed it. The venue's own networks "
            "have fixed addresses and do not look at this."
        ),
    ] = "http://127.0.0.1:3001"

    market_feed: Annotated[
        str,
        Meta(
            description="Take market data from this ZeroMQ publisher instead of opening a second socket to "
            "the venue: tcp://host:port or ipc:///path, with the venue's own JSON messages as payload.",
            examples=["tcp://127.0.0.1:5556"],
        ),
    ] = ""

    @property
    def is_mainnet(self) -> bool:
        return self.network == "mainnet"


class SecretSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the signing key is. The key itself never stands in this file, nor on a command line.

    Set one of keystore, key_file and key_env. An agent (API wallet) key is enough, and safer: it cannot
    withdraw.
    """

    keystore: Annotated[
        str,
        Meta(
            description="An encrypted Ethereum keystore (JSON). Its password comes from password_file or "
            "password_env, else it is asked for on the terminal.",
            examples=["keystore.json"],
        ),
    ] = ""
    password_file: Annotated[
        str,
        Meta(
            description="A file with the keystore's password that only its owner can read (chmod 600).",
            examples=["keystore.password"],
        ),
    ] = ""
    password_env: Annotated[
        str,
        Meta(
            description="The name of the environment variable that holds the keystore's password.",
            examples=["ORDERLEDGER_KEYSTORE_PASSWORD"],
        ),
    ] = ""
    key_file: Annotated[
        str,
        Meta(
            description="A file with the key as 64 hex digits that only its owner can read (chmod 600).",
            examples=["orderledger.key"],
        ),
    ] = ""
    key_env: Annotated[
        str,
        Meta(
            description="The name of the environment variable that holds the key as 64 hex digits.",
            examples=["ORDERLEDGER_PRIVATE_KEY"],
        ),
    ] = ""


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where every event is kept, and how long finished orders stay in memory."""

    path: Annotated[
        str, Meta(min_length=1, description="The ledger. One process writes it; any number may read it.")
    ] = "ledger.db"
    views_path: Annotated[
        str,
        Meta(
            description="The read models, rebuilt from the ledger whenever needed. Left out: beside the "
            "ledger, with .views before the suffix (ledger.views.db)."
        ),
    ] = ""
    done_order_retention_s: Annotated[
        int,
        Meta(
            ge=0,
            le=30 * 86400,
            description="How long a finished order is remembered in memory; the ledger keeps it for ever.",
        ),
    ] = 60

    @property
    def effective_views_path(self) -> str:
        path = Path(self.path)
        return self.views_path or str(path.with_name(f"{path.stem}.views{path.suffix or '.db'}"))


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Recordings of what came in, so that a session can be replayed exactly. They hold no key."""

    enabled: Annotated[bool, Meta(description="Whether to record at all.")] = True
    directory: Annotated[
        str,
        Meta(
            description="Where the .session files go. Left out: sessions/ beside the ledger.",
            examples=["sessions"],
        ),
    ] = ""
    max_file_mb: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="A recording goes on in a new file beyond so many MB (of 1,000,000 bytes), and when"
            " a day (UTC) begins.",
        ),
    ] = 250
    max_total_mb: Annotated[
        int,
        Meta(
            ge=2,
            le=100_000_000,
            description="So many MB may the recordings of this ledger take together: the oldest finished"
            " files are deleted when a new one begins.",
        ),
    ] = 10_000

    def effective_directory(self, ledger: LedgerSettings) -> str:
        return self.directory or str(Path(ledger.path).with_name("sessions"))


class StrategySettings(msgspec.Struct, frozen=True, kw_only=True, rename={"class_path": "class"}):
    """What decides. Without a class the process records and publishes, and places nothing."""

    class_path: Annotated[
        str,
        Meta(
            description="The strategy, as module:Class.",
            examples=["adapters.strategies.market_making:MarketMakingSample"],
        ),
    ] = ""
    params: Annotated[
        dict[str, Any],
        Meta(
            description="What the class is made with: its keyword arguments. Numbers with a point arrive as"
            " exact decimals."
        ),
    ] = {}


class PublisherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Order events for other programs, over ZeroMQ PUB, after they are durable."""

    enabled: Annotated[bool, Meta(description="Whether to publish at all.")] = True
    bind: Annotated[
        str,
        Meta(
            description="tcp://address:port or ipc:///path. Port 0 takes a free one and reports it at start."
        ),
    ] = "tcp://127.0.0.1:5557"
    encoding: Annotated[Literal["json", "msgpack"], Meta(description="How message bodies are written.")] = (
        "json"
    )
    allow_remote: Annotated[
        bool,
        Meta(
            description="Accept a bind address that other machines can reach. There is no authentication: "
            "whoever connects sees every order."
        ),
    ] = False
    queue_size: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Messages kept for each subscriber that is behind; beyond that it loses messages, "
            "which it can notice, and the ledger is never slowed.",
        ),
    ] = 10_000
    heartbeat_s: Annotated[
        float,
        Meta(ge=0.05, le=3600, description="How often to publish the last position when nothing happens."),
    ] = 1.0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says about itself."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe level that is shown."),
    ] = "info"
    format: Annotated[
        Literal["text", "json"], Meta(description="One line of text, or one JSON object per line.")
    ] = "text"
    file: Annotated[
        str,
        Meta(
            description="Write to this file instead of standard error. It may be rotated from outside.",
            examples=["orderledger.log"],
        ),
    ] = ""


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait, how often to ask, how much of the venue's allowance to use."""

    order_expiry_s: Annotated[
        int,
        Meta(
            ge=2,
            le=300,
            description="A request that reaches the venue later than this is refused there. Once it has "
            "passed, an order whose fate is unknown can be proven absent.",
        ),
    ] = 15
    order_wait_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=300,
            description="How long an order or amend may wait here until request limits and earlier requests "
            "let it leave. After that it is never sent: the order fails (not_sent_too_late), the amend "
            "changes nothing. Where the address has used up its actions, ten seconds more: one leaves in ten "
            "seconds then. Cancels wait as long as it takes.",
        ),
    ] = 5.0
    startup_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=600,
            description="How long the venue may take at the start before the process gives up (exit code 5).",
        ),
    ] = 30.0
    not_found_limit: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="How often in a row the venue must not know an order, without a fill in between, "
            "before it is taken for cancelled.",
        ),
    ] = 3
    not_found_span_s: Annotated[
        int,
        Meta(
            ge=5,
            le=3600,
            description="For how long at least the venue must not know a live order before it is taken for "
            "cancelled: the venue's servers may lag behind each other.",
        ),
    ] = 30
    request_weight_per_minute: Annotated[
        int,
        Meta(
            ge=200,
            le=1200,
            description="Request weight this process may use. The venue allows 1200 per address on the "
            "internet: lower it when several processes share one. Below 650 a start takes minutes, "
            "below 400 a comparison too: startup_timeout_s and reconciliation.every_s must allow them.",
        ),
    ] = 1000


class ReconciliationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often the live process compares its books with the venue, and what it leaves for later.

    It does so at the start before it trades, after every reconnect, and when something does not fit. What
    differs is recorded, and repaired where the venue's own history explains it.
    """

    every_s: Annotated[
        int,
        Meta(ge=5, le=86_400, description="How often to compare orders, fills and positions."),
    ] = 60
    thorough_every_s: Annotated[
        int,
        Meta(
            ge=5,
            le=86_400,
            description="How often, at most, such a comparison asks for funding and transfers as well, and "
            "compares the cash. That weighs 40 of the request weight each time, all the rest 44.",
        ),
    ] = 60
    grace_s: Annotated[
        float,
        Meta(
            ge=0.5,
            le=300,
            description="What happened less than so long ago may still be on its way and is not judged. A "
            "position that differs without a fill to explain it is set to what the venue says only if it "
            "still differs after so long.",
        ),
    ] = 5.0
    assert_every_s: Annotated[
        int,
        Meta(
            ge=1,
            le=30 * 86_400,
            description="What the venue says a position is, is put on record when it has moved, at most so "
            "often for each market; every later check of the ledger compares its own books with that.",
        ),
    ] = 3600


class ShutdownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What happens on SIGTERM and Ctrl-C."""

    cancel_open_orders: Annotated[
        bool, Meta(description="Cancel whatever is open before leaving, and wait for the venue's answer.")
    ] = False
    timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=600, description="How long to wait for answers before leaving with what is known."),
    ] = 10.0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one live process, complete and valid. Made by
    `adapters.cli.config_reading.load_config`.
    """

    venue: VenueSettings = VenueSettings()
    secrets: SecretSettings = SecretSettings()
    ledger: LedgerSettings = LedgerSettings()
    recording: RecordingSettings = RecordingSettings()
    strategy: StrategySettings = StrategySettings()
    publisher: PublisherSettings = PublisherSettings()
    log: LogSettings = LogSettings()
    limits: LimitSettings = LimitSettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    shutdown: ShutdownSettings = ShutdownSettings()

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the effective settings without [secrets]: which settings a recording was made
        under.

        Two configs have the same one if they would run the same, however they were written down.
        """
        settings = msgspec.to_builtins(self, enc_hook=str)
        del settings["secrets"]
        venue = settings["venue"]
        for name in ("account_address", "vault_address"):
            venue[name] = venue[name].lower()
        if self.venue.network != "simulator":
            del venue["simulator_url"]
        return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.encode_name: field.type for field in msgspec.structs.fields(Config)
}
"""The sections of the file, in the order they are written."""
