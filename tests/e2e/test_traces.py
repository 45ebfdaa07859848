"""One run is one trace: real processes, a real OTLP receiver."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

from tests.harness.deployment import REAL_WORKERS, Deployment
from tests.harness.otlp import Collector, Got
from tests.harness.waiting import PATIENCE_S, wait_until, wait_until_equal

Alone = Callable[..., Deployment]

PUBLISHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_, TRACE, PUBLISHING, _ = PUBLISHER.split("-")

BEFORE_THE_DECISION = Counter(
    {
        "process research.requested": 1,
        "send task.plan": 1,
        "process task.plan": 1,
        "send task.fetch": 4,
        "process task.fetch": 4,
    }
)
AFTERWARDS = Counter(
    {
        "wait for decision": 1,
        "send task.synthesize": 1,
        "process task.synthesize": 1,
        "send research.completed": 1,
        "invoke_workflow research": 1,
    }
)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def names(spans: list[Got]) -> Counter[str]:
    return Counter(span.name for span in spans)


def only(spans: list[Got], name: str) -> Got:
    [span] = [span for span in spans if span.name == name]
    return span


def root_of_one_tree(spans: list[Got], *, above: str) -> Got:
    """The one span of a trace that has no other of it above, only `above`; all others are below it."""
    assert len({span.trace for span in spans}) == 1
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans), "An id is there twice."
    [root] = [span for span in spans if span.parent not in by_id]
    assert root.parent == above
    for span in spans:
        seen = set[str]()
        while span.id != root.id:
            assert span.id not in seen
            seen.add(span.id)
            span = by_id[span.parent]
    return root


def test_a_run_that_waits_over_kill_9_of_everything_is_one_tree(alone: Alone, collector: Collector):
    deployment = alone(settings=collector.settings)
    deployment.start()
    client = deployment.client()
    given = client.publish("research.requested", {"q": "What does the fox do?"}, {"traceparent": PUBLISHER})
    with_trace, without = f"r{given}", client.request()
    for run in (with_trace, without):
        client.until(run, "hold")
        wait_until_equal(lambda run=run: names(collector.of(run)), BEFORE_THE_DECISION)
    deployment.kill()
    deployment.start()
    wait_until(lambda: client.connected)
    for run in (with_trace, without):
        assert client.approve(run).status == 200
        client.completed(run)
        wait_until_equal(lambda run=run: names(collector.of(run)), BEFORE_THE_DECISION + AFTERWARDS)
    assert root_of_one_tree(collector.of(with_trace), above=PUBLISHING).trace == TRACE
    spans = collector.of(without)
    root = root_of_one_tree(spans, above="")
    assert (root.name, root.failed) == ("invoke_workflow research", False)
    assert all(root.began <= span.began <= span.ended <= root.ended + 0.2e9 for span in spans)
    wait = only(spans, "wait for decision")
    assert wait.ended - wait.began > 0.5e9, "It does not go back to when the hold opened."
    assert wait.ended <= only(spans, "send task.synthesize").began
    assert wait.attributes["dossier.decision"] == "approved"
    assert {span.service for span in spans} == {
        f"dossier-{name}" for name in ("coordinator", "planner", "fetcher", "synthesizer")
    }
    [first, *_] = [span for span in spans if span.name == "process task.fetch"]
    assert first.kind == "consumer"
    assert first.attributes["messaging.system"] == "nats"
    assert first.attributes["dossier.queue_time_s"] >= 0


SECRETS = ("sk-secret", "the tides follow", "What do the tides")
"""What none of the spans may have in it: a key, a page, a question."""


def test_model_calls_stand_below_their_attempt_and_no_content_leaves(
    alone: Alone, collector: Collector, llmock: LLMock, tmp_path: Path
):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tides.md").write_text("# Tides\n\nThe Moon pulls the oceans, and the tides follow them.\n")
    plan = {"queries": ["tides", "Moon oceans"]}
    claim = {"text": "They follow the oceans.", "quotes": [{"source": 1, "quote": "the tides follow them"}]}
    llmock.reply("garbage").reply(json.dumps(plan))
    llmock.reply(json.dumps({"sections": [{"heading": "Tides", "claims": [claim]}]}))
    settings = {
        **collector.settings,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "DOSSIER_DOCS": str(tmp_path / "docs"),
        "OPENAI_BASE_URL": llmock.base_url(),
        "OPENAI_API_KEY": "sk-secret",
        "DOSSIER_JUDGE": "false",
    }
    deployment = alone(workers=REAL_WORKERS, settings=settings)
    deployment.start()
    client = deployment.client()
    run = client.request("What do the tides follow?", approval="auto")
    assert client.completed(run)["outcome"] == "reported"
    assert collector.of(run) == [], "Nothing was to be exported yet."
    assert set(deployment.stop_services(within_s=PATIENCE_S).values()) == {0}
    spans = collector.of(run)
    root_of_one_tree(spans, above="")
    plans = sorted((span for span in spans if span.name == "chat gpt-4o-mini"), key=lambda span: span.began)
    assert [span.failed for span in plans] == [True, False]
    assert {span.parent for span in plans} == {only(spans, "process task.plan").id}
    written = only(spans, "chat gpt-4o")
    assert written.kind == "client"
    assert written.parent == only(spans, "process task.synthesize").id
    assert written.attributes["gen_ai.usage.output_tokens"] > 0
    assert written.attributes["gen_ai.agent.name"] == "writer"
    for body in collector.bodies:
        assert not any(secret.encode() in body for secret in SECRETS)
