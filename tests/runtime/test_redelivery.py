"""A server that is killed hands out again, as first deliveries, what was just done. None of it is performed again."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from shared.contracts import topology
from shared.contracts.envelope import Event
from shared.contracts.facts import PlanMade, TaskIssued
from shared.contracts.messages import Fill
from shared.contracts.subjects import Step
from shared.contracts.tasks import PlanTask
from shared.contracts.topology import Limits
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from shared.nats.horizon import Horizon
from shared.nats.jetstream import JetStreamLog
from shared.nats.tasks import JetStreamDelivery
from shared.runtime import clock, dataref
from shared.runtime.log import Consumer, Stored, TaskDelivery, Tasks
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Worker, require_task_type
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer
from tests.runtime.real import killed_and_restarted, opened
from tests.waiting import wait_until

_TASKS = 60
_ROUNDS = 10
"""Kills, at most, until a server has forgotten a delivery. Mostly it is the first."""
LIMITS = Limits(models=20)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose acknowledgement alone was forgotten comes again soon."""
    monkeypatch.setattr(topology, "ACK_WAIT_S", 1.0)


class Account:
    """What all workers together were handed and performed."""

    def __init__(self) -> None:
        self.first: Counter[int] = Counter()
        """How often each task came as a first delivery."""
        self.fresh: Counter[int] = Counter()
        self.performed: Counter[str] = Counter()

    @property
    def forgotten(self) -> int:
        """How many first deliveries were not the first."""
        return sum(times - 1 for times in self.first.values())

    async def perform(self, task: PlanTask) -> PlanMade:
        self.performed[task.q] += 1
        return PlanMade(queries=("a",), planner="test")


class Watched(JetStreamLog):
    """A log that keeps account of what it hands out."""

    def __init__(self, link: Connection, account: Account) -> None:
        super().__init__(link)
        self._account = account

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> AsyncGenerator[Tasks]:  # type: ignore[override]
        async with super().tasks(consumer, at_most=at_most) as tasks:
            yield _Watched(tasks, self._account)


class _Watched:
    def __init__(self, tasks: Tasks, account: Account) -> None:
        self._tasks = tasks
        self._account = account
        self.release = tasks.release
        self.close = tasks.close

    async def __aiter__(self) -> AsyncGenerator[Sequence[TaskDelivery]]:
        async for deliveries in self._tasks:
            for delivery in deliveries:
                self._account.first[delivery.message.seq] += delivery.deliveries == 1
                self._account.fresh[delivery.message.seq] += delivery.fresh
            yield deliveries


@asynccontextmanager
async def worker(server: NatsServer, account: Account) -> AsyncGenerator[None]:
    """A process that plans, with a connection of its own, which outlives the server."""
    log, stop = Watched(await Connection.open([server.url], name="worker"), account), asyncio.Event()
    perform = require_task_type(PlanTask, account.perform)
    running = asyncio.create_task(Worker(log, "plan", perform, at_most=4, policy=RetryPolicy()).run(stop))
    try:
        yield
    finally:
        stop.set()
        await running
        await log.close()


async def ask(log: JetStreamLog, name: str) -> None:
    """Issue so many tasks at once."""
    fills = [
        Fill(
            slot.subject,
            await dataref.encode_fact(log, slot, Event(TaskIssued(task=PlanTask(run)), "test", clock.now())),
        )
        for run, slot in ((run, Step(run, "plan", 1).task(1)) for run in (f"{name}-{n}" for n in range(_TASKS)))
    ]
    assert all(isinstance(answer, Stored) for answer in await log.fill(fills))


async def all_done(log: JetStreamLog) -> None:
    """Return when the server has nothing to hand out and no task is in hand, as it remembers it."""
    while (queue := await log.queue("plan")).waiting or queue.in_flight:
        continue


async def test_what_was_done_before_a_kill_is_performed_once_by_whoever_gets_it_then(server: NatsServer):
    account = Account()

    async with asyncio.timeout(PATIENCE_S), opened(server.url, LIMITS) as log, AsyncExitStack() as workers:
        for round_ in range(_ROUNDS):
            for _ in range(2 if round_ == 0 else 1):
                await workers.enter_async_context(worker(server, account))
            await ask(log, f"r{round_}")
            await all_done(log)
            await killed_and_restarted(server)
            await wait_until(lambda: log.link.connected)
            await workers.enter_async_context(worker(server, account))
            await all_done(log)
            if account.forgotten:
                break
    assert account.forgotten, "The server forgot nothing."
    assert set(account.performed.values()) == {1}


async def test_a_task_is_fresh_once_its_process_has_written_over_this_connection(server: NatsServer):
    account = Account()

    async with asyncio.timeout(PATIENCE_S), opened(server.url, LIMITS) as log, worker(server, account):
        for number in range(2):
            await ask(log, f"before-{number}")
            await all_done(log)
        known = (await log.end()).seq
        await killed_and_restarted(server)
        await wait_until(lambda: log.link.connected)
        for number in range(2):
            await ask(log, f"after-{number}")
            await all_done(log)
        tasks = [message.seq async for message in log.history("research.run.*.task.plan.>")]
        first, second, third, fourth = (tasks[n * _TASKS : (n + 1) * _TASKS] for n in range(4))
        assert first[-1] <= known < third[0]
        for before_a_write, after_it in ((first, second), (third, fourth)):
            assert not any(account.fresh[seq] for seq in before_a_write)
            assert all(account.fresh[seq] == 1 for seq in after_it)


async def test_nothing_is_fresh_between_two_connections(server: NatsServer):
    """The client sends what it had left to send before it reports that it is back: an order may be answered by then."""
    horizon = Horizon()
    horizon.advance([Stored(10)], since=horizon.epoch)

    def task(seq: int) -> Incoming:
        return Incoming(Step("r1", "plan", 1).task(1).subject, f"$JS.ACK.RESEARCH.plan.1.{seq}.1.0.0", b"", b"")

    async with opened(server.url) as log:
        assert JetStreamDelivery(log.link, task(11), horizon).fresh
        server.kill()
        await wait_until(lambda: not log.link.connected)
        assert not JetStreamDelivery(log.link, task(12), horizon).fresh
