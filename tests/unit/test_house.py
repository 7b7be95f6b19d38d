"""The house itself: what is pinned, what is shipped, and that nothing in it belongs to one machine."""

import hashlib
import os
import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("domain", "adapters", "projections", "replays")
FOLDERS = {*PACKAGES, "tests", "docs"}

_APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
_PIN = re.compile(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.!+]*(; [^;]+)?")
_HOME = re.compile(r"(?<![\w./:}])/(?:root|home|Users|work|mnt)/\w|file:" + "//")


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def _pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pinned}


def _direct() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for texts in (PROJECT["dependencies"], *extras) for text in texts]


def test_constraints_are_pins_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#") and not _PIN.fullmatch(line)] == []


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    pins = _pins()
    for requirement in _direct():
        pin = pins[canonicalize_name(requirement.name)]
        (version,) = (specifier.version for specifier in pin.specifier)
        assert requirement.specifier.contains(version), (str(requirement), version)


def test_every_indirect_dependency_is_pinned() -> None:
    pins, looked_at = _pins(), set()
    waiting = [(requirement.name, requirement.extras) for requirement in _direct()]
    unpinned = set()
    while waiting:
        name, extras = waiting.pop()
        if (canonicalize_name(name), frozenset(extras)) in looked_at:
            continue
        looked_at.add((canonicalize_name(name), frozenset(extras)))
        if canonicalize_name(name) not in pins:
            unpinned.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        for requirement in needed:
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                waiting.append((requirement.name, requirement.extras))
    assert len(looked_at) > len(_direct())
    # sqlite-utils asks for pip, which is what installs the rest: whichever there is.
    assert unpinned - {"pip"} == set()


def test_the_version_heads_the_changelog() -> None:
    released = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == PROJECT["version"]


def test_the_licence_is_the_whole_of_apache_2() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == _APACHE_2_SHA256


def test_the_top_level_folders_are_those_of_the_architecture() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in _tracked() if path.parent != ROOT}
    assert {folder for folder in folders if not folder.startswith(".")} == FOLDERS


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    unmarked = [
        folder
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}
        if not (folder / "__init__.py").is_file()
    ]
    assert unmarked == []


def test_no_tracked_file_names_a_place_on_one_machine() -> None:
    found = []
    for path in _tracked():
        if path == Path(__file__):
            continue
        lines = path.read_text(errors="replace").splitlines()
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, 1)
            if _HOME.search(line)
        ]
    assert found == []


def test_everything_has_a_target() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "check", "bench", "soak", "clean"} <= set(targets)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
