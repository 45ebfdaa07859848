"""What only a real server can show of the log: it is killed, it is away, and others write to it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.contracts.messages import Fill
from shared.errors import Refused, Unavailable
from shared.nats import connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime.log import Filled, Full, Stored
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer
from tests.runtime.real import Heard, beside, killed_and_restarted, opened, stored
from tests.waiting import wait_until

# Killed


async def test_every_fill_is_answered_across_a_kill_and_nothing_is_stored_twice(server: NatsServer):
    async with opened(server.url) as log:
        answers: dict[str, Filled] = {}

        async def write(worker: int) -> None:
            for number in range(40):
                fills = [Fill(f"research.run.w{worker}.fetch.{number}.{index}", b"%d" % worker) for index in range(3)]
                answers.update(zip([fill.subject for fill in fills], await log.fill(fills), strict=True))

        async with asyncio.TaskGroup() as writers:
            for worker in range(20):
                writers.create_task(write(worker))
            for much in (300, 1_200):
                await wait_until(lambda much=much: len(answers) >= much)
                await killed_and_restarted(server)
        assert len(answers) == 2_400
        assert all(isinstance(answer, Stored | Full) for answer in answers.values())
        messages = await stored(log)
        assert sorted(message.subject for message in messages) == sorted(answers)
        told = {subject: answer.seq for subject, answer in answers.items() if isinstance(answer, Stored)}
        assert told.items() <= {message.subject: message.seq for message in messages}.items()


async def test_following_goes_on_across_a_kill_without_gap_or_repetition(server: NatsServer):
    async with opened(server.url) as log:
        heard = Heard()

        async def write() -> None:
            for number in range(300):
                await log.fill([Fill(f"research.run.r{number}.fetch.1.{index}", b"x") for index in range(10)])

        async with beside(heard.follow(log)), asyncio.TaskGroup() as writing:
            writing.create_task(write())
            for much in (500, 1_500):
                await wait_until(lambda much=much: len(heard.messages) >= much)
                await killed_and_restarted(server)
            await wait_until(lambda: len(heard.messages) >= 3_000)
        assert heard.seqs == list(range(1, 3_001))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are expected within a moment."""
    monkeypatch.setattr(connection, "REPLY_TIMEOUT_S", 0.2)


Ask = Callable[[JetStreamLog], Awaitable[object]]
NEEDS_AN_ANSWER: dict[str, Ask] = {
    "publish": lambda log: log.publish("research.requested", b"{}"),
    "last": lambda log: log.last(["research.run.r1.accepted"]),
    "last from the leader": lambda log: log.last(["research.run.r1.accepted"], leader=True),
    "history": stored,
    "at": lambda log: log.at(1),
    "end": lambda log: log.end(),
    "get": lambda log: log.get("0" * 64),
}


@pytest.mark.parametrize("ask", NEEDS_AN_ANSWER.values(), ids=NEEDS_AN_ANSWER.keys())
@pytest.mark.usefixtures("impatient")
async def test_whoever_asks_a_server_that_is_gone_is_told_so(
    server: NatsServer, ask: Callable[[JetStreamLog], Awaitable[object]]
):
    async with opened(server.url) as log:
        server.kill()
        await wait_until(lambda: not log.link.connected)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable):
                await ask(log)


@pytest.mark.usefixtures("impatient")
async def test_a_task_that_cannot_be_renewed_is_known_not_to_be(server: NatsServer):
    """A worker that hears nothing must abort before another is given its task, so `renew` may not wait for ever."""

    async with opened(server.url) as log:
        await log.fill([Fill("research.run.r1.task.plan.1.0.1", b"x")])
        async with log.tasks("plan", at_most=1) as tasks:
            [delivery] = await anext(aiter(tasks))
            server.kill()
            await wait_until(lambda: not log.link.connected)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(Unavailable):
                    await delivery.renew()


async def test_a_log_that_is_closed_writes_nothing_and_says_so(url: str):
    async with opened(url) as log:
        await log.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable):
                await log.fill([Fill("research.run.r1.accepted", b"x")])


# Reading


async def test_the_leader_knows_every_write_that_was_answered(url: str):
    async with opened(url) as log:
        subjects = ["research.run.r1.accepted", "research.run.r1.hold.1", "research.run.r1.completed"]
        assert await log.last(subjects, leader=True) == {}
        for number, subject in enumerate(subjects, 1):
            await log.fill([Fill(subject, b"\x00 %d" % number)])
            known = await log.last(subjects, leader=True)
            assert {one: (message.seq, message.data) for one, message in known.items()} == {
                one: (n, b"\x00 %d" % n) for n, one in enumerate(subjects[:number], 1)
            }


async def test_every_place_in_the_log_can_be_read(url: str):
    async with opened(url) as log:
        await log.fill([Fill("research.run.r1.accepted", b"one")])
        async with asyncio.timeout(PATIENCE_S):
            message = await log.at(1)
            assert message
            assert (message.seq, message.subject, message.data) == (1, "research.run.r1.accepted", b"one")
            assert await log.at(2) is None


@pytest.mark.parametrize("value", ["404", "503", "100", "no number"])
async def test_a_header_that_a_publisher_calls_status_is_no_status_of_the_server(url: str, value: str):
    async with opened(url) as log:
        await log.publish("research.requested", b"one", {"Status": value})
        await log.publish("research.requested", b"two")
        async with asyncio.timeout(PATIENCE_S):
            assert [message.data for message in await stored(log, "research.requested")] == [b"one", b"two"]
            heard = Heard()
            async with beside(heard.follow(log)):
                await wait_until(lambda: len(heard.messages) >= 2)
            assert [message.data for message in heard.messages] == [b"one", b"two"]


async def test_following_from_beyond_the_end_hears_what_is_written_there(url: str):
    async with opened(url) as log:
        await log.publish("research.requested", b"one")
        heard = Heard()
        async with beside(heard.follow(log, 1)):
            await log.publish("research.requested", b"two")
            await wait_until(lambda: heard.messages)
        assert heard.seqs == [2]


async def test_what_is_larger_than_any_message_may_be_is_refused_and_holds_up_nothing_else(url: str):
    async with opened(url) as log:
        async with asyncio.timeout(PATIENCE_S):
            too_large = Fill("research.run.r1.accepted", bytes(1024 * 1024 + 1))
            [refused, other] = await log.fill([too_large, Fill("research.run.r2.accepted", b"x")])
        assert isinstance(refused, Refused)
        assert isinstance(other, Stored)


async def test_what_was_not_sent_when_the_connection_went_down_is_not_sent_to_the_next_server(server: NatsServer):
    async with opened(server.url) as log:
        await log.link._client._send_command(b"PUB research.requested 1\r\nx\r\n")
        await killed_and_restarted(server)
        await wait_until(lambda: log.session == 1)
        assert await log.fill([Fill("research.run.a.accepted", b"x")]) == [Stored(1)]
