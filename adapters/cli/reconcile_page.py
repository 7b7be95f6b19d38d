"""A reconciliation as one page to read, to print and to hand on: everything it needs is in the file.

Whatever comes from outside (a venue's words, ids, names) is escaped, and the page forbids itself to load or
to run anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import escape

import msgspec

from adapters.cli.reconciled import Finding, FindingStatus, Reconciled, count_text, kind_title
from adapters.cli.text_table import printable, utc_time

__all__ = ["page_of"]

_STATUS_WORDS = {
    FindingStatus.NEW: "open",
    FindingStatus.KNOWN: "open, recorded",
    FindingStatus.REPAIRED: "repaired",
    FindingStatus.WAIVED: "waived",
}


def page_of(result: Reconciled) -> str:
    """The page, as HTML."""
    parts = (
        _head(result),
        "<main>",
        _title(result),
        _verdict(result),
        _identity(result),
        _compared(result),
        _not_compared(result),
        _summary(result),
        *_findings(result),
        "</main>",
        f"<footer>Made by orderledger {_text(result.software)}. Ids of findings are computed "
        "from what differs: the same difference has the same id in every run.</footer>",
        "</body>\n</html>\n",
    )
    return "\n".join(part for part in parts if part)


def _head(result: Reconciled) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>Reconciliation of {_text(result.ledger)}, {_text(_time(result.asked_at_ms))}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>"
    )


def _title(result: Reconciled) -> str:
    return (
        "<header><h1>Reconciliation</h1>"
        f"<p>The books of <code>{_text(result.account)}</code> against what {_text(result.venue)} "
        f"({_text(result.network)}) said at <time>{_text(_time(result.asked_at_ms))}</time></p></header>"
    )


def _verdict(result: Reconciled) -> str:
    still_open = len(result.open_findings)
    if result.incomplete:
        kind, word = "bad", "Not complete"
        text = (
            "The venue did not answer every question. What it did not answer was not compared and may differ."
        )
        if still_open:
            text += f" In what it answered, {count_text(still_open, 'differences')} stand open."
    elif still_open:
        kind, word = "open", f"{count_text(still_open, 'differences')} open"
        text = "The books and the venue do not agree. Each difference is listed below with both sides."
    elif result.findings:
        kind, word = "good", "Settled"
        text = "Every difference that was found is repaired, or left as it is for the reason given below."
    else:
        kind, word = "good", "Everything agrees"
        text = "Of all that was compared, nothing differs between the books and the venue."
    settled = result.by_status
    counts = [
        f"{settled[status]} {_STATUS_WORDS[status]}"
        for status in (FindingStatus.REPAIRED, FindingStatus.WAIVED)
        if settled[status]
    ]
    if counts and (still_open or result.incomplete):
        text += f" Besides: {', '.join(counts)}."
    return (
        f'<section class="verdict {kind}"><strong>{_text(word)}</strong><span>{_text(text)}</span></section>'
    )


def _identity(result: Reconciled) -> str:
    rows = [
        ("Account", f"<code>{_text(result.account)}</code>"),
        ("Venue and network", _text(f"{result.venue}, {result.network}")),
        ("Ledger", f"{_text(result.ledger)} <small>(id <code>{_text(result.ledger_id)}</code>)</small>"),
        (
            "Compared at position",
            _point(result.position, result.head),
        ),
        ("History since", _text(_time(result.since_ms))),
        ("Venue asked at", _text(_time(result.asked_at_ms))),
    ]
    if result.last_position != result.position:
        rows.append(("Position after repairs", _point(result.last_position, result.last_head)))
    body = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f"<section><h2>What was reconciled</h2><dl>{body}</dl></section>"


def _point(position: int, head: str) -> str:
    return f"{position:,} <small>head of the chain <code>{_text(head)}</code></small>"


def _compared(result: Reconciled) -> str:
    if not result.compared:
        return "<section><h2>Compared</h2><p>Nothing could be compared.</p></section>"
    cells = "".join(f"<li>{_text(count_text(count, what))}</li>" for what, count in result.compared.items())
    return f'<section><h2>Compared</h2><ul class="counts">{cells}</ul></section>'


def _not_compared(result: Reconciled) -> str:
    if not result.not_compared:
        return ""
    rows = "".join(f"<li>{_text(what)}</li>" for what in result.not_compared)
    return f"<section><h2>Not compared</h2><ul>{rows}</ul></section>"


def _summary(result: Reconciled) -> str:
    if not result.findings:
        return ""
    rows = []
    for kind, findings in result.by_kind.items():
        numbers = _numbers(findings)
        cells = "".join(f"<td>{number:,}</td>" if number else '<td class="none">0</td>' for number in numbers)
        rows.append(
            f'<tr><th scope="row"><a href="#{_text(kind)}">{_text(kind_title(kind))}</a></th>{cells}</tr>'
        )
    totals = "".join(f"<td>{number:,}</td>" for number in _numbers(result.findings))
    return (
        '<section><h2>Differences</h2><table><thead><tr><th scope="col">Class</th>'
        '<th scope="col">Found</th><th scope="col">Repaired</th><th scope="col">Waived</th>'
        f'<th scope="col">Open</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        f'<tfoot><tr><th scope="row">All</th>{totals}</tr></tfoot></table></section>'
    )


def _numbers(findings: Iterable[Finding]) -> tuple[int, int, int, int]:
    statuses = [finding.status for finding in findings]
    repaired, waived = statuses.count(FindingStatus.REPAIRED), statuses.count(FindingStatus.WAIVED)
    return len(statuses), repaired, waived, len(statuses) - repaired - waived


def _findings(result: Reconciled) -> Iterator[str]:
    for kind, findings in result.by_kind.items():
        heading = f"{_text(kind_title(kind))} <small>{len(findings):,}</small>"
        yield f'<section id="{_text(kind)}"><h2>{heading}</h2>'
        yield from map(_finding, findings)
        yield "</section>"


def _finding(finding: Finding) -> str:
    pair = (
        ""
        if finding.trading_pair in ("", finding.subject)
        else f" <span>{_text(finding.trading_pair)}</span>"
    )
    state = "settled" if finding.status in (FindingStatus.REPAIRED, FindingStatus.WAIVED) else "open"
    return (
        f'<article class="{state}" id="{_text(finding.discrepancy_id)}">'
        f'<h3><span class="subject">{_text(finding.subject)}</span>{pair}'
        f'<em class="{state}">{_STATUS_WORDS[finding.status]}</em></h3>'
        f'<div class="sides"><div><b>Ours</b><p>{_text(finding.ours) or "nothing"}</p></div>'
        f"<div><b>Theirs</b><p>{_text(finding.theirs) or 'nothing'}</p></div></div>"
        f"<p>{_text(finding.explanation)}</p>{_outcome(finding)}{_evidence(finding)}</article>"
    )


def _outcome(finding: Finding) -> str:
    rows = [("Finding", f"<code>{_text(finding.discrepancy_id)}</code>")]
    match finding.status:
        case FindingStatus.REPAIRED:
            rows.append(("Repaired", f"{_text(finding.note)} <small>by {_text(finding.actor)}</small>"))
        case FindingStatus.WAIVED:
            rows.append(("Waived", f"{_text(finding.note)} <small>by {_text(finding.actor)}</small>"))
        case _:
            rows.append(
                ("Repair", _text(finding.repair) or "none that could be recorded: a person has to look")
            )
    if finding.recorded:
        events = "<br>".join(
            f"position {event.position:,}: {_text(event.topic)} <small>of {_text(event.of)}, version "
            f"{event.version:,}</small>"
            for event in finding.recorded
        )
        rows.append(("Recorded", events))
    body = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f"<dl>{body}</dl>"


def _evidence(finding: Finding) -> str:
    if not finding.evidence:
        return ""
    text = finding.evidence
    with suppress(msgspec.DecodeError):  # what is no JSON is shown as it came
        text = msgspec.json.format(text, indent=2)
    lines = "\n".join(_text(line) for line in text.splitlines())
    return f"<details><summary>Evidence: what the venue said</summary><pre>{lines}</pre></details>"


def _time(time_ms: int) -> str:
    return utc_time(time_ms * 1_000_000).replace("T", " ").replace("Z", " UTC")


def _text(text: object) -> str:
    return escape(printable(str(text)))


_STYLE = """
:root {
  --ground: #fff; --sheet: #f6f7f9; --ink: #1b1f24; --soft: #59636e; --line: #d5dae1;
  --good: #116329; --good-ground: #e6f4ea; --open: #7a4a00; --open-ground: #fff3d9;
  --bad: #a40e26; --bad-ground: #ffebe9; --link: #0550ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --sheet: #1c2026; --ink: #e4e7eb; --soft: #9aa4b0; --line: #343b44;
    --good: #6fd08c; --good-ground: #12291a; --open: #f0b95b; --open-ground: #2e2410;
    --bad: #ff8d85; --bad-ground: #331717; --link: #79b8ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
main, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding: 2rem 0 .25rem; }
h1 { margin: 0; font-size: 1.7rem; letter-spacing: -.01em; }
header p { margin: .25rem 0 0; color: var(--soft); }
h2 { margin: 2rem 0 .6rem; font-size: 1.1rem; }
h2 small, small { color: var(--soft); font-weight: 400; }
a { color: var(--link); }
time { white-space: nowrap; }
code, pre, .subject {
  font-family: ui-monospace, "SF Mono", "Liberation Mono", Menlo, monospace; font-size: .88em;
}
code, dd, p, li, .subject, pre { overflow-wrap: anywhere; }
.verdict {
  display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline;
  margin-top: 1.25rem; padding: .9rem 1.1rem; border: 1px solid; border-radius: 8px;
}
.verdict strong { font-size: 1.15rem; }
.verdict span { flex: 1 1 20rem; color: var(--ink); }
.good { color: var(--good); background: var(--good-ground); }
.verdict.open { color: var(--open); background: var(--open-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
dl { margin: 0; }
dl > div {
  display: grid; grid-template-columns: 11rem 1fr; gap: .1rem 1rem; padding: .3rem 0;
  border-top: 1px solid var(--line);
}
dl > div:first-child { border-top: 0; }
dt { color: var(--soft); }
dd { margin: 0; }
dd small { display: inline-block; }
.counts { display: flex; flex-wrap: wrap; gap: .4rem .6rem; margin: 0; padding: 0; list-style: none; }
.counts li {
  padding: .3rem .7rem; background: var(--sheet); border: 1px solid var(--line); border-radius: 6px;
}
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
td.none { color: var(--soft); }
article {
  margin: 0 0 .9rem; padding: .8rem 1rem .7rem; background: var(--sheet);
  border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: 6px;
  break-inside: avoid;
}
article.open { border-left-color: var(--open); }
h3 {
  display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline;
  margin: 0 0 .5rem; font-size: 1rem;
}
h3 span:not(.subject) { color: var(--soft); font-weight: 400; }
h3 em {
  margin-left: auto; padding: 0 .6rem; border-radius: 1rem;
  font-size: .82rem; font-style: normal; font-weight: 600;
}
em.settled { color: var(--good); background: var(--good-ground); }
em.open { color: var(--open); background: var(--open-ground); }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.sides div {
  padding: .4rem .7rem; background: var(--ground); border: 1px solid var(--line); border-radius: 5px;
}
.sides b { color: var(--soft); font-size: .8rem; font-weight: 500; }
.sides p { margin: 0; }
article > p { margin: .6rem 0 .4rem; }
article dl { font-size: .92em; }
article dl > div { grid-template-columns: 6rem 1fr; padding: .15rem 0; border: 0; }
details { margin-top: .4rem; font-size: .92em; }
summary { color: var(--link); cursor: pointer; }
pre {
  margin: .4rem 0 .2rem; padding: .6rem .8rem; background: var(--ground); border: 1px solid var(--line);
  border-radius: 5px; white-space: pre-wrap;
}
footer { padding-top: 1.5rem; padding-bottom: 2.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 36rem) {
  .sides { grid-template-columns: 1fr; }
  dl > div, article dl > div { grid-template-columns: 1fr; }
}
@media print {
  :root {
    --ground: #fff; --sheet: #fff; --ink: #000; --soft: #444; --line: #bbb; --link: #000;
    --good: #116329; --good-ground: #fff; --open: #7a4a00; --open-ground: #fff;
    --bad: #a40e26; --bad-ground: #fff;
  }
  @page { margin: 16mm 14mm; }
  body { font-size: 10.5pt; }
  main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  header { padding-top: 0; }
  h2, h3 { break-after: avoid; }
  tr, .verdict { break-inside: avoid; }
  tfoot { display: table-row-group; }
  details::details-content { content-visibility: visible; display: block; }
  a { text-decoration: none; }
}
"""
