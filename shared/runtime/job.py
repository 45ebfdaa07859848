"""One task in a worker's hand, taken apart. Pure but for a word in the log about what cannot be read."""

import logging
from collections.abc import Callable
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
    """One task in hand, `since` when by the loop's clock."""

    delivery: TaskDelivery
    since: float
    step: Step
    attempt: int
    issued: TaskIssued
    traceparent: str | None


def parse_job(delivery: TaskDelivery, message: Message, *, since: float) -> Job | None:
    """The task taken apart; `None` for what this release cannot read.

    That stays unacknowledged: it comes again after `ACK_WAIT_S`, perhaps to a newer worker.
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
    """Whether the data of a message is elsewhere, and not fetched yet."""
    return message.text is None and envelope.referenced_sha256(message.data) is not None


def missing_text(message: Message) -> GiveUp:
    """What follows from a task whose text is not to be had."""
    sha256 = envelope.referenced_sha256(message.data)
    text = f"The data of the task is the text {sha256}, which is missing from EVIDENCE or damaged there."
    return GiveUp(Failure("text_missing", text))


def result_slots(job: Job) -> set[str]:
    """The boxes each of which, if full, makes this job pointless."""
    return {
        job.step.outcome.subject,
        job.step.attempt(job.attempt).subject,
        f"{RUN}.{job.step.run}.completed",
    }


FAILED_OUTCOMES: Final[dict[Kind, Callable[[Failure], StepOutcome]]] = {
    "plan": lambda error: PlanFailed(error=error),
    "fetch": lambda error: FetchFailed(query="", error=error),
    "synthesize": lambda error: SynthesisFailed(error=error),
}


_OUTCOMES: Final[dict[Kind, tuple[type, ...]]] = {
    "plan": get_args(PlanOutcome),
    "fetch": get_args(FetchOutcome),
    "synthesize": get_args(SynthesisOutcome),
}


def check_outcome(kind: Kind, outcome: StepOutcome) -> StepOutcome:
    """The outcome, which must be one of this kind of step: any other would park its run for ever."""
    if not isinstance(outcome, _OUTCOMES[kind]):
        raise TypeError(f"A {type(outcome).__name__} is no outcome of {kind}.")
    return outcome


FAILED_TYPES: Final = (PlanFailed, FetchFailed, SynthesisFailed)


def failed_outcome(task: Task, error: Failure) -> StepOutcome:
    """The outcome that says that a task failed."""
    match task:
        case PlanTask():
            return PlanFailed(error=error)
        case FetchTask(query=query):
            return FetchFailed(query=query, error=error)
        case SynthesizeTask():
            return SynthesisFailed(error=error)
