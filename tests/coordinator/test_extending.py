"""More time to decide: it counts if it was said in time, whatever happens in which order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.coordinator.engine import approvals as desk_module
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection, RunFilter
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import DecisionExpired, HoldExtended
from shared.contracts.messages import Fill
from shared.contracts.requests import MAX_TIMEOUT_S, Extension, Ruling
from shared.contracts.subjects import Slot
from shared.domain.decisions import decide_ruling
from shared.domain.diagnosis import Observations, diagnose
from shared.domain.extension import decide_extension
from shared.domain.inbound import Defaults
from shared.domain.judgement import Accept, Duplicate, Reject
from shared.domain.roles import local_principal
from shared.domain.run import Run
from shared.domain.steps import due_since
from shared.runtime.log import Filled
from shared.runtime.memory import MemoryLog
from tests.coordinator.story import (
    DEADLINE,
    RUN,
    START,
    Told,
    accepted,
    approved,
    box,
    completed,
    fold,
    found,
    given,
    hold,
    planned,
    revised,
    stored,
)
from tests.dossier import nothing_to_set_up
from tests.virtual import START as BEGAN
from tests.virtual import now

pytestmark = pytest.mark.virtual_time

HELD = (accepted(), planned("cats"), found(0), hold())
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def extended(number: int, deadline: datetime, *, by: str = "ada") -> Told:
    return Slot(RUN, "extension", 1, number), HoldExtended(by=by, via="api", deadline=deadline)


def held(*extensions: tuple[Told, datetime]) -> Run:
    """A run on hold, with extensions that were stored when it says."""
    facts = [stored(told, seq) for seq, told in enumerate(HELD, 1)]
    return fold(*facts, *(stored(told, seq, at=at) for seq, (told, at) in enumerate(extensions, len(HELD) + 1)))


def wish(deadline: datetime, *, digest: str | None = None, by: str = "ada") -> Extension:
    return Extension(run_id=RUN, by=by, deadline=deadline, digest=digest)


# What counts


def test_a_hold_that_was_extended_expires_at_the_later_deadline_and_not_before():
    story = given(*HELD, extended(1, DEADLINE + HOUR))
    story.at(DEADLINE).then_nothing_before(DEADLINE + HOUR)
    [fact] = story.at(DEADLINE + HOUR).then_owed(box("decision", 1))
    assert isinstance(fact, DecisionExpired)
    assert due_since(story.run) == DEADLINE + HOUR


def test_an_extension_counts_that_was_stored_before_the_deadline_it_extends_and_no_other():
    first = extended(1, DEADLINE + HOUR), DEADLINE - MINUTE
    assert held(first).current.deadline == DEADLINE + HOUR
    assert held((extended(1, DEADLINE + HOUR), DEADLINE)).current.deadline == DEADLINE
    second = extended(2, DEADLINE + 2 * HOUR)
    assert held(first, (second, DEADLINE + 59 * MINUTE)).current.deadline == DEADLINE + 2 * HOUR
    assert held(first, (second, DEADLINE + HOUR)).current.deadline == DEADLINE + HOUR


def test_no_extension_makes_a_deadline_earlier():
    run = held((extended(1, DEADLINE + HOUR), START), (extended(2, DEADLINE), START), (extended(3, START), START))
    assert run.current.deadline == DEADLINE + HOUR
    assert len(run.current.valid_extensions()) == 1


def test_in_every_order_and_twice_the_deadline_is_the_same():
    moments = [(extended(1, DEADLINE + HOUR), START), (extended(2, DEADLINE + 3 * HOUR), DEADLINE + MINUTE)]
    late = (extended(3, DEADLINE + 9 * HOUR), DEADLINE + 4 * HOUR)
    facts = [stored(told, seq) for seq, told in enumerate(HELD, 1)]
    facts += [stored(told, seq, at=at) for seq, (told, at) in enumerate([*moments, late], 5)]
    runs = [fold(*facts[:3], *order, *order) for order in permutations(facts[3:])]
    assert {run.current.deadline for run in runs} == {DEADLINE + 3 * HOUR}
    assert all(run == runs[0] for run in runs)


def test_an_extension_belongs_to_its_round():
    story = given(*HELD, extended(1, DEADLINE + HOUR), revised(), planned("dogs", round_=2), found(0, round_=2))
    assert given(*HELD, extended(1, DEADLINE + HOUR), revised()).run.current.deadline is None
    again = given(
        *HELD, extended(1, DEADLINE + HOUR), revised(), planned("dogs", round_=2), found(0, round_=2), hold(2)
    )
    assert story.run.current.deadline is None
    assert again.run.current.deadline == DEADLINE


def test_a_decision_is_in_time_until_the_later_deadline():
    run, ruling = held((extended(1, DEADLINE + HOUR), START)), Ruling(run_id=RUN, by="ann")
    assert isinstance(decide_ruling("approve", ruling, run, at=DEADLINE, via="api"), Accept)
    late = decide_ruling("approve", ruling, run, at=DEADLINE + HOUR, via="api")
    assert isinstance(late, Reject)
    assert late.code == "too_late"
    assert (DEADLINE + HOUR).isoformat() in late.message


def test_who_asks_why_is_told_who_gave_more_time():
    run = held((extended(1, DEADLINE + HOUR), START), (extended(2, DEADLINE + 2 * HOUR, by="rob"), START))
    [wait] = diagnose(run, Observations(now=START, attempts=4))
    assert wait.deadline == DEADLINE + 2 * HOUR
    assert "in 4 h it expires, as extended by ada, rob." in wait.text


# What is taken


def test_it_goes_into_the_next_box():
    taken = decide_extension(wish(DEADLINE + HOUR, digest="d" * 64), held(), at=START, auth="key:1")
    fact = HoldExtended(by="ada", via="api", auth="key:1", digest="d" * 64, deadline=DEADLINE + HOUR)
    assert taken == Accept(Slot(RUN, "extension", 1, 1), fact)
    more = decide_extension(wish(DEADLINE + 2 * HOUR), held((extended(1, DEADLINE + HOUR), START)), at=START, auth="")
    assert isinstance(more, Accept)
    assert more.slot.index == 2


def test_said_again_it_is_done_once():
    run = held((extended(1, DEADLINE + HOUR), START))
    assert decide_extension(wish(DEADLINE + HOUR), run, at=START, auth="") == Duplicate()


LONGEST = START + timedelta(seconds=MAX_TIMEOUT_S)


@pytest.mark.parametrize(
    ("told", "asked", "at", "code", "says"),
    [
        ((), wish(DEADLINE + HOUR), START, "unknown_run", "There is no run run-1."),
        (HELD[:3], wish(DEADLINE + HOUR), START, "not_held", "it is fetching"),
        (HELD, wish(DEADLINE + HOUR), DEADLINE, "too_late", f"ended at {DEADLINE.isoformat()}"),
        (HELD, wish(DEADLINE - MINUTE), START, "not_later", f"waits until {DEADLINE.isoformat()}"),
        (HELD, wish(LONGEST + MINUTE), START, "too_long", f"until {LONGEST.isoformat()} at most"),
        (HELD, wish(DEADLINE + HOUR, digest="e" * 64), START, "stale_digest", f"its digest is {'d' * 64}"),
        ((*HELD, approved()), wish(DEADLINE + HOUR), START, "decided", "is decided: approved by ada"),
        ((*HELD, completed("cancelled")), wish(DEADLINE + HOUR), START, "decided", "has ended: cancelled"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_what_cannot_be_extended_is_refused_by_name(
    told: tuple[Told, ...], asked: Extension, at: datetime, code: str, says: str
):
    refused = decide_extension(asked, given(*told).run, at=at, auth="")
    assert isinstance(refused, Reject)
    assert refused.code == code
    assert says in refused.message


def test_it_may_be_extended_to_the_longest_that_a_request_may_ask_for():
    assert isinstance(decide_extension(wish(LONGEST), held(), at=START, auth=""), Accept)


# At the desk


class Office:
    """A log on a clock of its own, a coordinator that leads, and a desk."""

    def __init__(self, log: MemoryLog, coordinator: Coordinator) -> None:
        self.log = log
        self.coordinator = coordinator
        self.desk = Approvals(log, coordinator, digest_required=False)

    @property
    def run(self) -> Run:
        run = self.coordinator.fold.peek(RUN)
        assert run
        return run

    async def extend(self, seconds: float, *, by: str = "ada") -> str:
        """What somebody is told who wants the hold to wait until so long after the beginning."""
        refusal, run = await self.desk.extend(wish(BEGAN + timedelta(seconds=seconds), by=by), local_principal())
        assert run
        return refusal.message if refusal else f"until {(run.current.deadline - BEGAN).total_seconds():g}"


@asynccontextmanager
async def at_the_desk(
    folder: Path, log_of: type[MemoryLog] = MemoryLog, *, hold_s: float = 10
) -> AsyncGenerator[Office]:
    """A run that is held from the beginning on for so long."""
    log = log_of(now=now)
    for slot, fact in (*HELD[:3], hold(deadline=BEGAN + timedelta(seconds=hold_s))):
        await MemoryLog.fill(log, [Fill(slot.subject, envelope.encode(slot, Event(fact, "test", BEGAN)))])
    projection = Projection(folder / "projection.db")
    coordinator = Coordinator(log, projection, defaults=Defaults(), set_up=nothing_to_set_up)
    running = asyncio.create_task(coordinator.run())
    await asyncio.sleep(0.1)
    try:
        yield Office(log, coordinator)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        projection.close()


async def test_a_hold_outlives_its_first_deadline_and_expires_at_the_second(tmp_path: Path):

    async with at_the_desk(tmp_path) as office:
        await asyncio.sleep(5)
        assert await office.extend(20) == "until 20"
        await asyncio.sleep(10)
        assert office.run.status == "hold"
        await asyncio.sleep(6)
        assert office.run.status == "expired"


async def test_who_comes_after_the_deadline_is_told_that_it_expired(tmp_path: Path):

    async with at_the_desk(tmp_path) as office:
        await asyncio.sleep(12)
        assert "expired by deadline" in await office.extend(20)
        assert not office.run.current.extensions


async def test_who_comes_after_a_decision_is_told_whose_it_was(tmp_path: Path):

    async with at_the_desk(tmp_path) as office:
        await office.desk.submit("approve", Ruling(run_id=RUN, by="ann"), local_principal())
        assert "approved by ann" in await office.extend(20)


async def test_of_two_at_once_both_are_told_until_when_it_waits_in_truth(tmp_path: Path):

    async with at_the_desk(tmp_path) as office:
        told = await asyncio.gather(office.extend(20, by="ann"), office.extend(30, by="rob"), office.extend(30))
        assert set(told) <= {"until 20", "until 30"}
        assert office.run.current.deadline in (None, BEGAN + timedelta(seconds=30))
        await asyncio.sleep(25)
        assert office.run.status == "hold"
        assert office.run.current.deadline == BEGAN + timedelta(seconds=30)
        assert len(office.run.current.extensions) == 2


class Slow(MemoryLog):
    """Stores extensions three seconds after it was asked to."""

    async def fill(self, fills, *, session=None):
        if any(".extension." in fill.subject for fill in fills):
            await asyncio.sleep(3)
        return await super().fill(fills, session=session)


async def test_an_extension_that_is_stored_too_late_is_told_as_refused(tmp_path: Path):

    async with at_the_desk(tmp_path, Slow) as office:
        await asyncio.sleep(8)
        assert "expired by deadline" in await office.extend(20)
        assert office.run.status == "expired"
        assert office.run.current.deadline == BEGAN + timedelta(seconds=10)


class Forgetful(MemoryLog):
    """Stores the first extension and loses the answer to it."""

    lost = False

    async def fill(self, fills, *, session=None) -> list[Filled]:
        filled = await super().fill(fills, session=session)
        if not self.lost and any(".extension." in fill.subject for fill in fills):
            self.lost = True
            await asyncio.sleep(600)
        return filled


async def test_a_call_that_is_repeated_because_nothing_was_heard_extends_once(tmp_path: Path):

    async with at_the_desk(tmp_path, Forgetful, hold_s=600) as office:
        asked = office.extend(3_600)
        with pytest.raises(desk_module.Unavailable):
            await asked
        assert await office.extend(3_600) == "until 3600"
        assert len(office.run.current.extensions) == 1


async def test_a_coordinator_that_is_behind_knows_all_the_same_how_long_the_hold_waits(tmp_path: Path):

    log = MemoryLog(now=now)
    projection = Projection(tmp_path / "projection.db")
    coordinator = Coordinator(log, projection, defaults=Defaults(), set_up=nothing_to_set_up)
    for slot, fact in (*HELD[:3], hold(deadline=BEGAN + timedelta(seconds=10))):
        await log.fill([Fill(slot.subject, envelope.encode(slot, Event(fact, "test", BEGAN)))])
    await coordinator.restore()
    coordinator.fold.take(log.messages)
    for number in (1, 2):
        slot, fact = extended(number, BEGAN + timedelta(seconds=10 + 10 * number))
        await log.fill([Fill(slot.subject, envelope.encode(slot, Event(fact, "test", BEGAN)))])
    await asyncio.sleep(25)
    office = Office(log, coordinator)
    assert await office.extend(40) == "until 40"
    refusal, run = await office.desk.submit("approve", Ruling(run_id=RUN, by="ann"), local_principal())
    assert refusal is None
    assert run
    assert run.status == "writing"
    projection.close()


def test_a_list_by_deadline_follows_extensions_and_sorts_nothing(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    waiting = RunFilter(("hold",))
    sooner, later = (
        replace(held(), id="sooner"),
        replace(given(*HELD[:3], hold(deadline=DEADLINE + HOUR)).run, id="later"),
    )
    extended_ = replace(held((extended(1, DEADLINE + 2 * HOUR), START)), id="sooner")
    for run, order in ((sooner, ["sooner", "later"]), (extended_, ["later", "sooner"])):
        projection.save([(run, None), (later, None)], Checkpoint("", 1, ""), unanswered=(), answered=())
        assert [row.run_id for row in projection.rows(waiting, limit=10, by_deadline=True)] == order
    statements: list[str] = []
    projection._db.set_trace_callback(statements.append)
    projection.rows(waiting, limit=10, by_deadline=True)
    projection._db.set_trace_callback(None)
    plan = projection._db.execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()
    assert [step for *_, step in plan] == ["SEARCH run USING INDEX run_deadline (status=?)"]
    projection.close()
