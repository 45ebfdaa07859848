"""The workers' loop: take a task, perform it, fill exactly one box, acknowledge.

Write first, acknowledge second: a crash between the two brings the task back, and its box is then found full.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import Call, Failure
from shared.contracts.facts import (
    INTERRUPTED,
    AttemptFailed,
    Fact,
    StepOutcome,
    calls_of,
    with_prior_calls,
)
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import LIVE_CANCELLED, Kind, Slot, Step, parse_slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task, with_remaining_budget
from shared.contracts.topology import ACK_WAIT_S
from shared.errors import DossierError, Refused, Terminal, Unavailable
from shared.runtime import clock, dataref, live_text, transcript
from shared.runtime.aio import retry_unavailable
from shared.runtime.job import (
    FAILED_OUTCOMES,
    FAILED_TYPES,
    Job,
    check_outcome,
    failed_outcome,
    has_reference,
    missing_text,
    parse_job,
    result_slots,
)
from shared.runtime.log import Log, TaskDelivery, Tasks
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
from shared.telemetry.attempts import AttemptObserver, AttemptRecorder, NullAttemptObserver

logger = logging.getLogger(__name__)

Perform = Callable[[Task], Awaitable[StepOutcome]]
"""Does the work of one task. Raises the `StepError`s of `shared.errors`."""

_T = TypeVar("_T", PlanTask, FetchTask, SynthesizeTask)


def require_task_type(task_type: type[_T], perform: Callable[[_T], Awaitable[StepOutcome]]) -> Perform:
    """`perform`, for a worker: a task of another kind is refused."""

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
_NO_OBSERVER: Final = NullAttemptObserver()


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

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then finish what can be finished in time and give back the rest."""
        async with self._log.tasks(self._kind, at_most=self._at_most) as tasks, asyncio.TaskGroup() as group:
            aides = [
                group.create_task(aide)
                for aide in (self._renew(), self._heed_cancels(), _close_when_stopped(stop, tasks))
            ]
            async for deliveries in tasks:
                for delivery in await self._open(deliveries, tasks):
                    self._start(delivery, tasks)
            await self._finish()
            for aide in aides:
                aide.cancel()

    def _start(self, job: Job, tasks: Tasks) -> None:
        task = asyncio.create_task(self._handle(job, tasks))
        self._jobs[task] = job
        task.add_done_callback(self._jobs.pop)

    async def _open(self, deliveries: Sequence[TaskDelivery], tasks: Tasks) -> list[Job]:
        """The jobs among these that are still to be done; the others are acknowledged."""
        read = [
            (delivery, await self._whole(delivery.message) if has_reference(delivery.message) else delivery.message)
            for delivery in deliveries
        ]
        now = asyncio.get_running_loop().time()
        jobs = [job for delivery, message in read if (job := parse_job(delivery, message, since=now))]
        if len(jobs) < len(read):
            ours = {job.delivery for job in jobs}
            await self._pass_over([each for each in read if each[0] not in ours], tasks)
        jobs = await self._not_in_hand(jobs, tasks)
        answered = await self._answered([job for job in jobs if not job.delivery.fresh])
        settled = [job for job in jobs if answered and result_slots(job) & answered]
        for job in settled:
            await job.delivery.ack()
        await tasks.release(len(settled))
        return [job for job in jobs if job not in settled] if settled else jobs

    async def _not_in_hand(self, jobs: Sequence[Job], tasks: Tasks) -> list[Job]:
        """Each task once. One that came again while this process stood still is in hand, and kept by what it does."""
        in_hand = {job.delivery.message.seq for job in self._jobs.values()}
        once = {job.delivery.message.seq: job for job in jobs if job.delivery.message.seq not in in_hand}
        if len(once) < len(jobs):
            await tasks.release(len(jobs) - len(once))
        return list(once.values())

    async def _whole(self, message: Message) -> Message:
        return await retry_unavailable(lambda: dataref.load_text(self._log, message))

    async def _pass_over(self, unread: Sequence[tuple[TaskDelivery, Message]], tasks: Tasks) -> None:
        """Leave what this release cannot read to a newer worker; fail the step when none has come, or none can."""
        for delivery, message in unread:
            slot = parse_slot(message.subject)
            given_up = (
                missing_text(message)
                if has_reference(message)
                else give_up_abandoned(delivery.deliveries, self._policy)
            )
            if slot and slot.kind and given_up:
                step = Step(slot.run, slot.kind, slot.round, slot.index)
                fact = FAILED_OUTCOMES[slot.kind](given_up.error)
                event = Event(fact, f"dossier/{self._kind}", clock.now())
                await self._log.fill([Fill(step.outcome.subject, envelope.encode(step.outcome, event))])
                await delivery.ack()
        await tasks.release(len(unread))

    async def _answered(self, jobs: Sequence[Job]) -> set[str]:
        """Which of the boxes that would make these jobs pointless are full."""
        subjects = {subject for job in jobs for subject in result_slots(job)}
        while subjects:
            try:
                return set(await self._log.last(sorted(subjects)))
            except Unavailable as error:
                logger.warning("Cannot read what is done already: %s", error, extra={"event": "task.unread"})
                await asyncio.sleep(0.5)
        return set()

    async def _handle(self, job: Job, tasks: Tasks) -> None:
        """Bring one task to exactly one end: its outcome, or a failed attempt that another may follow."""
        self._performing.add(job)
        self._paid[job] = ()
        transcript.begin_transcript()
        watch = AttemptRecorder(job, self._observer)
        try:
            await self._bring_to_its_end(job, watch)
        except DossierError as error:
            logger.error(
                "%s attempt %d could not be recorded: %s",
                job.step.outcome.subject,
                job.attempt,
                error,
                extra={"event": "attempt.unrecorded"},
            )
        except Exception as error:
            await self._own_up(job, error, watch)
        finally:
            self._performing.discard(job)
            watch.over(self._paid.pop(job))
            await tasks.release()

    async def _bring_to_its_end(self, job: Job, watch: AttemptRecorder) -> None:
        try:
            await self._log.wait_writable()
            slot, fact = await self._done(job, watch)
            self._performing.discard(job)
            watch.recorded(await self._record(job, slot, fact))
            await job.delivery.ack()
        except asyncio.CancelledError:
            if self._stopping and job in self._performing:
                await self._interrupt(job, watch)

    async def _own_up(self, job: Job, error: Exception, watch: AttemptRecorder) -> None:
        """After a defect of the worker itself the task comes again, and fails when others would have died on it."""
        self._performing.discard(job)
        self._log_failure(job, error)
        if give_up_abandoned(job.delivery.deliveries, self._policy):
            fact = with_prior_calls(failed_outcome(job.issued.task, failure_from(error)), self._paid[job])
            watch.recorded(await self._record(job, job.step.outcome, fact))
            await job.delivery.ack()

    async def _done(self, job: Job, watch: AttemptRecorder) -> tuple[Slot, StepOutcome | AttemptFailed]:
        """Perform the task, as often as it is throttled; the box to fill and what with."""
        if given_up := give_up_abandoned(job.delivery.deliveries, self._policy):
            return job.step.outcome, failed_outcome(job.issued.task, given_up.error)
        waited_s, began = 0.0, asyncio.get_running_loop().time()
        while True:
            try:
                live_text.set_current_step(job.step)
                outcome = check_outcome(
                    self._kind, await self._perform(with_remaining_budget(job.issued.task, self._paid[job]))
                )
                return job.step.outcome, self._worked(job, outcome, began)
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
                    return job.step.outcome, self._worked(job, failed_outcome(job.issued.task, failure), began)

    def _worked(self, job: Job, outcome: StepOutcome, began: float) -> StepOutcome:
        """The outcome with all that was paid for it and the time that it took since `began`."""
        return replace(with_prior_calls(outcome, self._paid[job]), duration_s=_elapsed_s(began))

    async def _record(self, job: Job, slot: Slot, fact: StepOutcome | AttemptFailed) -> StepOutcome | AttemptFailed:
        """Write it, however long that takes; instead of what can never be written, that this is so. Returns it."""
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
        await transcript.store_texts(self._log)
        event = Event(fact, f"dossier/{self._kind}", clock.now(), job.traceparent)
        data = await dataref.encode_fact(self._log, slot, event)
        [filled] = await self._log.fill([Fill(slot.subject, data)])
        if isinstance(filled, Refused):
            raise filled

    async def _interrupt(self, job: Job, watch: AttemptRecorder) -> None:
        """Say that this attempt was given up unfinished, so that the next follows at once and none counts as failed.

        While nothing can be written the task is handed back instead.
        """
        if self._log.trouble:
            await job.delivery.nak()
            return
        error = Failure(INTERRUPTED, "The worker was told to stop.")
        fact = AttemptFailed(error=error, duration_s=0.0, calls=self._paid[job])
        watch.recorded(await self._record(job, job.step.attempt(job.attempt), fact))
        await job.delivery.ack()

    async def _finish(self) -> None:
        """Give the jobs in hand their grace, then interrupt those without a result; results are still written."""
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._grace_s)
        self._stopping = True
        for task in list(self._jobs):
            self._abort(task)
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=_LAST_WORDS_S)

    async def _renew(self) -> None:
        """Keep every job in hand from being handed to another; abort those that cannot be kept, before they are."""
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
                        "A task is aborted: NATS cannot be told that it is alive.", extra={"event": "attempt.aborted"}
                    )

    async def _heed_cancels(self) -> None:
        """Abort the jobs of a run as soon as it is said to be cancelled. Only economy: a missed hint costs work."""
        async with aclosing(self._log.hints(LIVE_CANCELLED)) as hints:
            async for hint in hints:
                for task, job in list(self._jobs.items()):
                    if job.step.run == hint.subject.split(".")[1] and self._abort(task):
                        await job.delivery.ack()

    def _abort(self, task: asyncio.Task[None]) -> bool:
        """Stop work on a task; not once there is a result, which is paid for and is sent until it is answered."""
        job = self._jobs.get(task)
        return job in self._performing and task.cancel()

    def _log_failure(self, job: Job, error: Exception) -> None:
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
    """Seconds since then, by the loop's clock."""
    return round(asyncio.get_running_loop().time() - began, 3)


async def _try_renew(job: Job) -> bool:
    try:
        async with asyncio.timeout(_RENEW_WITHIN_S):
            await job.delivery.renew()
    except (Unavailable, TimeoutError):
        return False
    return True


async def _close_when_stopped(stop: asyncio.Event, tasks: Tasks) -> None:
    await stop.wait()
    await tasks.close()
