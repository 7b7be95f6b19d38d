"""The scenarios behind `replays/sessions/`, each of which can be recorded again against the simulator."""

from tests.support.corpus import beginnings, disorder, numbers, reconciliation, restarts, unknown
from tests.support.corpus.world import Scenario

__all__ = ["FORMATS", "SCENARIOS"]

FORMATS: dict[str, Scenario] = beginnings.FORMATS
"""One for each version of the format, recorded once and never again."""

SCENARIOS: dict[str, Scenario] = {
    **beginnings.SCENARIOS,
    **unknown.SCENARIOS,
    **disorder.SCENARIOS,
    **restarts.SCENARIOS,
    **numbers.SCENARIOS,
    **reconciliation.SCENARIOS,
}
