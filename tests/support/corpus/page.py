"""The page beside the recordings that lists them: written from the scenarios, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.corpus.world import Scenario

__all__ = ["page"]

_TEXT = """\
# The recorded corpus

What goes wrong in the field, as it reaches the connector. Each file holds the inputs of a real run against
the simulator, made to misbehave in one way, and what the connector did: every event and every request.
`make test` replays all of them; `pytest replays/sessions` replays only them.

A change of behaviour shows here first. When it is meant:

- `pytest replays/sessions --sessions-update` writes what comes of the same inputs now, and says what changed;
- `python -m tests.support.corpus [NAME ...]` makes recordings anew, which it takes when the connector cannot
  go on without asking the venue for something new: an old recording has no answer to a new question.

Either way `tests/unit/replays/test_corpus.py` holds, in words of its own, what each of them must show.

`format-<version>.session` is of the version of the file format in its name. There is one for each version
that was released; older ones are brought forward while they are read and are never rewritten.

| Recording | What it holds |
|---|---|
"""


def page(scenarios: Mapping[str, Scenario]) -> str:
    """The text of `replays/sessions/README.md`."""
    rows = (f"| `{name}.session` | {scenario.holds} |\n" for name, scenario in scenarios.items())
    return _TEXT + "".join(rows)
