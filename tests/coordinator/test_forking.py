"""Forks in the coordinator's loop: copied once, whoever dies between two copies, however many coordinate."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.evidence import Citation, Usage
from shared.contracts.facts import Fact, FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.messages import Fill
from shared.contracts.subjects import Kind
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.errors import Terminal
from shared.runtime.log import Filled
from shared.runtime.memory import MemoryLog
from shared.service.worker import Perform
from tests.coordinator.story import SOURCE, report
from tests.dossier import Dossier, coordinating, working

QUESTION = "What do cats do?"


class Workers:
    """Perform at once and keep what they performed; `broken` names what fails."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.performed: list[str] = []

    async def perform(self, task: Task) -> StepOutcome:
        name = task.query if isinstance(task, FetchTask) else task.__struct_config__.tag
        self.performed.append(name)
        if name in self.broken:
            raise Terminal("broken", f"{name} is broken.")
        match task:
            case PlanTask():
                return PlanMade(queries=("cats", "dogs", "birds"), planner="test", usage=Usage(calls=1, cost_usd=0.5))
            case FetchTask(query=query):
                return FetchFound(query=query, sources=(SOURCE,))
            case SynthesizeTask(digest=digest):
                return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))

    @property
    def all_kinds(self) -> dict[Kind, Perform]:
        return {"plan": self.perform, "fetch": self.perform, "synthesize": self.perform}


Story = Callable[[Dossier, Workers], Awaitable[None]]


@asynccontextmanager
async def forked(data: Path, *, log: MemoryLog | None = None) -> AsyncGenerator[tuple[Dossier, Workers]]:
    memory, workers = log or MemoryLog(), Workers()
    async with coordinating(memory, data) as it, working(memory, workers.all_kinds):
        yield it, workers


async def fork(it: Dossier, new: str, source: str, **wish: object) -> None:
    await it.log.publish("research.requested", msgspec.json.encode({"run_id": new, "fork": {"run_id": source, **wish}}))


def original(fact: Fact) -> Fact:
    """A fact but for what says that it is a copy, and how long the work took, which a copy did not."""
    return replace(fact, copied_from="", duration_s=None)


async def test_a_failed_fetch_alone_is_performed_again_and_the_old_run_is_left_as_it_is(tmp_path: Path):
    async with forked(tmp_path) as (it, workers):
        workers.broken = {"dogs"}
        await it.ask(QUESTION, run_id="old")
        await it.until("old", "hold")
        workers.broken.clear()
        before, _ = it.facts("old"), workers.performed.clear()
        await fork(it, "new", "old", **{"from": "fetch"})
        held = await it.until("new", "hold")
        assert workers.performed == ["dogs"]
        assert it.facts("old") == before
        copied, facts = it.facts("old"), it.facts("new")
        assert original(facts["fetch.1.0"]) == original(copied["fetch.1.0"])
        assert original(facts["fetch.1.2"]) == original(copied["fetch.1.2"])
        assert facts["fetch.1.1"].copied_from == ""
        assert [copied["fetch.1.0"].duration_s is None, facts["fetch.1.0"].duration_s] == [False, None]
        assert replace(original(facts["plan.1"]), usage=copied["plan.1"].usage) == original(copied["plan.1"])
        assert held.usage() == Usage()


async def test_a_failed_report_alone_is_written_again_after_a_fresh_decision(tmp_path: Path):
    async with forked(tmp_path) as (it, workers):
        workers.broken = {"synthesize"}
        await it.ask(QUESTION, run_id="old", approval="auto")
        await it.until("old", "failed")
        workers.broken.clear()
        workers.performed.clear()
        await fork(it, "new", "old")
        await it.until("new", "hold")
        await it.say("approve", "new")
        await it.until("new", "reported")
        assert workers.performed == ["synthesize"]


async def test_the_same_fork_twice_is_one_run_and_a_refused_one_says_why(tmp_path: Path):
    async with forked(tmp_path) as (it, _):
        await it.ask(QUESTION, run_id="old")
        await it.until("old", "hold")
        for _ in range(2):
            await fork(it, "new", "old", **{"from": "synthesize"})
        await it.until("new", "hold")
        await fork(it, "other", "nobody")
        await fork(it, "itself", "itself")
        await it.ask(QUESTION, run_id="last")
        await it.until("last", "hold")
        assert [b'"unknown_run"' in data for data in it.stored("research.invalid.")] == [True, True]


async def test_a_fork_may_follow_the_request_of_its_source_at_once(tmp_path: Path):
    log, workers = MemoryLog(), Workers()
    it = Dossier(log, None)
    await it.ask(QUESTION, run_id="old")
    await fork(it, "new", "old")
    async with coordinating(log, tmp_path) as it, working(log, workers.all_kinds):
        await it.until("new", "hold")
        assert it.stored("research.invalid.") == []


class Dying(MemoryLog):
    """Stores one copy of `fork`, the plan, and then never answers its writer."""

    def __init__(self) -> None:
        super().__init__()
        self.died = asyncio.Event()

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        if not self.died.is_set() and any(fill.subject == "research.run.new.plan.1" for fill in fills):
            await super().fill([fill for fill in fills if fill.subject == "research.run.new.plan.1"])
            self.died.set()
            await asyncio.Event().wait()
        return await super().fill(fills, session=session)


async def test_a_coordinator_that_dies_between_two_copies_is_taken_over_from(tmp_path: Path):
    log, workers = Dying(), Workers()
    async with working(log, workers.all_kinds):
        async with coordinating(log, tmp_path) as it:
            await it.ask(QUESTION, run_id="old")
            await it.until("old", "hold")
            workers.performed.clear()
            await fork(it, "new", "old", **{"from": "synthesize"})
            await log.died.wait()
            assert "fetch.1.0" not in it.facts("new")
        async with coordinating(log, tmp_path, name="another") as it:
            held = await it.until("new", "hold")
            assert workers.performed == []
            assert {original(box.fact) for box in held.current.fetches.values()} == {
                original(box.fact) for box in (await it.until("old", "hold")).current.fetches.values()
            }


async def test_two_coordinators_copy_once(tmp_path: Path):
    log, workers = MemoryLog(), Workers()
    async with (
        working(log, workers.all_kinds),
        coordinating(log, tmp_path, name="one") as one,
        coordinating(log, tmp_path, name="two") as two,
    ):
        await one.ask(QUESTION, run_id="old")
        await one.until("old", "hold")
        await two.until("old", "hold")
        for each in (one, two):
            each.coordinator._elected(True)
        for n in range(20):
            await fork(one, f"new-{n}", "old", **{"from": "synthesize"})
        for n in range(20):
            assert await one.until(f"new-{n}", "hold") == await two.until(f"new-{n}", "hold")
        subjects = [message.subject for message in log.messages if message.subject.startswith("research.run.")]
        assert len(subjects) == len(set(subjects))
        assert workers.performed == ["plan", "cats", "dogs", "birds"]


async def test_a_fork_is_folded_without_the_run_that_it_forks(tmp_path: Path):
    async with forked(tmp_path) as (it, _):
        await it.ask(QUESTION, run_id="old")
        await it.until("old", "hold")
        await fork(it, "new", "old", **{"from": "synthesize"})
        held = await it.until("new", "hold")
        alone = MemoryLog()
        for message in it.log.messages:
            if not message.subject.startswith("research.run.old.") and message.subject != "research.requested":
                await alone.fill([Fill(message.subject, message.data)])
        async with coordinating(alone, tmp_path, name="alone") as other:
            assert (await other.until("new", "hold")).current.hold.fact == held.current.hold.fact


async def test_every_copy_names_a_fact_that_is_stored(tmp_path: Path):
    async with forked(tmp_path) as (it, _):
        await it.ask(QUESTION, run_id="old")
        await it.until("old", "hold")
        await fork(it, "new", "old", **{"from": "synthesize"})
        await it.until("new", "hold")
        for path in ("plan.1", "fetch.1.0", "fetch.1.1", "fetch.1.2"):
            origin = it.facts("new")[path].copied_from
            [message] = (await it.log.last([origin])).values()
            assert original(envelope.decode(message.data).fact) == original(it.facts("old")[path])
