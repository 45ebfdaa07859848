"""A log that lost its tail, in memory and on a real server: both forget the same, and begin a new session."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shared.contracts.messages import Fill
from shared.contracts.subjects import LOG_PADDING
from shared.contracts.topology import Limits
from shared.errors import Diverged, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime.log import Full, Log, Stored
from shared.runtime.memory import MemoryLog
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer, running
from tests.waiting import wait_until

TASKS = [f"research.run.{run}.task.plan.1.0.1" for run in "abcdef"]
Lose = Callable[[], Awaitable[None]]
Story = Callable[[Log, Lose], Awaitable[None]]
KEPT = 2


async def filled(log: Log) -> None:
    """Two messages, which are kept, and four that are lost."""
    await log.fill([Fill(subject, b"before") for subject in TASKS[:KEPT]])


async def in_memory(story: Story, _: Path) -> None:
    log = MemoryLog()
    await filled(log)

    async def lose() -> None:
        log.truncate(KEPT)

    await story(log, lose)


async def on_jetstream(story: Story, folder: Path) -> None:
    with running(folder) as server:
        link = await Connection.open([server.url], name="test")
        await topology.ensure_topology(link, Limits())
        log = JetStreamLog(link)
        await filled(log)
        shutil.copytree(folder / "data", folder / "copy")
        await story(log, lambda: _set_back(log, server, folder))
        await log.close()


async def _set_back(log: JetStreamLog, server: NatsServer, folder: Path) -> None:
    before = log.session
    server.kill()
    shutil.rmtree(folder / "data")
    shutil.copytree(folder / "copy", folder / "data")
    await asyncio.to_thread(server.start)
    await wait_until(lambda: log.session > before)


@pytest.fixture(params=[in_memory, on_jetstream])
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Story], None]:
    async def bounded(story: Story) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await request.param(story, tmp_path)

    return lambda story: asyncio.run(bounded(story))


def test_what_was_lost_is_stored_again_at_the_same_places(tell: Callable[[Story], None]):
    async def story(log: Log, lose: Lose) -> None:
        fills = [Fill(subject, b"lost") for subject in TASKS[KEPT:]]
        assert await log.fill(fills) == [Stored(3), Stored(4), Stored(5), Stored(6)]
        created = (await log.end()).created
        await lose()
        end = await log.end()
        assert (end.seq, end.last, end.created) == (KEPT, KEPT, created)
        assert await log.at(5, leader=True) is None
        assert await log.fill([Fill(TASKS[0], b"x"), Fill(TASKS[5], b"new")]) == [Full(), Stored(3)]
        again = await log.at(3, leader=True)
        assert again is not None
        assert (again.subject, again.data) == (TASKS[5], b"new")

    tell(story)


def test_nothing_is_written_in_another_session_than_the_one_that_it_is_for(tell: Callable[[Story], None]):
    async def story(log: Log, lose: Lose) -> None:
        session = log.session
        assert await log.fill([Fill(TASKS[2], b"x")], session=session) == [Stored(3)]
        await lose()
        assert log.session > session
        with pytest.raises(Unavailable):
            await log.fill([Fill(TASKS[3], b"x")], session=session)
        with pytest.raises(Unavailable):
            await log.pad(10, session=session)
        assert (await log.end()).last == KEPT
        assert await log.fill([Fill(TASKS[3], b"x")], session=log.session) == [Stored(3)]

    tell(story)


@pytest.mark.parametrize("up_to", [3, 10, 2_500])
def test_padding_gives_every_sequence_up_to_there(tell: Callable[[Story], None], up_to: int):
    async def story(log: Log, _: Lose) -> None:
        await log.pad(up_to, session=log.session)
        await log.pad(KEPT, session=log.session)
        end, last = await log.end(), await log.newest(LOG_PADDING)
        assert last is not None
        assert (end.last, last.seq, last.data) == (up_to, up_to, b"")

    tell(story)


def test_each_new_reader_is_checked_before_it_begins(tell: Callable[[Story], None]):
    async def story(log: Log, lose: Lose) -> None:
        places: list[int] = []
        await log.fill([Fill(TASKS[2], b"x")])

        async def check() -> None:
            places.append((end := await log.end()).last)
            if end.last < places[0]:
                raise Diverged("It lost its tail.")

        async def follow() -> None:
            async for _ in log.follow(3, check=check):
                pass

        following = asyncio.create_task(follow())
        await wait_until(lambda: places)
        await lose()
        with pytest.raises(Diverged):
            await following
        assert places == [3, KEPT]

    tell(story)


def test_tasks_that_were_lost_are_handed_out_no_more_and_new_ones_are(tell: Callable[[Story], None]):
    async def story(log: Log, lose: Lose) -> None:
        taken: list[tuple[int, bytes]] = []

        async def take() -> None:
            async with log.tasks("plan", at_most=5) as tasks:
                async for deliveries in tasks:
                    for delivery in deliveries:
                        taken.append((delivery.message.seq, delivery.message.data))
                        await delivery.ack()
                        await tasks.release()

        await log.fill([Fill(TASKS[2], b"lost")])
        await lose()
        taking = asyncio.create_task(take())
        await log.fill([Fill(TASKS[3], b"new")])
        await wait_until(lambda: (3, b"new") in taken)
        assert (3, b"lost") not in taken
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    tell(story)
