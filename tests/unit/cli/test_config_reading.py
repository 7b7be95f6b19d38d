"""Reading a config: what it comes to, and what is said when it is wrong."""

from __future__ import annotations

import string
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.config import SECTIONS, Config
from adapters.cli.config_reading import (
    ConfigError,
    configured_ledger_path,
    load_config,
    require_live,
)
from adapters.cli.exit_codes import ExitCode
from projections import views_path_for

KEY = "0123456789012345678901234567890123456789012345678901234567890123"
CHECKSUMMED = "0x14791697260E4c9A71f18484C9f997B308e59325"


def _load(tmp_path: Path, text: str, **environment: str) -> Config:
    file = tmp_path / "orderledger.toml"
    file.write_text(text)
    return load_config(file, environment)


def _mistakes(tmp_path: Path, text: str, **environment: str) -> dict[str, str]:
    """What is wrong, by path."""
    with pytest.raises(ConfigError) as raised:
        _load(tmp_path, text, **environment)
    assert raised.value.exit_code is ExitCode.CONFIG
    found: dict[str, str] = {}
    for mistake in raised.value.mistakes:
        assert str(mistake) in str(raised.value)
        found[mistake.path] = str(mistake)
    return found


# -- what it comes to ----------------------------------------------------------------------------------------


def test_an_empty_file_means_the_simulator_and_every_default(tmp_path: Path) -> None:
    config = _load(tmp_path, "")
    assert config.venue.network == "simulator"
    assert (config.publisher.bind, config.publisher.encoding) == ("tcp://127.0.0.1:5557", "json")
    assert not config.shutdown.cancel_open_orders


def test_the_file_sets_what_it_names(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        f"""
        [venue]
        network = "testnet"
        account_address = "{CHECKSUMMED}"
        trading_pairs = ["BTC-USD", "kPEPE-USD", "xyz:TSLA-USD"]
        [strategy]
        class = "my_bots.grid:Grid"
        [strategy.params]
        spread_bps = 12.50
        levels = 3
        names = ["a", "b"]
        [publisher]
        heartbeat_s = 0.25
        [shutdown]
        cancel_open_orders = true
        timeout_s = 5
        """,
    )
    assert config.venue.trading_pairs == ("BTC-USD", "kPEPE-USD", "xyz:TSLA-USD")
    assert config.strategy.class_path == "my_bots.grid:Grid"
    assert config.strategy.params == {"spread_bps": Decimal("12.50"), "levels": 3, "names": ["a", "b"]}
    assert (config.publisher.heartbeat_s, config.shutdown.timeout_s) == (0.25, 5.0)
    assert config.shutdown.cancel_open_orders


def test_files_are_meant_from_where_the_config_is(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        """
        secrets.key_file = "key"
        ledger.path = "data/my.ledger"
        log.file = "/var/log/orderledger.log"
        """,
    )
    assert config.secrets.key_file == str(tmp_path / "key")
    assert config.ledger.path == str(tmp_path / "data/my.ledger")
    assert config.log.file == "/var/log/orderledger.log"


@pytest.mark.parametrize("ledger", ["ledger.db", "my.ledger", "noending", "a.b.db"])
def test_views_are_where_the_projections_look_for_them(tmp_path: Path, ledger: str) -> None:
    config = _load(tmp_path, f'ledger.path = "{ledger}"')
    assert config.ledger.views_path == str(views_path_for(tmp_path / ledger))


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        """
        venue.network = "mainnet"
        strategy.class = "a:B"
        strategy.params = { size = 1, side = "buy" }
        """,
        ORDERLEDGER__VENUE__NETWORK="testnet",
        ORDERLEDGER__VENUE__ACCOUNT_ADDRESS=CHECKSUMMED.lower(),
        ORDERLEDGER__VENUE__TRADING_PAIRS="BTC-USD, ETH-USD",
        ORDERLEDGER__SHUTDOWN__CANCEL_OPEN_ORDERS="true",
        ORDERLEDGER__LIMITS__ORDER_EXPIRY_S="30",
        ORDERLEDGER__SHUTDOWN__TIMEOUT_S="2.5",
        ORDERLEDGER__STRATEGY__PARAMS__SIZE="0.5",
        ORDERLEDGER__STRATEGY__PARAMS__MODE="fast and loose",
        OTHER__VENUE__NETWORK="ignored",
    )
    assert config.venue.network == "testnet"
    assert config.venue.trading_pairs == ("BTC-USD", "ETH-USD")
    assert config.shutdown.cancel_open_orders
    assert (config.limits.order_expiry_s, config.shutdown.timeout_s) == (30, 2.5)
    assert config.strategy.params == {"size": Decimal("0.5"), "side": "buy", "mode": "fast and loose"}


# -- what is wrong -------------------------------------------------------------------------------------------


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    mistakes = _mistakes(
        tmp_path,
        """
        [venue]
        network = "tesnet"
        account_address = "0x123"
        trading_pairs = ["BTCUSD"]
        [limits]
        order_expiry_s = "15"
        [publisher]
        bind = "tcp://0.0.0.0:5557"
        heartbeat_s = nan
        [shutdwn]
        timeout_s = 5
        """,
        ORDERLEDGER__LOG__LEVEL="loud",
    )
    assert set(mistakes) == {
        "venue.network",
        "venue.account_address",
        "venue.trading_pairs",
        "limits.order_expiry_s",
        "publisher.bind",
        "publisher.heartbeat_s",
        "shutdwn",
        "ORDERLEDGER__LOG__LEVEL",
    }


def test_a_mistake_says_where_what_was_found_what_is_allowed_and_what_was_meant(tmp_path: Path) -> None:
    mistakes = _mistakes(tmp_path, 'venue.network = "tesnet"')
    assert mistakes == {
        "venue.network": 'venue.network: found "tesnet"; allowed: mainnet, simulator, testnet. '
        'Did you mean "testnet"?'
    }


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("venue.trading_pair = ['BTC-USD']", "venue.trading_pair", 'Did you mean "trading_pairs"?'),
        ("venue.level = 'info'", "venue.level", "It belongs into [log]."),
        ("[lgo]\nlevel = 'info'", "lgo", 'Did you mean "log"?'),
        ("network = 'testnet'", "network", "it under [venue]"),
        ("venue = 3", "venue", "a table, written [venue]"),
        ("strategy.params = 3", "strategy.params", "a table"),
        ("publisher.enabled = 'yes'", "publisher.enabled", "true or false"),
        ("limits.not_found_limit = 2.5", "limits.not_found_limit", "a whole number from 1 to 100"),
        ("limits.not_found_limit = true", "limits.not_found_limit", "a whole number from 1 to 100"),
        ("limits.not_found_limit = 0", "limits.not_found_limit", "a whole number from 1 to 100"),
        ("limits.not_found_span_s = 4", "limits.not_found_span_s", "a whole number from 5 to 3600"),
        ("shutdown.timeout_s = inf", "shutdown.timeout_s", "a number from 0.1 to 600"),
        ("limits.request_weight_per_minute = 400", "limits.request_weight_per_minute", "at least 643"),
        (
            "limits.request_weight_per_minute = 400",
            "limits.request_weight_per_minute",
            "startup_timeout_s to 120",
        ),
        (
            "limits = { request_weight_per_minute = 199 }",
            "limits.request_weight_per_minute",
            "from 200 to 1200",
        ),
        ("limits.order_wait_s = 0", "limits.order_wait_s", "a number from 0.1 to 300"),
        ("ledger.path = ''", "ledger.path", "a text that is not empty"),
        ("venue.trading_pairs = 'BTC-USD'", "venue.trading_pairs", "a list of texts"),
        ("venue.trading_pairs = []", "venue.trading_pairs", "at least one market"),
        ("venue.trading_pairs = ['A-USD', 'A-USD']", "venue.trading_pairs", "each market once"),
        ("ledger.views_path = 'ledger.db'", "ledger.views_path", "a file of its own"),
        ("strategy.class = 'my_bots.Grid'", "strategy.class", "module:Class"),
        ("strategy.params = { a = 1 }", "strategy.params", "only with strategy.class"),
        ("secrets = { key_file = 'a', key_env = 'B' }", "secrets", "one signing key"),
        ("secrets.password_file = 'a'", "secrets.password_file", "only with secrets.keystore"),
        ("secrets.key_env = 'not a name'", "secrets.key_env", "name of an environment variable"),
        ("venue.simulator_url = 'http://10.0.0.1:3001'", "venue.simulator_url", "on this machine"),
        ("venue.simulator_url = 'https://api.hyperliquid.xyz'", "venue.simulator_url", "on this machine"),
    ],
)
def test_each_mistake_is_explained(tmp_path: Path, text: str, path: str, hint: str) -> None:
    mistakes = _mistakes(tmp_path, text)
    assert list(mistakes) == [path]
    assert hint in mistakes[path]


def test_a_low_weight_goes_with_a_start_that_may_take_its_time(tmp_path: Path) -> None:
    limits = "limits = { request_weight_per_minute = 260, startup_timeout_s = 240 }"
    assert _load(tmp_path, f"{limits}\nreconciliation.every_s = 121").limits.request_weight_per_minute == 260


def test_each_further_dex_takes_its_weight_at_the_start(tmp_path: Path) -> None:
    pairs = ["BTC-USD", *(f"d{n}:GOLD-USD" for n in range(8))]
    mistakes = _mistakes(tmp_path, f"venue.trading_pairs = {pairs}")
    assert list(mistakes) == ["limits.request_weight_per_minute"]
    assert "found 1000" in mistakes["limits.request_weight_per_minute"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("limits.request_weight_per_minute = 200\nreconciliation.every_s = 30", "at least 181"),
        (
            "limits.request_weight_per_minute = 200\nvenue.trading_pairs = ['BTC-USD', 'xyz:GOLD-USD']",
            "at least 181",
        ),
        ("limits.request_weight_per_minute = 1000\nreconciliation.every_s = 7", None),
    ],
)
def test_comparisons_that_do_not_fit_into_the_request_weight_are_a_mistake(
    tmp_path: Path, text: str, hint: str | None
) -> None:
    if hint is None:
        _load(tmp_path, text)
        return
    mistakes = _mistakes(tmp_path, text)
    assert hint in mistakes["reconciliation.every_s"]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("ORDERLEDGER__VENU__NETWORK", 'Did you mean "venue"?'),
        ("ORDERLEDGER__VENUE__NETWROK", 'Did you mean "network"?'),
        ("ORDERLEDGER__VENUE", "a key that does not exist"),
        ("ORDERLEDGER__VENUE__NETWORK__X", "ORDERLEDGER__VENUE__NETWORK"),
        ("ORDERLEDGER__STRATEGY__PARAMS", "ORDERLEDGER__STRATEGY__PARAMS__NAME"),
    ],
)
def test_a_variable_that_names_no_setting_is_a_mistake(tmp_path: Path, variable: str, hint: str) -> None:
    assert hint in _mistakes(tmp_path, "", **{variable: "1"})[variable]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("", "the address of your main account"),
        ("0x123", "0x and 40 hex digits"),
        (CHECKSUMMED[2:], "0x and 40 hex digits"),
        (CHECKSUMMED.replace("E4c9", "E4C9"), "upper and lower case agree"),
        ("0x" + "0" * 40, "your own in place of the example"),
    ],
)
def test_the_account_must_be_an_address(tmp_path: Path, address: str, allowed: str) -> None:
    text = f'venue = {{ network = "testnet", account_address = "{address}" }}'
    assert allowed in _mistakes(tmp_path, text)["venue.account_address"]


@pytest.mark.parametrize("address", [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper()])
def test_an_address_may_be_written_in_one_case_or_checksummed(tmp_path: Path, address: str) -> None:
    text = f'venue = {{ network = "testnet", account_address = "{address}" }}'
    assert _load(tmp_path, text).venue.account_address == address


def test_the_vault_is_not_the_account(tmp_path: Path) -> None:
    text = f'venue = {{ account_address = "{CHECKSUMMED}", vault_address = "{CHECKSUMMED.lower()}" }}'
    assert "leave it out" in _mistakes(tmp_path, text)["venue.vault_address"]


def test_going_to_testnet_is_a_change_of_one_line(tmp_path: Path) -> None:
    text = f'venue.network = "{{}}"\nvenue.account_address = "{CHECKSUMMED}"\nsecrets.key_file = "k"'
    for network in ("simulator", "testnet", "mainnet"):
        assert _load(tmp_path, text.format(network)).venue.network == network


# -- secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"secrets.private_key = '{KEY}'",
        f"secrets.key_file = '0x{KEY}'",
        f"secrets.key_env = '{KEY}'",
        f"secrets.key_env = 0x{KEY}",
        f"venue.account_address = '0x{KEY}'",
        f"venue.network = '{KEY}'",
        f"venue.trading_pairs = ['0x{KEY}']",
        f"private_key = '{KEY}'",
        f"[strategy]\nclass = 'a:B'\n[strategy.params]\nnested = {{ deep = ['x', '{KEY}'] }}",
        f"[unknown]\nanything = '{KEY}'",
        f"log.level = '{KEY} # my key'",
    ],
)
def test_a_key_in_the_file_is_a_mistake_and_is_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="looks like a private key") as raised:
        _load(tmp_path, text)
    assert KEY[:12] not in str(raised.value)
    assert KEY[:12] not in repr(raised.value.mistakes)


def test_a_key_in_an_override_is_a_mistake_and_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="looks like a private key") as raised:
        _load(tmp_path, "", ORDERLEDGER__SECRETS__KEY_FILE=KEY)
    assert KEY[:12] not in str(raised.value)


def test_a_password_in_the_file_is_a_mistake_and_is_not_shown(tmp_path: Path) -> None:
    mistakes = _mistakes(tmp_path, "secrets.password = 'correct horse'\nsecrets.key_file = 3")
    assert "no secret in a config" in mistakes["secrets.password"]
    assert "correct horse" not in "".join(mistakes.values())


# -- the file itself -----------------------------------------------------------------------------------------


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="orderledger init"):
        load_config(tmp_path / "none.toml", {})


def test_a_directory_is_not_a_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path, {})


def test_broken_toml_says_where(tmp_path: Path) -> None:
    assert "line 2" in _mistakes(tmp_path, "[venue]\nnetwork = testnet\n")["file"]


def test_a_file_that_is_not_text_says_where(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"[venue]\xff")
    with pytest.raises(ConfigError, match="UTF-8 at offset 7"):
        load_config(file, {})


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(SECTIONS)),
    st.text(string.ascii_lowercase + "_", min_size=1, max_size=12),
    st.one_of(
        st.text(max_size=20),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.lists(st.text(max_size=5), max_size=3),
    ),
)
def test_no_value_of_an_override_ends_in_anything_but_a_config_or_its_mistakes(
    tmp_path_factory: pytest.TempPathFactory, section: str, key: str, value: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "empty.toml"
    file.write_text("")
    keys = [key, *SECTIONS[section].__struct_encode_fields__]
    for each in keys:
        with suppress(ConfigError):
            load_config(file, {f"ORDERLEDGER__{section.upper()}__{each.upper()}": str(value)})


# -- mainnet, fingerprint, ledger path -----------------------------------------------------------------------


def test_mainnet_takes_an_explicit_live(tmp_path: Path) -> None:
    config = _load(tmp_path, f'venue = {{ network = "mainnet", account_address = "{CHECKSUMMED}" }}')
    with pytest.raises(ConfigError, match="--live"):
        require_live(config, live=False)
    require_live(config, live=True)
    require_live(_load(tmp_path, ""), live=False)


def test_the_fingerprint_is_of_what_the_settings_come_to(tmp_path: Path) -> None:
    plain = _load(tmp_path, "").fingerprint
    assert len(plain) == 64
    assert _load(tmp_path, "[limits]\norder_expiry_s = 15").fingerprint == plain
    assert _load(tmp_path, "", ORDERLEDGER__LIMITS__ORDER_EXPIRY_S="16").fingerprint != plain
    upper = f'venue.account_address = "0x{CHECKSUMMED[2:].upper()}"'
    assert _load(tmp_path, upper).fingerprint == _load(tmp_path, upper.lower()).fingerprint != plain


def test_the_fingerprint_does_not_depend_on_secrets(tmp_path: Path) -> None:
    assert (
        _load(tmp_path, "secrets.key_env = 'A'").fingerprint
        == _load(tmp_path, "secrets.key_file = 'b'").fingerprint
    )


def test_reading_commands_find_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert configured_ledger_path(None, {}) == Path("ledger.db")
    (tmp_path / "orderledger.toml").write_text("ledger.path = 'data/mine.db'\nvenue.network = 3")
    assert configured_ledger_path(None, {}) == Path("data/mine.db")
    assert configured_ledger_path(None, {"ORDERLEDGER__LEDGER__PATH": "/else/l.db"}) == Path("/else/l.db")
    elsewhere = tmp_path / "there"
    elsewhere.mkdir()
    (elsewhere / "c.toml").write_text("")
    assert configured_ledger_path(elsewhere / "c.toml", {}) == elsewhere / "ledger.db"
    with pytest.raises(ConfigError, match="orderledger init"):
        configured_ledger_path("none.toml", {})


def test_reading_and_running_find_the_same_ledger_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "c.toml"
    file.write_text('ledger.path = "~/mine.db"')
    assert load_config(file, {}).ledger.path == str(tmp_path / "home" / "mine.db")
    assert configured_ledger_path(file, {}) == tmp_path / "home" / "mine.db"


def test_the_home_folder_of_nobody_is_a_name_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('ledger.path = "~nobody-has-this-name/mine.db"')
    assert load_config(file, {}).ledger.path == str(tmp_path / "~nobody-has-this-name" / "mine.db")
