"""Whatever a model says, a run comes to its report: over HTTP, against a server that misbehaves as models do."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest
from llmock.pytest_plugin import LLMock

from services.planner.perform import Planner
from services.synthesizer.perform import Synthesizer
from shared.contracts.facts import PlanMade, RunCompleted, SynthesisWritten
from shared.contracts.subjects import Kind
from shared.contracts.tasks import PlanTask, SynthesizeTask
from shared.contracts.tokens import Tokens
from shared.domain.budget import WriterPricing
from shared.domain.inbound import Defaults
from shared.models.completion import Completion
from shared.models.openai import OpenAIModel
from shared.models.prices import Tariff
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Perform, require_task_type
from tests.dossier import Dossier, coordinating, performers, working

QUESTION = "When are the tasks of a group awaited?"
SENTENCE = "All tasks of a task group are awaited when its block exits."
PLAN = msgspec.json.encode({"queries": ["task group", "await tasks", "block exits"]}).decode()
QUOTE = {"source": 1, "quote": "awaited when its block exits"}
CLAIM = {"text": "They are awaited at the end of the block.", "quotes": [QUOTE]}
REPORT = msgspec.json.encode({"sections": [{"heading": "When", "claims": [CLAIM]}]}).decode()
NONSENSE = "I would rather talk about the weather."
PRICES = {"planner": Tariff("m-planner", given=(1.0, 2.0)), "writer": Tariff("m-writer", given=(10.0, 20.0))}

Story = Callable[[Dossier], Awaitable[None]]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "groups.md").write_text(f"# Task groups\n\n{SENTENCE} A group cancels the others when one fails.\n")
    return folder


def after_the_first(then: Callable[[], object] | None) -> httpx2.AsyncClient:
    """A client that does something once its first answer is there: what to answer next, if that is to be an error."""
    left = [then] if then else []

    async def answered(_: httpx2.Response) -> None:
        if left:
            left.pop()()

    return httpx2.AsyncClient(event_hooks={"response": [answered]})


@asynccontextmanager
async def answering(llmock: LLMock, docs: Path, *, then: Callable[[], object] | None = None) -> AsyncGenerator[Dossier]:
    """Everything, with models that answer at the mock server; `then` is called after each one's first answer."""
    log = MemoryLog()
    planner, writer = (
        OpenAIModel(
            PRICES[agent].model,
            base_url=llmock.base_url(),
            tariff=PRICES[agent],
            timeout_s=5,
            http_client=after_the_first(then),
        )
        for agent in ("planner", "writer")
    )
    performs: dict[Kind, Perform] = {
        "plan": require_task_type(PlanTask, Planner(planner).perform),
        "fetch": performers(log, docs, docs.parent / "cache")["fetch"],
        "synthesize": require_task_type(SynthesizeTask, Synthesizer(writer).perform),
    }
    price = PRICES["writer"]
    priced = WriterPricing(price.model, 6_000, lambda into, out: price.cost(Tokens(into, out), clock.now()))
    defaults = Defaults(writer=priced)
    async with (
        aclosing(planner),
        aclosing(writer),
        coordinating(log, docs.parent, defaults=defaults) as dossier,
        working(log, performs, policy=RetryPolicy(shortest_wait_s=0.01)),
    ):
        yield dossier


def told(dossier: Dossier, run_id: str) -> tuple[PlanMade, SynthesisWritten, RunCompleted]:
    facts = dossier.facts(run_id)
    plan, written, ended = facts["plan.1"], facts["synthesis.1"], facts["completed"]
    assert isinstance(plan, PlanMade)
    assert isinstance(written, SynthesisWritten)
    assert isinstance(ended, RunCompleted)
    return plan, written, ended


async def test_malformed_then_throttled_then_good_is_a_report_of_the_models_own(llmock: LLMock, docs: Path):
    llmock.reply(NONSENSE).reply(PLAN).reply(NONSENSE).reply(REPORT)

    async with answering(llmock, docs, then=lambda: llmock.rate_limit(retry_after=0.05)) as dossier:
        run_id = await dossier.ask(QUESTION, approval="auto")
        await dossier.until(run_id, "reported")
        plan, written, ended = told(dossier, run_id)
        assert (plan.planner, plan.degraded) == ("m-planner", None)
        assert (written.report.writer, written.report.degraded) == ("m-writer", None)
        for fact in (plan, written):
            assert [call.reading for call in fact.calls] == ["malformed", "ok"]
            assert all(call.cost_usd and not call.estimated for call in fact.calls)
        assert ended.usage.calls == 4
        assert ended.usage.cost_usd == pytest.approx(sum(call.cost_usd or 0 for call in plan.calls + written.calls))
        assert set(ended.agents) == {"planner", "writer"}
        assert (plan.calls[0].prompt, written.calls[0].prompt) == ("plan.v1", "synthesize.v2")
    assert [request.status for request in llmock.requests] == [200, 429, 200] * 2
    llmock.assert_resilient()


async def test_what_every_call_asked_and_what_came_back_is_frozen_to_the_byte(llmock: LLMock, docs: Path):
    llmock.reply(NONSENSE).reply(PLAN).reply(REPORT)

    async with answering(llmock, docs) as dossier:
        run_id = await dossier.ask(QUESTION, approval="auto")
        await dossier.until(run_id, "reported")
        plan, written, _ = told(dossier, run_id)
        calls = plan.calls + written.calls
        sent = [request.body["messages"] for request in llmock.requests]
        assert [msgspec.json.decode(dossier.log.texts[call.prompt_sha256]) for call in calls] == sent
        came = [Completion.model_validate_json(dossier.log.texts[call.reply_sha256]).text for call in calls]
        assert came == [NONSENSE, PLAN, REPORT]


async def test_only_nonsense_is_a_report_by_rule_that_says_so_and_what_it_cost(llmock: LLMock, docs: Path):
    llmock.reply(NONSENSE, times=None)

    async with answering(llmock, docs) as dossier:
        run_id = await dossier.ask(QUESTION, approval="auto")
        await dossier.until(run_id, "reported")
        plan, written, ended = told(dossier, run_id)
        assert plan.planner == written.report.writer == "offline"
        assert "malformed, then malformed" in (plan.degraded or "")
        assert "malformed, then malformed" in (written.report.degraded or "")
        assert "Degraded: " in (ended.report or "")
        assert SENTENCE in (ended.report or "")
        assert ended.usage.calls == 4
        assert (ended.usage.cost_usd or 0) > 0


async def test_a_limit_that_the_plan_would_exceed_has_it_made_by_rule_and_the_run_holds_for_a_person(
    llmock: LLMock, docs: Path
):
    async with answering(llmock, docs) as dossier:
        run_id = await dossier.ask(QUESTION, approval="auto", max_cost_usd=0.0001)
        held = await dossier.until(run_id, "hold")
        plan = dossier.facts(run_id)["plan.1"]
        assert isinstance(plan, PlanMade)
        assert "of the run's limit" in (plan.degraded or "")
        assert held.usage().calls == 0
        assert llmock.requests == []
        await dossier.say("approve", run_id)
        llmock.reply(REPORT)
        await dossier.say("approve", run_id, max_cost_usd=1)
        await dossier.until(run_id, "reported")
        [refused] = dossier.stored("research.invalid.")
        assert b"over_budget" in refused
        _, written, ended = told(dossier, run_id)
        assert (written.report.writer, written.report.degraded) == ("m-writer", None)
        assert 0 < (ended.usage.cost_usd or 0) < 1


async def test_a_correction_that_would_exceed_the_limit_is_not_made(llmock: LLMock, docs: Path):
    llmock.reply(PLAN).reply(NONSENSE * 500)

    async with answering(llmock, docs) as dossier:
        run_id = await dossier.ask(QUESTION, max_cost_usd=1)
        held = await dossier.until(run_id, "hold")
        assert held.current.hold
        estimate = held.current.hold.fact.estimate
        assert estimate
        assert estimate.cost_usd
        enough_for_one = held.usage().cost_usd + estimate.cost_usd  # type: ignore[operator]
        await dossier.say("approve", run_id, max_cost_usd=enough_for_one)
        await dossier.until(run_id, "reported")
        _, written, ended = told(dossier, run_id)
        assert "correcting it could cost" in (written.report.degraded or "")
        assert [call.reading for call in written.calls] == ["malformed"]
        assert (ended.usage.cost_usd or 0) <= enough_for_one
