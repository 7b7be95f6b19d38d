"""Fixtures of the projections' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from domain.events import LedgerEvent
from projections import Views, catch_up
from tests.unit.projections.logs import MemoryLog

OpenViews = Callable[..., Views]


@pytest.fixture
def views_of(tmp_path: Path) -> Iterator[OpenViews]:
    """Views of a log, brought up to date: `views_of(events)`, open for questions."""
    with ExitStack() as opened:

        def open_views(events: Sequence[LedgerEvent], unreadable: set[int] = frozenset()) -> Views:  # type: ignore[assignment]
            log = MemoryLog(events)
            log.unreadable = set(unreadable)
            path = tmp_path / "ledger.views.db"
            catch_up(log, path)
            return opened.enter_context(Views(path))

        yield open_views
