"""Dossier in nine short stories. Read them in order."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from shared.contracts.facts import DecisionApproved, FetchFailed, PlanMade, RunCompleted
from shared.contracts.messages import Fill
from shared.contracts.subjects import Slot
from shared.domain.run import digest
from shared.runtime.log import Full, Stored
from shared.runtime.memory import MemoryLog
from tests.dossier import Dossier, coordinating, performers, working

PAGES = {
    "tides.md": "# Tides\n\nThe Moon pulls the oceans toward it and so raises a tide. "
    "Spring tides happen when Sun and Moon pull in one line.",
    "moon.md": "# The Moon\n\nThe Moon circles the Earth once in about 27 days. The Moon has no atmosphere.",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


@asynccontextmanager
async def dossier(docs: Path) -> AsyncGenerator[Dossier]:
    log = MemoryLog()
    data = docs.parent
    async with coordinating(log, data) as it, working(log, performers(log, docs, data)):
        yield it


async def test_a_question_becomes_a_cited_report_once_a_person_has_approved(docs: Path):
    async with dossier(docs) as it:
        asked = await it.ask("How does the Moon raise the tide?")
        await it.until(asked, "hold")
        await it.say("approve", asked)
        ended = (await it.until(asked, "reported")).completed.fact
        assert ended.ok
        assert "[1]" in ended.report
        assert {source.location for source in ended.sources} <= {f"docs/{name}" for name in PAGES}


async def test_a_run_is_a_form_and_each_box_is_filled_once(docs: Path):
    log = MemoryLog()
    box = Slot("some-run", "decision", 1).subject
    assert await log.fill([Fill(box, b"approve")]) == [Stored(1)]
    assert await log.fill([Fill(box, b"reject")]) == [Full()]
    assert (await log.last([box]))[box].data == b"approve"


async def test_every_step_of_a_run_is_a_fact_in_the_log(docs: Path):
    async with dossier(docs) as it:
        asked = await it.ask("What is a tide?", approval="auto")
        await it.until(asked, "reported")
        facts = it.facts(asked)
        assert isinstance(facts["plan.1"], PlanMade)
        assert isinstance(facts["decision.1"], DecisionApproved)
        assert isinstance(facts["completed"], RunCompleted)
        assert len([path for path in facts if path.startswith("fetch.")]) == len(facts["plan.1"].queries)


async def test_the_hold_waits_on_exactly_what_was_found(docs: Path):
    async with dossier(docs) as it:
        asked = await it.ask("How does the Moon raise the tide?")
        held = await it.until(asked, "hold")
        assert held.current.hold.fact.digest == digest(held)
        await it.say("approve", asked, digest="something else")
        await it.until(asked, "hold")
        await it.say("reject", asked, digest=digest(held), comment="Not today.")
        assert (await it.until(asked, "rejected")).completed.fact.reason == "Not today."


async def test_a_reviewer_sends_the_evidence_back_and_the_next_round_adds_to_it(docs: Path):
    async with dossier(docs) as it:
        asked = await it.ask("How does the Moon raise the tide?")
        await it.until(asked, "hold")
        await it.send_back(asked, "No, not enough. What of its atmosphere?", queries_add=("27 days",))
        held = await it.until(asked, "hold", round_=2)
        assert any("atmosphere" in query for query in held.queries(2))
        assert held.queries(2)[-1] == "27 days"
        assert not set(held.queries(1)) & set(held.queries(2))
        await it.say("approve", asked)
        ended = (await it.until(asked, "reported")).completed.fact
        assert {source.location for source in ended.sources} == {f"docs/{name}" for name in PAGES}


async def test_the_same_request_again_is_the_same_run(docs: Path):
    async with dossier(docs) as it:
        for _ in range(3):
            await it.ask("What is a tide?", run_id="tide", approval="auto")
        await it.until("tide", "reported")
        await it.ask("What is a tide?", run_id="tide", approval="auto")
        await it.ask("What is the Moon?", run_id="other")
        await it.until("other", "hold")
        assert len(it.stored("research.run.tide.completed")) == 1
        assert not it.stored("research.invalid.")


async def test_what_cannot_be_taken_is_refused_by_name(docs: Path):
    async with dossier(docs) as it:
        await it.ask("What is a tide?", aproval="auto")
        await it.ask("What is a tide?", run_id="tide")
        await it.until("tide", "hold")
        [refusal] = it.stored("research.invalid.")
        assert msgspec.json.decode(refusal)["data"]["error"]["message"] == "aproval: there is no such field."


async def test_a_run_that_finds_nothing_says_so(docs: Path):
    async with dossier(docs) as it:
        asked = await it.ask("Xylophone quantum barbecue?")
        ended = (await it.until(asked, "failed")).completed.fact
        assert not ended.ok
        assert "Nothing was found" in ended.reason
        assert all(isinstance(fact, FetchFailed) for path, fact in it.facts(asked).items() if path[:6] == "fetch.")


async def test_the_projection_may_be_deleted_at_any_time(docs: Path, tmp_path: Path):
    async with dossier(docs) as it:
        asked = await it.ask("How does the Moon raise the tide?")
        held = await it.until(asked, "hold")
        async with coordinating(it.log, tmp_path, name="rebuilt") as other:
            assert await other.until(asked, "hold") == held
