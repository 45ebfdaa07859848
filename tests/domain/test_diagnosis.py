"""What a run waits for, told from its facts, the time, and what the consumers say; and when it is late."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from shared.contracts.evidence import Estimate
from shared.contracts.messages import Queue
from shared.contracts.subjects import Step
from shared.domain.approval import describe_deciders
from shared.domain.decoding import decode_fact
from shared.domain.diagnosis import Diagnosis, Observations, diagnose, format_span
from shared.domain.run import Run, evolve
from shared.domain.steps import due_since, lateness, open_steps
from tests.coordinator.story import (
    DEADLINE,
    FETCH_0,
    FETCH_1,
    PLAN,
    PLAN_ISSUED,
    RUN,
    START,
    SYNTHESIZE,
    Told,
    accepted,
    approved,
    attempt_failed,
    completed,
    fold,
    found,
    given,
    hold,
    issued,
    planned,
    revised,
    stored,
    written,
)

IDLE = Queue(waiting=0, in_flight=0, limit=5, redelivered=0, asking=0, handed_out=0)
FETCHING = (accepted(), planned(), issued(FETCH_0, 1), issued(FETCH_1, 1))
HELD = (accepted(), planned("cats"), found(0), hold())
AFTER = timedelta(minutes=5)


def seen(after_s: float = 12, *, led: bool | None = True, queue: Queue | None = None, **more: object) -> Observations:
    queues = dict.fromkeys(("plan", "fetch", "synthesize"), queue) if queue else {}
    return Observations(now=START + timedelta(seconds=after_s), attempts=4, led=led, queues=queues, **more)


def waits(*told: Told, **how: object) -> Diagnosis:
    """The first thing that a run with these facts waits for."""
    return diagnose(given(*told).run, seen(**how))[0]


def test_a_run_that_ended_waits_for_nothing_and_says_how():
    ended = waits(accepted(), completed("cancelled"))
    assert (ended.code, ended.since) == ("ended", START)
    assert ended.text == "For nothing: it ended 12 s ago, cancelled."


def test_a_run_with_an_unknown_fact_waits_for_a_release():
    unknown = decode_fact(
        given().run and PLAN.outcome,
        b'{"specversion":"1.0","id":"x","source":"s","type":"plan.made.v9","time":"2026-01-01T00:00:00Z","data":{}}',
        seq=2,
        stored_at=START,
    )
    [wait] = diagnose(evolve(given(accepted()).run, unknown), seen())
    assert wait.code == "parked"
    assert "plan.made.v9" in wait.text


def test_a_hold_waits_for_a_person_until_its_deadline():
    wait = waits(*HELD)
    assert (wait.code, wait.since, wait.deadline) == ("person", START, DEADLINE)
    assert wait.may_decide == describe_deciders(given(*HELD).run)
    assert wait.may_decide in wait.text
    assert "1 h 59 min" in wait.text


@pytest.mark.parametrize(
    ("queue", "code", "text"),
    [
        (None, "worker", "NATS does not report"),
        (
            replace(IDLE, waiting=32),
            "worker",
            "31 tasks are before it at most, none is in hand, and no fetcher is asking",
        ),
        (replace(IDLE, waiting=2), "worker", "1 task is before it at most"),
        (replace(IDLE, waiting=1, in_flight=3), "worker", "it is next, 3 are in hand, and no fetcher is asking"),
        (replace(IDLE, waiting=1, asking=1), "worker", "one is asking for work"),
        (
            replace(IDLE, waiting=9, in_flight=5),
            "place",
            "all 5 that the limit allows are taken; 8 tasks are before it",
        ),
        (replace(IDLE, handed_out=9, in_flight=1, asking=1), "working", "is with a fetcher"),
        (replace(IDLE, handed_out=9, in_flight=1), "working", "no fetcher is asking for work"),
        (replace(IDLE, handed_out=9, in_flight=2, redelivered=1, asking=1), "working", "1 came back before"),
        (replace(IDLE, handed_out=9), "worker", "no fetcher has any task in hand"),
    ],
)
def test_a_task_waits_for_a_worker_a_place_or_the_worker_that_has_it(queue: Queue | None, code: str, text: str):
    wait = waits(*FETCHING, queue=queue)
    assert wait.text.startswith("Its fetch 1 of 2, asked for 12 s ago, ")
    assert (wait.code, wait.step, wait.of, wait.since) == (code, FETCH_0, 2, START)
    assert text in wait.text


def test_every_fetch_that_is_open_is_told():
    run = given(*FETCHING, found(0)).run
    assert [wait.step for wait in diagnose(given(*FETCHING).run, seen())] == [FETCH_0, FETCH_1]
    [wait] = diagnose(run, seen())
    assert (wait.step, wait.text[:16]) == (FETCH_1, "Its fetch 2 of 2")


def test_a_retry_says_what_failed_when_and_when_the_next_is_due():
    run = fold(stored(accepted(), 1), stored(PLAN_ISSUED, 2), stored(attempt_failed(PLAN, 1), 3))
    [wait] = diagnose(run, seen(0.2))
    assert (wait.code, wait.attempt, wait.error.code, wait.failed_at) == ("retry", 2, "boom", START)
    assert wait.next_try_at
    assert wait.next_try_at > START
    assert wait.text == "Attempt 1 of 4 of its plan failed 0 s ago (boom: It went boom). The next is due in 1 s."


def test_a_task_that_was_given_back_is_no_failure():
    wait = waits(accepted(), PLAN_ISSUED, attempt_failed(PLAN, 1, code="interrupted"), issued(PLAN, 2))
    assert (wait.attempt, wait.error.code) == (1, "interrupted")
    assert "was stopping gave it back" in wait.text


@pytest.mark.parametrize("led", [True, False, None])
@pytest.mark.parametrize(
    "told",
    [
        (accepted(),),
        (accepted(), planned()),
        (accepted(), planned("cats"), found(0)),
        (*HELD, approved()),
        (*HELD, approved(), written()),
    ],
)
def test_what_is_due_and_unwritten_waits_for_a_coordinator(told: tuple, led: bool | None):
    wait = waits(*told, led=led)
    assert wait.code == "coordinator"
    assert ("no coordinator leads" in wait.text) == (led is False)


def test_a_hold_whose_deadline_has_passed_waits_for_a_coordinator():
    assert waits(*HELD, after_s=7_201).code == "coordinator"


def test_what_was_said_and_not_judged_waits_for_a_coordinator():
    [wait] = diagnose(Run("new"), seen(messages=[(17, "research.requested")], led=False))
    assert wait.code == "coordinator"
    assert wait.text == "The message on research.requested at 17 is still to be judged; no coordinator leads."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (7_200, "2 h"),
        (7_261, "2 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_460, "1 d"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: int, text: str):
    assert format_span(timedelta(seconds=seconds)) == text


# Late


def is_late(*told: Told, after_s: float) -> str | None:
    found_late = lateness(given(*told).run, START + timedelta(seconds=after_s), AFTER)
    return found_late and found_late.code


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ((accepted(), PLAN_ISSUED), "unanswered"),
        (FETCHING, "unanswered"),
        ((*FETCHING, found(0)), "unanswered"),
        ((*HELD, approved(), issued(SYNTHESIZE, 1)), "unanswered"),
        ((accepted(),), "unwritten"),
        ((accepted(), planned()), "unwritten"),
        ((*HELD, approved()), "unwritten"),
        ((accepted(approval="auto"), *HELD[1:]), "unwritten"),
    ],
)
def test_a_run_is_late_when_it_was_due_to_move_for_longer_than_expected(told: tuple, code: str):
    assert is_late(*told, after_s=299) is None
    assert is_late(*told, after_s=300) == code


def test_a_run_on_hold_is_late_only_when_its_deadline_is_long_past():
    assert due_since(given(*HELD).run) == DEADLINE
    assert is_late(*HELD, after_s=7_200 + 299) is None
    assert is_late(*HELD, after_s=7_200 + 300) == "unwritten"


@pytest.mark.parametrize("told", [(accepted(), completed()), (accepted(), planned(), completed("failed"))])
def test_a_run_that_ended_is_never_late(told: tuple):
    assert due_since(given(*told).run) is None


def test_waiting_for_a_retry_is_not_late_before_it_is_due():
    run = fold(stored(accepted(), 1), stored(PLAN_ISSUED, 2), stored(attempt_failed(PLAN, 1), 3, at=START + AFTER))
    assert due_since(run) > START + AFTER
    assert lateness(run, START + AFTER, AFTER) is None


OVER = hold(estimate=Estimate("m-writer", 1, 1, 0.5))
WITHIN = accepted(approval="auto", max_cost_usd=1.0)
BEYOND = accepted(approval="auto", max_cost_usd=0.4)


def test_a_run_at_its_limit_waits_for_a_person_whatever_its_policy_and_is_not_late():
    waiting = waits(BEYOND, *HELD[1:-1], OVER)
    assert waiting.code == "person"
    assert waiting.text.endswith("an approval has to raise max_cost_usd.")
    assert due_since(given(BEYOND, *HELD[1:-1], OVER).run) == DEADLINE
    assert is_late(WITHIN, *HELD[1:-1], OVER, after_s=300) == "unwritten"
    assert "max_cost_usd" not in waits(*HELD).text


def test_a_run_that_was_sent_back_waits_for_what_a_reviewer_added():
    told = (*HELD, revised(add=("birds",)), planned("wolves", round_=2), found(0, round_=2))
    added = Step(RUN, "fetch", 2, 1)
    assert [state.step for state in open_steps(given(*told, issued(added, 1)).run)] == [added]
    assert "fetch 2 of 2 of round 2" in waits(*told, issued(added, 1)).text
