"""A changed rule shows in the runs that it touches, and in no other, before it is deployed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.cli.commands import upgrade
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import Citation, Finding
from shared.contracts.facts import DecisionApproved, FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import KINDS, Slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain import owed as owed_module
from shared.domain import steps
from shared.domain.replay import replay
from shared.domain.run import Run
from shared.errors import Transient
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from tests.contracts.golden_log import GoldenLog, facts
from tests.contracts.record import STORIES, record
from tests.coordinator.story import SOURCE, report
from tests.dossier import Dossier, coordinating, working
from tests.virtual import now
from tests.waiting import wait_until

pytestmark = pytest.mark.virtual_time

# Histories


@pytest.fixture(scope="module")
def histories() -> dict[str, list[Message]]:
    """Whole logs by name, recorded by the code as it is."""
    return {tell.__name__: GoldenLog.decoded(record(tell).encoded()).messages for tell in STORIES}


def touched(histories: dict[str, list[Message]]) -> dict[str, set[str]]:
    """The slots that would have been written otherwise, by history; only histories that have some."""
    found: dict[str, set[str]] = {}
    for name, messages in histories.items():
        if slots := {one.slot for run, recorded in facts(messages).items() for one in replay(run, recorded)}:
            found[name] = slots
    return found


def test_where_no_rule_changed_nothing_differs(histories: dict[str, list[Message]]):
    assert touched(histories) == {}


def test_a_retry_that_would_come_later_is_named(histories: dict[str, list[Message]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(steps, "_FIRST_RETRY_S", 10.0)
    assert touched(histories) == {"retried": {"task.plan.1.0.2", "task.plan.1.0.3", "task.plan.1.0.4"}}


def test_another_digest_is_named_for_every_run_that_was_held(
    histories: dict[str, list[Message]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(owed_module, "digest", lambda run: "0" * 64)
    held = {name for name, messages in histories.items() if any(".hold." in one.subject for one in messages)}
    differing = touched(histories)
    assert differing.keys() == held
    assert all(any(slot.startswith("hold.") for slot in slots) for slots in differing.values())


def test_a_policy_that_no_longer_holds_is_named(histories: dict[str, list[Message]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owed_module, "decided_by_policy", lambda run: False)
    assert touched(histories) == {"automatic": {"decision.1"}}


def test_a_check_of_reports_that_is_gone_is_named(histories: dict[str, list[Message]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owed_module, "_find_violation", lambda report, findings: None)
    assert touched(histories) == {"beyond_the_evidence": {"completed"}}


def test_what_is_asked_otherwise_is_named_by_its_field(
    histories: dict[str, list[Message]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(owed_module, "plan_task", lambda run, request, number: PlanTask(request.q.upper()))
    [difference] = replay("run-1", facts(histories["reported"])["run-1"])
    assert (difference.run, difference.slot) == ("run-1", "task.plan.1.0.1")
    assert "task.q: this release says 'WHAT ARE CATS" in difference.what


def test_what_the_coordinator_had_not_read_when_it_wrote_is_no_difference():
    """A worker's word may land between its look and its write."""
    messages = record(next(tell for tell in STORIES if tell.__name__ == "fetch_failed")).messages
    recorded = facts(messages)["run-1"]
    task = next(it for it in recorded if it.slot.path == "task.fetch.1.1.1")
    outcome = next(it for it in recorded if it.slot.path == "fetch.1.1")
    assert outcome.seq > task.seq
    crossed = [outcome if it is task else task if it is outcome else it for it in recorded]
    assert list(replay("run-1", crossed)) == []


# The open runs of a log


class Stages:
    """Workers that leave each run in the stage that its question names."""

    async def perform(self, task: Task) -> StepOutcome:
        match task:
            case PlanTask(q=q):
                await self._stop(q, "planning")
                if "failing" in q:
                    raise Transient("reset", "The connection was reset.")
                return PlanMade(queries=(q, "dogs"), planner="test")
            case FetchTask(query=query):
                await self._stop(query, "fetching")
                return FetchFound(query=query, sources=(SOURCE,))
            case SynthesizeTask(q=q, digest=digest):
                await self._stop(q, "writing")
                return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))

    async def _stop(self, q: str, stage: str) -> None:
        if stage in q:
            await asyncio.Event().wait()


STAGES = ("planning", "fetching", "hold", "writing")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release that runs waits so long between two attempts that a test sees it wait."""
    monkeypatch.setattr(steps, "_FIRST_RETRY_S", 60.0)


@asynccontextmanager
async def deployed(folder: Path) -> AsyncGenerator[Dossier]:
    """A run in each stage, one between two attempts, and one that has ended."""
    log = MemoryLog(now=now)
    async with coordinating(log, folder) as it, working(log, dict.fromkeys(KINDS, Stages().perform)):
        for stage in STAGES:
            await it.ask(f"A run that is {stage}?", run_id=stage, approval="auto" if stage == "writing" else "required")
            await it.until(stage, stage)
        await it.ask("A run that is failing?", run_id="failing")
        await it.ask("A run that ends?", run_id="ended", approval="auto")
        await it.until("ended", "reported")
        await wait_until(lambda: "attempt.plan.1.0.1" in it.facts("failing"))
        yield it


def _other_digest(_run: Run) -> str:
    return "0" * 64


def _no_findings(_run: Run) -> tuple[Finding, ...]:
    return ()


def differing(of: upgrade.Checked) -> set[str]:
    """The runs that differ."""
    return {one.run for one in of.differences}


@pytest.mark.usefixtures("patient")
async def test_the_release_that_wrote_the_runs_differs_nowhere(tmp_path: Path):
    async with deployed(tmp_path) as it:
        found = await upgrade.check_open_runs(it.log)
        assert (found.open, found.same, found.different, found.differences) == (5, 5, 0, [])


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("name", "value", "runs"),
    [
        ("digest", _other_digest, {"hold", "writing"}),
        ("decided_findings", _no_findings, {"writing"}),
    ],
    ids=["digest", "task"],
)
async def test_a_planted_change_is_named_for_exactly_the_runs_that_it_touches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, runs: set[str]
):
    async with deployed(tmp_path) as it:
        pass
    monkeypatch.setattr(owed_module, name, value)
    found = await upgrade.check_open_runs(it.log)
    assert differing(found) == runs
    assert found.different == len(runs)


@pytest.mark.usefixtures("patient")
async def test_a_fact_of_a_newer_release_is_named_since_this_one_parks_its_run(tmp_path: Path):
    async with deployed(tmp_path) as it:
        slot = Slot("hold", "decision", 1)
        fact = DecisionApproved(by="ada", via="api", digest="d" * 64)
        known = envelope.encode(slot, Event(fact, "newer", clock.now()))
        await it.log.fill([Fill(slot.subject, known.replace(b"decision.approved.v1", b"decision.approved.v9"))])
    found = await upgrade.check_open_runs(it.log)
    assert differing(found) == {"hold"}
    assert "parks the run" in found.differences[0].what


async def test_a_run_on_which_this_release_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(run: object) -> str:
        raise RuntimeError("planted")

    async with deployed(tmp_path) as it:
        pass
    monkeypatch.setattr(owed_module, "digest", failing)
    found = await upgrade.check_open_runs(it.log)
    assert differing(found) == {"hold", "writing"}
    assert "this release fails on the run, RuntimeError: planted" in found.differences[0].what
