"""State of a run's steps: their attempts, outcomes and retries, which are open, and since when the run is due. Pure.

This is the one derivation of step state; `owed`, diagnosis, failures, the timeline and the CLI's progress use it.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal

from msgspec import Struct

from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    INTERRUPTED,
    AttemptFailed,
    DecisionExpired,
    DecisionRejected,
    FetchFailed,
    FetchOutcome,
    PlanFailed,
    PlanOutcome,
    SynthesisFailed,
    SynthesisOutcome,
)
from shared.contracts.subjects import Kind, Slot, Step
from shared.domain.approval import has_quorum
from shared.domain.budget import decided_by_policy
from shared.domain.fork import pending_copies, pending_plan
from shared.domain.run import Entry, Round, Run

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0
_NAMES: Final[dict[Kind, str]] = {"plan": "plan", "fetch": "fetch", "synthesize": "report"}

OutcomeEntry = Entry[PlanOutcome] | Entry[FetchOutcome] | Entry[SynthesisOutcome]


class AttemptState(Struct, frozen=True):
    """One attempt of a step: its task's slot (`slot.attempt` counts from 1), when it was issued, how it failed.

    `failed` is `None` for the current attempt, also if the step has failed for good: that is the step's outcome.
    """

    slot: Slot
    issued: Entry[None] | None
    failed: Entry[AttemptFailed] | None


class StepState(Struct, frozen=True):
    """One step of a run as it is recorded. `count` is the number of steps of its kind in its round."""

    step: Step
    count: int
    attempts: tuple[AttemptState, ...]
    """In order, never empty. The last is the current one: issued, or still to be issued."""
    failures: int
    """Failed attempts, without those that a stopping worker gave back."""
    due: datetime | None
    """Earliest moment of the current attempt; `None` for the first attempt, which may be issued at once."""
    outcome: OutcomeEntry | None

    @property
    def current(self) -> AttemptState:
        """The last attempt: issued, or still to be issued."""
        return self.attempts[-1]

    @property
    def last_failure(self) -> Entry[AttemptFailed] | None:
        """Failure of the attempt before the current one, or `None` for the first attempt."""
        return self.attempts[-2].failed if len(self.attempts) > 1 else None

    @property
    def error(self) -> Failure | None:
        """Error that ended the step, or `None`."""
        fact = self.outcome.fact if self.outcome else None
        return fact.error if isinstance(fact, PlanFailed | FetchFailed | SynthesisFailed) else None

    @property
    def state(self) -> Literal["waits", "works", "done", "failed"]:
        """`failed` or `done` with an outcome; without one, `works` once the current attempt is issued, else `waits`."""
        if self.outcome:
            return "failed" if self.error else "done"
        return "works" if self.current.issued else "waits"

    @property
    def label(self) -> str:
        """Name for people: `plan`, `fetch 2 of 4`, `report`; with the round beyond the first."""
        number = f" {self.step.index + 1} of {self.count}" if self.step.kind == "fetch" else ""
        return f"{_NAMES[self.step.kind]}{number}{f' of round {self.step.round}' if self.step.round > 1 else ''}"


def step_state(round_: Round, step: Step, count: int = 1) -> StepState:
    """State of one step of `round_`, which has `count` steps of this kind."""
    attempts: list[AttemptState] = []
    failures, last, number = 0, None, 1
    slot = step.task(1)
    while failed := round_.attempts.get(path := slot.path):
        attempts.append(AttemptState(slot, round_.issued.get(path), failed))
        failures += failed.fact.error.code != INTERRUPTED
        last, number = failed, number + 1
        slot = step.task(number)
    attempts.append(AttemptState(slot, round_.issued.get(path), None))
    due = _retry_at(slot, failures, last) if last else None
    return StepState(step, count, tuple(attempts), failures, due, _outcome(round_, step))


def _outcome(round_: Round, step: Step) -> OutcomeEntry | None:
    """The entry that ended a step, if it has ended."""
    match step.kind:
        case "plan":
            return round_.plan
        case "fetch":
            return round_.fetches.get(step.index)
        case "synthesize":
            return round_.synthesis


def _retry_at(slot: Slot, failures: int, last: Entry[AttemptFailed]) -> datetime:
    """When the attempt in `slot` may begin after `last` failed; at once if a stopping worker gave it back.

    Exponential backoff from 1 s to 60 s, times 0.5 to 1.5 by a hash of the slot: the same wherever it is computed.
    """
    if last.fact.error.code == INTERRUPTED:
        return last.at
    wait = min(_FIRST_RETRY_S * 2.0 ** (failures - 1), _LONGEST_RETRY_S)
    spread = int.from_bytes(sha256(slot.subject.encode()).digest()[:4]) / 2**32
    return last.at + timedelta(seconds=wait * (0.5 + spread))


def steps(run: Run) -> tuple[StepState, ...]:
    """Every step that the run is known to have, by round: its plan, its fetches, and its report."""
    return tuple(state for number in range(1, run.round + 1) for state in round_steps(run, number))


def round_steps(run: Run, number: int) -> tuple[StepState, ...]:
    """Steps of one round in order: its plan, a fetch for each sub-query once it is planned, and its report."""
    round_, count = run.in_round(number), len(run.queries(number))
    return (
        step_state(round_, Step(run.id, "plan", number)),
        *(step_state(round_, Step(run.id, "fetch", number, index), count) for index in range(count)),
        step_state(round_, Step(run.id, "synthesize", number)),
    )


def open_steps(run: Run) -> tuple[StepState, ...]:
    """The steps that the run has come to and that have no outcome yet, in order."""
    if not _is_researching(run):
        return ()
    number, round_ = run.round, run.current
    if round_.plan is None:
        return (step_state(round_, Step(run.id, "plan", number)),)
    count = len(run.queries(number))
    if missing := [index for index in range(count) if index not in round_.fetches]:
        return tuple(step_state(round_, Step(run.id, "fetch", number, index), count) for index in missing)
    if round_.hold and round_.decision and round_.synthesis is None:
        return (step_state(round_, Step(run.id, "synthesize", number)),)
    return ()


def _is_researching(run: Run) -> bool:
    """Return True if the run goes on with steps or a hold.

    That is not so if it ended, is parked, was rejected or expired, if its first plan failed, and while it still copies
    facts from the run that it forks.
    """
    if run.accepted is None or run.completed or run.unknown:
        return False
    number, round_ = run.round, run.current
    if round_.decision and isinstance(round_.decision.fact, DecisionRejected | DecisionExpired):
        return False
    if number > 1:
        return True
    fork = run.accepted.fact.fork
    is_copying = fork and (pending_plan(run, fork) or pending_copies(run, fork))
    return not is_copying and not (round_.plan and isinstance(round_.plan.fact, PlanFailed))


def awaits_decision(run: Run) -> bool:
    """Return True if the run is on hold for a person: policy or a quorum has not decided, whatever the deadline."""
    is_decided = decided_by_policy(run) or has_quorum(run)
    return run.status == "hold" and _is_researching(run) and not open_steps(run) and not is_decided


def due_since(run: Run) -> datetime | None:
    """Moment since which the run is due to move: in the future while it may rest, `None` if it never will move.

    That is the deadline of a hold; the issue, else the earliest next attempt, of open steps; else the last progress.
    """
    if run.accepted is None or run.completed or run.unknown:
        return None
    if awaits_decision(run):
        return run.current.deadline
    states = open_steps(run)
    return min(_since(run, state) for state in states) if states else last_progress_at(run)


def _since(run: Run, state: StepState) -> datetime:
    """Moment since which an open step is due to move."""
    return state.current.issued.at if state.current.issued else state.due or last_progress_at(run)


def last_progress_at(run: Run) -> datetime:
    """When the newest fact was recorded that moves the run on: of its current round, the one before, or its request.

    Tasks, failed attempts and extensions do not count. Raises `ValueError` for a run without any such fact.
    """
    boxes: list[Entry[Any] | None] = [run.accepted]
    for number in (run.round - 1, run.round):
        round_ = run.in_round(number)
        boxes += [round_.plan, *round_.fetches.values(), round_.synthesis]
        boxes += [round_.hold, *round_.votes.values(), round_.decision]
    return max(box.at for box in boxes if box)


class Lateness(Struct, frozen=True):
    """A run that was due to move and did not: `unanswered`, a worker's turn, or `unwritten`, a coordinator's."""

    code: Literal["unanswered", "unwritten"]
    since: datetime
    text: str


def lateness(run: Run, now: datetime, after: timedelta) -> Lateness | None:
    """How late the run is if it has been due to move for longer than `after` at `now`, else `None`."""
    since = due_since(run)
    if since is None or since + after > now:
        return None
    for state in open_steps(run):
        issued = state.current.issued
        if issued and issued.at == since:
            return Lateness("unanswered", since, f"No worker has answered the task of its {state.label}.")
    return Lateness("unwritten", since, "Its next fact is due and not written.")
