"""What a command writes: refused before the work if it cannot be written, there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.outputs import check_output, refuse_device, replaced


def _refusal(output: Path, **options: object) -> str:
    with pytest.raises(CommandError) as refused:
        check_output(output, **options)  # type: ignore[arg-type]
    assert refused.value.exit_code is ExitCode.USAGE
    return str(refused.value)


def test_what_can_be_written_is_let_pass_and_nothing_is_left_behind(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("from yesterday")
    check_output(tmp_path / "new")
    check_output(there)
    check_output(there, in_place=True)
    check_output(tmp_path / "a" / "b" / "c", makes_folders=True)
    assert list(tmp_path.iterdir()) == [there]
    assert there.read_text() == "from yesterday"


def test_each_reason_why_a_file_cannot_be_written_is_told(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("")
    assert "is a directory: name a file in it" in _refusal(tmp_path)
    assert "there is there already; --force replaces it" in _refusal(there, if_there="--force replaces it")
    assert f"no directory {tmp_path / 'no'} to write out into" in _refusal(tmp_path / "no" / "out")
    assert f"{there} is no directory" in _refusal(there / "out")
    assert f"{there} is no directory" in _refusal(there / "a" / "out", makes_folders=True)
    assert "Cannot write" in _refusal(tmp_path / ("long" * 100))


def test_a_link_to_nowhere_is_something_that_is_there(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert "is there already" in _refusal(link, if_there="name another file")


def test_a_pipe_is_written_to_and_never_waited_for_nor_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output(pipe)
    with pytest.raises(CommandError, match="is no file"):
        refuse_device(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replaced(pipe) as stream:
        stream.write(b"rows")
    assert os.read(reader, 10) == b"rows"
    os.close(reader)
    assert pipe.is_fifo()


def test_half_a_file_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("whole")
    with contextlib.suppress(ZeroDivisionError), replaced(output) as stream:
        stream.write(b"hal")
        raise ZeroDivisionError
    assert output.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [output]


def test_a_disk_that_is_full_is_told_from_a_wrong_name() -> None:
    with pytest.raises(CommandError, match="No space left") as full, replaced(Path("/dev/full")) as stream:
        stream.write(b"rows")
    assert full.value.exit_code is ExitCode.CHECK_FAILED
