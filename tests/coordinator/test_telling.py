"""What a coordinator tells of runs: spans made of what is recorded, and figures counted in its projection."""

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.projection import Projection
from services.coordinator.telemetry import census
from services.coordinator.telemetry.census import RunCensus
from services.coordinator.telemetry.counters import FactCounters
from services.coordinator.telemetry.gauges import Gauges
from services.coordinator.telemetry.spans import spans
from shared.contracts import traces
from shared.contracts.facts import HoldExtended
from shared.contracts.messages import Fill, Queue
from shared.contracts.subjects import Slot
from shared.domain.run import Recorded, Run, evolve
from shared.errors import Unavailable
from shared.runtime.log import Filled, Full
from shared.runtime.memory import MemoryLog
from shared.runtime.settings import Settings
from shared.telemetry.setup import Telemetry
from shared.telemetry.tracing import Span
from tests.coordinator.story import (
    PLAN,
    PLAN_ISSUED,
    RUN,
    START,
    Told,
    accepted,
    approved,
    completed,
    expired,
    found,
    given,
    hold,
    planned,
    rejected,
    revised,
    stored,
    written,
)
from tests.dossier import coordinating, performers, working
from tests.harness.waiting import PATIENCE_S

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROOT = traces.run_span_id(TRACE_ID, RUN)
HELD = (accepted(), planned(), found(0), found(1), hold())


def after(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def told(*facts: Told) -> dict[str, Span]:
    """The spans by name that are over with the last of these facts, which come a minute apart."""
    run, it = Run(RUN), None
    for number, fact in enumerate(facts):
        it = traced(stored(fact, number + 1, at=after(number)))
        run = evolve(run, it)
    assert it
    return {span.name: span for span in spans(run, it, it.time + timedelta(seconds=1))}


def traced(it: Recorded) -> Recorded:
    return replace(it, traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")


def test_a_run_is_told_as_a_whole_when_it_ends():
    over = told(*HELD, approved(), written(), completed())
    whole = over["invoke_workflow research"]
    assert (whole.id, whole.error) == (ROOT, "")
    assert (whole.began, whole.ended) == (START, after(7) + timedelta(seconds=1))
    assert whole.attributes["dossier.outcome"] == "reported"
    assert whole.attributes["gen_ai.conversation.id"] == RUN
    assert set(over) == {"invoke_workflow research", "send research.completed"}


def test_a_run_that_failed_is_an_error_and_one_that_was_rejected_is_none():
    assert told(accepted(), completed("failed"))["invoke_workflow research"].error == "failed"
    assert told(*HELD, rejected(), completed("rejected"))["invoke_workflow research"].error == ""


@pytest.mark.parametrize(
    ("decision", "name"),
    [(approved(), "approved"), (rejected(), "rejected"), (revised(), "revised"), (expired(), "expired")],
)
def test_the_wait_for_a_person_is_told_when_it_is_over_from_when_it_began(decision: Told, name: str):
    [wait] = told(*HELD, decision).values()
    assert (wait.name, wait.began, wait.ended) == ("wait for decision", after(4), after(5))
    assert wait.attributes["dossier.decision"] == name
    assert wait.id == traces.hold_span_id(TRACE_ID, RUN, 1)


def test_each_round_has_a_wait_of_its_own():
    again = (planned("more", round_=2), found(0, round_=2), hold(2))
    [wait] = told(*HELD, revised(), *again, approved(2)).values()
    assert (wait.began, wait.id) == (after(8), traces.hold_span_id(TRACE_ID, RUN, 2))


def test_a_decision_that_nobody_waited_for_has_no_wait_and_a_cancel_ends_one():
    assert told(accepted(), planned(), approved()) == {}
    cancelled = told(*HELD, completed("cancelled"))
    assert cancelled["wait for decision"].attributes["dossier.decision"] == "cancelled"
    assert "wait for decision" not in told(*HELD, approved(), completed("cancelled"))


def test_a_task_is_sent_and_nothing_of_what_it_asks_is_told():
    [sent] = told(accepted(), PLAN_ISSUED).values()
    assert (sent.name, sent.kind) == ("send task.plan", "producer")
    assert sent.attributes["messaging.destination.name"] == PLAN.task(1).subject
    assert "cats" not in str(sent)


def test_without_a_trace_there_is_nothing_to_stand_below():
    run = given(*HELD, approved(), written(), completed()).run
    it = stored(completed(), 8)
    assert run.traceparent is None
    assert [span.name for span in spans(run, it, START)] == ["send research.completed"]


def taken(path: Path, *runs: Run, now: datetime = START) -> RunCensus:
    """The census of these runs, by a projection that knew those on hold when they were that far."""
    projection = Projection(path / "projection.db")
    try:
        here = Checkpoint("", 1, "")
        before = [replace(given(*HELD).run, id=run.id) for run in runs if run.in_round(1).hold]
        projection.save([(run, None) for run in before], here, unanswered=(), answered=())
        projection.save([(run, None) for run in runs], here, unanswered=(), answered=())
        return census.take_census(path / "projection.db", late_before=now)
    finally:
        projection.close()


def named(run: str, *facts: Told) -> Run:
    return replace(given(*facts).run, id=run)


def test_the_census_counts_open_runs_by_where_they_stand_and_forgets_those_that_moved_on(tmp_path: Path):
    counted = taken(
        tmp_path,
        named("a", *HELD),
        named("b", *HELD[:-1], hold(deadline=after(9))),
        named("c", accepted()),
        named("d", *HELD, approved()),
        named("e", *HELD, revised()),
        named("f", *HELD, rejected(), completed("rejected")),
    )
    assert counted.open == {"planning": 2, "fetching": 0, "hold": 2, "writing": 1, "parked": 0}
    assert counted.held == 2
    assert (counted.oldest, counted.nearest) == (START.timestamp(), after(9).timestamp())


def test_a_hold_that_was_extended_expires_when_it_then_does(tmp_path: Path):
    later = HoldExtended(by="ada", via="api", deadline=after(600))
    counted = taken(tmp_path, named("a", *HELD, (Slot(RUN, "extension", 1, 1), later)))
    assert (counted.held, counted.nearest) == (1, after(600).timestamp())


def test_late_is_what_was_due_before_that_moment(tmp_path: Path):
    runs = named("a", accepted()), named("b", *HELD)
    assert taken(tmp_path, *runs, now=START - timedelta(seconds=1)).late == 0
    assert taken(tmp_path, *runs, now=START).late == 1
    assert taken(tmp_path, *runs, now=after(121)).late == 2


def test_where_nothing_is_on_hold_there_is_no_oldest(tmp_path: Path):
    counted = taken(tmp_path, named("a", accepted()))
    assert (counted.held, counted.oldest, counted.nearest) == (0, None, None)


def test_what_is_no_projection_cannot_be_counted(tmp_path: Path):
    with pytest.raises(sqlite3.Error):
        census.take_census(tmp_path / "projection.db", late_before=START)
    assert not (tmp_path / "projection.db").exists()


class Server(MemoryLog):
    """A log that says how its queues stand, when it can."""

    is_there = True
    asked = 0

    async def queue(self, consumer: str) -> Queue:
        self.asked += 1
        if not self.is_there:
            raise Unavailable("It is gone.")
        return Queue(waiting=1, in_flight=2, limit=5, redelivered=0, asking=0, handed_out=0)


async def test_figures_are_looked_up_once_for_many_who_ask_and_left_out_where_nats_does_not_say(tmp_path: Path):
    log = Server()
    async with coordinating(log, tmp_path) as it:
        run = await it.ask("What?")
        await it.until(run, "planning")
        figures = Gauges(log, it.coordinator, tmp_path / "projection.db", late_after=timedelta(minutes=5))
        await asyncio.gather(*(figures.refresh() for _ in range(9)))
        assert log.asked == 3
        there = {family.name: family for family in figures.collect()}
        assert "dossier_queue_tasks_waiting" in there
        ages = {sample.labels["kind"]: sample.value for sample in there["dossier_queue_oldest_age_seconds"].samples}
        assert 0 < ages["plan"] < PATIENCE_S
        log.is_there = False
        gone = Gauges(log, it.coordinator, tmp_path / "projection.db", late_after=timedelta(minutes=5))
        await gone.refresh()
        left = {family.name for family in gone.collect()}
        assert "dossier_queue_tasks_waiting" not in left
        assert {"dossier_leader", "dossier_runs"} <= left


class Forgetful(MemoryLog):
    """A log whose server stores every decision, and whose answer is lost: what is tried again finds its box full."""

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        filled = await super().fill(fills, session=session)
        return [Full() if ".decision." in fill.subject else one for fill, one in zip(fills, filled, strict=True)]


@pytest.mark.parametrize("log_of", [MemoryLog, Forgetful])
async def test_of_several_coordinators_exactly_one_tells_of_each_fact(tmp_path: Path, log_of: type[MemoryLog]):
    heard: list[str] = []

    def observe(_: Run, it: Recorded) -> None:
        heard.append(it.slot.path)

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tides.md").write_text("# Tides\n\nThe Moon pulls the oceans and so raises a tide.\n")
    log = log_of()
    async with (
        coordinating(log, tmp_path, observe=observe) as it,
        coordinating(log, tmp_path, name="other", observe=observe),
        working(log, performers(log, tmp_path / "docs", tmp_path)),
    ):
        run = await it.ask("What raises a tide?")
        await it.until(run, "hold")
        await it.say("approve", run)
        await it.until(run, "reported")
    assert len(heard) == len(set(heard))
    assert {"accepted", "task.plan.1.0.1", "hold.1", "decision.1", "completed"} <= set(heard)


def test_each_fact_that_is_written_is_counted_once_whoever_writes_it(tmp_path: Path):
    telemetry = Telemetry("coordinator", Settings())
    observer = FactCounters(telemetry)
    run = given(*HELD, approved(), written(), completed()).run
    for it in (stored(accepted(), 1), stored(approved(), 6, at=after(3)), stored(completed(), 8, at=after(5))):
        observer(run, it)
    value = telemetry.metrics.registry.get_sample_value
    assert value("dossier_runs_accepted_total") == 1
    assert value("dossier_decisions_total", {"decision": "approved", "via": "api"}) == 1
    assert value("dossier_hold_duration_seconds_sum") == 180
    assert value("dossier_runs_completed_total", {"outcome": "reported"}) == 1
    assert value("dossier_runs_completed_total", {"outcome": "failed"}) == 0
    assert value("dossier_run_duration_seconds_sum", {"outcome": "reported"}) == 300
