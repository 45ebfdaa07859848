"""Spans on their way out: whose they are, whether anybody wants them, and how long a process waits for that."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace
from pydantic import BaseModel

from shared.contracts import traces
from shared.models.openai import OpenAIModel
from shared.models.protocol import Ask
from shared.runtime import clock
from shared.runtime.settings import Settings
from shared.telemetry import setup
from shared.telemetry.otlp import OtlpTracer
from shared.telemetry.tracing import CURRENT_SCOPE, Span, TraceScope
from tests.harness.environment import ROOT, inherited
from tests.harness.otlp import Collector, Got
from tests.harness.receiver import Receiver, Reply

ANSWERS_AFTER_S = 60.0
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WANTED = f"00-{TRACE_ID}-{SPAN_ID}-01"
UNWANTED = f"00-{TRACE_ID}-{SPAN_ID}-00"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        for name, value in collector.settings.items():
            monkeypatch.setenv(name, value)
        yield collector


def span(name: str, run: str = "r1", **more: Any) -> Span:
    now = clock.now()
    attributes = {"gen_ai.conversation.id": run}
    began = now - timedelta(seconds=2)
    return Span(name=name, kind="internal", began=began, ended=now, attributes=attributes, **more)


def exported(collector: Collector, *told: tuple[str, str | None, Span]) -> list[Got]:
    """What arrives of spans that are told of these runs and traces."""
    tracer = OtlpTracer("planner", "1.2.3", content=False)
    for run, traceparent, one in told:
        tracer.tell(run, traceparent, one)
    tracer.close()
    return collector.spans


def test_a_span_stands_below_its_run_and_the_run_below_its_publisher(collector: Collector):
    root = traces.run_span_id(TRACE_ID, "r1")
    part = span("part")
    got = exported(
        collector,
        ("r1", WANTED, span("work", children=(part,))),
        ("r1", WANTED, span("run", id=root, error="failed")),
    )
    by_name = {one.name: one for one in got}
    assert set(by_name) == {"work", "part", "run"}
    assert {one.trace for one in got} == {TRACE_ID}
    assert (by_name["run"].id, by_name["run"].parent) == (root, SPAN_ID)
    assert by_name["work"].parent == root
    assert by_name["part"].parent == by_name["work"].id
    assert (by_name["run"].failed, by_name["run"].attributes["error.type"]) == (True, "failed")
    assert not by_name["work"].failed
    assert by_name["work"].ended - by_name["work"].began == 2_000_000_000


@pytest.mark.parametrize("traceparent", [UNWANTED, None, "nonsense"])
def test_a_trace_that_its_publisher_does_not_record_is_not_recorded_here(collector: Collector, traceparent: str | None):
    assert exported(collector, ("r1", traceparent, span("work"))) == []


def test_of_traces_that_begin_here_the_sampler_takes_its_share_and_of_each_all_or_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    told = []
    for number in range(200):
        run = f"r{number}"
        traceparent = traces.derive_traceparent(run, number)
        trace = traces.parse_traceparent(traceparent)
        assert trace
        told += [(run, traceparent, span("work", run)), (run, traceparent, span("run", run, id=trace.span_id))]
    exported(collector, *told)
    counts = [len(collector.of(f"r{number}")) for number in range(200)]
    assert set(counts) == {0, 2}
    assert 60 < counts.count(2) < 140


def test_what_the_operator_calls_a_service_counts(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    assert {one.service for one in exported(collector, ("r1", WANTED, span("work")))} == {"dossier-planner"}
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    exported(collector, ("r1", WANTED, span("work")))
    assert {one.service for one in collector.spans} == {"dossier-planner", "ours"}


def test_a_process_that_stops_does_not_wait_long_for_a_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    with Receiver(usual=Reply(after_s=ANSWERS_AFTER_S)) as dead:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{dead.port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "4")
        tracer = OtlpTracer("planner", "1", content=False)
        tracer.tell("r1", WANTED, span("work"))
        began = time.monotonic()
        tracer.close()
        assert time.monotonic() - began < ANSWERS_AFTER_S / 2


def test_a_span_that_cannot_be_told_harms_nobody(collector: Collector, caplog: pytest.LogCaptureFixture):
    without_zone = replace(span("odd"), began=datetime(2026, 1, 1))  # noqa: DTZ001  that is what is wrong with it
    got = exported(collector, ("r1", WANTED, without_zone), ("r1", WANTED, span("work")))
    assert [one.name for one in got] == ["work"]
    assert "Spans of r1 are lost" in caplog.text


@pytest.mark.parametrize(
    ("variables", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_it_is_off_unless_there_is_somebody_to_export_to(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_on: bool
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracer = setup.create_tracer("planner", Settings())
    assert (tracer is not None) == is_on
    if tracer:
        tracer.close()


def test_where_it_is_off_nothing_of_it_is_even_imported():
    program = """
import sys
from services.coordinator import __main__ as coordinator
from services.synthesizer import __main__ as synthesizer
from shared.runtime.settings import Settings
from shared.telemetry.setup import Telemetry
assert Telemetry("planner", Settings()).tracer is None
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests")
print([name for name in sys.modules if name.startswith(heavy)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=inherited({}), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


class Colour(BaseModel):
    name: str


ASK = Ask(
    "You name colours.", "Of the sky?", Colour, lambda: Colour(name="by rule"), 77, agent="planner", prompt="p.v1"
)


def called(*, content: bool, base_url: str | None = "http://endpoint.test/v1") -> list[Span]:
    """The spans of an ask that is answered with garbage first, and then well."""
    answers = ["garbage", '{"name": "blue"}']

    def respond(_: httpx2.Request) -> httpx2.Response:
        message = {"role": "assistant", "content": answers.pop(0)}
        usage = {"prompt_tokens": 12, "completion_tokens": 3}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return httpx2.Response(200, json={"choices": choices, "usage": usage})

    async def one() -> list[Span]:
        CURRENT_SCOPE.set(within := TraceScope("r1", WANTED, [], content))
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
        model = OpenAIModel("m-1", api_key="sk-secret", base_url=base_url, http_client=http)
        await model.answer(ASK)
        await model.aclose()
        return within.spans or []

    return asyncio.run(one())


def test_each_call_of_a_model_is_a_span_with_its_tokens_and_without_its_words():
    first, second = called(content=False)
    assert first.name == second.name == "chat m-1"
    assert (first.error, second.error) == ("malformed", "")
    assert second.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai_compatible",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.max_tokens": 77,
        "gen_ai.output.type": "json",
        "gen_ai.agent.name": "planner",
        "gen_ai.prompt.name": "p.v1",
        "gen_ai.conversation.id": "r1",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "dossier.reading": "ok",
    }
    assert called(content=False, base_url=None)[0].attributes["gen_ai.provider.name"] == "openai"


def test_words_are_exported_where_that_is_asked_for():
    _, second = called(content=True)
    assert "Of the sky?" in str(second.attributes["gen_ai.input.messages"])
    assert "blue" in str(second.attributes["gen_ai.output.messages"])
    assert "sk-secret" not in str(second)
