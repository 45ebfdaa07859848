"""The worker's loop: take a task, perform it, fill exactly one slot, acknowledge.

It writes first and acknowledges second: after a crash in between, the task comes again and its slot is found full.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from msgspec.structs import replace

from shared.contracts.envelope import Event
from shared.contracts.evidence import Call, Failure
from shared.contracts.facts import INTERRUPTED, AttemptFailed, Fact, StepOutcome, calls_of, with_prior_calls
from shared.contracts.messages import Fill
from shared.contracts.subjects import LIVE_CANCELLED, Kind, Slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task, with_remaining_budget
from shared.contracts.topology import ACK_WAIT_S
from shared.errors import DossierError, Refused, Terminal, Unavailable
from shared.runtime import clock, dataref, live_text, transcript
from shared.runtime.job import FAILED_TYPES, Job, check_outcome, failed_outcome
from shared.runtime.log import Log, Tasks
from shared.runtime.retry_policy import (
    GiveUp,
    Retry,
    RetryInPlace,
    RetryPolicy,
    decide_retry,
    failure_from,
    give_up_abandoned,
    paid_calls,
    write_failure,
)
from shared.service.intake import TaskIntake
from shared.telemetry.attempts import AttemptObserver, AttemptRecorder

logger = logging.getLogger(__name__)

Perform = Callable[[Task], Awaitable[StepOutcome]]
"""Does the work of one task. Raises the `StepError`s of `shared.errors`."""

_T = TypeVar("_T", PlanTask, FetchTask, SynthesizeTask)


def require_task_type(task_type: type[_T], perform: Callable[[_T], Awaitable[StepOutcome]]) -> Perform:
    """Return `perform` for a worker. A task of another type raises `Terminal`."""

    async def checked(task: Task) -> StepOutcome:
        if not isinstance(task, task_type):
            raise Terminal("wrong_task", f"This worker performs {task_type.__name__}, not {type(task).__name__}.")
        return await perform(task)

    return checked


_RENEW_S: Final = ACK_WAIT_S / 3
_RENEW_AGAIN_S: Final = 2.0
_RENEW_WITHIN_S: Final = 5.0
"""With the two above, an abort comes at the latest 27 s after the last word that the server may have heard."""
_LAST_WORDS_S: Final = 5.0
_REFUSED_AGAIN_S: Final = 30.0
_NO_OBSERVER: Final = AttemptObserver()


class Worker:
    """Performs the tasks of one kind, at most `at_most` at once in this process."""

    def __init__(
        self,
        log: Log,
        kind: Kind,
        perform: Perform,
        *,
        at_most: int,
        policy: RetryPolicy,
        grace_s: float = 20.0,
        observer: AttemptObserver = _NO_OBSERVER,
    ) -> None:
        self._log = log
        self._kind: Kind = kind
        self._perform = perform
        self._at_most = at_most
        self._policy = policy
        self._grace_s = grace_s
        self._observer = observer
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._performing: set[Job] = set()
        self._paid: dict[Job, tuple[Call, ...]] = {}
        """The model calls that each job has paid for so far, to no outcome yet."""
        self._stopping = False
        self._intake = TaskIntake(log, kind, policy, in_hand=self._in_hand)

    def _in_hand(self) -> set[int]:
        """Return the sequences of the tasks in progress."""
        return {job.delivery.message.seq for job in self._jobs.values()}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish within `grace_s` seconds what can be finished and give back
        the rest.
        """
        async with self._log.tasks(self._kind, at_most=self._at_most) as tasks, asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(helper)
                for helper in (self._renew(), self._watch_cancellations(), _close_when_stopped(stop, tasks))
            ]
            async for deliveries in tasks:
                for delivery in await self._intake.open(deliveries, tasks):
                    self._start(delivery, tasks)
            await self._drain()
            for helper in helpers:
                helper.cancel()

    def _start(self, job: Job, tasks: Tasks) -> None:
        """Handle a job in a task of its own."""
        task = asyncio.create_task(self._handle(job, tasks))
        self._jobs[task] = job
        task.add_done_callback(self._jobs.pop)

    async def _handle(self, job: Job, tasks: Tasks) -> None:
        """Bring one task to exactly one end: its outcome, or a failed attempt that another may follow."""
        self._performing.add(job)
        self._paid[job] = ()
        transcript.begin_transcript()
        watch = AttemptRecorder(job, self._observer)
        try:
            await self._perform_and_record(job, watch)
        except DossierError as error:
            logger.error(
                "%s attempt %d could not be recorded: %s",
                job.step.outcome.subject,
                job.attempt,
                error,
                extra={"event": "attempt.unrecorded"},
            )
        except Exception as error:
            await self._record_defect(job, error, watch)
        finally:
            self._performing.discard(job)
            watch.over(self._paid.pop(job))
            await tasks.release()

    async def _perform_and_record(self, job: Job, watch: AttemptRecorder) -> None:
        """Perform the task, record the result and acknowledge. If cancelled while stopping, record an interruption."""
        try:
            await self._log.wait_writable()
            slot, fact = await self._perform_attempt(job, watch)
            self._performing.discard(job)
            watch.recorded(await self._record(job, slot, fact))
            await job.delivery.ack()
        except asyncio.CancelledError:
            if self._stopping and job in self._performing:
                await self._interrupt(job, watch)

    async def _record_defect(self, job: Job, error: Exception, watch: AttemptRecorder) -> None:
        """Log a defect of the worker itself. The task comes again; after too many deliveries its step fails."""
        self._performing.discard(job)
        self._log_failure(job, error)
        if give_up_abandoned(job.delivery.deliveries, self._policy):
            fact = with_prior_calls(failed_outcome(job.issued.task, failure_from(error)), self._paid[job])
            watch.recorded(await self._record(job, job.step.outcome, fact))
            await job.delivery.ack()

    async def _perform_attempt(self, job: Job, watch: AttemptRecorder) -> tuple[Slot, StepOutcome | AttemptFailed]:
        """Perform the task, waiting in place while throttled; return the slot to fill and the fact."""
        if given_up := give_up_abandoned(job.delivery.deliveries, self._policy):
            return job.step.outcome, failed_outcome(job.issued.task, given_up.error)
        waited_s, began = 0.0, asyncio.get_running_loop().time()
        while True:
            try:
                live_text.set_current_step(job.step)
                outcome = check_outcome(
                    self._kind, await self._perform(with_remaining_budget(job.issued.task, self._paid[job]))
                )
                return job.step.outcome, self._with_usage(job, outcome, began)
            except Exception as error:
                self._paid[job] += paid_calls(error)
                follows = decide_retry(error, failures=job.issued.failures, waited_s=waited_s, policy=self._policy)
                self._log_failure(job, error)
            match follows:
                case RetryInPlace(seconds=seconds):
                    waited_s += seconds
                    watch.throttled += 1
                    await asyncio.sleep(seconds)
                case Retry(error=failure):
                    fact = AttemptFailed(error=failure, duration_s=_elapsed_s(began), calls=self._paid[job])
                    return job.step.attempt(job.attempt), fact
                case GiveUp(error=failure):
                    return job.step.outcome, self._with_usage(job, failed_outcome(job.issued.task, failure), began)

    def _with_usage(self, job: Job, outcome: StepOutcome, began: float) -> StepOutcome:
        """Return the outcome with the calls paid for before and the seconds since `began`."""
        return replace(with_prior_calls(outcome, self._paid[job]), duration_s=_elapsed_s(began))

    async def _record(self, job: Job, slot: Slot, fact: StepOutcome | AttemptFailed) -> StepOutcome | AttemptFailed:
        """Write the fact, however long that takes, and return the fact that was written.

        A fact that can never be written is replaced by a failed outcome. Raises `Unavailable` if the log is closed.
        """
        while True:
            try:
                await self._write(job, slot, fact)
                return fact
            except Unavailable:
                raise
            except Exception as error:
                self._log_failure(job, error)
                if slot == job.step.outcome and isinstance(fact, FAILED_TYPES):
                    await asyncio.sleep(_REFUSED_AGAIN_S)
                lost = failed_outcome(job.issued.task, write_failure(error))
                slot = job.step.outcome
                fact = replace(with_prior_calls(lost, calls_of(fact)), duration_s=fact.duration_s)

    async def _write(self, job: Job, slot: Slot, fact: Fact) -> None:
        """Store the transcript, then fill the slot. Raises `Refused`, `TooLarge` or `Unavailable`."""
        await transcript.store_texts(self._log)
        event = Event(fact, f"dossier/{self._kind}", clock.now(), job.traceparent)
        data = await dataref.encode_fact(self._log, slot, event)
        [filled] = await self._log.fill([Fill(slot.subject, data)])
        if isinstance(filled, Refused):
            raise filled

    async def _interrupt(self, job: Job, watch: AttemptRecorder) -> None:
        """Record that the attempt was interrupted, so that the next follows at once and none counts as failed.

        While nothing can be written, the task is handed back instead.
        """
        if self._log.trouble:
            await job.delivery.nak()
            return
        error = Failure(INTERRUPTED, "The worker was stopped.")
        fact = AttemptFailed(error=error, duration_s=0.0, calls=self._paid[job])
        watch.recorded(await self._record(job, job.step.attempt(job.attempt), fact))
        await job.delivery.ack()

    async def _drain(self) -> None:
        """Wait `grace_s` seconds for the jobs in progress, then interrupt those without a result. Results are still
        written.
        """
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._grace_s)
        self._stopping = True
        for task in list(self._jobs):
            self._abort(task)
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=_LAST_WORDS_S)

    async def _renew(self) -> None:
        """Extend the time of every job in progress, until cancelled. Abort jobs that cannot be extended before others
        get them.
        """
        kept: dict[asyncio.Task[None], float] = {}
        now = asyncio.get_running_loop().time
        pause = _RENEW_S
        while True:
            await asyncio.sleep(pause)
            asked = now()
            kept = {task: kept.get(task, job.since) for task, job in self._jobs.items()}
            renewed = await asyncio.gather(*(_try_renew(self._jobs[task]) for task in kept))
            pause = _RENEW_S if all(renewed) else min(_RENEW_S, _RENEW_AGAIN_S)
            for task, still_ours in zip(kept, renewed, strict=True):
                if still_ours:
                    kept[task] = asked
                elif now() - kept[task] >= ACK_WAIT_S * 2 / 3 and self._abort(task):
                    logger.warning(
                        "A task is aborted: NATS does not confirm that it is still in progress.",
                        extra={"event": "attempt.aborted"},
                    )

    async def _watch_cancellations(self) -> None:
        """Abort the jobs of runs that hints report as cancelled. A missed hint costs work, not correctness."""
        async with aclosing(self._log.hints(LIVE_CANCELLED)) as hints:
            async for hint in hints:
                for task, job in list(self._jobs.items()):
                    if job.step.run == hint.subject.split(".")[1] and self._abort(task):
                        await job.delivery.ack()

    def _abort(self, task: asyncio.Task[None]) -> bool:
        """Cancel work on a task and return True; False once there is a result, which is still written."""
        job = self._jobs.get(task)
        return job in self._performing and task.cancel()

    def _log_failure(self, job: Job, error: Exception) -> None:
        """Log the failure of an attempt; with a traceback, and without its text, if it is a defect."""
        failure = failure_from(error)
        logger.warning(
            "%s attempt %d failed (%s): %s",
            job.step.outcome.subject,
            job.attempt,
            failure.code,
            type(error).__name__ if failure.code == "defect" else failure.message,
            exc_info=error if failure.code == "defect" else None,
            extra={"event": "attempt.failed"},
        )


def _elapsed_s(began: float) -> float:
    """Seconds since `began` in loop time, to the millisecond."""
    return round(asyncio.get_running_loop().time() - began, 3)


async def _try_renew(job: Job) -> bool:
    """Return False if the job's time could not be extended within 5 s."""
    try:
        async with asyncio.timeout(_RENEW_WITHIN_S):
            await job.delivery.renew()
    except (Unavailable, TimeoutError):
        return False
    return True


async def _close_when_stopped(stop: asyncio.Event, tasks: Tasks) -> None:
    """Wait for `stop`, then close the tasks."""
    await stop.wait()
    await tasks.close()
