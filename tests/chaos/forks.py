"""The part of the checker that is about forks: what a run took over from another one is what that one says."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.chaos.stored import Run, Stored


def takes(accepted: Stored, slot: str, outcome: Stored) -> bool:
    """Whether the run was accepted to take this over from another one, or to plan so."""
    fork = accepted.fact.get("fork") or {}
    if slot == "plan.1" and fork.get("queries"):
        return outcome.fact.get("queries") == fork["queries"]
    origins = {reused["slot"]: f"research.run.{fork['run_id']}.{reused['origin']}" for reused in fork.get("reuses", [])}
    return slot in origins and outcome.fact.get("copied_from") == origins[slot]


def strange_copies(runs: Mapping[str, Run]) -> Iterator[str]:
    """What differs from its origin in anything but what it cost and how long it took."""
    for run in runs.values():
        for slot, outcome in run.under("plan", "fetch", "synthesis"):
            if origin := outcome.fact.get("copied_from"):
                _, _, name, path = origin.split(".", 3)
                source = runs[name].first(path) if name in runs else None
                if source is None or _said(source) != _said(outcome):
                    yield f"{run.name}.{slot} is not what {origin} says"


_OF_THE_WORK: Final = ("copied_from", "usage", "calls", "duration_s")


def _said(outcome: Stored) -> dict[str, Any]:
    return {name: value for name, value in outcome.fact.items() if name not in _OF_THE_WORK}
