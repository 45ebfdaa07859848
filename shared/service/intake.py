"""Intake of tasks: which of the tasks handed out are still to be done."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import Kind, Step, parse_slot
from shared.errors import Unavailable
from shared.runtime import clock, dataref
from shared.runtime.aio import retry_unavailable
from shared.runtime.job import Job, failed_outcome, has_reference, missing_text, parse_job, result_slots
from shared.runtime.log import Log, TaskDelivery, Tasks
from shared.runtime.retry_policy import RetryPolicy, give_up_abandoned

logger = logging.getLogger(__name__)


class TaskIntake:
    """Opens the deliveries of one kind of task. `in_hand` returns the sequences of the tasks in progress."""

    def __init__(self, log: Log, kind: Kind, policy: RetryPolicy, *, in_hand: Callable[[], set[int]]) -> None:
        self._log = log
        self._kind: Kind = kind
        self._policy = policy
        self._in_hand = in_hand

    async def open(self, deliveries: Sequence[TaskDelivery], tasks: Tasks) -> list[Job]:
        """Return the jobs that are still to be done. Jobs already answered are acknowledged, unreadable ones passed
        over.
        """
        read = [
            (delivery, await self._load_text(delivery.message) if has_reference(delivery.message) else delivery.message)
            for delivery in deliveries
        ]
        now = asyncio.get_running_loop().time()
        jobs = [job for delivery, message in read if (job := parse_job(delivery, message, since=now))]
        if len(jobs) < len(read):
            ours = {job.delivery for job in jobs}
            await self._pass_over([each for each in read if each[0] not in ours], tasks)
        jobs = await self._drop_in_hand(jobs, tasks)
        answered = await self._filled_results([job for job in jobs if not job.delivery.fresh])
        settled = [job for job in jobs if answered and result_slots(job) & answered]
        for job in settled:
            await job.delivery.ack()
        await tasks.release(len(settled))
        return [job for job in jobs if job not in settled] if settled else jobs

    async def _drop_in_hand(self, jobs: Sequence[Job], tasks: Tasks) -> list[Job]:
        """Return each task once, without those in progress here: a task may come again while this process
        stood still.
        """
        in_hand = self._in_hand()
        once = {job.delivery.message.seq: job for job in jobs if job.delivery.message.seq not in in_hand}
        if len(once) < len(jobs):
            await tasks.release(len(jobs) - len(once))
        return list(once.values())

    async def _load_text(self, message: Message) -> Message:
        """Return the message with its data loaded; waits while NATS is unavailable."""
        return await retry_unavailable(lambda: dataref.load_text(self._log, message))

    async def _pass_over(self, unread: Sequence[tuple[TaskDelivery, Message]], tasks: Tasks) -> None:
        """Leave unreadable tasks to a newer worker. Fail the step if its data is missing or it was handed out too
        often.
        """
        for delivery, message in unread:
            slot = parse_slot(message.subject)
            given_up = (
                missing_text(message)
                if has_reference(message)
                else give_up_abandoned(delivery.deliveries, self._policy)
            )
            if slot and slot.kind and given_up:
                step = Step(slot.run, slot.kind, slot.round, slot.index)
                fact = failed_outcome(slot.kind, given_up.error)
                event = Event(fact, f"dossier/{self._kind}", clock.now())
                await self._log.fill([Fill(step.outcome.subject, envelope.encode(step.outcome, event))])
                await delivery.ack()
        await tasks.release(len(unread))

    async def _filled_results(self, jobs: Sequence[Job]) -> set[str]:
        """Return the full ones among the slots that make these jobs pointless. Retries while NATS is unavailable."""
        subjects = {subject for job in jobs for subject in result_slots(job)}
        while subjects:
            try:
                return set(await self._log.last(sorted(subjects)))
            except Unavailable as error:
                logger.warning("Cannot read what is done already: %s", error, extra={"event": "task.unread"})
                await asyncio.sleep(0.5)
        return set()
