"""The fold: a join over write-once boxes."""

from datetime import timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from shared.contracts.evidence import Estimate
from shared.contracts.facts import AttemptFailed, Fact, FetchFailed, PlanFailed, SynthesisFailed
from shared.contracts.subjects import Slot, Step
from shared.domain.decoding import decode_fact
from shared.domain.owed import owed
from shared.domain.run import STATUSES, Run, UnknownFact, digest, evolve, pack, unpack
from tests.coordinator.story import (
    FETCH_0,
    FETCH_1,
    PLAN,
    PLAN_ISSUED,
    RUN,
    START,
    SYNTHESIZE,
    accepted,
    approved,
    attempt_failed,
    box,
    call,
    completed,
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

EVERYTHING = (
    accepted(),
    PLAN_ISSUED,
    attempt_failed(PLAN, 1),
    issued(PLAN, 2),
    planned(),
    issued(FETCH_0, 1),
    issued(FETCH_1, 1),
    found(0),
    not_found(1),
    hold(),
    approved(),
    rejected(),
    expired(),
    revised(),
    planned("more", round_=2),
    found(0, round_=2),
    hold(2, estimate=Estimate("m-writer", 1, 1, 0.5), spent_usd=0.25),
    approved(2, max_cost_usd=3.0),
    revised(2, add=("birds",), drop=("more",), exclude=("a" * 64,), max_cost_usd=2.0),
    planned("wolves", round_=3, calls=(call(), call("planner", None))),
    attempt_failed(Step(RUN, "plan", 3), 1, calls=(call(),)),
    found(0, round_=3),
    found(1, round_=3),
    issued(SYNTHESIZE, 1),
    written(),
    completed(),
    completed("cancelled"),
)


@for_all(st.data())
@settings(max_examples=300, deadline=None)
def test_the_same_facts_in_any_order_any_number_of_times_give_the_same_run(data: st.DataObject):
    places = data.draw(st.lists(st.sampled_from(range(len(EVERYTHING))), max_size=20))
    facts = [stored(EVERYTHING[place], place + 1) for place in places]
    assert fold(*data.draw(st.permutations(facts * 2))) == fold(*facts)


@for_all(st.lists(st.sampled_from(range(len(EVERYTHING))), unique=True))
@settings(max_examples=100, deadline=None)
def test_a_run_is_the_same_after_a_rest_in_the_projection(places: list[int]):
    run = fold(*(stored(EVERYTHING[place], place + 1) for place in places))
    assert unpack(pack(run)) == run


def test_of_two_facts_for_one_box_the_earlier_stays():
    assert fold(stored(rejected(), 9), stored(approved(), 7)).status == "writing"
    assert fold(stored(approved(), 7), stored(rejected(), 9)).current.decision.seq == 7


def test_the_sub_queries_of_a_round_are_counted_once_it_is_planned():
    sent_back = (accepted(), planned(), found(0), found(1), hold(), revised(add=("birds", "cats")))
    assert given(*sent_back).run.queries(2) == ()
    assert given(*sent_back, planned("birds", round_=2)).run.queries(2) == ("birds", "cats")
    assert given(*sent_back).run.queries(1) == ("cats", "dogs")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ((accepted(),), "planning"),
        ((accepted(), planned()), "fetching"),
        ((accepted(), planned(), found(0), found(1), hold()), "hold"),
        ((accepted(), planned(), found(0), found(1), hold(), approved()), "writing"),
        ((accepted(), planned(), found(0), found(1), hold(), revised()), "planning"),
        ((accepted(), planned(), completed("failed")), "failed"),
        ((accepted(), completed("cancelled"), completed()), "cancelled"),
    ],
)
def test_the_status_says_where_a_run_stands(told: tuple, status: str):
    assert given(*told).run.status == status
    assert status in STATUSES


@pytest.mark.parametrize(
    ("slot", "fact"),
    [
        (PLAN.outcome, PlanFailed),
        (FETCH_0.outcome, FetchFailed),
        (SYNTHESIZE.outcome, SynthesisFailed),
        (PLAN.attempt(1), AttemptFailed),
    ],
)
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{}", b"[1]", b'{"specversion":"1.0"}'])
def test_what_a_worker_wrote_and_nobody_can_read_is_a_failure_of_its_step(slot: Slot, fact: type, data: bytes):
    it = decode_fact(slot, data, seq=1, stored_at=START)
    assert isinstance(it.fact, fact)
    assert it.fact.error.code == "unreadable"


def test_a_fact_of_a_newer_version_parks_the_run_and_loses_nothing():
    newer = b'{"specversion":"1.0","id":"x","source":"s","type":"plan.made.v9","time":"2026-01-01T00:00:00Z","data":{}}'
    run = evolve(given(accepted()).run, decode_fact(PLAN.outcome, newer, seq=5, stored_at=START))
    assert run.status == "parked"
    assert "plan.made.v9" in run.unknown.fact
    assert evolve(run, stored(planned(), 6)).current.plan is not None


def test_a_fact_in_a_slot_that_is_not_its_own_parks_the_run():
    it = stored((box("decision", 1), planned()[1]), 3)
    assert isinstance(it.fact, UnknownFact)


@pytest.mark.parametrize("fact", [accepted(), planned()])
def test_a_fact_in_a_box_that_only_a_newer_release_has_parks_the_run(fact: tuple[Slot, Fact]):
    told = stored((Slot(RUN, "other", other="amendment.1"), fact[1]), 5)
    run = evolve(given(accepted()).run, told)
    assert run.status == "parked"
    assert "amendment.1" in run.unknown.fact
    assert not owed(run, START + timedelta(days=99))


def test_the_digest_names_exactly_the_request_the_plan_and_the_findings():
    told = [stored(fact, seq) for seq, fact in enumerate((accepted(), planned(), found(0), not_found(1)), 1)]
    base = digest(fold(*told))
    lines = sorted(f"research.run.{RUN}.{it.slot.path} {it.sha256}\n" for it in told)
    from hashlib import sha256

    assert base == sha256("".join(lines).encode()).hexdigest()
    assert digest(fold(*told, stored(issued(PLAN, 1), 8), stored(attempt_failed(PLAN, 1), 9))) == base
    assert digest(fold(*told[:3])) != base


def test_the_next_attempt_counts_from_the_servers_clock():
    slot, fact = attempt_failed(PLAN, 1)
    it = stored((slot, fact), 4, at=START)
    late = decode_fact(slot, _bytes(slot, fact), seq=4, stored_at=START + timedelta(minutes=5))
    assert evolve(Run(RUN), late).current.attempts[PLAN.task(1).path].at == START + timedelta(minutes=5)
    assert evolve(Run(RUN), it).current.attempts[PLAN.task(1).path].at == START


def _bytes(slot: Slot, fact: AttemptFailed) -> bytes:
    from shared.contracts import envelope
    from shared.contracts.envelope import Event

    return envelope.encode(slot, Event(fact, "a worker with a wrong clock", START - timedelta(days=9)))
