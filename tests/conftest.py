"""What holds for every test of the suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples on every run, however loaded the machine: a change is judged by what it changes and not
# by what happened to be drawn this time. `pytest --hypothesis-profile=explore` draws others.
settings.register_profile(
    "suite",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", parent=settings.get_profile("suite"), derandomize=False)
settings.load_profile("suite")
