"""Benchmarks: one module per subject, each with `run() -> dict`.

A member `<figure>_required` is the least that `<figure>` may be, `<figure>_max` the most; `ok` says whether
all of them hold. Everything else in the dict is told along with them. Each is run in a fresh process.
"""
