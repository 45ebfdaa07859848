"""Diagnosis of a run that does not move: what it waits for, and since when. Pure.

It follows from the run, the time, and the state of the consumers; codes are for programs, texts for people.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from shared.contracts.evidence import Failure
from shared.contracts.facts import INTERRUPTED, AttemptFailed
from shared.contracts.messages import Queue
from shared.contracts.subjects import Kind, Step
from shared.domain.approval import describe_deciders
from shared.domain.budget import over_budget
from shared.domain.run import Entry, Run
from shared.domain.steps import StepState, awaits_decision, last_progress_at, open_steps

Code = Literal["ended", "parked", "person", "retry", "place", "worker", "working", "coordinator"]
"""Thing waited for: nothing, since the run ended; a release that knows a fact; a person; the time of the next attempt;
a place within the limit of tasks in flight; a worker to take the task; the worker that has it; a coordinator."""

WORKERS: Final[dict[Kind, str]] = {"plan": "planner", "fetch": "fetcher", "synthesize": "synthesizer"}


class Observations(Struct, frozen=True):
    """Facts besides the run. `None`, or a missing kind, means that NATS did not report it."""

    now: datetime
    attempts: int
    """Number of attempts that a step gets."""
    led: bool | None = None
    """True if a coordinator leads."""
    queues: Mapping[Kind, Queue] = {}
    messages: Sequence[tuple[int, str]] = ()
    """Unanswered contract messages about the run: sequence and subject."""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """One thing that the run waits for. Fields that do not apply are `None`."""

    code: Code
    text: str
    since: datetime | None = None
    step: Step | None = None
    of: int | None = None
    """Number of steps of its kind in the round."""
    attempt: int | None = None
    """Number of the attempt, without those that a stopping worker gave back."""
    error: Failure | None = None
    """Of the attempt before."""
    failed_at: datetime | None = None
    next_try_at: datetime | None = None
    deadline: datetime | None = None
    may_decide: str | None = None
    queue: Queue | None = None
    """State of the queue of the step's kind."""


def diagnose(run: Run, seen: Observations) -> tuple[Diagnosis, ...]:
    """Everything that the run waits for, in the order of its steps: one item, or one for each open fetch.

    A run with a contract message that is not answered yet waits for a coordinator.
    """
    if run.completed:
        return (_of_ended_run(run, seen),)
    if run.unknown:
        text = f"It is parked: {run.unknown.fact} A coordinator of a release that knows this goes on with it."
        return (Diagnosis(code="parked", since=run.unknown.at, text=text),)
    if run.accepted is None or seen.messages:
        return (_of_pending_message(run, seen),)
    if awaits_decision(run) and (deadline := run.current.deadline) and seen.now < deadline:
        return (_of_hold(run, deadline, seen),)
    if steps := open_steps(run):
        return tuple(_of_step(run, step, seen) for step in steps)
    return (_of_coordinator(last_progress_at(run), "Its next fact is due", seen),)


def _of_ended_run(run: Run, seen: Observations) -> Diagnosis:
    """Diagnosis `ended`: nothing is waited for."""
    assert run.completed
    ended = run.completed
    reason = f": {ended.fact.reason}" if ended.fact.reason else "."
    text = f"For nothing: it ended {format_ago(ended.at, seen.now)}, {ended.fact.outcome}{reason}"
    return Diagnosis(code="ended", since=ended.at, text=text)


def _of_pending_message(run: Run, seen: Observations) -> Diagnosis:
    """Diagnosis `coordinator` for the first unanswered contract message, or for a run without request."""
    if not seen.messages:
        return Diagnosis(code="coordinator", text="Its request is not in the log, though later facts of it are.")
    seq, subject = seen.messages[0]
    since = last_progress_at(run) if run.accepted else None
    return _of_coordinator(since, f"The message on {subject} at {seq} is still to be judged", seen)


def _of_hold(run: Run, deadline: datetime, seen: Observations) -> Diagnosis:
    """Diagnosis `person`: deadline, who extended it, who may decide, and whether the cost limit must be raised."""
    assert run.current.hold
    hold, rights = run.current.hold, describe_deciders(run)
    text = (
        f"It waits for a person to decide on its evidence{_auto_note(run)}, since {format_span(seen.now - hold.at)}; "
        f"in {format_span(deadline - seen.now)} it expires{_extension_note(run)}. Who may decide: {rights}."
    )
    if over_budget(run):
        text += " Its report could cost more than the run may; an approval has to raise max_cost_usd."
    return Diagnosis(code="person", since=hold.at, deadline=deadline, may_decide=rights, text=text)


def _extension_note(run: Run) -> str:
    """Clause naming who extended the deadline; empty if it was not extended."""
    names = dict.fromkeys(box.fact.by for box in run.current.valid_extensions())
    return f", as extended by {', '.join(names)}" if names else ""


def _auto_note(run: Run) -> str:
    """Clause why an `auto` run waits for a person after a revision; empty otherwise."""
    auto = run.accepted is not None and run.accepted.fact.approval == "auto"
    return ", as it was sent back once" if auto and run.round > 1 else ""


def _of_step(run: Run, step: StepState, seen: Observations) -> Diagnosis:
    """Reason why a step has no outcome yet."""
    code, since, text = _who_acts(run, step, seen)
    last = step.last_failure
    if last and code != "retry":
        text = f"{text} {_describe_failure(step, last, seen)}"
    return Diagnosis(
        code=code,
        since=since,
        text=text,
        step=step.step,
        of=step.count,
        attempt=step.failures + 1,
        error=last.fact.error if last else None,
        failed_at=last.at if last else None,
        next_try_at=step.due if code == "retry" else None,
        queue=seen.queues.get(step.step.kind),
    )


def _who_acts(run: Run, step: StepState, seen: Observations) -> tuple[Code, datetime | None, str]:
    """Who has to act on an open step, since when, and a sentence: a worker, time (`retry`), or the coordinator."""
    if issued := step.current.issued:
        code, text = _of_issued_task(step.step.kind, issued.seq, seen.queues.get(step.step.kind))
        return code, issued.at, f"Its {step.label}, asked for {format_ago(issued.at, seen.now)}, {text}"
    last = step.last_failure
    if last and step.due and step.due > seen.now:
        text = f"{_describe_failure(step, last, seen)} The next is due in {format_span(step.due - seen.now)}."
        return "retry", step.due, text
    wait = _of_coordinator(step.due or last_progress_at(run), f"The task of its {step.label} is due", seen)
    return wait.code, wait.since, wait.text


def _of_issued_task(kind: Kind, seq: int, queue: Queue | None) -> tuple[Code, str]:
    """Code and sentence for an issued task without answer: `place`, `worker` or `working`."""
    worker = WORKERS[kind]
    if queue is None:
        return "worker", f"is unanswered; NATS does not report whether a {worker} has it."
    if seq <= queue.handed_out:
        return _of_handed_out_task(worker, queue)
    before = queue.waiting - 1
    ahead = f"{before} {'task is' if before == 1 else 'tasks are'} before it at most" if before > 0 else "it is next"
    if queue.in_flight >= queue.limit:
        return "place", f"waits for a place: all {queue.limit} that the limit allows are taken; {ahead}."
    if queue.asking:
        return "worker", f"waits for a {worker}: {ahead}, and one is asking for work."
    taken = f"{queue.in_flight} are in hand" if queue.in_flight else "none is in hand"
    return "worker", f"waits for a {worker}: {ahead}, {taken}, and no {worker} is asking for work."


def _of_handed_out_task(worker: str, queue: Queue) -> tuple[Code, str]:
    """Code and sentence for a task that the consumer has delivered: `working`, or `worker` if none is in flight."""
    if not queue.in_flight:
        return "worker", f"is unanswered, and no {worker} has any task in hand."
    again = f"; of {queue.in_flight} in hand, {queue.redelivered} came back before" if queue.redelivered else ""
    if queue.asking:
        return "working", f"is with a {worker}{again}. Should that die, another takes over within half a minute."
    return "working", f"was handed to a {worker}{again}. Should that have died: no {worker} is asking for work."


def _describe_failure(step: StepState, last: Entry[AttemptFailed], seen: Observations) -> str:
    """Sentence about the last failed attempt of a step."""
    error = last.fact.error
    if error.code == INTERRUPTED:
        return f"A worker that was stopping gave it back {format_ago(last.at, seen.now)}."
    which = f"Attempt {max(step.failures, 1)} of {seen.attempts} of its {step.label}"
    return f"{which} failed {format_ago(last.at, seen.now)} ({error.code}: {error.message.rstrip('.')})."


def _of_coordinator(since: datetime | None, due: str, seen: Observations) -> Diagnosis:
    """Diagnosis `coordinator`: a fact is due, with what NATS reports about the leader."""
    match seen.led:
        case None:
            who = "NATS does not report whether a coordinator leads"
        case True:
            who = "the coordinator that leads has not written it yet"
        case False:
            who = "no coordinator leads"
    age = f", since {format_span(seen.now - since)}" if since else ""
    return Diagnosis(code="coordinator", since=since, text=f"{due}{age}; {who}.")


def format_ago(then: datetime, now: datetime) -> str:
    """Time since `then`, as `12 s ago`."""
    return f"{format_span(now - then)} ago"


def format_span(time: timedelta) -> str:
    """Duration in its two largest units, as `12 s` or `2 h 5 min`; negative durations as `0 s`."""
    left, parts = max(0, round(time.total_seconds())), list[str]()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts[:2])
