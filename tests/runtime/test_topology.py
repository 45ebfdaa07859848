"""Streams and consumers are what they were declared to be: they refuse what reaches too far, and hand on what ended."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from nats.aio.client import Client

from shared.contracts.messages import Fill
from shared.contracts.subjects import ACCESS, COMPLETED, COMPLETIONS, EVIDENCE, KINDS, RESEARCH, key_created
from shared.contracts.topology import Limits, streams
from shared.errors import Refused, ServerTooOld, Unavailable
from shared.nats import topology
from shared.nats.batch_writer import parse_reply
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime.log import Full, Stored
from tests.harness.waiting import PATIENCE_S
from tests.runtime.real import Heard, in_flight, info, opened
from tests.waiting import wait_until

COMPLETED_SLOT = "research.run.r1.completed"


# Refused


FORBIDDEN = {
    "rollup not permitted": {"Nats-Rollup": "all"},
    "rollup not permitted ": {"Nats-Rollup": "sub"},
    "message schedules is disabled": {
        "Nats-Schedule": "@at 2020-01-01T00:00:00Z",
        "Nats-Schedule-Target": "research.lead",
    },
    "per-message TTL is disabled": {"Nats-TTL": "1s"},
}


@pytest.mark.parametrize("headers", FORBIDDEN.values(), ids=FORBIDDEN.keys())
@pytest.mark.parametrize(
    "subject",
    ["research.requested", "research.run.r1.accepted", f"evidence.{'0' * 64}.0", key_created("k1"), "access.secret"],
)
async def test_no_stream_takes_headers_that_reach_beyond_their_subject(url: str, subject: str, headers: dict[str, str]):
    async with opened(url) as log:
        with pytest.raises((Refused, Unavailable), match=r"\((10111|10188|10166)\)"):
            await log.publish(subject, b"x", headers)
        for stream in (RESEARCH, EVIDENCE, ACCESS):
            assert await info(log, f"STREAM.INFO.{stream}", "state", "messages") == 0


def test_a_server_that_is_too_old_is_refused_by_name():
    old = SimpleNamespace(server_version=(2, 11, 9))
    with pytest.raises(ServerTooOld, match=r"2\.11\.9.*2\.12\.0.*atomic batches"):
        topology.check_server_version(old)  # type: ignore[arg-type]
    topology.check_server_version(SimpleNamespace(server_version=(2, 12, 0)))  # type: ignore[arg-type]


def test_a_server_that_is_just_not_connected_is_not_taken_for_an_old_one():
    with pytest.raises(Unavailable, match="down"):
        topology.check_server_version(Connection(Client(), ["nats://127.0.0.1:4222"]))


# Set up


async def everything_that_is_set_up(log: JetStreamLog) -> list[object]:
    calls = [f"STREAM.INFO.{stream}" for stream in (RESEARCH, COMPLETIONS, EVIDENCE, ACCESS)]
    calls += [f"CONSUMER.INFO.{RESEARCH}.{consumer}" for consumer in (*KINDS, "lead")]
    answers = [await topology.request_api(log.link, call) for call in calls]
    return [(answer["config"], answer["created"]) for answer in answers]


async def test_setting_up_again_changes_nothing(url: str):
    async with opened(url) as log:
        await log.fill([Fill("research.run.r1.accepted", b"x")])
        before = await everything_that_is_set_up(log)
        await topology.ensure_topology(log.link, Limits())
        await topology.ensure_lead(log.link, Limits())
        await topology.ensure_access(log.link, Limits())
        assert await everything_that_is_set_up(log) == before
        assert (await log.end()).seq == 1


async def test_other_limits_change_the_consumers_that_are_there(url: str):
    async with opened(url, Limits(models=2, fetches=3)) as log:
        await topology.ensure_topology(log.link, Limits(models=7, fetches=1))
        call = f"CONSUMER.INFO.{RESEARCH}."
        limits = {kind: await info(log, call + kind, "config", "max_ack_pending") for kind in KINDS}
        assert limits == {"plan": 7, "fetch": 1, "synthesize": 7}


async def test_texts_of_an_earlier_release_are_kept_and_from_then_on_written_once(url: str):
    new = ("max_msgs_per_subject", "discard_new_per_subject")
    [evidence] = [stream for stream in streams(Limits()) if stream["name"] == EVIDENCE]
    earlier = {name: value for name, value in evidence.items() if name not in new}

    link = await Connection.open([url], name="test")
    await topology.request_api(link, f"STREAM.CREATE.{EVIDENCE}", earlier)
    log = JetStreamLog(link)
    digest = await log.put("frozen")
    await topology.ensure_topology(link, Limits())
    assert await JetStreamLog(link).put("frozen") == digest
    assert not isinstance(parse_reply((await link.request(f"evidence.{digest}.0", b"another")).data), Stored)
    assert await log.get(digest) == "frozen"
    await log.close()


async def test_an_election_can_begin_before_all_else_is_set_up(url: str):
    log = JetStreamLog(await Connection.open([url], name="test"))
    await topology.ensure_lead(log.link, Limits())
    await log.fill([Fill("research.lead", b"{}")])
    async with asyncio.timeout(PATIENCE_S), log.tasks("lead", at_most=1) as terms:
        [term] = await anext(aiter(terms))
        assert term.message.subject == "research.lead"
        await topology.ensure_topology(log.link, Limits())
        await in_flight(log, "lead", 1)
    await log.close()


async def test_what_says_who_may_do_what_can_be_there_before_all_else_and_is_followed_like_the_log(url: str):
    link = await Connection.open([url], name="test")
    await topology.ensure_access(link, Limits())
    access = JetStreamLog(link, ACCESS)
    boxes = [Fill(key_created(f"k{number}"), b"x") for number in range(20)]
    assert await access.fill([*boxes, boxes[0]]) == [*(Stored(number + 1) for number in range(20)), Full()]
    async with asyncio.timeout(PATIENCE_S), aclosing(access.follow(0)) as chunks:
        seen = 0
        while seen < len(boxes):
            seen = (await anext(chunks))[-1].seq
    assert (await access.end()).seq == len(boxes)
    await access.close()


# Handed on


async def test_a_completion_is_heard_once_and_kept(url: str):
    async with opened(url) as log:
        heard = Heard()
        await heard.listen(log, COMPLETED)
        await log.fill([Fill("research.run.r1.accepted", b"x"), Fill(COMPLETED_SLOT, b"done")])
        await wait_until(lambda: heard.messages)
        assert await wait_for_completions(log, 1) == b"done"
        assert [message.data for message in heard.messages] == [b"done"]


async def test_completions_of_one_atomic_batch_are_each_heard_once(url: str):
    async with opened(url) as log:
        heard = Heard()
        await heard.listen(log, COMPLETED)
        await log.fill([Fill(f"research.run.r{number}.completed", b"%d" % number) for number in range(10)])
        await wait_until(lambda: len(heard.messages) >= 10)
        await wait_for_completions(log, 10)
        assert sorted(message.data for message in heard.messages) == sorted(b"%d" % number for number in range(10))


async def test_a_completion_that_comes_second_is_not_heard(url: str):
    async with opened(url) as log:
        heard = Heard()
        await heard.listen(log, COMPLETED)
        assert await log.fill([Fill(COMPLETED_SLOT, b"first")]) == [Stored(1)]
        assert await log.fill([Fill(COMPLETED_SLOT, b"second")]) == [Full()]
        many = [Fill(f"research.run.r1.plan.{number}", b"x") for number in range(1, 8)]
        assert (await log.fill([*many, Fill(COMPLETED_SLOT, b"third")]))[-1] == Full()
        await log.fill([Fill("research.run.r2.completed", b"last")])
        await wait_until(lambda: b"last" in [message.data for message in heard.messages])
        assert [message.data for message in heard.messages] == [b"first", b"last"]
        await wait_for_completions(log, 2)


async def wait_for_completions(log: JetStreamLog, count: int) -> bytes:
    """The newest completion that is kept, as soon as so many are; never more."""
    async with asyncio.timeout(PATIENCE_S):
        while (kept := await info(log, f"STREAM.INFO.{COMPLETIONS}", "state", "messages")) < count:
            continue
    assert kept == count
    return (await log.link.request(f"$JS.API.DIRECT.GET.{COMPLETIONS}.{COMPLETED}")).data
