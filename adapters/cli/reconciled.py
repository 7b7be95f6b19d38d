"""What a reconciliation came to: what was compared, each finding and what became of it. Plain data, which the
command prints, writes as JSON, and sets as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from domain.discrepancies import (
    AdjustBalance,
    AdjustPosition,
    BookFill,
    BookFunding,
    BookTransfer,
    CorrectFill,
    DiscrepancyKind,
    ProveAbsent,
    Reopen,
    Repair,
    TakeLeverage,
    TakeOrderUpdate,
)
from domain.events import Fill
from domain.money import decimal_text

__all__ = ["Finding", "FindingStatus", "Reconciled", "Recorded", "count_text", "kind_title", "repair_text"]


class FindingStatus(StrEnum):
    """How a finding stands after the run."""

    NEW = "new"
    """Found now, and not in the ledger."""
    KNOWN = "known"
    """Found before and in the ledger, not repaired since."""
    REPAIRED = "repaired"
    """Repaired in this run."""
    WAIVED = "waived"
    """Left as it is on purpose, in this run or before."""


class Recorded(msgspec.Struct, frozen=True):
    """An event that was recorded for a finding, and where it stands in the log."""

    position: int
    topic: str
    aggregate: str
    version: int

    @property
    def of(self) -> str:
        """Whose event it is: the account's, or an order's."""
        return "the account" if self.topic.startswith("account.") else self.aggregate


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `repair` says what would mend it, or did; empty where nothing that is recorded would.

    `note` is what was recorded about it: the reason of the repair or of the waiver, and by whom (`actor`).
    `evidence` is what the venue said (JSON).
    """

    discrepancy_id: str
    kind: DiscrepancyKind
    subject: str
    trading_pair: str
    ours: str
    theirs: str
    explanation: str
    evidence: str
    repair: str
    status: FindingStatus
    note: str = ""
    actor: str = ""
    recorded: tuple[Recorded, ...] = ()


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """A reconciliation, complete.

    `position` is where the ledger stood when it was compared and `head` the hash of the chain there (hex),
    `last_position` and `last_head` the same after the repairs. `asked_at_ms` is the venue's clock when it was
    asked, `since_ms` from when on its history was; `compared` counts what was held side by side, by its
    plural. `not_compared` says in words what was not, `incomplete` whether that is because the venue did not
    answer.
    `applied`: findings and repairs were recorded.
    """

    ledger: str
    ledger_id: str
    position: int
    head: str
    last_position: int
    last_head: str
    venue: str
    network: str
    account: str
    asked_at_ms: int
    since_ms: int
    compared: dict[str, int]
    not_compared: tuple[str, ...]
    incomplete: bool
    applied: bool
    findings: tuple[Finding, ...]
    software: str

    @property
    def open_findings(self) -> list[Finding]:
        """The differences that stand: neither repaired nor waived."""
        return [finding for finding in self.findings if finding.status in _STANDING]

    @property
    def by_kind(self) -> dict[DiscrepancyKind, list[Finding]]:
        """Findings by class, in the order in which they were found."""
        grouped: dict[DiscrepancyKind, list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault(finding.kind, []).append(finding)
        return grouped

    @property
    def by_status(self) -> Counter[FindingStatus]:
        """How many findings stand how."""
        return Counter(finding.status for finding in self.findings)


_STANDING = (FindingStatus.NEW, FindingStatus.KNOWN)


def count_text(count: int, plural: str) -> str:
    """How many of what."""
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"


def kind_title(kind: DiscrepancyKind) -> str:
    """The class of a finding as a heading."""
    return _TITLES.get(kind) or kind.replace("_", " ").capitalize()


_TITLES = {DiscrepancyKind.AUTO_DELEVERAGING: "Auto-deleveraging"}


def repair_text(repair: Repair | None) -> str:
    """What a repair would record, in a few words; empty for none."""
    return "" if repair is None else _REPAIR_TEXTS[type(repair)](repair)


def _book_fill(repair: BookFill) -> str:
    fill = _fill(repair.update.fill)
    if repair.client_order_id is not None:
        return f"book {fill} to order {repair.client_order_id}"
    if repair.update.ownerless:
        return f"book {fill} to the account"
    return f"adopt order {repair.update.fill.exchange_order_id}, placed elsewhere, and book {fill} to it"


def _correct_fill(repair: CorrectFill) -> str:
    was = _fill(repair.booked.fill)
    return f"take back {was}" if repair.now is None else f"put {_fill(repair.now)} in the place of {was}"


def _take_order_update(repair: TakeOrderUpdate) -> str:
    if repair.client_order_id is None:
        return f"adopt order {repair.update.exchange_order_id}, placed elsewhere"
    reason = f" ({repair.update.reason_code.replace('_', ' ')})" if repair.update.reason_code else ""
    return f"take from the venue that order {repair.client_order_id} is {repair.update.status}{reason}"


def _fill(fill: Fill) -> str:
    return f"{fill.trade_type} {decimal_text(fill.amount)} at {decimal_text(fill.price)} ({fill.fill_key})"


_REPAIR_TEXTS: dict[type[Repair], Callable[[Any], str]] = {
    BookFill: _book_fill,
    CorrectFill: _correct_fill,
    TakeOrderUpdate: _take_order_update,
    ProveAbsent: lambda repair: f"close order {repair.client_order_id} as never placed: {repair.reason}",
    Reopen: lambda repair: f"reopen order {repair.client_order_id}",
    BookFunding: lambda repair: (
        f"book funding of {decimal_text(repair.update.amount)} {repair.update.token} "
        f"({repair.update.funding_key})"
    ),
    BookTransfer: lambda repair: f"book the {repair.transfer.kind}",
    AdjustPosition: lambda repair: (
        f"go on from {decimal_text(repair.update.amount)} {repair.update.trading_pair}"
    ),
    AdjustBalance: lambda repair: f"go on from {decimal_text(repair.amount)} {repair.token}",
    TakeLeverage: lambda repair: (
        f"take over {repair.leverage}x {'cross' if repair.is_cross else 'isolated'} in {repair.trading_pair}"
    ),
}
