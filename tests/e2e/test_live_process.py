"""`orderledger run` and `orderledger demo` as a user meets them: started, read, stopped, started wrong."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

from adapters.simulator.command import development_account
from projections import Views
from tests.support.process import LiveRun, Venue, orderledger, running_venue, wait_for


def test_the_demo_ends_with_equal_books_and_says_what_it_survived(tmp_path: Path) -> None:
    done = orderledger("demo", "--json", "--seconds", "5", "--seed", "7", "--dir", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert report["replay_identical"] is True
    assert report["inputs_replayed"] >= report["inputs"]
    assert report["unknown_outcomes_resolved"] >= 1
    assert report["reconnects"] >= 1
    assert report["duplicates_ignored"] >= 1
    assert report["orders"] >= 3
    assert report["fills"] >= 2
    assert report["events"] > report["orders"]
    assert all(incident["survived"] for incident in report["incidents"])
    with Views(Path(report["views"])) as views:
        assert len(views.orders()) == report["orders"]
        assert len(views.fills()) == report["fills"]
    with sqlite3.connect(report["ledger"]) as ledger:
        assert ledger.execute("SELECT MAX(position) FROM stored_events").fetchone()[0] == report["events"]
    history = orderledger("history", "answer-lost-7", "--ledger", report["ledger"])
    assert history.returncode == 0
    assert "unknown" in history.stdout


def test_a_demo_does_not_mix_with_what_is_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = orderledger("demo", "--dir", str(tmp_path))
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_the_live_process_is_read_while_it_trades_and_stops_cleanly(tmp_path: Path) -> None:
    with running_venue(seed=11) as venue:
        run = LiveRun(tmp_path, venue)
        with run:
            wait_for("orders in the views", lambda: run.views.exists() and _orders(tmp_path) > 0)
            for command in ("orders", "open-orders", "positions", "fills"):
                shown = orderledger(command, "--json", cwd=tmp_path)
                assert shown.returncode == 0, shown.stderr
                json.loads(shown.stdout)
            assert run.stop() == 0, run.output()
        assert venue.info(type="openOrders", user=venue.account) == []
    log = run.log.read_text()
    assert venue.key.removeprefix("0x") not in log
    assert "Traceback" not in log


def _orders(folder: Path) -> int:
    return len(json.loads(orderledger("orders", "--json", cwd=folder).stdout or "[]"))


def test_a_second_process_on_the_same_ledger_is_told_who_has_it(tmp_path: Path) -> None:
    with running_venue(seed=12) as venue:
        run = LiveRun(tmp_path, venue)
        with run:
            second = LiveRun(tmp_path, venue)
            second.log = tmp_path / "second.log"
            second.spawn()
            assert second.wait() == 4
            assert str(run.process.pid) in second.output()
            assert run.is_running


def test_an_agent_address_given_as_the_account_is_explained(tmp_path: Path) -> None:
    agent = "0x" + "ab" * 20
    with running_venue(seed=13) as venue:
        venue.control(op="approve_agent", master=venue.account, agent=agent, name="bot")
        run = LiveRun(tmp_path, venue, strategy="")
        config = tmp_path / "orderledger.toml"
        config.write_text(config.read_text().replace(venue.account, agent))
        run.spawn()
        assert run.wait() == 4
        assert venue.account in run.output()
        assert "agent" in run.output()


def test_a_market_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with running_venue(seed=14) as venue:
        run = LiveRun(tmp_path, venue, strategy="")
        config = tmp_path / "orderledger.toml"
        config.write_text(
            config.read_text().replace("[secrets]", 'trading_pairs = ["BTC-USDD"]\n[secrets]', 1)
        )
        run.spawn()
        assert run.wait() == 4
        assert "BTC-USDD" in run.output()
        assert "BTC-USD" in run.output()


def test_a_key_that_may_not_sign_stops_before_trading(tmp_path: Path) -> None:
    with running_venue(seed=15) as venue:
        run = LiveRun(tmp_path, venue)
        venue.key = "0x" + "11" * 32
        run.spawn()
        assert run.wait() == 4
        assert "no approved agent" in run.output()


def test_the_books_of_a_killed_process_are_read_without_it(tmp_path: Path) -> None:
    with running_venue(seed=16) as venue:
        run = LiveRun(tmp_path, venue)
        with run:
            wait_for("an order", lambda: run.has_logged("order.acknowledged"))
            run.kill()
        shown = orderledger("orders", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert len(json.loads(shown.stdout)) >= 1


def test_a_keystore_signs_as_well(tmp_path: Path) -> None:
    from eth_account import Account

    with running_venue(seed=17) as venue:
        run = LiveRun(tmp_path, venue)
        (tmp_path / "keystore.json").write_text(json.dumps(Account.encrypt(venue.key, "correct horse")))
        password = tmp_path / "password"
        password.write_text("correct horse\n")
        password.chmod(stat.S_IRUSR | stat.S_IWUSR)
        config = tmp_path / "orderledger.toml"
        config.write_text(
            config.read_text().replace(
                'key_env = "TEST_KEY"', 'keystore = "keystore.json"\npassword_file = "password"'
            )
        )
        with run:
            wait_for("an order", lambda: run.has_logged("order.acknowledged"))
            assert run.stop() == 0
        assert "correct horse" not in run.log.read_text()


def test_logs_can_be_json_lines_with_position_and_order(tmp_path: Path) -> None:
    with running_venue(seed=18) as venue:
        run = LiveRun(tmp_path, venue, settings='[log]\nformat = "json"')
        with run:
            wait_for("an order", lambda: run.has_logged("order.acknowledged"))
            assert run.stop() == 0
        lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    created = [line for line in lines if line.get("message") == "order.created"]
    assert created
    assert {"position", "client_order_id"} <= created[0].keys()


def test_mainnet_needs_the_word_live(tmp_path: Path) -> None:
    (tmp_path / "orderledger.toml").write_text(
        f'[venue]\nnetwork = "mainnet"\naccount_address = "0x{"1" * 40}"\n[secrets]\nkey_env = "NO_KEY"\n'
    )
    done = orderledger("run", cwd=tmp_path)
    assert done.returncode == 4
    assert "--live" in done.stderr


def test_a_venue_that_is_not_there_is_reported_as_unreachable(tmp_path: Path) -> None:
    funded = development_account(19)
    account = {"address": funded.address, "private_key": funded.private_key}
    # Bound and not listening: it refuses, and no venue of another test is given it.
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        run = LiveRun(tmp_path, Venue({"http": url, "accounts": [account]}), strategy="")
        config = tmp_path / "orderledger.toml"
        config.write_text(config.read_text().replace("[limits]", "[limits]\nstartup_timeout_s = 2"))
        run.spawn()
        assert run.wait() == 5
    assert url in run.output()


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("orderledger")
    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=180
    )
    assert done.returncode == 0
    assert done.stdout.startswith("orderledger ")
