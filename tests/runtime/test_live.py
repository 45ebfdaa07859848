"""What is being written is heard by whoever listens, and nobody else has to do anything about it."""

import asyncio
from contextlib import aclosing

from shared.contracts.subjects import LIVE_WRITING, Step
from shared.runtime import live_text
from shared.runtime.log import Hint
from shared.runtime.memory import MemoryLog
from tests.waiting import wait_until


async def test_what_is_written_so_far_is_told_of_its_run_a_few_times_a_second():
    log, heard = MemoryLog(), list[tuple[str, str]]()

    async def listen() -> None:
        async with aclosing(log.hints(LIVE_WRITING)) as hints:
            async for hint in hints:
                said = live_text.parse_live_text(hint)
                assert said
                heard.append((hint.subject, said.text))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    live_text.set_current_step(Step("r1", "synthesize", 1))
    async with live_text.publish_live_text(log)(str.upper) as say:
        assert say
        for end in range(1, 100):
            say("tides " * end)
            await asyncio.sleep(0)
        await wait_until(lambda: heard and heard[-1][1] == "TIDES " * 99)
    assert {subject for subject, _ in heard} == {"live.r1.writing"}
    assert len(heard) <= 3
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


def test_what_cannot_be_read_says_nothing():
    for data in (b"", b"{", b"[]", b'{"text": 3}', b"\xff"):
        assert live_text.parse_live_text(Hint("live.r1.writing", data)) is None
