"""Every task that a worker takes comes to exactly one end, whatever happens to its work, its log or its process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from shared.contracts import envelope
from shared.contracts.envelope import MAX_BYTES, MAX_TEXT_BYTES, Event
from shared.contracts.evidence import Call, Failure, Finding, usage_of
from shared.contracts.facts import (
    AttemptFailed,
    Fact,
    FetchFailed,
    FetchFound,
    PlanFailed,
    PlanMade,
    StepOutcome,
    SynthesisFailed,
    TaskIssued,
    calls_of,
)
from shared.contracts.messages import Fill
from shared.contracts.subjects import Slot, Step, live_cancelled
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime import clock, dataref, transcript
from shared.runtime.log import Consumer, Filled, TaskDelivery, Tasks
from shared.runtime.memory import MemoryLog
from shared.runtime.retry_policy import RetryPolicy
from shared.service import worker as worker_module
from shared.service.worker import Perform, Worker, require_task_type
from tests.harness.waiting import PATIENCE_S
from tests.runtime.witness import Witness
from tests.waiting import wait_until

pytestmark = pytest.mark.virtual_time

MADE = PlanMade(queries=("a", "b"), planner="offline")
PLAN = Step("r1", "plan", 1)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Work:
    """Performs by a script: an error is raised, a fact is returned, the last one for ever; an event is waited for."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.performed: list[Task] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, task: Task) -> StepOutcome:
        self.performed.append(task)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._next()
        finally:
            self.at_once -= 1

    async def _next(self) -> StepOutcome:
        says = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(says, asyncio.Event):
            await says.wait()
            says = MADE
        if isinstance(says, Exception):
            raise says
        return says  # type: ignore[return-value]


async def issue(
    log: MemoryLog, step: Step = PLAN, *, attempt: int = 1, failures: int = 0, task: Task | None = None
) -> None:
    """Ask for a step as the coordinator does."""
    fact = TaskIssued(task=task or PlanTask("q"), failures=failures)
    await write(log, step.task(attempt), fact)


async def write(log: MemoryLog, slot: Slot, fact: Fact) -> None:
    data = await dataref.encode_fact(log, slot, Event(fact, "test", clock.now(), TRACE))
    await MemoryLog.fill(log, [Fill(slot.subject, data)])


async def a_while() -> None:
    """As many turns of the loop as it takes to begin a task."""
    for _ in range(50):
        await asyncio.sleep(0)


def large(size: int) -> PlanMade:
    """A plan of so many bytes and some more."""
    return PlanMade(queries=("x" * size,), planner="model")


def restart(log: MemoryLog) -> None:
    """What is in the log may have been handed out before, and come as a first delivery."""
    log.forget(since=0)


async def hand_out(log: MemoryLog, times: int) -> None:
    """Give the waiting task to so many workers, none of which says a word."""
    async with MemoryLog.tasks(log, "plan", at_most=1) as tasks:
        handed = aiter(tasks)
        for _ in range(times):
            [delivery] = await anext(handed)
            await delivery.nak()
            await tasks.release()


@asynccontextmanager
async def working(
    log: MemoryLog, perform: Perform, *, at_most: int = 5, policy: RetryPolicy | None = None, grace_s: float = 1.0
) -> AsyncGenerator[asyncio.Event]:
    """A worker at its work; its end is waited for after `stop` is set, at the latest here."""
    stop = asyncio.Event()
    worker = Worker(log, "plan", perform, at_most=at_most, policy=policy or RetryPolicy(), grace_s=grace_s)
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(worker.run(stop))
        try:
            yield stop
        finally:
            stop.set()
            await running


class Stuttering(Witness):
    """A log that hands out each task twice, as it does while a worker stands still for longer than its time."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__()
        self._at_once = at_once

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> AsyncGenerator[Tasks]:
        async with super().tasks(consumer, at_most=at_most) as tasks:
            yield _Twice(tasks, at_once=self._at_once)


class _Twice:
    def __init__(self, tasks: Tasks, *, at_once: bool) -> None:
        self._tasks = tasks
        self._at_once = at_once
        self.release = tasks.release
        self.close = tasks.close

    async def __aiter__(self) -> AsyncIterator[Sequence[TaskDelivery]]:
        async for deliveries in self._tasks:
            yield [*deliveries, *deliveries] if self._at_once else deliveries
            if not self._at_once:
                yield deliveries


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_task_that_comes_again_while_it_is_in_hand_is_not_begun_again(at_once: bool):
    log = Stuttering(at_once=at_once)
    going_on = asyncio.Event()
    work = Work(going_on)
    await issue(log)
    async with working(log, work):
        await wait_until(lambda: work.performed)
        going_on.set()
        await wait_until(lambda: "ack" in log.done)
    assert len(work.performed) == 1
    assert log.done.count("ack") == 1


# One end


async def test_it_writes_first_and_acknowledges_second():
    log = Witness()
    await issue(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: "ack" in log.done)
    assert log.done == ["fill research.run.r1.plan.1", "ack"]
    assert log.said(PLAN.outcome) == MADE


async def test_nothing_is_acknowledged_before_the_write_is_answered():
    log = Witness()
    log.writable.clear()
    await issue(log)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: work.performed and not work.at_once)
        assert log.done == []
        log.writable.set()
        await wait_until(lambda: log.done)
    assert log.done == ["fill research.run.r1.plan.1", "ack"]


async def test_a_result_that_nats_will_never_take_fails_its_step_by_name():
    log = Witness()
    log.refuses = 1
    await issue(log)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    failed = log.said(PLAN.outcome)
    assert isinstance(failed, PlanFailed)
    assert failed.error.code == "refused"
    assert "message size exceeds maximum allowed" in failed.error.message
    assert len(work.performed) == 1


async def test_not_even_a_slot_that_refuses_everything_has_a_result_computed_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_REFUSED_AGAIN_S", 0.01)
    log = Witness()
    log.refuses = 5
    await issue(log)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: log.refuses == 2)
        assert "ack" not in log.done
        await wait_until(lambda: "ack" in log.done)
    assert isinstance(log.said(PLAN.outcome), PlanFailed)
    assert len(work.performed) == 1


async def test_an_outcome_carries_the_trace_of_its_task():
    log = Witness()
    await issue(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: log.said(PLAN.outcome))
    event = log.event(PLAN.outcome)
    assert (event.traceparent, event.source) == (TRACE, "dossier/plan")


async def test_an_outcome_that_another_worker_wrote_meanwhile_stays_and_the_task_is_done():
    log = Witness()
    await issue(log)
    hold = asyncio.Event()
    work = Work(hold)
    theirs = PlanMade(queries=("theirs",), planner="other")
    async with working(log, work):
        await wait_until(lambda: work.at_once)
        await write(log, PLAN.outcome, theirs)
        hold.set()
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == theirs


# Once


BOXES = {
    "the outcome": (PLAN.outcome, MADE),
    "this attempt": (PLAN.attempt(1), AttemptFailed(error=Failure("timeout", "late"), duration_s=1)),
    "the end of the run": (Slot("r1", "completed"), MADE),
}


@pytest.mark.parametrize(("slot", "fact"), BOXES.values(), ids=BOXES.keys())
async def test_a_task_from_before_a_restart_is_only_acknowledged_where_this_is_written(slot: Slot, fact: Fact):
    log = Witness()
    await issue(log)
    await write(log, slot, fact)
    restart(log)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert work.performed == []
    assert log.done == ["read", "ack"]


async def test_a_redelivered_task_is_only_acknowledged_where_its_outcome_is_written():
    log = Witness()
    await issue(log)
    await hand_out(log, 1)
    await write(log, PLAN.outcome, MADE)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert work.performed == []


async def test_the_box_of_an_earlier_attempt_keeps_nobody_from_this_one():
    log = Witness()
    await write(log, PLAN.attempt(1), AttemptFailed(error=Failure("timeout", "late"), duration_s=1))
    await issue(log, attempt=2, failures=1)
    restart(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: log.said(PLAN.outcome) == MADE)


async def test_a_fresh_first_delivery_is_performed_without_a_read():
    log = Witness()
    restart(log)
    await issue(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: "ack" in log.done)
    assert "read" not in log.done


async def test_what_the_server_forgot_that_it_handed_out_is_not_performed_again():
    log, work = Witness(), Work(MADE)
    await issue(log)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
        log.forget(since=0)
        await wait_until(lambda: log.done.count("ack") == 2)
    assert len(work.performed) == 1


async def test_a_task_that_is_not_fresh_waits_until_it_can_be_read_what_is_done():
    log = Witness()
    log.readable = False
    await issue(log)
    restart(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: "ack" in log.done)
    assert log.done == ["read", "read", "fill research.run.r1.plan.1", "ack"]


async def test_tasks_that_were_done_make_room_for_others():
    log = Witness()
    for number in range(6):
        step = Step(f"r{number}", "plan", 1)
        await issue(log, step)
        if number < 5:
            await write(log, step.outcome, MADE)
    restart(log)
    async with working(log, Work(MADE), at_most=2):
        await wait_until(lambda: log.said(Step("r5", "plan", 1).outcome))


# Faults


@pytest.mark.parametrize(
    ("task", "failed"),
    [
        (PlanTask("q"), lambda error: PlanFailed(error=error)),
        (FetchTask("sub-query"), lambda error: FetchFailed(query="sub-query", error=error)),
        (SynthesizeTask("q", "digest", ()), lambda error: SynthesisFailed(error=error)),
    ],
    ids=["plan", "fetch", "synthesize"],
)
async def test_a_terminal_error_is_the_outcome_at_once(task: Task, failed: Callable[[Failure], Fact]):
    log = Witness()
    await issue(log, task=task)
    async with working(log, Work(Terminal("unauthorized", "The key is wrong."))):
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == failed(Failure("unauthorized", "The key is wrong."))
    assert log.done == ["fill research.run.r1.plan.1", "ack"]


async def test_a_transient_error_fills_the_box_of_its_attempt():
    log = Witness()
    await issue(log, attempt=3, failures=2)
    async with working(log, Work(Transient("timeout", "No answer."))):
        await wait_until(lambda: "ack" in log.done)
    assert log.done == ["fill research.run.r1.attempt.plan.1.0.3", "ack"]
    fact = log.said(PLAN.attempt(3))
    assert isinstance(fact, AttemptFailed)
    assert fact.error == Failure("timeout", "No answer.")
    assert 0 <= fact.duration_s < PATIENCE_S


@pytest.mark.parametrize(("failures", "slot"), [(2, PLAN.attempt(9)), (3, PLAN.outcome)], ids=["third", "fourth"])
async def test_the_fourth_attempt_that_fails_is_the_last_however_often_others_were_interrupted(
    failures: int, slot: Slot
):
    log = Witness()
    await issue(log, attempt=9, failures=failures)
    async with working(log, Work(Transient("timeout", "No answer."))):
        await wait_until(lambda: "ack" in log.done)
    assert log.done == [f"fill {slot.subject}", "ack"]


async def test_a_defect_is_recorded_by_its_class():
    log = Witness()
    await issue(log)
    async with working(log, Work(KeyError("missing"))):
        await wait_until(lambda: "ack" in log.done)
    fact = log.said(PLAN.attempt(1))
    assert isinstance(fact, AttemptFailed)
    assert fact.error == Failure("defect", "KeyError: 'missing'")


@pytest.mark.parametrize(
    "result", [None, PlanMade(queries=("\ud800",), planner="x")], ids=["no fact", "no text that UTF-8 knows"]
)
async def test_a_result_that_cannot_be_written_is_a_defect_like_any_other(result: object):
    log = Witness()
    await issue(log)
    async with working(log, Work(result)):
        await wait_until(lambda: "ack" in log.done)
    assert [one for one in log.done if one != "ack"] in (
        ["fill research.run.r1.plan.1"],
        ["fill research.run.r1.attempt.plan.1.0.1"],
    )


async def test_an_outcome_of_another_kind_is_a_defect_and_never_fills_the_box():
    """The coordinator could not place it, and would park the run for ever."""
    log = Witness()
    await issue(log)
    async with working(log, Work(FetchFound(query="q", sources=()))):
        await wait_until(lambda: "ack" in log.done)
    fact = log.said(PLAN.attempt(1))
    assert isinstance(fact, AttemptFailed)
    assert fact.error == Failure("defect", "TypeError: A FetchFound is no outcome of plan.")


async def test_a_result_that_is_too_large_is_a_failed_outcome():
    log = Witness()
    await issue(log)
    async with working(log, Work(large(MAX_TEXT_BYTES))):
        await wait_until(lambda: "ack" in log.done)
    failed = log.said(PLAN.outcome)
    assert isinstance(failed, PlanFailed)
    assert failed.error.code == "too_large"


async def test_a_result_that_is_too_large_for_a_message_is_recorded_all_the_same():
    log = Witness()
    await issue(log)
    async with working(log, Work(large(3_000_000))):
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == large(3_000_000)
    assert all(len(message.data) <= MAX_BYTES for message in log.messages)


async def test_a_task_that_is_too_large_for_a_message_is_performed_all_the_same():
    log, work = Witness(), Work(MADE)
    task = SynthesizeTask("q", "d", (Finding("sub-query", failure=Failure("c", "x" * 2_000_000)),))
    await issue(log, task=task)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert work.performed == [task]
    assert log.said(PLAN.outcome) == MADE


async def test_a_task_whose_text_is_gone_fails_at_once_by_name_and_holds_up_nothing():
    log, work = Witness(), Work(MADE)
    await issue(log, Step("lost", "plan", 1), task=PlanTask("x" * MAX_BYTES))
    log._texts.clear()
    await issue(log)
    async with working(log, work, at_most=1):
        await wait_until(lambda: log.done.count("ack") == 2)
    failed = log.said(Step("lost", "plan", 1).outcome)
    assert isinstance(failed, PlanFailed)
    assert failed.error.code == "text_missing"
    assert work.performed == [PlanTask("q")]


# No room


async def test_nothing_is_begun_while_the_log_takes_no_writes():
    log, work = Witness(), Work(MADE)
    await issue(log)
    log.is_full("no room")
    async with working(log, work):
        await wait_until(lambda: log.handed_out)
        await a_while()
        assert not work.performed
        log.is_full(None)
        await wait_until(lambda: "ack" in log.done)
    assert len(work.performed) == 1


async def test_a_result_that_finds_no_room_is_kept_and_written_later_and_never_computed_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(worker_module, "_RENEW_S", 0.01)
    log, finish = Witness(), asyncio.Event()
    work = Work(finish)
    await issue(log)
    async with working(log, work):
        await wait_until(lambda: work.at_once)
        log.is_full("no room")
        finish.set()
        await wait_until(lambda: not work.at_once)
        await wait_until(lambda: log.done.count("renew") > 5)
        assert log.said(PLAN.outcome) is None
        log.is_full(None)
        await wait_until(lambda: "ack" in log.done)
    assert (log.said(PLAN.outcome), len(work.performed)) == (MADE, 1)


async def test_a_task_not_begun_for_want_of_room_is_handed_back_by_a_worker_that_is_told_to_stop():
    log, work = Witness(), Work(MADE)
    await issue(log)
    log.is_full("no room")
    async with working(log, work, grace_s=0.01) as stop:
        await wait_until(lambda: log.handed_out)
        stop.set()
        await wait_until(lambda: "nak" in log.done)
    assert not work.performed
    assert not any(each.startswith("fill") for each in log.done)


async def test_a_task_of_another_kind_is_refused():
    async def fetch(task: FetchTask) -> StepOutcome:
        raise AssertionError(task)

    log = Witness()
    await issue(log, task=PlanTask("q"))
    async with working(log, require_task_type(FetchTask, fetch)):
        await wait_until(lambda: "ack" in log.done)
    failed = log.said(PLAN.outcome)
    assert isinstance(failed, PlanFailed)
    assert failed.error.code == "wrong_task"


async def test_what_this_release_cannot_read_is_left_to_others_and_holds_up_nothing():
    log = Witness()
    newer = Step("newer", "plan", 1).task(1)
    await MemoryLog.fill(log, [Fill(newer.subject, b'{"type": "task.issued.v9"}')])
    await issue(log)
    async with working(log, Work(MADE), at_most=1):
        await wait_until(lambda: log.said(PLAN.outcome))
    assert log.done == ["fill research.run.r1.plan.1", "ack"]


# Waiting


async def test_whoever_is_throttled_waits_and_uses_up_no_attempt():
    log = Witness()
    await issue(log, failures=3)
    throttled = Throttled("throttled", "Slow down.", retry_after=0.01)
    work = Work(throttled, throttled, throttled, MADE)
    async with working(log, work, policy=RetryPolicy(shortest_wait_s=0.01)):
        await wait_until(lambda: "ack" in log.done)
    assert len(work.performed) == 4
    assert log.done == ["fill research.run.r1.plan.1", "ack"]
    assert log.said(PLAN.outcome) == MADE


async def test_whoever_is_throttled_for_too_long_in_all_has_failed_an_attempt():
    log = Witness()
    await issue(log)
    work = Work(Throttled("throttled", "Slow down.", retry_after=0.01))
    async with working(log, work, policy=RetryPolicy(shortest_wait_s=0.01, longest_wait_s=0.025)):
        await wait_until(lambda: "ack" in log.done)
    assert len(work.performed) == 3
    fact = log.said(PLAN.attempt(1))
    assert isinstance(fact, AttemptFailed)
    assert fact.error.code == "throttled"


# What was paid for

CALL = Call("planner", "m-1", "plan.v1", 10, 3, cost_usd=0.25)
PAID_PLAN = PlanMade(queries=("a",), planner="m-1", calls=(CALL,), usage=usage_of((CALL,)))


def having_called(error: StepError) -> StepError:
    error.calls = (CALL,)
    return error


async def test_what_was_paid_before_a_wait_is_in_the_outcome_and_off_the_budget():
    log = Witness()
    await issue(log, task=PlanTask("q", budget_usd=1.0))
    work = Work(having_called(Throttled("throttled", "Slow down.", retry_after=0.01)), PAID_PLAN)
    async with working(log, work, policy=RetryPolicy(shortest_wait_s=0.01)):
        await wait_until(lambda: "ack" in log.done)
    made = log.said(PLAN.outcome)
    assert isinstance(made, PlanMade)
    assert (made.calls, made.usage) == ((CALL, CALL), usage_of((CALL, CALL)))
    assert [task.budget_usd for task in work.performed if isinstance(task, PlanTask)] == [1.0, 0.75]


@pytest.mark.parametrize(
    ("error", "slot"),
    [
        (Transient("timeout", "No answer."), PLAN.attempt(1)),
        (Terminal("unauthorized", "The key is wrong."), PLAN.outcome),
    ],
    ids=["attempt", "outcome"],
)
async def test_what_was_paid_for_a_failure_is_recorded_with_it(error: StepError, slot: Slot):
    log = Witness()
    await issue(log)
    async with working(log, Work(having_called(error))):
        await wait_until(lambda: "ack" in log.done)
    assert calls_of(log.said(slot)) == (CALL,)


async def test_what_was_paid_before_a_worker_had_to_stop_is_recorded():
    log = Witness()
    await issue(log)
    work = Work(having_called(Throttled("throttled", "Slow down.", retry_after=300)))
    async with working(log, work, grace_s=0.02):
        await wait_until(lambda: work.performed)
    assert calls_of(log.said(PLAN.attempt(1))) == (CALL,)


async def test_a_result_that_is_too_large_was_paid_for_all_the_same():
    log = Witness()
    await issue(log)
    large = msgspec.structs.replace(PAID_PLAN, queries=("x" * MAX_TEXT_BYTES,))
    async with working(log, Work(large)):
        await wait_until(lambda: "ack" in log.done)
    failed = log.said(PLAN.outcome)
    assert isinstance(failed, PlanFailed)
    assert (failed.error.code, failed.calls) == ("too_large", (CALL,))


class Talking:
    """Work that says something to a model, and then ends as it is told to."""

    def __init__(self, outcome: StepOutcome | StepError):
        self.outcome = outcome
        self.names: list[str] = []

    async def __call__(self, task: Task) -> StepOutcome:
        self.names = [transcript.record_text("What is asked."), transcript.record_text("What is \ud800 replied.")]
        if isinstance(self.outcome, StepError):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("outcome", [MADE, Transient("timeout", "No answer."), Terminal("refused", "No.")])
async def test_what_was_said_to_a_model_is_frozen_before_the_fact_that_names_it(outcome: StepOutcome | StepError):
    log, work = Witness(), Talking(outcome)
    await issue(log)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert [log.texts[name] for name in work.names] == ["What is asked.", "What is ? replied."]
    assert [what.partition(" ")[0] for what in log.done if what != "read"] == ["put", "put", "fill", "ack"]


async def test_words_that_are_never_taken_cost_no_result():
    log, work = Witness(), Talking(MADE)
    log.takes_texts = False
    await issue(log)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == MADE
    assert not log.texts


async def test_where_no_model_is_asked_nothing_is_kept():
    log = Witness()
    await issue(log)
    async with working(log, Work(MADE)):
        await wait_until(lambda: "ack" in log.done)
    assert "put" not in log.done
    assert transcript.record_text("Said to nobody.") == ""


async def test_a_task_in_hand_is_renewed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_RENEW_S", 0.01)
    log = Witness()
    await issue(log)
    hold = asyncio.Event()
    async with working(log, Work(hold)):
        await wait_until(lambda: log.done.count("renew") >= 3)
        hold.set()
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == MADE


async def test_a_task_that_cannot_be_kept_is_let_go_without_a_word(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_RENEW_S", 0.01)
    monkeypatch.setattr(worker_module, "ACK_WAIT_S", 0.06)
    log = Witness()
    log.renewable = False
    await issue(log)
    work = Work(asyncio.Event())
    async with working(log, work):
        await wait_until(lambda: work.performed and not work.at_once)
    assert log.done == []


async def test_a_task_that_was_never_renewed_is_let_go_in_time_counted_from_when_it_came(
    monkeypatch: pytest.MonkeyPatch,
):
    """The first try to renew may come a third of the time after the task did: too late to count from there."""
    monkeypatch.setattr(worker_module, "ACK_WAIT_S", 0.45)
    monkeypatch.setattr(worker_module, "_RENEW_S", 0.35)
    log = Witness()
    log.renewable = False
    await issue(log)
    work = Work(asyncio.Event())
    async with working(log, work):
        await wait_until(lambda: work.performed)
        await wait_until(lambda: not work.at_once, within_s=0.6)


async def test_a_task_whose_renewal_is_never_answered_is_let_go_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "ACK_WAIT_S", 0.06)
    monkeypatch.setattr(worker_module, "_RENEW_S", 0.01)
    monkeypatch.setattr(worker_module, "_RENEW_WITHIN_S", 0.01)
    log = Witness()
    log.renewals_hang = True
    await issue(log)
    work = Work(asyncio.Event())
    async with working(log, work):
        await wait_until(lambda: work.performed)
        await wait_until(lambda: not work.at_once, within_s=0.6)


# Limits


async def test_it_never_performs_more_at_once_than_it_may():
    log = Witness()
    for number in range(12):
        await issue(log, Step(f"r{number}", "plan", 1))
    hold = asyncio.Event()
    work = Work(hold)
    async with working(log, work, at_most=3):
        await wait_until(lambda: work.at_once == 3)
        hold.set()
        await wait_until(lambda: log.done.count("ack") == 12)
    assert work.most_at_once == 3
    assert len(work.performed) == 12


@pytest.mark.parametrize(("before", "performed"), [(3, 1), (4, 0), (7, 0)], ids=["fourth", "fifth", "eighth"])
async def test_what_four_workers_died_on_is_given_up_untried(before: int, performed: int):
    log = Witness()
    await issue(log)
    await hand_out(log, before)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: "ack" in log.done)
    assert len(work.performed) == performed
    said = log.said(PLAN.outcome)
    assert said == MADE if performed else isinstance(said, PlanFailed) and said.error.code == "abandoned"


class Defective(Witness):
    """A log that goes wrong whenever somebody but itself asks it for room."""

    def __init__(self) -> None:
        super().__init__()
        self.fills = 0

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        self.fills += 1
        try:
            return await super().fill(fills, session=session)
        finally:
            self.fills -= 1

    async def wait_writable(self) -> None:
        if not self.fills:
            raise TypeError("no room")


@pytest.mark.parametrize("before", [3, 4], ids=["fourth", "fifth"])
async def test_a_defect_of_the_worker_itself_fails_the_step_at_the_fifth_delivery(before: int):
    log = Defective()
    event = Event(TaskIssued(task=PlanTask("q")), "test", clock.now(), TRACE)
    await log.fill([Fill(PLAN.task(1).subject, envelope.encode(PLAN.task(1), event))])
    await hand_out(log, before)
    work = Work(MADE)
    async with working(log, work):
        await (wait_until(lambda: "ack" in log.done) if before == 4 else a_while())
    assert not work.performed
    failed = PlanFailed(error=Failure("defect", "TypeError: no room"))
    assert log.said(PLAN.outcome) == (failed if before == 4 else None)


async def test_an_outcome_says_how_long_the_work_took_and_not_how_long_it_waited():
    log = Witness()
    await issue(log)
    hold = asyncio.Event()
    work = Work(hold)
    began = asyncio.get_running_loop().time()
    async with working(log, work):
        await wait_until(lambda: work.at_once == 1)
        await a_while()
        asyncio.get_running_loop().call_later(0.05, hold.set)
        await wait_until(lambda: "ack" in log.done)
    said = log.stored(PLAN.outcome)
    assert isinstance(said, PlanMade)
    assert said.duration_s
    assert 0.04 < said.duration_s < asyncio.get_running_loop().time() - began


# Cancelled


async def test_work_for_a_cancelled_run_is_aborted_and_that_of_others_is_not():
    log = Witness()
    await issue(log)
    await issue(log, Step("r2", "plan", 1))
    hold = asyncio.Event()
    work = Work(hold)
    async with working(log, work):
        await wait_until(lambda: work.at_once == 2)
        await log.hint(live_cancelled("r1"), b"")
        await wait_until(lambda: work.at_once == 1)
        await wait_until(lambda: log.done == ["ack"])
        hold.set()
        await wait_until(lambda: len(log.done) == 3)
    assert log.said(PLAN.outcome) is None
    assert log.said(PLAN.attempt(1)) is None
    assert log.said(Step("r2", "plan", 1).outcome) == MADE


async def test_a_result_that_is_there_is_written_although_its_run_was_cancelled():
    log = Witness()
    log.writable.clear()
    await issue(log)
    work = Work(MADE)
    async with working(log, work):
        await wait_until(lambda: work.performed and not work.at_once)
        await log.hint(live_cancelled("r1"), b"")
        log.writable.set()
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == MADE


# Stopped


async def test_whoever_is_told_to_stop_finishes_what_is_in_hand_and_takes_no_more():
    log = Witness()
    await issue(log)
    hold = asyncio.Event()
    work = Work(hold)
    async with working(log, work) as stop:
        await wait_until(lambda: work.at_once)
        stop.set()
        for _ in range(20):  # turns of the loop, in which it takes note
            await asyncio.sleep(0)
        await issue(log, Step("r2", "plan", 1))
        hold.set()
        await wait_until(lambda: "ack" in log.done)
    assert log.said(PLAN.outcome) == MADE
    assert len(work.performed) == 1


async def test_whoever_cannot_finish_in_time_says_that_the_attempt_was_interrupted():
    log = Witness()
    await issue(log, attempt=2, failures=1)
    work = Work(asyncio.Event())
    async with working(log, work, grace_s=0.02):
        await wait_until(lambda: work.at_once)
    assert log.done == ["fill research.run.r1.attempt.plan.1.0.2", "ack"]
    fact = log.said(PLAN.attempt(2))
    assert isinstance(fact, AttemptFailed)
    assert fact.error.code == "interrupted"


async def test_a_wait_for_an_endpoint_ends_with_the_worker():
    log = Witness()
    await issue(log)
    work = Work(Throttled("throttled", "Slow down.", retry_after=300))
    async with working(log, work, grace_s=0.02):
        await wait_until(lambda: work.performed)
    assert log.done == ["fill research.run.r1.attempt.plan.1.0.1", "ack"]


async def test_a_result_that_is_there_is_written_although_the_worker_must_stop():
    log = Witness()
    log.writable.clear()
    await issue(log)
    work = Work(MADE)
    async with working(log, work, grace_s=0.02) as stop:
        await wait_until(lambda: work.performed and not work.at_once)
        stop.set()
        asyncio.get_running_loop().call_later(0.1, log.writable.set)
    assert log.said(PLAN.outcome) == MADE
    assert log.said(PLAN.attempt(1)) is None
