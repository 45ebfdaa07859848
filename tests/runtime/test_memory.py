"""What the log in memory promises beyond what the real one does too: patterns, hints, and its own clock."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from shared.contracts.messages import Fill
from shared.runtime.memory import MemoryLog
from shared.runtime.memory_tasks import matches_subject
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.>", "a", False),
        ("a.*.c.>", "a.b.c.d.e", True),
        ("a.*.c.>", "a.b.d.d", False),
        ("a.b*", "a.bc", False),
    ],
)
def test_patterns_are_those_of_nats(pattern: str, subject: str, fits: bool):
    assert matches_subject(pattern, subject) is fits


async def test_messages_are_stored_at_the_time_of_the_clock_it_is_given():
    moments = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(10))

    log = MemoryLog(now=lambda: next(moments))
    await log.fill([Fill("research.run.r1.accepted", b"x"), Fill("research.run.r1.plan.1", b"x")])
    end = await log.end()
    assert [message.time.hour for message in log.messages] == [1, 2]
    assert (end.seq, end.time.hour, end.created.hour) == (2, 3, 0)


async def test_a_hint_reaches_all_who_listen_and_nobody_later():
    log = MemoryLog()
    heard: list[list[str]] = [[], [], []]

    async def listen(ear: list[str], pattern: str) -> None:
        async with aclosing(log.hints(pattern)) as hints:
            async for hint in hints:
                ear.append(hint.subject)

    await log.hint("live.r0.cancelled", b"")
    listening = [
        asyncio.create_task(listen(ear, pattern))
        for ear, pattern in zip(heard, ("live.*.cancelled", "live.r1.>", "live.r2.>"), strict=True)
    ]
    await asyncio.sleep(0)
    await log.hint("live.r1.cancelled", b"")
    await wait_until(lambda: heard[0] and heard[1])
    assert heard == [["live.r1.cancelled"], ["live.r1.cancelled"], []]
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)


async def test_two_who_share_a_consumer_never_get_the_same_task():
    log = MemoryLog()
    await log.fill([Fill(f"research.run.r{number}.task.plan.1.0.1", b"x") for number in range(4)])
    async with log.tasks("plan", at_most=2) as ours, log.tasks("plan", at_most=2) as theirs:
        taken = [one.message.seq for tasks in (ours, theirs) for one in await anext(aiter(tasks))]
    assert taken == [1, 2, 3, 4]


async def test_the_tasks_end_when_the_order_is_closed():
    log = MemoryLog()
    async with log.tasks("plan", at_most=2) as tasks:
        closing = asyncio.get_running_loop().call_soon(asyncio.ensure_future, tasks.close())
        assert [chunk async for chunk in tasks] == []
        assert not closing.cancelled()
