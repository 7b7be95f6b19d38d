"""Shrinking: from a long recording to a minimal one that still shows the same thing.

Delta debugging over the inputs: whole orders are removed first, then single inputs, those of the start-up
last. Causality is kept (`causality`): an input about an order stays only as long as the input that created
the order, an answer only as long as something asks for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from domain.errors import LedgerError
from domain.inputs import Started
from replays.causality import WholeSession
from replays.cores import MakeCore
from replays.cores import make_core as installed_core
from replays.recording import SessionHeader
from replays.replaying import Divergence, MemoryRecording, NotFromTheStartError, Recording, Replay
from replays.wanted import AsItIs, Expectations, SameDivergence, Wanted

__all__ = ["NothingToShrinkError", "Shrinker", "Shrunk", "UnsteadyError", "first_divergence"]

OnProgress = Callable[[int, int], None]
"""Hears how many inputs are left and how many candidates were tried."""


class NothingToShrinkError(LedgerError):
    """The whole recording does not show what is looked for."""


class UnsteadyError(LedgerError):
    """The same recording shows it at one time and not at another."""


class Shrunk(msgspec.Struct, frozen=True):
    """The result: a recording, how many inputs there were, and how many candidates were tried."""

    recording: MemoryRecording
    inputs_before: int
    tries: int


def first_divergence(recording: Recording, make_core: MakeCore | None = None) -> Divergence | None:
    """Where this version does something else than was recorded; None when it nowhere does."""
    return Replay(recording, make_core).run().divergence


class Shrinker:
    """Shrinks one recording, which is kept in memory. `session` is what of it depends on what."""

    def __init__(
        self,
        recording: Recording,
        make_core: MakeCore | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.header: SessionHeader = recording.header
        recorded = list(recording)
        if not recorded or not isinstance(recorded[0].item, Started):
            raise NotFromTheStartError(self.header.part, recorded[0].item.sequence if recorded else 0)
        self.session = WholeSession(self.header, recorded, make_core or installed_core)
        self.tries = 0
        self._inputs_before = len(recorded)
        self._on_progress = on_progress
        self._tried: dict[bytes, int | None] = {}
        self._started: Started | None = None

    def shrink(
        self, wanted: Wanted, what: str, expectations: Expectations | None = None, *, note: str = ""
    ) -> Shrunk:
        """The smallest recording found that still shows it; `what` says in words what that is.

        Raises `NothingToShrinkError` when the whole recording does not show it.
        """
        session = self.session
        kept = self._showing(wanted, range(len(session.recorded)))
        if kept is None:
            raise NothingToShrinkError(f"The recording does not show what is to be kept: {what}.")
        kept = self._without(wanted, kept, self._orders_and_quiet_inputs(kept))
        kept = self._without(wanted, kept, [(at,) for at in kept if at > session.startup])
        kept = self._without(wanted, kept, [(at,) for at in kept if at <= session.startup])
        before = 0
        while len(kept) != before:
            before = len(kept)
            kept = self._without(wanted, kept, [(at,) for at in kept], chunk=1)
        self._simplify_start(wanted, kept)
        if self._showing(wanted, kept) is None:
            raise UnsteadyError(
                f"What is left does not show it when tried once more ({what}): it does not depend on the "
                "recording alone, so that nothing can be concluded from leaving inputs out."
            )
        right = expectations or (wanted if isinstance(wanted, SameDivergence) else AsItIs())
        result = self._result(kept, right, self.derived_header(what, note))
        return Shrunk(result, self._inputs_before, self.tries)

    # -- removing ------------------------------------------------------------------------------------------

    def _orders_and_quiet_inputs(self, kept: Sequence[int]) -> list[tuple[int, ...]]:
        """What can be removed in one piece: all that is about one order, and each input about none."""
        session = self.session
        orders: dict[tuple[str, ...], list[int]] = {}
        quiet: list[tuple[int, ...]] = []
        for at in kept:
            if at <= session.startup:
                continue
            about = session.about[at]
            if about:
                orders.setdefault(about, []).append(at)
            else:
                quiet.append((at,))
        return [*(tuple(indices) for indices in orders.values()), *quiet]

    def _without(
        self,
        wanted: Wanted,
        kept: tuple[int, ...],
        groups: Sequence[tuple[int, ...]],
        *,
        chunk: int | None = None,
    ) -> tuple[int, ...]:
        """Remove as many groups as can be missed: many at once first, then fewer, then each alone."""
        fixed = {0} if wanted.needed is None else set(self.session.needed_by(wanted.needed))
        left = [group for group in groups if not fixed.issuperset(group)]
        size = max(1, len(left)) if chunk is None else chunk
        while left:
            at = len(left)
            while at > 0:
                begin = max(0, at - size)
                gone = {index for group in left[begin:at] for index in group} - fixed
                shown = self._showing(wanted, [index for index in kept if index not in gone])
                if shown is not None:
                    kept = shown
                    present = set(kept)
                    left = [group for group in (*left[:begin], *left[at:]) if not present.isdisjoint(group)]
                at = min(begin, len(left))
            if size == 1:
                break
            size = max(1, min(size, len(left)) // 2)
        return kept

    def _showing(self, wanted: Wanted, indices: Iterable[int]) -> tuple[int, ...] | None:
        """These inputs as far as they are needed to show it, in causal order; None when they do not."""
        session = self.session
        candidate = session.closed(tuple(indices))
        if not candidate or candidate[0] != 0:
            return None
        if wanted.needed is not None and wanted.needed not in candidate:
            return None
        name = blake2b(array("q", candidate), digest_size=16).digest()
        if name not in self._tried:
            self.tries += 1
            self._tried[name] = wanted.shown_at(session.run(candidate, self._started))
            if self._on_progress is not None:
                self._on_progress(len(candidate), self.tries)
        shown_at = self._tried[name]
        if shown_at is None:
            return None
        return tuple(at for at in candidate if at <= shown_at)

    def _simplify_start(self, wanted: Wanted, kept: tuple[int, ...]) -> None:
        """What the session began with and does not need: orders, positions and keys of earlier ones."""
        started = self.session.recorded[0].item
        assert isinstance(started, Started)
        for simpler in _simpler_starts(started):
            self._tried.clear()
            before, self._started = self._started, simpler(self._started or started)
            if self._showing(wanted, kept) != kept:
                self._started = before
        # What was found out so far was found out with other starts.
        self._tried.clear()

    # -- the result ----------------------------------------------------------------------------------------

    def derived_header(self, what: str, note: str = "") -> SessionHeader:
        """The header of a recording that was made from this one."""
        return replace(
            self.header,
            part=1,
            previous_sequence=0,
            previous_digest="",
            derived_from=f"session {self.header.session_id}, shrunk ({what})",
            note=note or self.header.note,
        )

    def _result(self, kept: tuple[int, ...], right: Expectations, header: SessionHeader) -> MemoryRecording:
        return MemoryRecording(
            header, [right.expected(step) for step in self.session.run(kept, self._started)]
        )


Simpler = Callable[[Started], Started]


def _simpler_starts(started: Started) -> Iterable[Simpler]:
    """Ways to begin with less."""
    for name in (
        "recent_fill_keys",
        "recent_funding_keys",
        "recent_transfer_keys",
        "positions",
        "open_orders",
    ):
        if getattr(started, name):
            yield lambda start, name=name: replace(start, **{name: ()})  # type: ignore[misc]
    for events in started.open_orders:
        yield lambda start, events=events: replace(  # type: ignore[misc]
            start, open_orders=tuple(each for each in start.open_orders if each != events)
        )
