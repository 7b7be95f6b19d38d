"""`orderledger session ...` and `orderledger redact` as a user types them, on good files and on bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.main import main
from replays.recording import SessionHeader
from replays.session_file import SessionReader, SessionWriter, write_session
from tests.support.core import ACCOUNT, CoreSession
from tests.support.process import LiveRun, orderledger, running_venue, wait_for
from tests.support.recordings import recording_of


@pytest.fixture
def session() -> CoreSession:
    session = CoreSession().ready()
    for number, name in enumerate(("alpha", "beta", "gamma")):
        session.open(1001 + number, client_order_id=name)
        session.advance(15)
    session.fill(1001, 7, "0.4", cloid=session.order("alpha").venue_order_key)
    session.cancel("beta")
    session.answer_cancels("success")
    return session


@pytest.fixture
def file(session: CoreSession, tmp_path: Path) -> Path:
    recording = recording_of(session)
    path = tmp_path / "night.session"
    write_session(path, recording.header, recording)
    return path


class Ran:
    """What a command left: its exit code, the JSON lines and the message."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.lines: list[Any] = [json.loads(line) for line in out.splitlines()]
        self.error = error


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


# -- info ----------------------------------------------------------------------------------------------------


def test_info_tells_the_header_and_what_the_recording_holds(
    run: Any, file: Path, session: CoreSession
) -> None:
    ran = run("session", "info", file)
    header, summary = ran.lines
    assert ran.code == 0
    assert header["header"]["account"] == ACCOUNT
    assert header["size_bytes"] == file.stat().st_size
    assert summary["ends"] == "closed"
    assert summary["inputs"] == len(session.inputs)
    assert summary["kinds"]["place_orders"] == 3
    assert summary["topics"]["order.filled"] == 1
    assert summary["first_at"] == "2023-11-14T22:13:20.000000000Z"


def test_info_of_a_header_alone_reads_no_more(run: Any, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    ran = run("session", "info", "--header", file)
    assert ran.code == 0
    assert [list(line) for line in ran.lines] == [["file", "size_bytes", "header"]]


def test_info_says_how_a_recording_ends(run: Any, file: Path) -> None:
    good = file.read_bytes()
    endings = {"open": good[:-52], "torn": good[:-60], "damaged": good[:-60] + b"\x00" + good[-59:]}
    for ends, data in endings.items():
        file.write_bytes(data)
        ran = run("session", "info", file)
        assert ran.lines[-1]["ends"] == ends
        assert ran.code == (6 if ends == "damaged" else 0)
        assert ("damaged at byte" in ran.error) == (ends == "damaged")


# -- show and grep -------------------------------------------------------------------------------------------


def test_show_prints_every_input_with_its_events(run: Any, file: Path, session: CoreSession) -> None:
    ran = run("session", "show", file)
    assert [line["sequence"] for line in ran.lines] == list(range(1, len(session.inputs) + 1))
    assert sum(len(line["events"]) for line in ran.lines) == len(session.events)
    assert {"sequence", "at", "kind", "at_ns", "events", "effects_digest"} <= ran.lines[0].keys()


def test_show_can_be_narrowed(run: Any, file: Path) -> None:
    assert [line["sequence"] for line in run("session", "show", file, "--from", 4, "--to", 6).lines] == [
        4,
        5,
        6,
    ]
    kinds = {
        line["kind"] for line in run("session", "show", file, "--kind", "place_orders,timer_fired").lines
    }
    assert kinds == {"place_orders", "timer_fired"}
    of_order = run("session", "show", file, "--orders", "beta").lines
    assert of_order[0]["kind"] == "place_orders"
    assert "cancel_orders" in [line["kind"] for line in of_order]


def test_show_of_an_order_that_is_not_there_says_so(run: Any, file: Path) -> None:
    ran = run("session", "show", file, "--orders", "alpha,nobody")
    assert ran.code == 3
    assert "no order nobody" in ran.error


@pytest.mark.parametrize(
    "arguments", [("--kind", "bogus"), ("--from", "-1"), ("--to", "x"), ("--orders", " , ")]
)
def test_show_refuses_what_it_cannot_mean(run: Any, file: Path, arguments: tuple[str, ...]) -> None:
    ran = run("session", "show", file, *arguments)
    assert ran.code == 2
    assert ran.lines == []


def test_grep_finds_raw_bytes_and_orders(run: Any, file: Path) -> None:
    ran = run("session", "grep", file, '"fills"')
    assert ran.code == 0
    assert [line["kind"] for line in ran.lines] == ["stream_frame"]
    assert [line["kind"] for line in run("session", "grep", file, "alpha").lines] == [
        "place_orders",
        "request_answered",
        "stream_frame",
    ]
    assert run("session", "grep", "-c", "-i", file, '"FILLS"').lines == [{"found": 1}]


def test_grep_that_finds_nothing_says_so_by_its_code(run: Any, file: Path) -> None:
    ran = run("session", "grep", file, "nothing like it")
    assert (ran.code, ran.lines) == (3, [])


def test_what_can_be_read_of_a_damaged_recording_is_shown_first(
    run: Any, tmp_path: Path, session: CoreSession
) -> None:
    recording = recording_of(session)
    path = tmp_path / "damaged.session"
    with SessionWriter(path, recording.header) as writer:
        for each in recording:
            writer.append(each.item, each.events, each.effects_digest)
            if each.item.sequence % 5 == 0:
                writer.flush()
    data = bytearray(path.read_bytes())
    data[-200] ^= 0x40
    path.write_bytes(data)
    ran = run("session", "show", path)
    last = ran.lines[-1]["sequence"]
    assert ran.code == 6
    assert [line["sequence"] for line in ran.lines] == list(range(1, last + 1))
    assert last % 5 == 0
    assert f"after input {last}" in ran.error
    ran = run("session", "grep", path, "alpha")
    assert ran.code == 6
    assert ran.lines[0]["kind"] == "place_orders"
    assert f"after input {last}" in ran.error


# -- diff ----------------------------------------------------------------------------------------------------


def test_diff_tells_the_first_difference_and_counts(run: Any, file: Path, tmp_path: Path) -> None:
    assert run("session", "diff", file, file).code == 0
    cut = tmp_path / "cut.session"
    assert run("session", "cut", file, "-o", cut, "--orders", "alpha").code == 0
    ran = run("session", "diff", file, cut)
    [result] = ran.lines
    assert ran.code == 1
    assert result["identical"] is False
    assert result["only_in_first"] > 0
    assert result["only_in_second"] == 0
    assert list(result["header"]) == ["derived_from"]
    assert result["first_difference"]["first"]["sequence"] == result["first_difference"]["sequence"]


# -- cut -----------------------------------------------------------------------------------------------------


def test_a_cut_recording_holds_the_chosen_orders_and_replays(run: Any, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.session"
    ran = run("session", "cut", file, "-o", out, "--orders", "alpha, 1003", "--note", "a part fill")
    [result] = ran.lines
    assert ran.code == 0
    assert result["orders"] == ["alpha", "gamma"]
    assert result["inputs"] < result["of"]
    assert (result["answers_without_request"], result["requests_without_answer"]) == (0, 0)
    header = SessionReader(out).header
    assert header.note == "a part fill"
    assert "cut to alpha, gamma" in header.derived_from
    assert run("session", "show", out, "--orders", "beta").code == 3
    assert main(["replay", str(out)]) == 0


def test_a_recording_is_cut_by_time(run: Any, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.session"
    ran = run(
        "session",
        "cut",
        file,
        "-o",
        out,
        "--from",
        "2023-11-14T22:13:25",
        "--to",
        "2023-11-14T22:13:40+00:00",
    )
    assert ran.code == 0
    assert ran.lines[0]["orders"] == ["alpha", "beta"]
    [_, summary] = run("session", "info", out).lines
    assert summary["last_at"] <= "2023-11-14T22:13:40.000000000Z"


def test_a_recording_is_cut_off_after_an_input(run: Any, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.session"
    ran = run("session", "cut", file, "-o", out, "--until", 12)
    assert ran.code == 0
    assert ran.lines[0]["inputs"] == 12
    assert list(SessionReader(out)) == list(SessionReader(file))[:12]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "Say what to keep"),
        (("--orders", "nobody"), 3, "no order nobody"),
        (("--from", "yesterday"), 2, "no time"),
        (("--from", "2024-01-02", "--to", "2024-01-01"), 2, "--to lies before --from"),
        (("--to", "2001-01-01"), 3, "nothing would be kept"),
        (("--until", "0"), 2, "not the number of an input"),
    ],
)
def test_cut_refuses_what_leaves_nothing(
    run: Any, file: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    out = tmp_path / "small.session"
    ran = run("session", "cut", file, "-o", out, *arguments)
    assert ran.code == code
    assert says in ran.error
    assert not out.exists()


@pytest.mark.parametrize("command", [("session", "cut"), ("redact",)])
def test_a_file_that_is_there_is_replaced_only_when_told(
    run: Any, file: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    how = ("--until", "9") if command == ("session", "cut") else ()
    out = tmp_path / "small.session"
    out.write_text("mine")
    ran = run(*command, file, "-o", out, *how)
    assert (ran.code, out.read_text()) == (2, "mine")
    assert "--force" in ran.error
    ran = run(*command, file, "-o", file, "--force", *how)
    assert ran.code == 2
    assert "is the recording itself" in ran.error
    assert run(*command, file, "-o", out, "--force", *how).code == 0


@pytest.mark.parametrize("command", [("session", "cut"), ("redact",)])
def test_of_a_damaged_recording_what_can_be_read_is_rewritten(
    run: Any, session: CoreSession, tmp_path: Path, command: tuple[str, ...]
) -> None:
    recording = recording_of(session)
    path, out = tmp_path / "damaged.session", tmp_path / "small.session"
    with SessionWriter(path, recording.header) as writer:
        for each in recording:
            writer.append(each.item, each.events, each.effects_digest)
            if each.item.sequence == 20:
                writer.flush()
    data = bytearray(path.read_bytes())
    data[-80] ^= 1
    path.write_bytes(data)
    how = ("--orders", "alpha") if command == ("session", "cut") else ()
    ran = run(*command, path, "-o", out, *how)
    assert ran.code == 6
    assert "after input 20" in ran.error
    kept = [each.item.sequence for each in SessionReader(out)]
    if how:
        whole, wanted = tmp_path / "whole.session", tmp_path / "wanted.session"
        write_session(whole, recording.header, recording)
        assert run(*command, whole, "-o", wanted, *how, "--until", 20).code == 0
        assert kept == [each.item.sequence for each in SessionReader(wanted)]
    else:
        assert kept == list(range(1, 21))
    assert main(["replay", str(out)]) == 0


# -- redact --------------------------------------------------------------------------------------------------


def test_a_redacted_recording_replays_and_names_nobody(run: Any, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "public.session"
    ran = run("redact", file, "-o", out, "--order-ids")
    assert ran.code == 0
    [result] = ran.lines
    assert (result["inputs"], result["amounts"], result["replay_identical"]) == (
        SessionReader(file).footer().inputs,  # type: ignore[union-attr]
        "scaled",
        True,
    )
    shown = json.dumps(run("session", "show", out).lines) + json.dumps(run("session", "info", out).lines)
    for original in (ACCOUNT, ACCOUNT[2:], "alpha", "e2" * 32):
        assert original not in shown
    assert main(["replay", str(out)]) == 0


def test_amounts_are_scaled_as_asked_or_kept(run: Any, file: Path, tmp_path: Path) -> None:
    scaled, kept = tmp_path / "scaled.session", tmp_path / "kept.session"
    assert run("redact", file, "-o", scaled, "--scale", "0.5").code == 0
    assert run("redact", file, "-o", kept, "--keep-amounts").code == 0

    def amounts(path: Path) -> set[str]:
        lines = run("session", "show", path, "--kind", "place_orders").lines
        return {line["orders"][0]["amount"] for line in lines}

    assert amounts(kept) == amounts(file) == {"1.00000"}
    assert amounts(scaled) == {"0.500000"}


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf", "1e99", "much"])
def test_a_factor_that_cannot_be_is_refused(run: Any, file: Path, tmp_path: Path, factor: str) -> None:
    ran = run("redact", file, "-o", tmp_path / "x.session", f"--scale={factor}")
    assert ran.code == 2
    assert "from 0.000001 to 1000000" in ran.error


# -- files that are none -------------------------------------------------------------------------------------

_EVERY_COMMAND = [
    ("session", "info"),
    ("session", "show"),
    ("session", "grep", "TEXT"),
    ("session", "diff", "FILE"),
    ("session", "cut", "--until", "3", "-o", "OUT"),
    ("redact", "-o", "OUT"),
]


@pytest.mark.parametrize("command", _EVERY_COMMAND, ids=lambda command: " ".join(command[:2]))
@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, 3, "There is no recording"),
        (b"", 3, "the file is empty"),
        (b"\x89PNG\r\n" + bytes(60), 6, "no recording of Order Ledger"),
        (b"OLSESS\x09\x00" + bytes(60), 6, "format 9"),
        (b"OLSESS\x01\x00\x20\x00", 6, "ends within its header"),
    ],
    ids=["missing", "empty", "foreign", "newer", "torn header"],
)
def test_a_file_that_is_no_recording_ends_every_command_with_a_message(
    run: Any,
    file: Path,
    tmp_path: Path,
    command: tuple[str, ...],
    content: bytes | None,
    code: int,
    says: str,
) -> None:
    bad = tmp_path / "bad.session"
    if content is not None:
        bad.write_bytes(content)
    named = {"OUT": str(tmp_path / "out.session"), "FILE": str(file)}
    words = [named.get(word, word) for word in command]
    words.insert(len(words) if words[0] == "redact" else 2, str(bad))
    ran = run(*words)
    assert ran.code == code
    assert says in ran.error
    assert "Traceback" not in ran.error
    assert not (tmp_path / "out.session").exists()


def test_parts_of_different_sessions_are_refused_together(run: Any, file: Path, tmp_path: Path) -> None:
    other = CoreSession(session_id=0xBEEF).ready()
    recording = recording_of(other)
    path = tmp_path / "other.session"
    write_session(path, recording.header, recording)
    ran = run("session", "show", file, path)
    assert ran.code == 2
    assert "name the parts of one session only" in ran.error


def test_a_recording_of_a_venue_nobody_knows_can_be_shown_but_not_rewritten(
    run: Any, file: Path, tmp_path: Path
) -> None:
    header: SessionHeader = SessionReader(file).header
    path = tmp_path / "elsewhere.session"
    members = {name: getattr(header, name) for name in header.__struct_fields__} | {"venue": "elsewhere"}
    write_session(path, SessionHeader(**members), SessionReader(file))
    assert run("session", "show", path, "--to", 2).code == 0
    ran = run("redact", path, "-o", tmp_path / "x.session")
    assert ran.code == 2
    assert "'elsewhere'" in ran.error


# -- the real thing ------------------------------------------------------------------------------------------


def test_a_run_is_recorded_beside_its_ledger_and_can_be_turned_off(tmp_path: Path) -> None:
    with running_venue(seed=9) as venue:
        run = LiveRun(tmp_path, venue)
        with run:
            wait_for("an order", lambda: "order.acknowledged" in run.output())
            assert run.stop() == 0
        [path] = (tmp_path / "sessions").iterdir()
        assert path.suffix == ".session"
        done = orderledger("session", "info", str(path))
        summary = json.loads(done.stdout.splitlines()[-1])
        assert summary["ends"] == "closed"
        assert summary["kinds"]["started"] == 1
        assert summary["topics"]["order.created"] > 0
        off = tmp_path / "off"
        off.mkdir()
        silent = LiveRun(off, venue, strategy="", settings="[recording]\nenabled = false")
        with silent:
            silent.stop()
        assert not (off / "sessions").exists()
