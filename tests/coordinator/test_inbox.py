"""However many contract messages wait, few are in memory, none is forgotten, and none is overtaken by a deadline."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from services.coordinator.engine import owed_writes, pending
from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.pending import PendingMessages
from services.coordinator.engine.projection import Projection
from shared.contracts.messages import Message
from shared.contracts.subjects import REQUESTED
from shared.domain.inbound import Defaults, Inbound, decide_inbound, parse_inbound
from shared.domain.judgement import Accept
from shared.domain.run import Run, evolve
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from tests.coordinator.story import stored
from tests.coordinator.test_loop import WELL
from tests.dossier import coordinating, working
from tests.harness.waiting import PATIENCE_S

HERE = Checkpoint("now", 1, "0" * 64)


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three messages at hand at most."""
    monkeypatch.setattr(pending, "IN_MEMORY", 3)


def request(seq: int) -> Message:
    return Message(REQUESTED, seq, clock.now(), msgspec.json.encode({"q": "Why?", "run_id": f"run-{seq}"}))


def nobody(_: str) -> None:
    """No run is known."""


def saved(projection: Projection, it: PendingMessages) -> None:
    came, answered = it.changes()
    projection.save([], HERE, unanswered=came, answered=answered)
    it.refill()


def at_hand(it: PendingMessages) -> list[int]:
    return [waiting.message.seq for waiting in it.oldest(100)]


def test_what_is_beyond_memory_comes_back_in_order_once_there_is_room(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    it = PendingMessages(projection, nobody)
    for seq in range(1, 8):
        it.add(request(seq))
    assert (at_hand(it), it.may_concern("another")) == ([1, 2, 3], True)
    seen: list[int] = []
    while it:
        seen += at_hand(it)
        for seq in at_hand(it):
            it.drop(seq)
        saved(projection, it)
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert not it.may_concern("another")
    assert projection.unanswered(limit=10) == []
    projection.close()


def test_what_was_answered_while_it_was_beyond_memory_does_not_come_back(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    it = PendingMessages(projection, nobody)
    for seq in range(1, 6):
        it.add(request(seq))
    saved(projection, it)
    for seq in (4, 1, 2, 3):
        it.drop(seq)
    saved(projection, it)
    assert at_hand(it) == [5]
    projection.close()


def test_a_new_start_finds_what_was_left(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    it = PendingMessages(projection, nobody)
    for seq in range(1, 6):
        it.add(request(seq))
    it.drop(2)
    saved(projection, it)
    again = PendingMessages(projection, nobody)
    again.restore()
    assert at_hand(again) == [1, 3, 4]
    assert again.may_concern("another")
    projection.close()


@pytest.mark.parametrize(("in_memory", "looks"), [(3, 1_000), (100, 2)], ids=["beyond memory", "beyond one look"])
async def test_a_long_queue_is_answered_and_no_deadline_overtakes_a_decision_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int, looks: int
):
    monkeypatch.setattr(pending, "IN_MEMORY", in_memory)
    monkeypatch.setattr(owed_writes, "BATCH", looks)
    later = timedelta()

    def now() -> datetime:
        return clock.now() + later

    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("Why?", run_id="held", approval_timeout="1h")
        await it.until("held", "hold")
    queued = [await it.ask("Why?", run_id=f"run-{n}", approval="auto") for n in range(20)]
    await it.say("approve", "held")
    later = timedelta(hours=2)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        for each in (*queued, "held"):
            await it.until(each, "reported")


async def test_a_follower_keeps_no_request_that_was_made_before(tmp_path: Path):
    log = MemoryLog()
    async with coordinating(log, tmp_path, name="leader") as leader, working(log, WELL):
        await leader.ask("Why?", run_id="asked")
        await leader.until("asked", "hold")
        async with coordinating(log, tmp_path, name="follower") as follower:
            for _ in range(5):
                await leader.ask("Why?", run_id="asked")
            await follower.coordinator.folded(len(log.messages), within_s=PATIENCE_S)
            assert not follower.coordinator.leads
            assert not follower.coordinator.fold.pending


def nameless(seq: int) -> Message:
    return Message(REQUESTED, seq, clock.now(), msgspec.json.encode({"q": "Why?"}))


def runs(it: PendingMessages) -> dict[int, str]:
    return {
        waiting.message.seq: waiting.content.run for waiting in it.oldest(9) if isinstance(waiting.content, Inbound)
    }


def test_requests_whose_sequence_was_given_before_have_an_id_that_no_other_message_has(tmp_path: Path):
    it = PendingMessages(Projection(tmp_path / "projection.db"), nobody)
    first, second = nameless(1), nameless(2)
    it.add(first)
    assert runs(it) == {1: "r1"}
    it.note_truncation(2)
    for message in (second, nameless(3)):
        it.add(message)
    assert list(runs(it)) == [1, 2, 3]
    assert runs(it)[3] == "r3"
    assert runs(it)[1].startswith("r1-")
    assert it.may_concern(runs(it)[1])
    assert not it.may_concern("r1")
    again = parse_inbound(first, used=10_000)
    assert isinstance(again, Inbound)
    assert again.run == runs(it)[1]
    another = parse_inbound(structs.replace(first, time=second.time), used=2)
    assert isinstance(another, Inbound)
    assert another.run != again.run


def test_an_id_of_its_own_stays_whatever_sequences_were_given(tmp_path: Path):
    it = PendingMessages(Projection(tmp_path / "projection.db"), nobody)
    it.add(request(1))
    it.note_truncation(10)
    assert runs(it) == {1: "run-1"}


@pytest.mark.parametrize("used", [0, 10])
def test_a_request_is_dealt_with_under_whichever_id_it_was_accepted(tmp_path: Path, used: int):
    it = PendingMessages(Projection(tmp_path / "projection.db"), nobody)
    message = nameless(1)
    it.add(message)
    it.note_truncation(used)
    said = parse_inbound(message)
    assert isinstance(said, Inbound)
    taken = decide_inbound(said, None, Defaults())
    assert isinstance(taken, Accept)
    it.settle(evolve(Run("r1"), stored((taken.slot, taken.fact), 2)))
    assert not it
