"""What is told of a run's way is what it is owed: the two never say different things of the same facts."""

from datetime import timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.contracts.evidence import Estimate
from shared.contracts.facts import VoteCast
from shared.contracts.subjects import Slot, Step
from shared.domain.approval import voter_token
from shared.domain.diagnosis import Observations, diagnose
from shared.domain.owed import Owed, owed
from shared.domain.run import Run
from shared.domain.steps import awaits_decision, due_since, open_steps
from tests.coordinator.story import (
    DEADLINE,
    FETCH_0,
    FETCH_1,
    PLAN,
    PLAN_FAILED,
    PLAN_ISSUED,
    START,
    SYNTHESIS_FAILED,
    SYNTHESIZE,
    Told,
    accepted,
    approved,
    attempt_failed,
    expired,
    fold,
    found,
    given,
    hold,
    issued,
    not_found,
    planned,
    rejected,
    revised,
    stored,
    written,
)

AGAIN = Step(PLAN.run, "plan", 2)
ADDED = Step(PLAN.run, "fetch", 2, 1)
VOTES = tuple(
    (
        Slot(PLAN.run, "vote", 1, voter=voter_token(name)),
        VoteCast(by=name, via="api", auth=f"key:{name}", digest="d" * 64),
    )
    for name in ("bob", "cleo")
)
BY_TWO = (hold()[0], replace(hold()[1], quorum=2))
COSTLY = hold(estimate=Estimate(model="m", input_tokens=1, output_tokens=1, cost_usd=9.0))
EVERYTHING: tuple[Told, ...] = (
    *(PLAN_ISSUED, attempt_failed(PLAN, 1), issued(PLAN, 2), planned(), PLAN_FAILED),
    *(issued(FETCH_0, 1), issued(FETCH_1, 1), attempt_failed(FETCH_1, 1), found(0), not_found(1), hold(), COSTLY),
    *(approved(), rejected(), expired(), revised(), revised(add=("birds",)), issued(SYNTHESIZE, 1)),
    *(issued(AGAIN, 1), planned("more", round_=2), found(0, round_=2), issued(ADDED, 1), found(1, round_=2)),
    *(hold(2), approved(2), written(), SYNTHESIS_FAILED, written(round_=2)),
    *(BY_TWO, *VOTES),
)
ASKED = (accepted(), accepted(approval="auto"), accepted(approval="auto", max_cost_usd=1.0))


def steps_of(due: Owed) -> set[Step]:
    """The steps that another attempt is owed of."""
    return {
        Step(slot.run, slot.kind, slot.round, slot.index) for slot, _ in due.facts if slot.name == "task" and slot.kind
    }


@for_all(st.sampled_from(ASKED), st.lists(st.sampled_from(range(len(EVERYTHING))), unique=True))
@settings(max_examples=1_000, deadline=None)
def test_steps_are_open_when_tasks_are_owed_or_out_and_only_then(asked: Told, places: list[int]):
    run = fold(stored(asked, 1), *(stored(EVERYTHING[place], place + 2) for place in places))
    due, steps = owed(run, DEADLINE + timedelta(days=1)), {state.step for state in open_steps(run)}
    assert steps_of(due) <= steps
    other = [slot for slot, _ in due.facts if slot.name != "task"]
    assert not (other and steps), (other, steps)
    assert bool(due) or steps, "Nothing is owed and nothing is out: nobody would ever look again."


@for_all(st.sampled_from(ASKED), st.lists(st.sampled_from(range(len(EVERYTHING))), unique=True))
@settings(max_examples=1_000, deadline=None)
def test_a_person_is_waited_for_exactly_when_only_the_deadline_can_move_a_hold(asked: Told, places: list[int]):
    run = fold(stored(asked, 1), *(stored(EVERYTHING[place], place + 2) for place in places))
    due = owed(run, START)
    assert awaits_decision(run) == (not due and due.wake_at == DEADLINE)
    if awaits_decision(run):
        assert due_since(run) == DEADLINE


def told(run: Run) -> str:
    return diagnose(run, Observations(now=START, attempts=4, led=True))[0].text


def test_a_costly_report_waits_for_a_person_although_the_run_was_to_approve_itself():
    run = given(accepted(approval="auto", max_cost_usd=1.0), planned("cats"), found(0), COSTLY).run
    assert "could cost more than the run may" in told(run)


def test_a_run_that_enough_have_voted_on_waits_for_nobody_and_before_that_says_who_has():
    held = (accepted(), planned("cats"), found(0), BY_TWO)
    assert "2 people with an approver's key, of whom bob did;" in told(given(*held, VOTES[0]).run)
    assert not awaits_decision(given(*held, *VOTES).run)


def test_evidence_that_was_sent_back_waits_for_a_person_although_the_run_was_to_approve_itself():
    asked = accepted(approval="auto")
    run = given(
        asked, planned("cats"), found(0), hold(), revised(), planned("x", round_=2), found(0, round_=2), hold(2)
    ).run
    assert "was sent back once" in told(run)


@pytest.mark.parametrize("place", [0, 1])
def test_a_sub_query_that_a_reviewer_added_is_one_of_its_round(place: int):
    run = given(accepted(), planned("cats"), found(0), hold(), revised(add=("birds",)), planned("more", round_=2)).run
    assert [state.step.index for state in open_steps(run)] == [0, 1]
    waits = diagnose(run, Observations(now=START, attempts=4, led=True))
    assert f"fetch {place + 1} of 2 of round 2" in waits[place].text
