"""The coordinator over the log in memory: nothing lost, nothing twice, whoever dies."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection, RunFilter
from shared.contracts.evidence import Citation, Failure
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    FetchFound,
    PlanMade,
    RunCompleted,
    StepOutcome,
    SynthesisWritten,
    TaskIssued,
)
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import Kind
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain.inbound import Defaults
from shared.domain.run import FOLD_VERSION
from shared.errors import Transient
from shared.runtime.log import LogCheck
from shared.runtime.memory import MemoryLog
from shared.service.worker import Perform
from tests.coordinator.story import SOURCE, report
from tests.dossier import Dossier, coordinating, nothing_to_set_up, working
from tests.harness.waiting import PATIENCE_S
from tests.virtual import now
from tests.waiting import wait_until


async def perform(task: Task) -> StepOutcome:
    """Every task, at once and well."""
    match task:
        case PlanTask():
            return PlanMade(queries=("cats", "dogs"), planner="test")
        case FetchTask(query=query):
            return FetchFound(query=query, sources=(SOURCE,))
        case SynthesizeTask(digest=digest):
            return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))


WELL: dict[Kind, Perform] = {"plan": perform, "fetch": perform, "synthesize": perform}
pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def dossier(tmp_path: Path, performs: dict[Kind, Perform] = WELL) -> AsyncGenerator[Dossier]:
    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path) as it, working(log, performs):
        yield it


def refusals(it: Dossier) -> list[str]:
    return [msgspec.json.decode(data)["data"]["error"]["code"] for data in it.stored("research.invalid.")]


async def test_an_approval_that_comes_before_anything_happened_is_not_lost(tmp_path: Path):
    log = MemoryLog(now=now)
    it = Dossier(log, None)
    await it.ask("What do cats do?", run_id="cats")
    await it.say("approve", "cats")
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.until("cats", "reported")
        assert refusals(it) == []


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [("approve", "reject", "reported"), ("reject", "approve", "rejected"), ("cancel", "approve", "cancelled")],
)
async def test_of_two_decisions_the_first_wins_and_the_second_is_told(
    tmp_path: Path, first: str, second: str, outcome: str
):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")
        await it.say(first, "cats")
        await it.say(second, "cats")
        await it.until("cats", outcome)
        await it.ask("And dogs?", run_id="dogs")
        await it.until("dogs", "hold")
        assert refusals(it) == ["decided"]


async def test_a_decision_said_twice_is_one_decision(tmp_path: Path):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")
        await it.say("approve", "cats")
        await it.until("cats", "reported")
        assert len([path for path in it.facts("cats") if path.startswith("decision")]) == 1


async def test_the_deadline_passes_by_itself(tmp_path: Path):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats", approval_timeout="1s")
        ended = await it.until("cats", "expired")
        assert isinstance(it.facts("cats")["decision.1"], DecisionExpired)
        assert not ended.completed.fact.ok
        await it.say("approve", "cats")
        await it.ask("And dogs?", run_id="dogs")
        await it.until("dogs", "hold")
        assert refusals(it) == ["decided"]


async def test_an_approval_in_time_wins_although_everybody_was_away_at_the_deadline(tmp_path: Path):
    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("What do cats do?", run_id="cats", approval_timeout="1s")
        await it.until("cats", "hold")
    await it.say("approve", "cats")
    await asyncio.sleep(1.2)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.until("cats", "reported")
        assert isinstance(it.facts("cats")["decision.1"], DecisionApproved)


class Lagging(MemoryLog):
    """A log whose reader can be held up."""

    def __init__(self) -> None:
        super().__init__(now=now)
        self.flows = asyncio.Event()
        self.flows.set()

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        async with aclosing(super().follow(after, check=check)) as chunks:
            async for chunk in chunks:
                await self.flows.wait()
                yield chunk


async def test_an_approval_in_time_wins_although_it_is_read_after_the_deadline(tmp_path: Path):
    log = Lagging()
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("What do cats do?", run_id="cats", approval_timeout="1s")
        await it.until("cats", "hold")
        log.flows.clear()
        await it.say("approve", "cats")
        await asyncio.sleep(1.3)
        assert "decision.1" not in it.facts("cats")
        log.flows.set()
        await it.until("cats", "reported")


async def test_a_failed_attempt_is_tried_again_when_it_is_due(tmp_path: Path):
    tried: list[Task] = []

    async def fails_once(task: Task) -> StepOutcome:
        tried.append(task)
        if len(tried) == 1:
            raise Transient("reset", "The connection was reset.")
        return await perform(task)

    async with dossier(tmp_path, WELL | {"plan": fails_once}) as it:
        await it.ask("What do cats do?", run_id="cats", approval="auto")
        await it.until("cats", "reported")
        facts = it.facts("cats")
        assert facts["attempt.plan.1.0.1"].error == Failure("reset", "The connection was reset.")
        assert isinstance(facts["task.plan.1.0.2"], TaskIssued)


async def test_a_coordinator_that_comes_back_goes_on_from_its_checkpoint(tmp_path: Path):
    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("What do cats do?", run_id="cats")
        held = await it.until("cats", "hold")
    assert _checkpoint(tmp_path) == len(log.messages)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.say("reject", "cats")
        ended = await it.until("cats", "rejected")
        assert ended.rounds[1].fetches == held.rounds[1].fetches


async def test_a_damaged_projection_is_made_again(tmp_path: Path):
    (tmp_path / "projection.db").write_bytes(b"not a database, " * 1_000)

    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")


async def test_an_older_coordinator_lets_a_run_rest_in_which_a_newer_one_has_filled_a_box_of_its_own(tmp_path: Path):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")
        await it.log.fill([Fill("research.run.cats.amendment.1", b"{}")])
        await it.until("cats", "parked")
        await it.ask("What do dogs do?", run_id="dogs")
        await it.until("dogs", "hold")


@pytest.mark.parametrize("damage", ["another log", "another fold", "ahead of the log"])
async def test_a_projection_that_does_not_fit_is_rebuilt(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch):
    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        for name in ("cats", "dogs"):
            await it.ask("What do they do?", run_id=name)
            await it.until(name, "hold")
    if damage == "another fold":
        monkeypatch.setattr("services.coordinator.engine.projection.FOLD_VERSION", FOLD_VERSION + 1)
    else:
        other = MemoryLog(now=now)
        if damage == "ahead of the log":
            other._created = log._created
        log = other
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("What do they do?", run_id="birds")
        await it.until("birds", "hold")
        known = {each.id for each in it.coordinator.saved.select(RunFilter(), limit=10)}
        assert known == ({"cats", "dogs", "birds"} if damage == "another fold" else {"birds"})


async def test_a_coordinator_that_does_not_lead_loses_nothing_when_it_has_to(tmp_path: Path):
    log = MemoryLog(now=now)
    async with working(log, WELL):
        leading = coordinating(log, tmp_path, name="first")
        first = await leading.__aenter__()
        await first.ask("What do cats do?", run_id="cats")
        await first.until("cats", "hold")
        async with coordinating(log, tmp_path, name="second") as second:
            await second.until("cats", "hold")
            assert not second.coordinator.leads
            await leading.__aexit__(None, None, None)
            await second.say("approve", "cats")
            await second.ask("And dogs?", run_id="dogs", approval="auto")
            await second.until("cats", "reported")
            await second.until("dogs", "reported")


async def test_what_the_leader_left_unanswered_is_answered_by_the_next(tmp_path: Path):
    """A follower folds past contract messages that it may not answer; it must remember them."""

    log = MemoryLog(now=now)
    async with coordinating(log, tmp_path, name="follower") as follower:
        # The leadership is held by nobody who answers.
        async with log.tasks("lead", at_most=1):
            pass
        await _lose_leadership(log, follower)
        await follower.ask("What do cats do?", run_id="cats", approval="auto")
        await follower.coordinator.folded(len(log.messages), within_s=PATIENCE_S)
    async with coordinating(log, tmp_path, name="follower") as again, working(log, WELL):
        await again.until("cats", "reported")


async def _lose_leadership(log: MemoryLog, it: Dossier) -> None:
    await it.coordinator.folded(1, within_s=PATIENCE_S)
    it.coordinator._elected(False)


async def test_runs_do_not_wait_for_each_other(tmp_path: Path):
    async with dossier(tmp_path) as it:
        names = [f"run-{number}" for number in range(100)]
        for name in names:
            await it.ask("What do cats do?", run_id=name, approval="auto")
        for name in names:
            await it.until(name, "reported")
        completed = [fact for name in names for fact in it.facts(name).values() if isinstance(fact, RunCompleted)]
        assert len(completed) == 100


async def test_an_excluded_source_is_not_in_the_report(tmp_path: Path):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats")
        held = await it.until("cats", "hold")
        await it.say("approve", "cats", exclude=[SOURCE.sha256], digest=held.current.hold.fact.digest)
        await it.say("reject", "cats")
        await it.until("cats", "rejected")
        assert refusals(it) == ["nothing_left"]
        assert isinstance(it.facts("cats")["decision.1"], DecisionRejected)


async def test_a_look_at_the_list_of_runs_does_not_let_a_deadline_pass_unseen(tmp_path: Path):
    async with dossier(tmp_path) as it:
        await it.ask("What do cats do?", run_id="cats", approval_timeout="1s")
        await it.until("cats", "hold")
        await wait_until(lambda: it.coordinator.fold.next_wake)
        it.coordinator.saved.select(RunFilter(), limit=10)
        await it.until("cats", "expired")


class Counting(Coordinator):
    """A coordinator that counts its turns."""

    turns = 0

    async def _turn(self, chunk: Sequence[Message]) -> None:
        self.turns += 1
        await super()._turn(chunk)


async def test_a_coordinator_with_nothing_to_do_rests(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    coordinator = Counting(MemoryLog(now=now), projection, defaults=Defaults(), set_up=nothing_to_set_up)
    running = asyncio.create_task(coordinator.run())
    await wait_until(lambda: coordinator.leads and not coordinator.fold.unsaved)
    await asyncio.sleep(0.5)
    assert coordinator.turns < 20
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    projection.close()


def _checkpoint(data: Path) -> int:
    projection = Projection(data / "projection.db")
    try:
        checkpoint = projection.checkpoint()
        assert checkpoint
        return checkpoint.seq
    finally:
        projection.close()
