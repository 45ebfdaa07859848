"""Runs whose findings, tasks and reports are too large for a message: they go their way all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from services.coordinator.app import application
from shared.contracts import envelope
from shared.contracts.envelope import MAX_BYTES, MAX_TEXT_BYTES
from shared.contracts.evidence import Call, Citation, CitedSource, Claim, Passage, Report, Section, Source, usage_of
from shared.contracts.facts import FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.subjects import KINDS, Kind, Slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain.run import digest
from shared.runtime.memory import MemoryLog
from shared.service.worker import Perform
from tests.access.entry import SHOWN, URL, entered
from tests.dossier import coordinating, working
from tests.waiting import wait_until

CALL = Call("planner", "m-planner", "plan.v1", 100, 10, 0.25, 1.5)


class Large:
    """Finds and writes so many bytes each time."""

    def __init__(self, *, finding: int = 0, report: int = 0) -> None:
        self._finding = finding
        self._report = report
        self.tasks: list[Task] = []

    async def perform(self, task: Task) -> StepOutcome:
        self.tasks.append(task)
        match task:
            case PlanTask(q=q):
                return PlanMade(queries=(q, "dogs"), planner="test", calls=(CALL,), usage=usage_of((CALL,)))
            case FetchTask(query=query):
                text = f"{query} purr. {'x' * self._finding}"
                source = Source(sha256(text.encode()).hexdigest(), query, "l", "docs", (Passage(text, 0),))
                return FetchFound(query=query, sources=(source,))
            case SynthesizeTask(digest=of, findings=findings):
                return SynthesisWritten(digest=of, report=self._written(findings[0].sources[0]))

    def _written(self, source: Source) -> Report:
        claim = Claim("y" * self._report, (Citation(source.sha256, source.passages[0].text[:10], 0),))
        return Report((Section("", (claim,)),), (CitedSource(1, source.sha256, "t", "l"),), "test")

    @property
    def performs(self) -> dict[Kind, Perform]:
        return dict.fromkeys(KINDS, self.perform)


@contextmanager
def no_message_over_the_limit(log: MemoryLog) -> Iterator[None]:
    yield
    assert max(len(message.data) for message in log.messages) <= MAX_BYTES


async def test_findings_and_the_task_that_carries_them_may_be_larger_than_a_message(tmp_path: Path):
    log, work = MemoryLog(), Large(finding=300_000)
    with no_message_over_the_limit(log):
        async with coordinating(log, tmp_path) as it, working(log, work.performs):
            await it.ask("What do cats do?", run_id="cats")
            held = await it.until("cats", "hold")
            assert held.current.hold.fact.digest == digest(held) == digest_of_stored(log, "cats")
            await it.say("approve", "cats", digest=digest(held))
            ended = await it.until("cats", "reported")
            assert [len(one.sources[0].passages[0].text) > 300_000 for one in ended.findings()] == [True, True]
            assert work.tasks[-1].findings == ended.findings()
            async with coordinating(log, tmp_path, name="rebuilt") as other:
                assert await other.until("cats", "reported") == ended


def digest_of_stored(log: MemoryLog, run_id: str) -> str:
    """The digest as the documentation says it, from the bytes in the log alone."""
    stored = {one.subject.removeprefix(f"research.run.{run_id}."): one for one in log.messages}
    lines = [
        f"{message.subject} {sha256(message.data).hexdigest()}\n"
        for slot, message in stored.items()
        if slot.split(".")[0] in ("accepted", "plan", "fetch") and message.subject.startswith("research.run.")
    ]
    return sha256("".join(sorted(lines)).encode()).hexdigest()


async def test_a_report_that_is_too_large_for_its_message_is_named_by_it(tmp_path: Path):
    log, work = MemoryLog(), Large(report=1_000_000)
    with no_message_over_the_limit(log):
        async with coordinating(log, tmp_path) as it, working(log, work.performs):
            await it.ask("What do cats do?", run_id="cats", approval="auto")
            ended = (await it.until("cats", "reported")).completed.fact
            assert (ended.ok, ended.report) == (True, None)
            report = await log.get(ended.report_sha256)
            assert report.startswith("# What do cats do?")
            assert len(report) > 1_000_000
            async with entered() as access:
                app = application(log, it.coordinator, access, unready=lambda: None)
                transport = httpx2.ASGITransport(app)
                async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=SHOWN) as http:
                    assert (await http.get("/v1/runs/cats/report")).text == report


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (Large(finding=MAX_TEXT_BYTES // 2), "task.synthesize.1.0.1 would be"),
        (Large(report=MAX_TEXT_BYTES), "No report could be written: research.run.cats.synthesis.1 would be"),
        (Large(report=MAX_TEXT_BYTES - 1_000), "The report would be"),
    ],
    ids=["task", "synthesis", "report"],
)
async def test_above_its_bound_a_run_fails_by_name(tmp_path: Path, work: Large, reason: str):
    log = MemoryLog()
    async with coordinating(log, tmp_path) as it, working(log, work.performs):
        await it.ask("What do cats do? " * 100, run_id="cats", approval="auto")
        await it.ask("And dogs?", run_id="dogs")
        failed = await it.until("cats", "failed")
        ended = failed.completed.fact
        assert reason in ended.reason
        assert (ended.usage, ended.agents) == (failed.usage(), {"planner": usage_of((CALL,))})
        await it.until("dogs", "hold")


async def test_a_text_that_is_gone_fails_its_step_and_no_other(tmp_path: Path):
    log, work = MemoryLog(), Large(finding=300_000)
    async with coordinating(log, tmp_path) as it, working(log, work.performs):
        for name in ("cats", "dogs"):
            await it.ask(f"What do {name} do?", run_id=name)
            await it.until(name, "hold")
    subject = Slot("cats", "fetch", 1, 0).subject
    lost = envelope.referenced_sha256((await log.last([subject]))[subject].data)
    del log._texts[lost]
    async with coordinating(log, tmp_path, name="rebuilt") as other:
        cats, dogs = await other.until("cats", "hold"), await other.until("dogs", "hold")
        assert "EVIDENCE does not have" in cats.findings()[0].failure.message
        assert lost in cats.findings()[0].failure.message
        assert cats.findings()[1].sources
        assert all(finding.sources for finding in dogs.findings())


async def test_a_heavy_run_leaves_memory_as_soon_as_it_is_saved(tmp_path: Path):
    log, work = MemoryLog(), Large(finding=1_000_000)
    async with coordinating(log, tmp_path) as it, working(log, work.performs):
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")
        await wait_until(lambda: not it.coordinator.fold.unsaved)
        assert "cats" not in it.coordinator.fold._runs
        await it.say("approve", "cats")
        await it.until("cats", "reported")


async def test_what_evidence_has_no_room_for_holds_up_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class NoTexts(MemoryLog):
        """Takes facts, and for a while no texts."""

        takes = False

        async def put(self, text: str) -> str:
            await wait_until(lambda: self.takes)
            return await super().put(text)

    monkeypatch.setattr("services.coordinator.engine.writer._PUT_TEXT_S", 0.05)
    monkeypatch.setattr("services.coordinator.engine.leader._NO_ROOM_AGAIN_S", 0.1)

    log, work = NoTexts(), Large(finding=200_000)
    async with coordinating(log, tmp_path) as it, working(log, work.performs):
        await it.ask("What do cats do?", run_id="cats", approval="auto")
        await it.until("cats", "writing")
        await it.ask("And dogs?", run_id="dogs")
        await it.until("dogs", "hold")
        assert "task.synthesize.1.0.1" not in it.facts("cats")
        log.takes = True
        await it.until("cats", "reported")
