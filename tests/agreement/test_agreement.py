"""One state machine over the log in memory and the log on JetStream: whatever is done, they answer alike.

Both begin empty with every example: in memory as a new object, on the server as a new account.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.contracts.envelope import MAX_BYTES, Event
from shared.contracts.evidence import Failure
from shared.contracts.facts import PlanFailed
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import INBOUND, Slot, task_filter
from shared.contracts.topology import Limits
from shared.errors import Refused
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.evidence import CHUNK
from shared.nats.jetstream import JetStreamLog
from shared.runtime import dataref
from shared.runtime.log import Consumer, Log, TaskDelivery, Tasks
from shared.runtime.memory import MemoryLog
from tests.nats_server import NatsServer
from tests.waiting import wait_until

T = TypeVar("T")

LIMITS = Limits(models=2, fetches=3)
MAY_HOLD: dict[Consumer, int] = {"plan": 2, "fetch": 2, "lead": 1}
"""What one worker may hold: limited by the consumer, by the worker itself, by both."""
AT_MOST: dict[Consumer, int] = {"plan": 5, "fetch": 2, "lead": 1}

_PATHS = ("accepted", "plan.1", "fetch.1.0", "hold.1", "decision.1", "attempt.plan.1.0.1", "completed")
_TASKS = ("task.plan.1.0.1", "task.plan.1.0.2", "task.fetch.1.0.1", "task.fetch.1.1.1", "task.fetch.1.2.1")
SLOTS = (*(f"research.run.{run}.{path}" for run in "ab" for path in _PATHS + _TASKS), "research.lead")
PATTERNS = (
    *("research.>", "research.*", "research.requested", "research.run.nobody.>", "research.run.a.accepted"),
    *("research.run.a.>", "research.run.b.*", "research.run.*.task.plan.>", "research.run.*.completed"),
)

slots = st.sampled_from(SLOTS)
patterns = st.sampled_from(PATTERNS)
places = st.integers(0, 40)
names = st.sampled_from(("traceparent", "ce-type", "Content-Type", "Status", "Nats-Subject", "x"))
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
headers = st.dictionaries(names, values, max_size=3)
texts = st.builds(
    lambda character, times, end: character * times + end,
    st.sampled_from("aä世🙂"),
    st.sampled_from((0, 1, CHUNK // 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK)),
    st.text(max_size=5),
)


class Follower:
    """Keeps what a log says from one place on."""

    def __init__(self, log: Log, after: int) -> None:
        self.after = after
        self.heard: list[object] = []
        self.task = asyncio.create_task(self._listen(log, after))

    async def _listen(self, log: Log, after: int) -> None:
        async for chunk in log.follow(after):
            self.heard += [seen(message) for message in chunk]


class Taker:
    """Holds what a log hands out to one worker until told to let go."""

    def __init__(self, tasks: Tasks) -> None:
        self.held: dict[int, TaskDelivery] = {}
        self._tasks = tasks
        self.task = asyncio.create_task(self._take())

    @property
    def in_hand(self) -> list[object]:
        """What is held, and how often it was handed out."""
        return [(seen(one.message), one.deliveries) for _, one in sorted(self.held.items())]

    @property
    def fresh(self) -> set[int]:
        """What is held and was never handed out before. A server's client may not know it of all."""
        return {seq for seq, one in self.held.items() if one.fresh}

    async def ack(self, seq: int) -> None:
        await self.held.pop(seq).ack()
        await self._tasks.release()

    async def nak(self, seq: int) -> None:
        await self.held.pop(seq).nak()
        await self._tasks.release()

    async def _take(self) -> None:
        async for deliveries in self._tasks:
            self.held |= {delivery.message.seq: delivery for delivery in deliveries}


class Agreement(RuleBasedStateMachine):
    """Every rule does one thing to both logs and compares what they say."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        super().__init__()
        self._run = runner.run
        self._written = 0
        self._run(self._begin(url))

    async def _begin(self, url: str) -> None:
        link = await Connection.open([url], name="agreement")
        await topology.ensure_topology(link, LIMITS)
        self.memory, self.real = MemoryLog(limits=LIMITS), JetStreamLog(link)
        self.logs: tuple[Log, Log] = (self.memory, self.real)
        self.followers: list[list[Follower]] = []
        self.stack = AsyncExitStack()
        self.takers = {consumer: [await self._taker(log, consumer) for log in self.logs] for consumer in AT_MOST}

    async def _taker(self, log: Log, consumer: Consumer) -> Taker:
        return Taker(await self.stack.enter_async_context(log.tasks(consumer, at_most=AT_MOST[consumer])))

    def teardown(self) -> None:
        self._run(self._end())

    async def _end(self) -> None:
        try:
            await self._hear_the_same()
        finally:
            tasks = [one.task for pair in (*self.followers, *self.takers.values()) for one in pair]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.stack.aclose()
            await self.real.close()

    def agreed(self, ask: Callable[[Log], Awaitable[T]]) -> T:
        """The one answer of both logs."""

        async def asked() -> tuple[T, T]:
            return await ask(self.memory), await ask(self.real)

        remembered, stored = self._run(asked())
        assert remembered == stored
        return remembered

    def fills(self, subjects: Sequence[str]) -> list[Fill]:
        """Bytes for each of these, different every time, so that it shows who was first."""
        self._written += len(subjects)
        return [Fill(subject, f"Zürich {self._written - n}".encode()) for n, subject in enumerate(subjects)]

    # Writing

    @rule(subjects=st.lists(slots, min_size=1, max_size=9))
    def fill(self, subjects: list[str]) -> None:
        fills = self.fills(subjects)
        self.agreed(lambda log: log.fill(fills))

    @rule(some=st.lists(slots, min_size=1, max_size=3), more=st.lists(slots, min_size=1, max_size=7))
    def fill_side_by_side(self, some: list[str], more: list[str]) -> None:
        first, second = self.fills(some), self.fills(more)

        async def fill(log: Log) -> object:
            return await asyncio.gather(log.fill(first), log.fill(second))

        self.agreed(fill)

    @rule(subjects=st.lists(slots, max_size=7, unique=True), place=st.integers(0, 7))
    def fill_with_one_that_is_too_large(self, subjects: list[str], place: int) -> None:
        fills = self.fills(subjects)
        fills.insert(place, Fill("research.run.large.accepted", bytes(MAX_BYTES + 8_192)))

        async def fill(log: Log) -> list[object]:
            return [one.code if isinstance(one, Refused) else one for one in await log.fill(fills)]

        assert any(isinstance(one, int) for one in self.agreed(fill))

    @rule(run=st.sampled_from("ab"))
    def write_a_fact_that_is_too_large_for_a_message(self, run: str) -> None:
        self._written += 1
        slot = Slot(run, "plan", 1)
        fact = PlanFailed(error=Failure(str(self._written), "x" * MAX_BYTES))
        event = Event(fact, "test", datetime(2026, 1, 1, tzinfo=UTC))

        async def write(log: Log) -> object:
            filled = await log.fill([Fill(slot.subject, await dataref.encode_fact(log, slot, event))])
            message = await dataref.load_text(log, (await log.last([slot.subject]))[slot.subject])
            return filled, message.data, message.text

        self.agreed(write)

    @rule(subject=st.sampled_from(INBOUND), said=headers)
    def publish(self, subject: str, said: dict[str, str]) -> None:
        [fill] = self.fills([subject])
        self.agreed(lambda log: log.publish(fill.subject, fill.data, said))

    @rule(text=texts)
    def freeze(self, text: str) -> None:
        digest = self.agreed(lambda log: log.put(text))
        assert self.agreed(lambda log: log.get(digest)) == text

    # Reading

    @rule(subjects=st.lists(slots, min_size=1, max_size=8, unique=True), leader=st.booleans())
    def last(self, subjects: list[str], leader: bool) -> None:
        self.agreed(lambda log: newest(log, subjects, leader=leader))

    @rule(subjects=st.lists(patterns, min_size=1, max_size=2, unique=True))
    def last_of_patterns(self, subjects: list[str]) -> None:
        self.agreed(lambda log: newest(log, subjects))

    @rule(pattern=patterns)
    def newest(self, pattern: str) -> None:
        async def read(log: Log) -> object:
            message = await log.newest(pattern)
            return message and (message.seq, message.subject, message.data)

        self.agreed(read)

    @rule(pattern=patterns, after=places)
    def history(self, pattern: str, after: int) -> None:
        async def read(log: Log) -> object:
            return [seen(message) async for message in log.history(pattern, after=after)]

        self.agreed(read)

    @rule(seq=places)
    def at(self, seq: int) -> None:
        async def read(log: Log) -> object:
            message = await log.at(seq)
            return message and seen(message)

        self.agreed(read)

    @rule(digest=st.sampled_from(("0" * 64, "f" * 64)))
    def thaw_what_nobody_froze(self, digest: str) -> None:
        assert self.agreed(lambda log: log.get(digest)) is None

    # Following

    @precondition(lambda self: len(self.followers) < 3)
    @rule(after=places)
    def follow(self, after: int) -> None:
        after = min(after, len(self.memory.messages))

        async def begin() -> None:
            self.followers.append([Follower(log, after) for log in self.logs])

        self._run(begin())

    @rule()
    def hear(self) -> None:
        self._run(self._hear_the_same())

    async def _hear_the_same(self) -> None:
        for pair in self.followers:
            expected = [seen(message) for message in self.memory.messages[pair[0].after :]]
            for follower in pair:
                await wait_until(lambda heard=follower.heard, end=expected[-1:]: heard[-1:] == end, within_s=10)
                assert follower.heard == expected

    # Taking

    @rule(consumer=st.sampled_from(tuple(AT_MOST)), which=places)
    def ack(self, consumer: Consumer, which: int) -> None:
        self._run(self._let_go(consumer, which, Taker.ack))

    @rule(consumer=st.sampled_from(("plan", "lead")), which=places)
    def nak(self, consumer: Consumer, which: int) -> None:
        """Where the consumer's limit holds more back; else the server may as well hand out a new one first."""
        self._run(self._let_go(consumer, which, Taker.nak))

    async def _let_go(self, consumer: Consumer, which: int, how: Callable[[Taker, int], Awaitable[None]]) -> None:
        if held := sorted(self.takers[consumer][0].held):
            for taker in self.takers[consumer]:
                await how(taker, held[which % len(held)])

    @rule(consumer=st.sampled_from(tuple(AT_MOST)))
    def queue(self, consumer: Consumer) -> None:
        """An ack is not confirmed, so that the server may learn of it a moment later."""

        async def compare() -> None:
            expected, found = await standing(self.memory, consumer), None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while (found := await standing(self.real, consumer)) != expected:
                        pass
            assert found == expected

        self._run(compare())

    @invariant()
    def they_hand_out_the_same(self) -> None:
        async def hold() -> None:
            for consumer, (ours, theirs) in self.takers.items():
                with contextlib.suppress(AssertionError):
                    await wait_until(lambda pair=(ours, theirs): pair[0].in_hand == pair[1].in_hand, within_s=10)
                assert ours.in_hand == theirs.in_hand
                assert theirs.fresh <= ours.fresh
                assert len(ours.held) <= MAY_HOLD[consumer]

        self._run(hold())

    @invariant()
    def they_end_alike(self) -> None:
        async def compare() -> None:
            ours, theirs = await self.memory.end(), await self.real.end()
            assert ours.seq == theirs.seq
            assert abs(ours.time - theirs.time) < timedelta(seconds=5)
            assert abs(ours.created - theirs.created) < timedelta(seconds=5)

        self._run(compare())


def seen(message: Message) -> object:
    """What a reader sees of a message, but the time and what the server adds to the headers."""
    said = {name: value for name, value in message.headers.items() if name in ("traceparent", "ce-type", "x")}
    return message.seq, message.subject, message.data, said


async def standing(log: Log, consumer: Consumer) -> object:
    """How a consumer's tasks stand, and which have been handed out; not how often each worker asks for more."""
    queue = await log.queue(consumer)
    tasks = [seq async for seq in tasks_of(log, consumer)]
    handed_out = [seq for seq in tasks if seq <= queue.handed_out]
    return queue.waiting, queue.in_flight, queue.limit, handed_out


async def tasks_of(log: Log, consumer: Consumer) -> AsyncIterator[int]:
    pattern = "research.lead" if consumer == "lead" else task_filter(consumer)
    async for message in log.history(pattern):
        yield message.seq


async def newest(log: Log, subjects: Sequence[str], *, leader: bool = False) -> object:
    """The newest of these; without headers, which a leader's answer does not have."""
    found = await log.last(subjects, leader=leader)
    return {subject: (message.seq, message.data) for subject, message in found.items()}


def test_the_log_in_memory_and_the_log_on_jetstream_answer_alike(server: NatsServer):
    accounts = count()
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            lambda: Agreement(server.url_of(next(accounts)), runner),
            settings=settings(
                max_examples=150,
                stateful_step_count=25,
                deadline=None,
                derandomize=True,
                phases=(Phase.generate, Phase.shrink),
            ),
        )
