"""One task taken by a worker, parsed. Pure, except that unreadable tasks are logged."""

import logging
from typing import Final, get_args

from msgspec import Struct

from shared.contracts import envelope
from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    FetchFailed,
    FetchOutcome,
    PlanFailed,
    PlanOutcome,
    StepOutcome,
    SynthesisFailed,
    SynthesisOutcome,
    TaskIssued,
)
from shared.contracts.messages import Message
from shared.contracts.subjects import RUN, Kind, Step, parse_slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.errors import ContractError
from shared.runtime.log import TaskDelivery
from shared.runtime.retry_policy import GiveUp

logger = logging.getLogger(__name__)


class Job(Struct, frozen=True, eq=False):
    """One task in progress; `since` is its beginning in loop time."""

    delivery: TaskDelivery
    since: float
    step: Step
    attempt: int
    issued: TaskIssued
    traceparent: str | None


def parse_job(delivery: TaskDelivery, message: Message, *, since: float) -> Job | None:
    """Return the job of a task, or log an error and return `None` if this release cannot read it.

    An unreadable task stays unacknowledged: it is handed out again after `ACK_WAIT_S`, perhaps to a newer worker.
    """
    slot = parse_slot(message.subject)
    try:
        event = envelope.decode(message.data, message.text)
    except ContractError as error:
        logger.error("%s cannot be read here: %s", message.subject, error, extra={"event": "task.unreadable"})
        return None
    if slot is None or slot.kind is None or not isinstance(event.fact, TaskIssued):
        logger.error("%s is no task.", message.subject, extra={"event": "task.misfit"})
        return None
    step = Step(slot.run, slot.kind, slot.round, slot.index)
    return Job(delivery, since, step, slot.attempt, event.fact, event.traceparent)


def has_reference(message: Message) -> bool:
    """Return True if the data of a message is a text in `EVIDENCE` that is not loaded yet."""
    return message.text is None and envelope.referenced_sha256(message.data) is not None


def missing_text(message: Message) -> GiveUp:
    """Return the failure of a task whose text is missing or damaged."""
    sha256 = envelope.referenced_sha256(message.data)
    text = f"The data of the task is the text {sha256}, which is missing from EVIDENCE or damaged there."
    return GiveUp(Failure("text_missing", text))


def result_slots(job: Job) -> set[str]:
    """Subjects of the slots of which each, if full, makes this job pointless: outcome, failure of the attempt, end of
    the run.
    """
    return {
        job.step.outcome.subject,
        job.step.attempt(job.attempt).subject,
        f"{RUN}.{job.step.run}.completed",
    }


_OUTCOMES: Final[dict[Kind, tuple[type, ...]]] = {
    "plan": get_args(PlanOutcome),
    "fetch": get_args(FetchOutcome),
    "synthesize": get_args(SynthesisOutcome),
}


def check_outcome(kind: Kind, outcome: StepOutcome) -> StepOutcome:
    """Return `outcome`. Raises `TypeError` if it is not one of this kind of step, since that would block its run for
    ever.
    """
    if not isinstance(outcome, _OUTCOMES[kind]):
        raise TypeError(f"A {type(outcome).__name__} is no outcome of {kind}.")
    return outcome


FAILED_TYPES: Final = (PlanFailed, FetchFailed, SynthesisFailed)


def failed_outcome(task: Task | Kind, error: Failure) -> StepOutcome:
    """Return the failed outcome of a task. If only its kind is known, a fetch has an empty query."""
    match task:
        case PlanTask() | "plan":
            return PlanFailed(error=error)
        case FetchTask(query=query):
            return FetchFailed(query=query, error=error)
        case "fetch":
            return FetchFailed(query="", error=error)
        case SynthesizeTask() | "synthesize":
            return SynthesisFailed(error=error)
