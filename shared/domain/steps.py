"""Where a run stands in its way: what is under way, since when, and since when something is owed. Pure.

`why` tells it to people and `late` judges it; `owed` decides what is to be written.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal

from msgspec import Struct

from shared.contracts.facts import DecisionExpired, DecisionRejected, PlanFailed
from shared.contracts.subjects import Kind, Step
from shared.domain.approval import is_carried
from shared.domain.budget import decided_by_policy
from shared.domain.fork import copies_due, plan_due
from shared.domain.owed import Attempt, attempt_of
from shared.domain.run import Box, Round, Run

NAMES: Final[dict[Kind, str]] = {"plan": "plan", "fetch": "fetch", "synthesize": "report"}


class Late(Struct, frozen=True):
    """A run that was due to move and did not: `unanswered`, a worker's turn, or `unwritten`, a coordinator's."""

    code: Literal["unanswered", "unwritten"]
    since: datetime
    text: str


def open_steps(run: Run) -> tuple[Step, ...]:
    """The steps that the run has come to and that have no outcome yet, in order."""
    number, round_ = run.round, run.current
    if not _goes_on(run):
        return ()
    if round_.plan is None:
        return (Step(run.id, "plan", number),)
    indices = range(len(run.queries(number)))
    if missing := [Step(run.id, "fetch", number, index) for index in indices if index not in round_.fetches]:
        return tuple(missing)
    if round_.hold and round_.decision and round_.synthesis is None:
        return (Step(run.id, "synthesize", number),)
    return ()


def _goes_on(run: Run) -> bool:
    """Whether it is research that the run is to go on with: not its end, nor what it takes over from another one."""
    if run.accepted is None or run.completed or run.unknown:
        return False
    number, round_ = run.round, run.current
    if round_.decision and isinstance(round_.decision.fact, DecisionRejected | DecisionExpired):
        return False
    if number > 1:
        return True
    fork = run.accepted.fact.fork
    takes_over = fork and (plan_due(run, fork) or copies_due(run, fork))
    return not takes_over and not (round_.plan and isinstance(round_.plan.fact, PlanFailed))


def of_how_many(run: Run, step: Step) -> int:
    """How many steps of its kind its round has."""
    return len(run.queries(step.round)) if step.kind == "fetch" else 1


def named(run: Run, step: Step) -> str:
    """The step as people call it: `plan`, `fetch 2 of 4`, `report`; with its round beyond the first."""
    number = f" {step.index + 1} of {of_how_many(run, step)}" if step.kind == "fetch" else ""
    return f"{NAMES[step.kind]}{number}{f' of round {step.round}' if step.round > 1 else ''}"


def waits_for_person(run: Run) -> bool:
    """Whether it is a person's turn, as long as there is time."""
    decided = decided_by_policy(run) or is_carried(run)
    return run.status == "hold" and _goes_on(run) and not open_steps(run) and not decided


def owed_since(run: Run) -> datetime | None:
    """Since when the run has been due to move; a moment to come where it may rest until then, `None` for ever."""
    if run.accepted is None or run.completed or run.unknown:
        return None
    if waits_for_person(run):
        return run.current.deadline
    steps = open_steps(run)
    if not steps:
        return last_moved(run)
    return min(_since(run, attempt_of(run.in_round(step.round), step)) for step in steps)


def _since(run: Run, attempt: Attempt) -> datetime:
    return attempt.issued.at if attempt.issued else attempt.due or last_moved(run)


def last_moved(run: Run) -> datetime:
    """When the newest of what moves a run on was recorded."""
    boxes: list[Box[Any] | None] = [run.accepted]
    for number in (run.round - 1, run.round):
        boxes += _moving(run.in_round(number))
    return max(box.at for box in boxes if box)


def _moving(round_: Round) -> list[Box[Any] | None]:
    steps = [round_.plan, *round_.fetches.values(), round_.synthesis]
    return [*steps, round_.hold, *round_.votes.values(), round_.decision]


def late(run: Run, now: datetime, after: timedelta) -> Late | None:
    """Whether the run has been due to move for longer than `after`, and to whom it looks."""
    since = owed_since(run)
    if since is None or since + after > now:
        return None
    for step in open_steps(run):
        attempt = attempt_of(run.in_round(step.round), step)
        if attempt.issued and attempt.issued.at == since:
            return Late("unanswered", since, f"Nobody has answered the task of its {named(run, step)}.")
    return Late("unwritten", since, "Its next fact is due and not written.")
