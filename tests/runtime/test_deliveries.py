"""The log of another stream, over the same connection: write once, read, hand out, and give back for a while."""

import asyncio

from shared.contracts.deliveries import DELIVERIES, Delivery, asked_subjects, endpoint_consumer
from shared.contracts.messages import Fill
from shared.nats import topology
from shared.nats.jetstream import JetStreamLog
from shared.runtime.log import Full, Stored
from shared.runtime.memory import MemoryLog
from tests.harness.waiting import PATIENCE_S
from tests.runtime.real import opened, stored

AWAY_S = 2.0
FIRST, SECOND = (Delivery("ops", "r1", event).asked(1) for event in ("hold-1", "ended"))


async def test_another_stream_is_a_log_of_its_own(url: str):
    async with opened(url) as log:
        other = log.beside(DELIVERIES)
        assert await other.fill([Fill(FIRST, b"a"), Fill(SECOND, b"b")]) == [Stored(1), Stored(2)]
        assert await other.fill([Fill(FIRST, b"c")]) == [Full()]
        assert [message.data for message in await stored(other, "delivery.>")] == [b"a", b"b"]
        newest = await other.newest("delivery.ops.>")
        assert newest
        assert (newest.subject, (await other.end()).seq) == (SECOND, 2)
        assert (await log.end()).seq == 0
        assert await stored(log, ">") == []


async def comes_back_late(log: JetStreamLog | MemoryLog) -> None:
    """The first is given back for a while; the second comes meanwhile, and the first again when that is over."""
    await log.fill([Fill(FIRST, b"a"), Fill(SECOND, b"b")])
    loop = asyncio.get_running_loop()
    async with log.tasks(endpoint_consumer("ops"), at_most=1) as tasks:
        taking = aiter(tasks)
        [first] = await anext(taking)
        began = loop.time()
        await first.nak(delay_s=AWAY_S)
        await tasks.release()
        [second] = await anext(taking)
        assert (second.message.subject, loop.time() - began < AWAY_S) == (SECOND, True)
        await second.ack()
        await tasks.release()
        [again] = await anext(taking)
        assert (again.message.subject, again.deliveries) == (FIRST, 2)
        assert loop.time() - began >= AWAY_S


async def test_what_is_given_back_for_a_while_holds_up_nothing_and_comes_back(url: str):
    async with opened(url) as log:
        config = {
            "durable_name": endpoint_consumer("ops"),
            "filter_subject": asked_subjects("ops"),
            "ack_policy": "explicit",
            "max_ack_pending": -1,
        }
        call = f"CONSUMER.DURABLE.CREATE.{DELIVERIES}.{endpoint_consumer('ops')}"
        await topology.request_api(log.link, call, {"stream_name": DELIVERIES, "config": config})
        await comes_back_late(log.beside(DELIVERIES))


async def test_in_memory_too():
    log = MemoryLog()
    log.add_consumer(endpoint_consumer("ops"), asked_subjects("ops"), max_ack_pending=100, ack_wait_s=30)
    async with asyncio.timeout(PATIENCE_S):
        await comes_back_late(log)
