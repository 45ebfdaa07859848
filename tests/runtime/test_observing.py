"""Every attempt is heard of once, however it ends; and what is heard never says what it was about."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from shared.contracts.envelope import Event, encode
from shared.contracts.evidence import Call, Failure
from shared.contracts.facts import PlanFailed, PlanMade, StepOutcome, TaskIssued
from shared.contracts.messages import Fill
from shared.contracts.subjects import Step, live_cancelled
from shared.contracts.tasks import PlanTask, Task
from shared.errors import Terminal, Throttled, Transient
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Worker
from shared.telemetry.attempts import AttemptReport, attempt_span
from shared.telemetry.metrics import AttemptMetrics, Metrics
from shared.telemetry.tracing import CURRENT_SCOPE, Span, TraceScope
from tests.harness.waiting import PATIENCE_S
from tests.waiting import wait_until

PLAN = Step("r1", "plan", 1)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALL = Call("planner", "m-1", "plan.v1", 100, 20, 0.5, 1.5)
MADE = PlanMade(queries=("a",), planner="m-1", calls=(CALL,))


class Ear:
    """Hears of attempts."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str | None]] = []
        self.heard: list[AttemptReport] = []

    def begins(self, run: str, traceparent: str | None) -> TraceScope:
        self.begun.append((run, traceparent))
        return TraceScope(run, traceparent, [])

    def ended(self, attempted: AttemptReport) -> None:
        self.heard.append(attempted)


@asynccontextmanager
async def working(log: MemoryLog, perform: Callable[[Task], Awaitable[StepOutcome]]) -> AsyncGenerator[Ear]:
    """A worker that is listened to, for as long as the block lasts."""
    stop, ear = asyncio.Event(), Ear()
    policy = RetryPolicy(shortest_wait_s=0.001)
    worker = Worker(log, "plan", perform, at_most=5, policy=policy, grace_s=0, observer=ear)
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(worker.run(stop))
        try:
            yield ear
        finally:
            stop.set()
            await running


async def issue(log: MemoryLog, *, failures: int = 0) -> None:
    slot = PLAN.task(1)
    event = Event(TaskIssued(task=PlanTask("What?"), failures=failures), "test", clock.now(), TRACE)
    await log.fill([Fill(slot.subject, encode(slot, event))])


async def heard(script: list[object], *, failures: int = 0) -> AttemptReport:
    """What is heard of one attempt whose work does this, one after the other."""

    async def perform(_: Task) -> StepOutcome:
        does = script.pop(0)
        if isinstance(does, Exception):
            raise does
        return does  # type: ignore[return-value]

    log = MemoryLog(now=lambda: clock.now() - timedelta(seconds=3))
    await issue(log, failures=failures)
    async with working(log, perform) as ear:
        await wait_until(lambda: ear.heard)
    assert ear.begun == [("r1", TRACE)]
    [attempted] = ear.heard
    return attempted


def paid(error: Terminal | Transient | Throttled) -> Exception:
    error.calls = (CALL,)
    return error


async def test_of_a_good_attempt_when_how_often_and_what_its_calls_took():
    attempted = await heard([MADE])
    assert (attempted.step, attempted.attempt, attempted.deliveries) == (PLAN, 1, 1)
    assert (attempted.result, attempted.code, attempted.calls) == ("succeeded", "", (CALL,))
    assert 3 <= attempted.queued_s < 3 + PATIENCE_S
    assert 0 <= attempted.took_s < attempted.queued_s - 3 + PATIENCE_S


@pytest.mark.parametrize(
    ("script", "failures", "result", "code"),
    [
        ([Transient("timeout", "Too slow.")], 0, "retried", "timeout"),
        ([Transient("timeout", "Too slow.")], 3, "failed", "timeout"),
        ([Terminal("unauthorized", "No.")], 0, "failed", "unauthorized"),
        ([ValueError("of a page")], 0, "retried", "defect"),
    ],
)
async def test_of_a_bad_one_the_code_and_whether_another_follows(
    script: list[object], failures: int, result: str, code: str
):
    attempted = await heard(script, failures=failures)
    assert (attempted.result, attempted.code) == (result, code)


async def test_calls_of_failures_and_of_waits_are_counted():
    attempted = await heard(
        [paid(Throttled("throttled", "Wait.", retry_after=0.001)), paid(Terminal("refused", "No."))]
    )
    assert (attempted.throttled, attempted.calls) == (1, (CALL, CALL))


async def test_an_attempt_that_is_stopped_is_interrupted_and_one_of_a_cancelled_run_is_aborted():
    async def for_ever(_: Task) -> StepOutcome:
        await asyncio.Event().wait()
        return MADE

    async def story(cancel: bool) -> str:
        log = MemoryLog()
        await issue(log)
        async with working(log, for_ever) as ear:
            await wait_until(lambda: ear.begun)
            if cancel:
                while not ear.heard:
                    await log.hint(live_cancelled("r1"), b"")
                    await asyncio.sleep(0.001)
        [attempted] = ear.heard
        return attempted.result

    assert await story(cancel=False) == "interrupted"
    assert await story(cancel=True) == "aborted"


async def test_what_is_done_for_a_run_knows_which_and_its_parts_are_spans_below_it():
    seen: list[TraceScope | None] = []

    async def perform(_: Task) -> StepOutcome:
        within = CURRENT_SCOPE.get()
        seen.append(within)
        assert within
        assert within.spans is not None
        part = Span(name="chat m-1", kind="client", began=clock.now(), ended=clock.now(), attributes={})
        within.spans.append(part)
        return MADE

    log = MemoryLog()
    await issue(log)
    async with working(log, perform) as ear:
        await wait_until(lambda: ear.heard)
    span = attempt_span(ear.heard[0])
    assert [(within.run, within.traceparent) for within in seen if within] == [("r1", TRACE)]
    assert [part.name for part in span.children] == ["chat m-1"]
    assert (span.name, span.kind, span.error) == ("process task.plan", "consumer", "")
    assert CURRENT_SCOPE.get() is None


async def test_a_span_has_the_code_of_a_failure_and_not_its_words():
    span = attempt_span(await heard([Terminal("unauthorized", "The key sk-1 is not known.")]))
    assert span.error == "unauthorized"
    assert "sk-1" not in str(span)
    assert "What?" not in str(span)


async def test_attempts_are_measured_by_kind_result_code_and_call():
    metrics = Metrics("planner")
    attempts = AttemptMetrics(metrics, "plan")
    for attempted in (await heard([MADE]), await heard([paid(Terminal("unauthorized", "No."))])):
        attempts.began()
        attempts.ended(attempted)
    value = metrics.registry.get_sample_value
    assert value("dossier_attempts_total", {"kind": "plan", "result": "succeeded"}) == 1
    assert value("dossier_attempts_total", {"kind": "plan", "result": "failed"}) == 1
    assert value("dossier_attempts_total", {"kind": "plan", "result": "retried"}) == 0
    assert value("dossier_attempt_errors_total", {"kind": "plan", "code": "unauthorized"}) == 1
    assert value("dossier_queue_time_seconds_count", {"kind": "plan"}) == 2
    assert value("dossier_queue_time_seconds_bucket", {"kind": "plan", "le": "2.5"}) == 0
    assert value("dossier_attempts_in_flight", {"kind": "plan"}) == 0
    assert value("dossier_model_cost_dollars_total", {"agent": "planner", "model": "m-1"}) == 1
    assert value("dossier_model_tokens_total", {"agent": "planner", "model": "m-1", "direction": "input"}) == 200


def test_no_tool_makes_more_codes_than_can_be_kept():
    metrics = Metrics("fetcher")
    attempts = AttemptMetrics(metrics, "plan")
    for number in range(300):
        attempts.ended(heard_of_code(f"code-{number}"))
    family = next(family for family in metrics.registry.collect() if family.name == "dossier_attempt_errors")
    codes = {sample.labels["code"] for sample in family.samples}
    assert len(codes) <= 101
    assert metrics.registry.get_sample_value("dossier_attempt_errors_total", {"kind": "plan", "code": "other"}) == 203


def heard_of_code(code: str) -> AttemptReport:
    now = clock.now()
    return AttemptReport(
        step=PLAN, attempt=1, deliveries=1, issued=now, began=now, ended=now, result="failed", code=code
    )


async def test_a_fact_that_fails_a_step_is_a_failure_although_nothing_was_raised():
    attempted = await heard([PlanFailed(error=Failure("no_query", "Nothing."))])
    assert (attempted.result, attempted.code) == ("failed", "no_query")
