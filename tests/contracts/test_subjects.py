"""A slot and its subject are the same thing, and nothing else is a slot."""

from typing import get_args

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from shared.contracts import subjects
from shared.contracts.subjects import COMPLETED_SLOTS, KINDS, RESEARCH_SUBJECTS, Slot, SlotName, Step, parse_slot
from shared.runtime.memory_tasks import matches_subject

runs = st.from_regex(subjects.TOKEN, fullmatch=True)
numbers = st.integers(0, 10_000)
kinds = st.sampled_from(KINDS)
steps = st.builds(Step, runs, kinds, numbers, numbers)
slots = st.one_of(
    st.builds(Slot, runs, st.sampled_from(("accepted", "completed"))),
    st.builds(Slot, runs, st.sampled_from(("plan", "hold", "decision", "synthesis")), numbers),
    st.builds(Slot, runs, st.sampled_from(("fetch", "extension")), numbers, numbers),
    st.builds(Slot, runs, st.just("vote"), numbers, voter=st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
    st.builds(Slot, runs, st.sampled_from(("task", "attempt")), numbers, numbers, numbers, kinds),
    st.builds(Slot, runs, st.just("other"), other=st.sampled_from(("amendment.1", "seal", "plans.1.x"))),
)


@given(slot=slots)
def test_a_subject_names_the_slot_that_it_is(slot: Slot):
    assert parse_slot(slot.subject) == slot


@given(slot=slots)
def test_every_slot_is_in_the_stream(slot: Slot):
    assert any(matches_subject(pattern, slot.subject) for pattern in RESEARCH_SUBJECTS)


def test_there_is_a_slot_of_every_box():
    drawn = {"accepted", "completed", "plan", "hold", "extension", "vote", "decision", "synthesis", "fetch", "task"}
    assert {*drawn, "attempt", "other"} == set(get_args(SlotName))


def test_a_box_is_of_another_release_only_where_this_one_has_none_of_its_name():
    assert parse_slot("research.run.r1.plan.01") is None
    assert parse_slot("research.run.r1.other.1") is None
    assert parse_slot("research.run.r1.") is None
    assert parse_slot("research.run.r1.seal.01") == Slot("r1", "other", other="seal.01")


parts = st.sampled_from(("research", "run", "runs", "r1", "task", "plan", "fetch", "hold", "accepted", "", "*", ">"))
odd_numbers = st.sampled_from(("0", "1", "01", "-1", "+1", "1_0", " 1", "1 ", "١", "1.0", "x", "9" * 30, "9" * 5_000))


@given(subject=st.text(max_size=60) | st.lists(parts | odd_numbers, max_size=9).map(".".join))
@example("research.run.r1.plan.01")
@example("research.run.r1.plan.-1")
@example("research.run.r1.plan.1_0")
@example("research.run.r1.plan.١")
@example("research.runs.r1.accepted")
@example("research.run..accepted")
@example("research.run.a b.accepted")
@example(f"research.run.r1.plan.{'9' * 30}")
@example(f"research.run.r1.vote.1.{'A' * 32}")
@example(f"research.run.r1.vote.1.{'a' * 33}")
@example(f"research.run.r1.plan.{'9' * 5_000}")
def test_what_is_read_as_a_slot_is_that_slots_subject(subject: str):
    slot = parse_slot(subject)
    if slot:
        assert slot.subject == subject
        assert subjects.is_token(slot.run)
        assert max(slot.round, slot.index, slot.attempt) < 2**63


@given(step=steps, attempt=numbers)
def test_a_step_and_its_boxes_belong_together(step: Step, attempt: int):
    task, failed, outcome = step.task(attempt), step.attempt(attempt), step.outcome
    assert task.subject.split(".")[4:] == failed.subject.split(".")[4:]
    assert {task.run, failed.run, outcome.run} == {step.run}
    assert outcome.round == step.round
    assert matches_subject(subjects.task_filter(step.kind), task.subject)
    assert not any(matches_subject(subjects.task_filter(kind), task.subject) for kind in KINDS if kind != step.kind)
    assert not matches_subject(subjects.task_filter(step.kind), failed.subject)


def test_of_all_slots_only_the_completion_is_handed_on():
    assert matches_subject(COMPLETED_SLOTS, Slot("r1", "completed").subject)
    assert not matches_subject(COMPLETED_SLOTS, Slot("r1", "accepted").subject)


@pytest.mark.parametrize(
    ("text", "token", "reserved"),
    [
        ("a", True, False),
        ("A-z_0", True, False),
        ("x" * 64, True, False),
        ("x" * 65, False, False),
        ("", False, False),
        ("a.b", False, False),
        ("a b", False, False),
        ("a*", False, False),
        ("a\n", False, False),
        ("ä", False, False),
        ("r1", True, True),
        ("r", True, False),
        ("r1x", True, False),
        ("R1", True, False),
        ("r١", False, False),
    ],
)
def test_tokens_and_reserved_names(text: str, token: bool, reserved: bool):
    assert subjects.is_token(text) is token
    assert subjects.is_reserved(text) is reserved
