"""The page of a reconciliation: what it says, that it is whole by itself, and that nothing in it can act."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.reconcile_page import page_of
from adapters.cli.reconciled import Finding, FindingStatus, Reconciled, Recorded
from domain.discrepancies import DiscrepancyKind

ACCOUNT = "0x14791697260e4c9a71f18484c9f997b308e59325"
HEAD = "5f0c" * 16


def a_finding(**members: Any) -> Finding:
    return Finding(
        **{
            "discrepancy_id": "D-0123456789abcdef",
            "kind": DiscrepancyKind.MISSING_FILL,
            "subject": "BTC:77738308:118906512037719",
            "trading_pair": "BTC-USD",
            "ours": "",
            "theirs": "buy 0.25 at 43210",
            "explanation": "The venue's fills hold this execution of order quote-17, and it is not booked.",
            "evidence": '{"coin":"BTC","px":"43210.0","sz":"0.25","tid":118906512037719}',
            "repair": "book buy 0.25 at 43210 to order quote-17",
            "status": FindingStatus.NEW,
            **members,
        }
    )


def a_result(**members: Any) -> Reconciled:
    return Reconciled(
        **{
            "ledger": "ledger.db",
            "ledger_id": "c1a5" * 8,
            "position": 18_204,
            "head": HEAD,
            "last_position": 18_204,
            "last_head": HEAD,
            "venue": "hyperliquid",
            "network": "testnet",
            "account": ACCOUNT,
            "asked_at_ms": 1_764_100_800_123,
            "since_ms": 1_763_000_000_000,
            "compared": {"orders": 212, "fills": 1_904, "positions": 1, "funding payments": 305},
            "not_compared": (),
            "incomplete": False,
            "applied": False,
            "findings": (),
            "software": "0.1.0",
            **members,
        }
    )


REPAIRED = {
    "status": FindingStatus.REPAIRED,
    "note": "Booked to its order, as the venue's own history tells it.",
    "actor": "ann",
    "recorded": (
        Recorded(18_205, "account.discrepancy_found", f"account:hyperliquid:{ACCOUNT}", 12),
        Recorded(18_206, "order.filled", "quote-17", 5),
        Recorded(18_207, "account.discrepancy_repaired", f"account:hyperliquid:{ACCOUNT}", 13),
    ),
}
WAIVED = {"status": FindingStatus.WAIVED, "note": "a test of the venue", "actor": "ann"}
EVERY_KIND = tuple(
    a_finding(
        discrepancy_id=f"D-{number:016x}",
        kind=kind,
        **(REPAIRED if number % 3 == 1 else {}),
        **(
            {"status": FindingStatus.WAIVED, "note": "a test of the venue", "actor": "ann"}
            if number == 3
            else {}
        ),
    )
    for number, kind in enumerate(DiscrepancyKind)
)


class Reader(HTMLParser):
    """What a browser would make of a page: its visible text, and its tags with their attributes."""

    VOID = ("meta", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "tags are closed in order"

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def test_a_page_without_findings_says_that_everything_agrees() -> None:
    text = Reader(page_of(a_result())).text
    assert "Everything agrees" in text
    assert "nothing differs between the books and the venue" in text
    assert "212 orders" in text
    assert "1,904 fills" in text
    assert "1 position" in text
    assert "1 positions" not in text


def test_the_page_tells_what_was_compared_and_where_the_ledger_stood() -> None:
    text = Reader(page_of(a_result(last_position=18_207, last_head="ab" * 32))).text
    for fact in (
        "ledger.db",
        ACCOUNT,
        "hyperliquid",
        "testnet",
        "18,204",
        HEAD,
        "18,207",
        "ab" * 32,
        "2025-11-25 20:00:00.123 UTC",
        "2025-11-13 02:13:20.000 UTC",
        "orderledger 0.1.0",
    ):
        assert fact in text


def test_each_finding_stands_with_both_sides_its_evidence_and_what_became_of_it() -> None:
    page = page_of(
        a_result(
            findings=(
                a_finding(),
                a_finding(discrepancy_id="D-2", ours="0.1", **REPAIRED),
                a_finding(discrepancy_id="D-3", status=FindingStatus.WAIVED, note="a test", actor="bob"),
                a_finding(discrepancy_id="D-4", repair="", status=FindingStatus.KNOWN),
            )
        )
    )
    text = Reader(page).text
    assert "D-0123456789abcdef" in text
    assert text.count("buy 0.25 at 43210") >= 4
    assert '"tid": 118906512037719' in text
    assert "position 18,206: order.filled of quote-17, version 5" in text
    assert "as the venue's own history tells it. by ann" in text
    assert "a test by bob" in text
    assert "a person has to look" in text
    assert "2 differences open" in text
    assert "1 repaired, 1 waived" in text


def test_what_was_not_answered_is_never_called_equal() -> None:
    result = a_result(incomplete=True, not_compared=("funding: not answered (HTTP 502)",))
    text = Reader(page_of(result)).text
    assert "Everything agrees" not in text
    assert "Not complete" in text
    assert "funding: not answered (HTTP 502)" in text


def test_repaired_and_waived_findings_leave_the_books_settled() -> None:
    text = Reader(page_of(a_result(findings=(a_finding(**REPAIRED),)))).text
    assert "Settled" in text
    assert "open" not in text


@pytest.mark.parametrize("kind", DiscrepancyKind)
def test_every_class_has_a_heading_and_a_line_in_the_summary(kind: DiscrepancyKind) -> None:
    reader = Reader(page_of(a_result(findings=(a_finding(kind=kind),))))
    assert ("a", {"href": f"#{kind}"}) in reader.tags
    assert ("section", {"id": str(kind)}) in reader.tags


def test_the_page_needs_and_runs_nothing_else() -> None:
    reader = Reader(page_of(a_result(findings=EVERY_KIND)))
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert all(
        (attributes.get("href") or "#").startswith("#") and "src" not in attributes
        for _, attributes in reader.tags
    )
    policy = [attributes for tag, attributes in reader.tags if "http-equiv" in attributes]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


@settings(deadline=None, max_examples=60)
@given(outside=st.text(max_size=60))
def test_words_from_outside_stay_words(outside: str) -> None:
    hostile_words = f"</p><script>alert(1)</script><!-- \" ' {outside}"
    members = dict.fromkeys(
        (
            "discrepancy_id",
            "subject",
            "ours",
            "theirs",
            "explanation",
            "evidence",
            "note",
            "actor",
        ),
        hostile_words,
    ) | {"trading_pair": f"of {hostile_words}"}
    plain = Reader(page_of(a_result(findings=(a_finding(status=FindingStatus.WAIVED),))))
    hostile = Reader(
        page_of(
            a_result(
                ledger="<b>ledger</b>",
                not_compared=(f"<i>{outside}",),
                findings=(a_finding(status=FindingStatus.WAIVED, **members),),
            )
        )
    )
    more = {"ul": 1, "li": 1, "section": 1, "h2": 1}
    tags = [tag for tag, _ in hostile.tags]
    for tag in {tag for tag, _ in plain.tags} | set(tags):
        expected = [each for each, _ in plain.tags].count(tag) + more.get(tag, 0)
        assert tags.count(tag) == expected, tag
