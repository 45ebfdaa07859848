"""No room: who writes waits, who publishes is told at once, and both are told apart from what NATS will never take."""

import asyncio
import logging

import msgspec
import pytest

from shared.contracts.messages import Fill
from shared.errors import LogFull, Refused, Unavailable
from shared.nats import topology
from shared.nats import write_health as room_module
from shared.nats.batch_writer import parse_reply
from shared.nats.jetstream import JetStreamLog
from shared.nats.write_health import WriteHealth
from shared.runtime.log import Stored
from tests.runtime.real import beside, opened
from tests.waiting import wait_until


def error(code: int, err_code: int) -> bytes:
    """A publish acknowledgement that says no."""
    fault = {"code": code, "err_code": err_code, "description": "as the server says"}
    return msgspec.json.encode({"error": fault, "stream": "RESEARCH", "seq": 0})


@pytest.mark.parametrize(("code", "err_code"), [(400, 10002), (503, 10023), (500, 10028), (500, 10047), (503, 10077)])
def test_want_of_room_is_not_for_ever_whatever_class_its_code_has(code: int, err_code: int):
    answer = parse_reply(error(code, err_code))
    assert isinstance(answer, LogFull)
    assert "RESEARCH: as the server says" in str(answer)


def test_what_is_too_large_is_never_taken():
    assert isinstance(parse_reply(error(400, 10054)), Refused)


async def limit(log: JetStreamLog, stream: str, room: int) -> None:
    """Let a stream grow by so many bytes; -1 for without end."""
    info = await topology.request_api(log.link, f"STREAM.INFO.{stream}")
    most = info["state"]["bytes"] + room if room >= 0 else -1
    await topology.request_api(log.link, f"STREAM.UPDATE.{stream}", info["config"] | {"max_bytes": most})


async def test_a_full_stream_is_waited_for_by_fills_and_told_to_publishers(url: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        async with opened(url) as log:
            assert log.trouble is None
            await log.fill([Fill("research.run.r0.accepted", b"x")])
            await limit(log, "RESEARCH", 10)
            fills = [Fill(f"research.run.r{n}.accepted", bytes(1_000)) for n in range(1, 20)]
            filling = asyncio.create_task(log.fill(fills))
            await wait_until(lambda: log.trouble)
            assert "max_bytes" in log.trouble
            with pytest.raises(LogFull, match="max_bytes"):
                await log.publish("research.requested", bytes(1_000))
            async with beside(log.wait_writable()) as waiting:
                await asyncio.sleep(0)
                assert not waiting.done()
                assert not filling.done()
                await limit(log, "RESEARCH", -1)
                answers = await filling
                await wait_until(waiting.done)
            assert [type(answer) for answer in answers] == [Stored] * 19
            assert log.trouble is None
    said = [record.message for record in caplog.records if record.name == "shared.nats.write_health"]
    assert len(said) == 2, said
    assert "go on by themselves" in said[0]
    assert "again" in said[1]


async def test_a_full_evidence_store_is_waited_for(url: str):
    async with opened(url) as log:
        await log.put("a")
        await limit(log, "EVIDENCE", 10)
        putting = asyncio.create_task(log.put("x" * 300_000))
        await wait_until(lambda: log.trouble)
        assert await log.fill([Fill("research.run.r0.accepted", b"x")]) == [Stored(1)]
        assert log.trouble
        assert "EVIDENCE" in log.trouble
        await limit(log, "EVIDENCE", -1)
        assert await log.get(await putting) == "x" * 300_000
        assert log.trouble is None


# How long it is trouble


class Clock:
    """The loop's time, as a test has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 100.0
        monkeypatch.setattr(room_module, "_time", lambda: self.time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_an_election_is_no_trouble_but_lasting_silence_is(clock: Clock):
    room = WriteHealth("RESEARCH")
    room.record_refusal(Unavailable("no leader"))
    clock.time += 4
    room.record_refusal(Unavailable("no leader"))
    assert room.trouble is None
    clock.time += 2
    room.record_refusal(Unavailable("no leader"))
    assert room.trouble
    assert "no leader" in room.trouble
    room.record_success()
    assert room.trouble is None


async def test_what_was_refused_long_ago_is_not_held_against_it(clock: Clock):
    room = WriteHealth("RESEARCH")
    room.record_refusal(LogFull("full"))
    assert room.trouble == "full"
    clock.time += 11
    assert room.trouble is None
    room.record_refusal(Unavailable("silence"))
    assert room.trouble
