"""The part of the checker that is about work: what was begun, by the workers' journal, that need not have been."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from tests.chaos.stored import Json, Run

_READ_S: Final = 0.2
"""So long before a task is begun, at most, was it read whether it is done."""


def performances(runs: Mapping[str, Run], journal: Iterable[Json]) -> tuple[int, int]:
    """How many tasks were begun that need not have been, and how many of those with the outcome long there."""
    begun: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for line in journal:
        begun[line["kind"], line["about"]].append(datetime.fromisoformat(line["at"]))
    again = after_all = 0
    for run in runs.values():
        for kind, about, slot in _steps(run):
            times = begun.get((kind, about), [])
            attempts = 1 + sum(path.startswith(f"attempt.{kind}.{slot.split('.', 1)[1]}.") for path in run.slots)
            again += max(0, len(times) - attempts)
            stored = run.first(slot)
            after_all += sum(bool(stored) and (at - stored.at).total_seconds() > _READ_S for at in times)
    return again, after_all


def _steps(run: Run) -> Iterable[tuple[str, str, str]]:
    """What the journal calls each step of the first round, and its slot."""
    accepted, plan = run.first("accepted"), run.first("plan.1")
    if accepted:
        yield "plan", accepted.fact["q"], "plan.1"
        yield "synthesize", accepted.fact["q"], "synthesis.1"
    for index, query in enumerate(plan.fact.get("queries", []) if plan else []):
        yield "fetch", query, f"fetch.1.{index}"
