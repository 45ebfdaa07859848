"""Replay of a run's history: differences between owed and written facts. Pure.

Compared are facts that the coordinator writes by rule: tasks, holds, completions, and decisions by policy, deadline and
quorum. Facts of people and workers are taken as recorded. Time is the log's own.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeGuard, cast

import msgspec
from msgspec import Struct

from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
    HoldOpened,
    RunCompleted,
    TaskIssued,
)
from shared.contracts.subjects import Slot
from shared.domain.encoding import encode_fact
from shared.domain.owed import owed
from shared.domain.run import Recorded, Run, UnknownFact, evolve

_LONGEST: Final = 120


class Difference(Struct, frozen=True):
    """One difference, as a sentence. `slot` is empty for the run as a whole."""

    run: str
    slot: str
    what: str


def replay(run_id: str, facts: Sequence[Recorded]) -> Iterator[Difference]:
    """Differences between the recorded facts of one run and what this code owes after each.

    The facts are given in the order of the log; each is judged on the recorded ones before it.
    """
    states = [Run(run_id)]
    for it in facts:
        after = evolve(states[-1], it)
        if _is_by_rule(it.fact) and _was_first(states[-1], after, it.slot) and (what := _explain(states, it, it.fact)):
            yield Difference(run_id, it.slot.path, what)
        states.append(after)


def fold_facts(run_id: str, facts: Iterable[Recorded]) -> Run:
    """The run after these facts."""
    run = Run(run_id)
    for it in facts:
        run = evolve(run, it)
    return run


def _filled_slots(run: Run) -> set[str]:
    """Paths of the slots of a run that are filled."""
    filled = {name for name in ("accepted", "completed") if getattr(run, name)}
    for number, round_ in run.rounds.items():
        filled |= {f"{name}.{number}" for name in ("plan", "hold", "decision", "synthesis") if getattr(round_, name)}
        filled |= {f"fetch.{number}.{index}" for index in round_.fetches}
        filled |= {f"extension.{number}.{index}" for index in round_.extensions}
        filled |= {f"vote.{number}.{voter}" for voter in round_.votes}
        filled |= set(round_.issued) | {path.replace("task.", "attempt.", 1) for path in round_.attempts}
    return filled


def _is_by_rule(fact: Fact | UnknownFact) -> TypeGuard[Fact]:
    """Return True for facts that a coordinator writes by rule, not for a person or worker."""
    match fact:
        case TaskIssued() | HoldOpened():
            return True
        case DecisionApproved() | DecisionRejected() | DecisionRevised() | DecisionExpired():
            return fact.via in ("policy", "deadline", "quorum")
        case RunCompleted(outcome=outcome):
            return outcome != "cancelled"
        case _:
            return False


def _was_first(before: Run, after: Run, slot: Slot) -> bool:
    """Return True if the fact was the first in its slot."""
    return slot.path in _filled_slots(after) - _filled_slots(before)


def _explain(states: Sequence[Run], it: Recorded, fact: Fact) -> str | None:
    """Sentence why no earlier state of the run explains the fact; `None` if one does.

    Earlier states count because the coordinator may not have read the latest facts when it wrote.
    """
    reasons = (_compare(run, it, fact) for run in reversed(states))
    first = next(reasons)
    return first if first and all(reasons) else None


def _compare(run: Run, it: Recorded, fact: Fact) -> str | None:
    """Sentence how the fact differs from what this code owes the run at that time; `None` if it does not."""
    due = owed(run, it.stored_at)
    writes = (encode_fact(slot, owes, run.traceparent, time=it.time, run=run) for slot, owes in due.facts)
    would = {each.slot.path: each.event.fact for each in writes if each.slot and each.event}
    if mine := would.get(it.slot.path):
        return _first_difference(_essence(fact), _essence(mine))
    instead = f"owes {', '.join(would)} instead" if would else f"owes nothing {_format_wait(due.wake_at)}"
    return f"was written at {it.stored_at.isoformat()}; this release {instead}"


def _format_wait(wake_at: datetime | None) -> str:
    """`before TIME`, or `then` if there is no time to look again."""
    return f"before {wake_at.isoformat()}" if wake_at else "then"


def _essence(fact: Fact) -> dict[str, object]:
    """Fields of a fact that follow from a rule, by name, with its type: no times, no wording of reports."""
    match fact:
        case HoldOpened(digest=digest):
            fields: dict[str, object] = {"digest": digest}
        case RunCompleted(outcome=outcome, digest=digest):
            fields = {"outcome": outcome, "digest": digest}
        case TaskIssued():
            fields = msgspec.to_builtins(fact)
        case DecisionApproved() | DecisionExpired():
            fields = {"digest": fact.digest}
        case _:
            fields = {}
    return fields | {"type": type(fact).__name__}


def _first_difference(then: object, now: object) -> str | None:
    """Sentence about the first value that differs; `None` if none does."""
    recorded, mine = dict(_leaves(then)), dict(_leaves(now))
    for path in {**recorded, **mine}:
        if recorded.get(path) != mine.get(path):
            return f"{path}: this release says {_shorten(mine.get(path))}, recorded is {_shorten(recorded.get(path))}"
    return None


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every scalar in nested dicts and sequences, with its dotted path."""
    match value:
        case dict():
            parts = list(cast("dict[str, object]", value).items())
        case list() | tuple():
            parts = list(enumerate(cast("Sequence[object]", value)))
        case _:
            yield name, value
            return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key))


def _shorten(value: object) -> str:
    """`repr` of a value, cut to 120 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
