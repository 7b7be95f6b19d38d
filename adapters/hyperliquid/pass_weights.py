"""What the comparisons of a live session weigh, of the request weight that the venue grants (sheet 9.1)."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.limits import WeightWindow
from adapters.hyperliquid.read_times import all_asked_ns

__all__ = ["pass_questions", "shortest_period_s"]

_ANYONE = "0x" + "0" * 40
"""What a question weighs does not depend on the account."""

_BETWEEN = info_requests.user_rate_limit(_ANYONE)
"""Asked every few minutes, and so between two comparisons."""

_SECOND_NS = 1_000_000_000
_MINUTE_S = 60


def pass_questions(dexes: int, *, is_thorough: bool) -> list[InfoRequest]:
    """What one comparison asks: the account's state and open orders on each dex, the venue's clock and the
    fills; in a thorough one funding and transfers too."""
    questions = [info_requests.clearinghouse_state(_ANYONE) for _ in range(dexes)]
    questions += [info_requests.frontend_open_orders(_ANYONE) for _ in range(dexes)]
    questions.append(info_requests.exchange_status())
    if is_thorough:
        questions.append(info_requests.user_funding(_ANYONE, 0))
        questions.append(info_requests.user_non_funding_ledger_updates(_ANYONE, 0))
    questions.append(info_requests.user_fills_by_time(_ANYONE, 0))
    return questions


def shortest_period_s(thorough_every_s: int, dexes: int, granted: int) -> int:
    """The least period in which each comparison is through before the next one is due, with a granted weight
    per minute of which nothing else is used."""
    questions = [_BETWEEN, *pass_questions(dexes, is_thorough=True)]
    alone_ns = all_asked_ns(WeightWindow(weight_per_minute=granted), questions, 0)
    # One that has to wait meets nothing of the one before if that was through more than a minute earlier.
    longest_s = -(-alone_ns // _SECOND_NS) + _MINUTE_S + 1
    periods_s = range(1, longest_s)
    return next((s for s in periods_s if _never_waits(s, thorough_every_s, dexes, granted)), longest_s)


def _never_waits(every_s: int, thorough_every_s: int, dexes: int, granted: int) -> bool:
    """Whether as many comparisons as can begin within a minute fit into it, the last one's fills counted in
    advance."""
    window = WeightWindow(weight_per_minute=granted)
    fills = info_requests.user_fills_by_time(_ANYONE, 0)
    light, thorough = (_weight(pass_questions(dexes, is_thorough=is_so)) for is_so in (False, True))
    many = -(-_MINUTE_S // every_s)
    many_thorough = -(-_MINUTE_S // max(every_s, thorough_every_s))
    weight = _BETWEEN.weight + many * light + many_thorough * (thorough - light)
    in_advance = window.in_advance(fills.weight, fills.weight_max) - fills.weight
    return weight + in_advance <= window.read_limit


def _weight(questions: Iterable[InfoRequest]) -> int:
    return sum(question.weight for question in questions)
