"""Making the views fit a ledger: open what fits, build anew beside what does not, and swap it in at once.

A build goes into a file of its own, which nobody reads, and replaces the old views in one transaction.
Whoever builds without being the one who keeps the views (a rebuild while the ledger is live) offers the
result; the keeper brings it up to date and takes it over between two batches.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from projections.errors import (
    DamagedViewsError,
    OtherLedgerError,
    ViewsBusyError,
    ViewsError,
    ViewsMissingError,
    ViewsUnavailableError,
)
from projections.event_source import EventSource
from projections.follower import LIVE_BATCH, LOAD_BATCH, Follower
from projections.shared_building import Helpers, NotSharedError, build_shared
from projections.tables import SCHEMA_VERSION
from projections.views_file import (
    EVENT_VOCABULARY,
    Progress,
    ViewsFile,
    connect_for_reading,
    read_progress,
    remove_file,
)
from projections.views_lock import ViewsLock

__all__ = ["OnProgress", "adopt_offer", "are_current", "catch_up", "offered_path", "open_fitting", "rebuild"]

OnProgress = Callable[[int, int], None]
"""Told now and then: position reached, position to reach."""

_BUILDING = ".building"
_OFFER_CHECK_S = 0.02
_PATIENCE_S = 10.0


def offered_path(views: Path) -> Path:
    """Where a rebuild leaves finished views for the process that keeps them."""
    return views.with_name(views.name + ".offered")


def open_fitting(
    source: EventSource,
    views: Path,
    on_progress: OnProgress | None = None,
    *,
    anew: bool = False,
    helpers: Helpers | None = None,
) -> ViewsFile:
    """The views at a path, built anew where there are none, or where they do not fit this ledger (any more),
    or where that is asked for.

    The caller holds the `ViewsLock`. Raises `OtherLedgerError`, `NotViewsError` and `NewerViewsError` for a
    file that is somebody else's, which stays as it is.
    """
    try:
        file = ViewsFile.open(views)
    except (ViewsMissingError, DamagedViewsError):
        with _built(source, views, on_progress, helpers) as built:
            # No reader can be using what is missing or broken, so the file itself may be exchanged.
            remove_file(views)
            built.replace(views)
        return ViewsFile.open(views)
    try:
        if file.progress.ledger_id != source.ledger_id:
            raise OtherLedgerError(views, file.progress.ledger_id, source.ledger_id)
        if anew or not _fits(file.progress, source):
            with _built(source, views, on_progress, helpers) as built:
                file.take_over(built)
    except BaseException:
        file.close()
        raise
    return file


def are_current(source: EventSource, views: Path) -> bool:
    """Whether there are views that fit this ledger and stand where it stands now."""
    try:
        with closing(connect_for_reading(views)) as connection:
            progress = read_progress(connection)
    except ViewsError:
        return False
    return (
        progress.ledger_id == source.ledger_id
        and progress.position == source.max_position
        and _fits(progress, source)
    )


def catch_up(
    source: EventSource,
    views: Path,
    on_progress: OnProgress | None = None,
    *,
    helpers: Helpers | None = None,
) -> int:
    """Bring the views up to where the ledger stands now; returns the position they then stand at.

    With `helpers`, several processes build what has to be built. Raises `ViewsBusyError` while another
    process keeps the views, and as `open_fitting` does.
    """
    target = source.max_position
    with ViewsLock(views), open_fitting(source, views, on_progress, helpers=helpers) as file:
        _follow(source, file, target, on_progress)
        return file.progress.position


def rebuild(
    source: EventSource,
    views: Path,
    on_progress: OnProgress | None = None,
    *,
    patience_s: float = 60.0,
    helpers: Helpers | None = None,
) -> None:
    """Build the views from nothing while they stay readable, then swap them in.

    Works beside a live process that keeps the views: it is offered the result and has `patience_s` seconds to
    take it over; raises `ViewsBusyError` when it does not. With `helpers`, several processes build.
    """
    offered = offered_path(views)
    with _built(source, views, on_progress, helpers) as built:
        built.replace(offered)
    deadline = time.monotonic() + patience_s
    while offered.exists():
        try:
            with ViewsLock(views):
                _install_offer(source, views)
        except ViewsBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_OFFER_CHECK_S)


def adopt_offer(source: EventSource, file: ViewsFile) -> bool:
    """Take over views that a rebuild offers, brought up to date first. False when there are none that fit."""
    offered = offered_path(file.path)
    if not offered.exists():
        return False
    try:
        with ViewsFile.open(offered) as newer:
            fits = newer.progress.ledger_id == source.ledger_id and _fits(newer.progress, source)
            if fits:
                _follow(source, newer, max(source.max_position, file.progress.position), None)
        if fits:
            file.take_over(offered)
        return fits
    finally:
        remove_file(offered)


def _install_offer(source: EventSource, views: Path) -> None:
    try:
        file = ViewsFile.open(views)
    except (ViewsMissingError, DamagedViewsError):
        remove_file(views)
        offered_path(views).replace(views)
    else:
        with file:
            adopt_offer(source, file)


@contextmanager
def _built(
    source: EventSource, views: Path, on_progress: OnProgress | None, helpers: Helpers | None
) -> Iterator[Path]:
    """Complete views of the ledger as it stands now, in a file of their own; removed if it is left there."""
    _remove_abandoned(views)
    path = views.with_name(f"{views.name}.{secrets.token_hex(4)}{_BUILDING}")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ViewsUnavailableError(
            f"Cannot build the views {views}: {error.strerror}. Their directory must exist and be writable."
        ) from error
    try:
        # Tells it from one whose builder was killed. SQLite's own locks are of another kind.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not (helpers and _built_together(source, path, on_progress, helpers)):
            with ViewsFile.create(path, source.ledger_id) as file:
                _follow(source, file, source.max_position, on_progress, batch_size=LOAD_BATCH)
                file.complete()
        yield path
    finally:
        remove_file(path)
        os.close(descriptor)


def _built_together(
    source: EventSource, path: Path, on_progress: OnProgress | None, helpers: Helpers
) -> bool:
    """Whether several processes could build them. If not, the file is empty again."""
    target = source.max_position
    if not helpers.are_of_use(target):
        return False
    with ViewsFile.create(path, source.ledger_id, guarded=False) as file:
        try:
            build_shared(file, source, target, helpers, on_progress or _nobody)
        except NotSharedError:
            file.close()
            os.truncate(path, 0)
            return False
        file.complete()
    return True


def _nobody(_position: int, _target: int) -> None:
    """For whom nobody watches."""


def _remove_abandoned(views: Path) -> None:
    """Remove what builders left behind that did not live to finish."""
    for name in os.listdir(views.parent):
        if not (name.startswith(f"{views.name}.") and name.endswith(_BUILDING)):
            continue
        with suppress(OSError):
            descriptor = os.open(views.with_name(name), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_file(views.with_name(name))
            finally:
                os.close(descriptor)


def _follow(
    source: EventSource,
    file: ViewsFile,
    target: int,
    on_progress: OnProgress | None,
    *,
    batch_size: int = LIVE_BATCH,
) -> None:
    with Follower(source, file, batch_size=batch_size) as follower:
        while follower.position < target:
            if not follower.step(_PATIENCE_S):
                raise ViewsUnavailableError(
                    f"The ledger gave no events after position {follower.position}, "
                    f"although it reached {target}."
                )
            if on_progress is not None:
                on_progress(follower.position, target)


def _fits(progress: Progress, source: EventSource) -> bool:
    """Whether the folds known here made these views from this very log.

    A ledger put back from a copy is shorter, or holds something else at that position.
    """
    return (
        progress.schema_version == SCHEMA_VERSION
        and progress.event_vocabulary == EVENT_VOCABULARY
        and progress.position <= source.max_position
        and source.hash_at(progress.position) == progress.log_hash
    )
