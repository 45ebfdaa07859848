"""Whatever happens to a run is told, at least once, under one id, for days if need be; and one endpoint's trouble is
its own. On virtual time, over logs in memory."""

import asyncio
import base64
import hmac
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from services.notifier.schedule import RETRY_S, Answer
from shared.contracts.deliveries import DeliveryTried
from shared.contracts.evidence import Failure
from shared.runtime.deliveries import encode_delivery
from tests.notifier.stage import DOWN, OK, SECRET, Sent, World, endpoint
from tests.virtual import START, now

pytestmark = pytest.mark.virtual_time

GONE = Answer(status=410)
DAY = 86_400


def is_signed(sent: Sent) -> bool:
    """Verified by the text of the specification, with nothing of ours."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = b".".join([sent.id.encode(), sent.headers["webhook-timestamp"].encode(), sent.body])
    expected = base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
    return f"v1,{expected}" in sent.headers["webhook-signature"].split(" ")


async def test_a_hold_its_near_deadline_and_the_end_are_told_in_their_time():

    world = World()
    async with world.notifying():
        await world.hold(for_s=7_200)
        await asyncio.sleep(7_000)
        await world.decide()
        await world.end()
        await asyncio.sleep(10)
    assert world.told() == ["r1-hold-1", "r1-near-1", "r1-ended"]
    assert all(map(is_signed, world.sent))
    held, near, ended = world.sent
    assert held.at - START < timedelta(seconds=1)
    assert timedelta(0) <= near.at - (START + timedelta(minutes=90)) < timedelta(seconds=1)
    assert [sent.event["type"] for sent in world.sent] == ["hold.opened", "deadline.near", "run.ended"]
    assert held.event["url"] == "https://dossier.example.com/runs/r1"
    assert held.event["data"] | {"deadline": ""} == {
        "run_id": "r1",
        "q": "What do cats do?",
        "round": 1,
        "digest": "d" * 64,
        "deadline": "",
    }
    assert (ended.event["data"]["outcome"], ended.event["data"]["ok"]) == ("reported", True)


async def test_a_dead_endpoint_is_tried_ten_times_over_75_hours_under_one_id_then_given_up():

    world = World()
    world.answer("ops", then=DOWN)
    async with world.notifying():
        await world.accept()
        await world.end()
        await asyncio.sleep(30 * DAY)
    assert world.told() == ["r1-ended"] * 10
    assert len({sent.body for sent in world.sent}) == 1
    assert len({sent.headers["webhook-timestamp"] for sent in world.sent}) == 10
    assert all(map(is_signed, world.sent))
    waits = [(after.at - before.at).total_seconds() for before, after in pairwise(world.sent)]
    for waited, planned in zip(waits, RETRY_S, strict=True):
        assert planned <= waited <= planned * 1.1 + 1
    assert timedelta(hours=75) < world.sent[-1].at - world.sent[0].at < timedelta(hours=84)
    ended = await world.story("ops.r1.ended")
    assert (ended.state, len(ended.tries), ended.due) == ("gave_up", 10, None)


async def test_what_was_given_up_is_sent_again_when_a_person_asks():

    world = World()
    world.answer("ops", *[DOWN] * 10)
    async with world.notifying():
        await world.accept()
        await world.end()
        await asyncio.sleep(10 * DAY)
        await world.ask_again("ops.r1.ended")
        await asyncio.sleep(1)
    assert world.told() == ["r1-ended"] * 11
    assert (await world.story("ops.r1.ended")).state == "delivered"


async def test_retries_go_on_over_a_restart():

    world = World()
    world.answer("ops", *[DOWN] * 4)
    async with world.notifying():
        await world.accept()
        await world.end()
        await asyncio.sleep(600)
    async with world.notifying():
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-ended"] * 5
    assert (await world.story("ops.r1.ended")).state == "delivered"


async def test_a_notifier_that_dies_after_sending_and_before_recording_has_its_message_sent_again_under_the_same_id():

    world = World()
    world.takes_s["ops"] = 5
    await world.accept()
    await world.end()
    async with world.notifying():
        await asyncio.sleep(1)
    assert world.told() == ["r1-ended"]
    assert not (await world.story("ops.r1.ended")).tries
    async with world.notifying():
        await asyncio.sleep(60)
    assert world.told() == ["r1-ended"] * 2
    assert world.sent[0].body == world.sent[1].body
    assert (await world.story("ops.r1.ended")).state == "delivered"


async def test_two_notifiers_do_not_both_send():

    world = World()
    world.answer("ops", DOWN, DOWN)
    async with world.notifying(), world.notifying():
        for number in range(20):
            await world.accept(f"run{number}")
            await world.end(f"run{number}")
        await asyncio.sleep(DAY)
    assert len(world.sent) == 22
    assert len(set(world.told())) == 20


async def test_what_is_recorded_holds_whoever_knows_better():
    """A notifier that was slow finds its box filled by another: it goes by what stands there."""

    world = World()
    world.takes_s["ops"] = 2
    async with world.notifying():
        await world.accept()
        await world.end()
        await asyncio.sleep(1)
        delivery = (await world.story("ops.r1.ended")).delivery
        failed = DeliveryTried(result="failed", status=500, due=now() + timedelta(minutes=5))
        await world.deliveries.fill([encode_delivery(delivery.tried(1, 1), failed, source="another", time=now())])
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-ended"] * 2
    assert (await world.story("ops.r1.ended")).state == "delivered"


@pytest.mark.parametrize("trouble", ["slow", "dead"])
async def test_one_endpoint_in_trouble_delays_no_other(trouble: str):

    world = World(endpoint("bad"), endpoint("good"))
    world.takes_s["bad"] = 15 if trouble == "slow" else 0
    world.answer("bad", then=Answer(error=Failure("timeout", "…")) if trouble == "slow" else DOWN)
    async with world.notifying():
        for number in range(200):
            await world.accept(f"run{number}")
            await world.end(f"run{number}")
        await asyncio.sleep(5)
        assert sorted(world.told("good")) == sorted(f"run{number}-ended" for number in range(200))
        assert all(sent.at - START < timedelta(seconds=5) for sent in world.sent if sent.endpoint == "good")


async def test_an_endpoint_that_is_gone_is_told_nothing_more_until_a_person_sends_again():

    world = World()
    world.answer("ops", GONE)
    async with world.notifying():
        for name in ("a", "b"):
            await world.accept(name)
            await world.end(name)
            await asyncio.sleep(DAY)
        assert world.told() == ["a-ended"]
        assert [(await world.story(f"ops.{name}.ended")).state for name in "ab"] == ["disabled", "disabled"]
        await world.ask_again("ops.b.ended")
        await asyncio.sleep(1)
        await world.accept("c")
        await world.end("c")
        await asyncio.sleep(1)
    assert world.told() == ["a-ended", "b-ended", "c-ended"]


async def test_an_endpoint_that_asks_to_wait_is_waited_for():

    world = World()
    world.answer("ops", Answer(status=429, retry_after_s=7_200))
    async with world.notifying():
        await world.accept()
        await world.end()
        await asyncio.sleep(DAY)
    first, second = world.sent
    assert timedelta(hours=2) <= second.at - first.at < timedelta(hours=2, minutes=1)


@pytest.mark.parametrize("happens", ["decided", "ended", "time is up"])
async def test_a_run_that_waits_no_more_is_not_called_near_its_deadline(happens: str):

    world = World()
    if happens == "time is up":
        await world.hold()
        await asyncio.sleep(7_300)
    async with world.notifying():
        if happens != "time is up":
            await world.hold()
            await asyncio.sleep(60)
            await (world.decide() if happens == "decided" else world.end())
        await asyncio.sleep(DAY)
    assert "r1-near-1" not in world.told()
    assert (await world.story("ops.r1.near-1")).state == "moot"


async def test_retries_of_a_near_deadline_end_with_the_hold():

    world = World()
    world.answer("ops", OK, DOWN, DOWN)
    async with world.notifying():
        await world.hold()
        await asyncio.sleep(5_401)
        await world.decide()
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-hold-1", "r1-near-1"]
    assert (await world.story("ops.r1.near-1")).state == "moot"


async def test_the_deadline_that_is_called_near_is_the_one_that_it_was_extended_to_last():

    world = World()
    async with world.notifying():
        await world.hold()
        await asyncio.sleep(600)
        await world.extend(by_s=36_000)
        await asyncio.sleep(600)
        await world.extend(2, by_s=72_000)
        said_at = now()
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-hold-1", "r1-near-1-2"]
    near = world.sent[-1]
    assert timedelta(0) <= near.at - (said_at + timedelta(seconds=72_000 - 1_800)) < timedelta(seconds=2)
    assert near.event["type"] == "deadline.near"
    assert datetime.fromisoformat(near.event["data"]["deadline"]) - said_at == timedelta(seconds=72_000)
    assert [(await world.story(f"ops.r1.near-{which}")).state for which in ("1", "1-1")] == ["moot", "moot"]


async def test_a_hold_that_is_given_little_more_time_is_called_near_its_deadline_again():

    world = World()
    async with world.notifying():
        await world.hold()
        await asyncio.sleep(7_000)
        await world.extend(by_s=900)
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-hold-1", "r1-near-1", "r1-near-1-1"]
    assert world.sent[-1].at - world.sent[0].at < timedelta(seconds=7_010)


async def test_an_extension_that_came_too_late_is_not_told():

    world = World()
    async with world.notifying():
        await world.hold()
        await asyncio.sleep(7_201)
        await world.extend(by_s=900)
        await world.decide()
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-hold-1", "r1-near-1"]


async def test_a_hold_shorter_than_the_warning_has_no_warning():

    world = World()
    async with world.notifying():
        await world.hold(for_s=600)
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-hold-1"]


async def test_a_hold_that_waits_for_nobody_is_not_told():

    world = World()
    async with world.notifying():
        await world.hold(approval="auto")
        await asyncio.sleep(1)
        await world.decide()
        await world.end()
        await asyncio.sleep(DAY)
    assert world.told() == ["r1-ended"]


async def test_a_hold_that_waits_for_a_person_although_none_was_asked_for_is_told():
    """As that of a run whose report would cost more than it may."""

    world = World()
    async with world.notifying():
        await world.hold(approval="auto")
        await asyncio.sleep(5)
    assert world.told() == ["r1-hold-1"]


async def test_each_endpoint_is_told_what_it_asked_for():

    world = World(endpoint("all"), endpoint("ends", events=frozenset({"run.ended"})))
    async with world.notifying():
        await world.hold()
        await asyncio.sleep(1)
        await world.end()
        await asyncio.sleep(1)
    assert (world.told("all"), world.told("ends")) == (["r1-hold-1", "r1-ended"], ["r1-ended"])


async def test_a_second_round_is_told_of_too():

    world = World()
    async with world.notifying():
        await world.hold()
        await world.hold(round_=2)
        await asyncio.sleep(1)
    assert world.told() == ["r1-hold-1", "r1-hold-2"]


async def test_what_happened_before_the_last_retry_would_have_been_is_not_told_any_more():

    world = World()
    await world.accept("old")
    await world.end("old")
    await asyncio.sleep(4 * DAY)
    await world.accept("new")
    await world.end("new")
    async with world.notifying():
        await asyncio.sleep(1)
    assert world.told() == ["new-ended"]


async def test_a_notifier_that_is_told_to_stop_finishes_what_it_sends():

    world = World()
    world.takes_s["ops"] = 5
    async with world.notifying() as stop:
        await world.accept()
        await world.end()
        await asyncio.sleep(1)
        stop.set()
        await asyncio.sleep(6)
        assert (await world.story("ops.r1.ended")).state == "delivered"
        assert now() < START + timedelta(seconds=8)
