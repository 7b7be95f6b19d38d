"""The documentation is run: every command and every program of the README and of `docs/`, as it stands there.

A fenced block's language says what happens to it. `sh`: run by bash, must succeed; with `background`, it goes
on running while what follows is done, from when it has said what `until` names (else: anything). `console`:
commands after `$ `, with the output to be seen, in which `...` stands for anything and lines may be broken
anywhere. `python`: run; with a file name, written there. `text` is only shown. Ports are exchanged for free
ones, and `0xYOUR_ADDRESS` for the address whose key `orderledger init` has made.
"""

import contextlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from adapters.cli.exit_codes import ExitCode
from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from adapters.zeromq.messages import EventType
from domain.enums import OrderType, Source, TradeType
from domain.events import OrderCreated
from tests.support.reference_pages import DOCS, PAGES, in_page, written

ROOT = DOCS.parent
README = ROOT / "README.md"
RUNNABLE = [README, *(DOCS / page for page in PAGES)]
EVERY_PAGE = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

PATIENCE_S = 180.0
FULL_HOUR_IS_NEAR_S = 60.0
ONCE_ONLY = tuple(f"orderledger {command}" for command in ("backfill", "backup", "seal", "reconcile --apply"))
"""What a second time leads to something else: it is not done again until it shows what the page shows."""

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_MADE_KEY = re.compile(r"the key of (0x[0-9a-fA-F]{40})")


class Block(NamedTuple):
    """One fenced block: its language, the words after that, and what stands in it."""

    language: str
    words: list[str]
    body: str


def blocks(page: Path) -> Iterator[Block]:
    for match in _FENCE.finditer(page.read_text()):
        language, *words = shlex.split(match["info"]) or [""]
        yield Block(language, words, match["body"])


class Reader:
    """Does in an empty directory what a page says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = ""
        self._background: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._ports = dict(zip(("3001", "5557"), _free_ports(2), strict=True))
        # The page's `.venv` is the environment that the tests run in.
        (directory / ".venv").symlink_to(sys.prefix)
        self.environment = {
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PATH": f"{directory / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "ORDERLEDGER__VENUE__SIMULATOR_URL": f"http://127.0.0.1:{self._ports['3001']}",
            "ORDERLEDGER__PUBLISHER__BIND": f"tcp://127.0.0.1:{self._ports['5557']}",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ends = []
        for process, output in reversed(self._background):
            process.send_signal(signal.SIGTERM)
            try:
                ends.append((process.wait(PATIENCE_S), output.read_text()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                ends.append((process.wait(), output.read_text()))
        if error is None:
            assert all(status == 0 for status, _ in ends), ends

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        body = self._adapted(block.body)
        match block.language:
            case "sh" if "background" in block.words:
                until = next((word[6:] for word in block.words if word.startswith("until=")), "\n")
                self._start(body, until)
            case "sh" if all(line.startswith("make ") for line in body.splitlines()):
                # The suite does not run itself; that the targets exist is what a page promises.
                for line in body.splitlines():
                    self._run(["make", "--dry-run", *shlex.split(line)[1:]], ROOT)
            case "sh":
                self._run(["bash", "-euo", "pipefail", "-c", body], self.directory)
            case "console":
                for command, expected in _dialogue(body):
                    self._expect(command, expected)
            case "python" if block.words:
                (self.directory / block.words[0]).write_text(body)
            case "python":
                self._run([sys.executable, "-c", body], self.directory)
            case "text":
                pass
            case other:
                pytest.fail(f"a block of {other!r} is neither run nor marked as text: {body}")

    def _adapted(self, text: str) -> str:
        text = re.sub("|".join(self._ports), lambda documented: self._ports[documented[0]], text)
        if "0xYOUR_ADDRESS" in text:
            assert self.address, "the page asks for an address before it made a key"
            text = text.replace("0xYOUR_ADDRESS", self.address)
        return text

    def _run(self, command: list[str], directory: Path) -> str:
        done = subprocess.run(
            command,
            cwd=directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}{self._said()}"
        if made := _MADE_KEY.search(done.stdout):
            self.address = made[1]
        return done.stdout

    def _expect(self, command: str, expected: str) -> None:
        """A command shows what the page shows, perhaps not at once: a live process is still at it."""
        parts = (re.escape(" ".join(part.split())) for part in expected.split("..."))
        pattern = re.compile(r"\s*" + ".*".join(parts) + r"\s*", re.DOTALL)
        gives_up_at = time.monotonic() + PATIENCE_S / 2
        asks_only = not command.startswith(ONCE_ONLY)
        while True:
            shown = self._run(["bash", "-euo", "pipefail", "-c", command], self.directory)
            if pattern.fullmatch(" ".join(shown.split())):
                return
            assert asks_only, f"{command}\n{shown}\ninstead of\n{expected}{self._said()}"
            assert time.monotonic() < gives_up_at, f"{command}\n{shown}\ninstead of\n{expected}{self._said()}"

    def _start(self, command: str, until: str) -> None:
        output = self.directory / f"background-{len(self._background)}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append((process, output))
        gives_up_at = time.monotonic() + PATIENCE_S
        while until not in output.read_text():
            assert process.poll() is None, f"{command} ended: {output.read_text()}"
            assert time.monotonic() < gives_up_at, f"{command} does not say {until!r}: {output.read_text()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)

    def _said(self) -> str:
        return "".join(f"\n--- {output.name}\n{output.read_text()}" for _, output in self._background)


def _free_ports(count: int) -> list[str]:
    """Ports that are free now, below those that other tests are given when they ask for any."""
    found: list[str] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            if str(port) not in found:
                found.append(str(port))
    return found


def _wait_while_the_full_hour_is_near() -> None:
    """The venue pays funding at the full hour, which a page that shows what did not change cannot know of."""
    to_the_hour_s = 3_600 - time.time() % 3_600
    if to_the_hour_s < FULL_HOUR_IS_NEAR_S:
        time.sleep(to_the_hour_s)


def _dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Commands, and what each is answered with."""
    for exchange in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, answer = exchange.partition("\n")
        yield command, answer.rstrip("\n") + "\n"


def _keep_a_ledger(directory: Path) -> None:
    """`ledger.db`, as a live process would have left it."""
    with OrderLedger.open(directory / "ledger.db") as ledger:
        for number in range(1, 5):
            created = OrderCreated(
                originator_id=f"order-{number}",
                originator_version=1,
                recorded_at_ns=1_700_000_000_000_000_000 + number,
                venue="hyperliquid",
                account="0x" + "ab" * 20,
                source=Source.COMMAND,
                trading_pair="BTC-USD",
                instrument="BTC",
                order_type=OrderType.LIMIT,
                trade_type=TradeType.BUY,
                amount=Decimal("0.01"),
                price=Decimal(43_000),
            )
            ledger.submit([created]).result(PATIENCE_S)


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_what_a_page_says_to_do_works(page: Path, tmp_path: Path) -> None:
    if page.stem == "zeromq":
        _keep_a_ledger(tmp_path)
    steps = list(blocks(page))
    if page.stem == "audit":
        _wait_while_the_full_hour_is_near()
    with Reader(tmp_path) as reader:
        for step in steps:
            reader.follow(step)
    assert page.stem == "events" or steps, f"{page.name} shows nothing to do"


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_has_the_tables_of_the_code(page: str) -> None:
    text = (DOCS / page).read_text()
    assert in_page(text).keys() == {table.__name__ for table in PAGES[page]}
    assert written(text, page) == text, "run `python -m tests.support.reference_pages`"


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.stem)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_no_page_escapes_the_reader() -> None:
    assert {page.name for page in DOCS.glob("*.md")} == PAGES.keys()


def test_the_readme_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitCode.OK
    commands = re.findall(r"^    ([a-z][a-z-]*)", capsys.readouterr().out, re.MULTILINE)
    table = README.read_text().partition("## Commands and exit codes")[2]
    assert commands
    assert [command for command in commands if not re.search(rf"`(orderledger )?{command}`", table)] == []


def test_the_readme_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \| ", README.read_text(), re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode if code < 128}


def test_every_published_topic_is_documented() -> None:
    documented = set(re.findall(r"`orders\.<venue>\.(\w+)`", (DOCS / "zeromq.md").read_text()))
    assert documented == set(EventType)
