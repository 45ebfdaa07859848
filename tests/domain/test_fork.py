"""A fork takes what the other run recorded before a step, and nothing else; what makes no sense is refused by name."""

from functools import reduce

import pytest
from msgspec.structs import replace

from shared.contracts.evidence import Usage
from shared.contracts.facts import FetchFailed, FetchFound, Forked, PlanMade, Reused, RunAccepted
from shared.contracts.forks import Fork
from shared.contracts.requests import Request
from shared.contracts.subjects import Slot, Step, parse_slot
from shared.domain.fork import PLANNER, copy_fact, failed_step, resolve_fork
from shared.domain.fork import accept_fork as accept
from shared.domain.inbound import Defaults, Inbound, decide_inbound
from shared.domain.judgement import Accept, Duplicate, Reject
from shared.domain.owed import Owed, owed
from shared.domain.run import Run, evolve
from tests.coordinator.story import (
    OTHER,
    PLAN_FAILED,
    RUN,
    START,
    SYNTHESIS_FAILED,
    Told,
    accepted,
    approved,
    call,
    completed,
    found,
    given,
    hold,
    not_found,
    planned,
    revised,
    stored,
    written,
)

NEW = "fork"
ONE_OF_TWO = (accepted(), planned(), found(0), not_found(1))
HELD = (*ONE_OF_TWO, hold())
WRITING = (*HELD, approved())
TWO_ROUNDS = (*HELD, revised(), planned("birds", round_=2), found(0, OTHER, round_=2), hold(2))


def fork_of(*told: Told, **wish: object) -> Forked | Reject:
    return resolve_fork(Fork(run_id=RUN, **wish), given(*told).run)


def reuses(forked: Forked | Reject) -> dict[str, str]:
    assert isinstance(forked, Forked), forked
    return {reused.slot: reused.origin for reused in forked.reuses}


def forked_run(*told: Told, **wish: object) -> Run:
    """The new run, just accepted."""
    source = given(*told).run
    forked = resolve_fork(Fork(run_id=RUN, **wish), source)
    assert isinstance(forked, Forked), forked
    request = Request(run_id=NEW, fork=Fork(run_id=RUN, **wish))
    fact = accept(request, forked, source.accepted.fact, seq=9, auth="nats")
    return evolve(Run(NEW), stored((Slot(NEW, "accepted"), fact), 10))


def with_all_that_is_owed(run: Run, source: Run) -> Run:
    """The run once what it is owed at first is recorded."""
    due = owed(run, START)
    facts = [*due.facts, *((copy.slot, copy_fact(copy, source)) for copy in due.copies)]
    return reduce(evolve, (stored(told, seq) for seq, told in enumerate(facts, 11)), run)


# What is reused


def test_from_plan_nothing_is_reused():
    assert fork_of(*WRITING, step="plan") == Forked(RUN, "plan")


def test_from_fetch_only_what_failed_is_fetched_again():
    assert reuses(fork_of(*WRITING, step="fetch")) == {"plan.1": "plan.1", "fetch.1.0": "fetch.1.0"}


def test_from_fetch_with_all_everything_is_fetched_again():
    assert reuses(fork_of(*WRITING, step="fetch", all=True)) == {"plan.1": "plan.1"}


def test_from_synthesize_the_evidence_is_reused_with_its_gaps():
    expected = {"plan.1": "plan.1", "fetch.1.0": "fetch.1.0", "fetch.1.1": "fetch.1.1"}
    assert reuses(fork_of(*WRITING, step="synthesize")) == expected


def test_the_evidence_of_several_rounds_becomes_that_of_one():
    forked = fork_of(*TWO_ROUNDS, step="synthesize")
    assert reuses(forked) == {"fetch.1.0": "fetch.1.0", "fetch.1.1": "fetch.1.1", "fetch.1.2": "fetch.2.0"}
    assert forked.queries == ("cats", "dogs", "birds")


def test_what_brought_something_when_it_was_asked_again_is_not_asked_once_more():
    told = (*HELD, revised(), planned("dogs", round_=2), found(0, OTHER, round_=2), hold(2))
    expected = {"plan.1": "plan.1", "fetch.1.0": "fetch.1.0", "fetch.1.1": "fetch.2.0"}
    assert reuses(fork_of(*told, step="fetch")) == expected


@pytest.mark.parametrize(
    ("edit", "queries", "reused"),
    [
        ({"drop": ("cats",)}, ("dogs",), {}),
        ({"drop": ("dogs",)}, ("cats",), {"fetch.1.0": "fetch.1.0"}),
        ({"replace": {"cats": "kittens"}}, ("kittens", "dogs"), {}),
        ({"replace": {"dogs": "puppies"}}, ("cats", "puppies"), {"fetch.1.0": "fetch.1.0"}),
        ({"add": ("birds",)}, ("cats", "dogs", "birds"), {"fetch.1.0": "fetch.1.0"}),
        ({"add": ("birds",), "drop": ("cats", "dogs")}, ("birds",), {}),
    ],
)
def test_sub_queries_may_be_replaced_added_and_dropped(edit: dict, queries: tuple, reused: dict):
    forked = fork_of(*WRITING, step="fetch", **edit)
    assert (forked.queries, reuses(forked)) == (queries, reused)


def test_a_fetch_moves_with_its_sub_query():
    forked = fork_of(accepted(), planned(), found(0), found(1), step="fetch", drop=("cats",))
    assert reuses(forked) == {"fetch.1.0": "fetch.1.1"}


# Where it begins when nobody says


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ((accepted(), PLAN_FAILED, completed("failed")), "plan"),
        ((*HELD, approved(), SYNTHESIS_FAILED, completed("failed")), "fetch"),
        ((accepted(), planned(), not_found(0), not_found(1), completed("failed")), "fetch"),
        ((accepted(), planned("cats"), found(0), hold(), approved(), SYNTHESIS_FAILED), "synthesize"),
        ((accepted(), planned("cats"), found(0), hold(), approved(), written(), completed("failed")), "synthesize"),
        ((accepted(), completed("failed")), "plan"),
        ((accepted(), planned("cats"), completed("failed")), "fetch"),
        ((accepted(), planned("cats"), found(0), hold(), approved(), written(), completed()), None),
        ((accepted(), completed("cancelled")), None),
    ],
)
def test_a_fork_begins_at_the_earliest_step_that_failed(told: tuple, step: str | None):
    assert failed_step(given(*told).run) == step


def test_a_fork_of_a_run_in_which_nothing_failed_begins_with_the_plan():
    assert fork_of(accepted(), planned("cats"), found(0), hold()).step == "plan"


# What is refused


@pytest.mark.parametrize(
    ("told", "wish", "code", "field"),
    [
        ((), {}, "unknown_run", "fork.run_id"),
        ((accepted(),), {"step": "fetch"}, "not_that_far", "fork.from"),
        ((accepted(), PLAN_FAILED), {"step": "fetch"}, "not_that_far", "fork.from"),
        ((accepted(), planned(), found(0)), {"step": "synthesize"}, "not_that_far", "fork.from"),
        ((accepted(), planned(), not_found(0), not_found(1)), {"step": "synthesize"}, "not_that_far", "fork.from"),
        (HELD, {"step": "fetch", "q": "And dogs?"}, "unfit_edit", "fork.q"),
        (HELD, {"step": "plan", "add": ("x",)}, "unfit_edit", "fork.add"),
        (HELD, {"step": "synthesize", "drop": ("cats",)}, "unfit_edit", "fork.drop"),
        (HELD, {"step": "synthesize", "tools": ("docs",)}, "unfit_edit", "fork.tools"),
        (HELD, {"step": "plan", "all": True}, "unfit_edit", "fork.all"),
        (HELD, {"step": "fetch", "drop": ("birds",)}, "unfit_edit", "fork.drop"),
        (HELD, {"step": "fetch", "replace": {"birds": "x"}}, "unfit_edit", "fork.replace"),
        (HELD, {"step": "fetch", "replace": {"cats": "x"}, "drop": ("cats",)}, "unfit_edit", "fork.drop"),
        (HELD, {"step": "fetch", "drop": ("cats", "dogs")}, "unfit_edit", "fork.drop"),
        (HELD, {"step": "fetch", "add": tuple(map(str, range(19)))}, "unfit_edit", "fork.add"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused_by_name(told: tuple, wish: dict, code: str, field: str):
    refused = fork_of(*told, **wish)
    assert isinstance(refused, Reject), refused
    assert (refused.code, refused.field) == (code, field)


# What the new run is


def test_settings_carry_over_unless_they_are_edited():
    asked = replace(accepted()[1], max_cost_usd=0.5, tools=("docs",), approval="auto", requested_by="ann")
    told = ((accepted()[0], asked), planned())
    kept = forked_run(*told).accepted.fact
    assert (kept.q, kept.max_cost_usd, kept.tools, kept.approval) == (asked.q, 0.5, ("docs",), "auto")
    assert kept.requested_by == ""
    edits = {"q": "And dogs?", "max_cost_usd": 1.0, "tools": (), "approval": "required", "approval_timeout": "90s"}
    edited = forked_run(*told, step="plan", **edits).accepted.fact
    assert (edited.q, edited.max_cost_usd, edited.tools) == ("And dogs?", 1.0, ())
    assert (edited.approval, edited.approval_timeout_s) == ("required", 90.0)


@pytest.mark.parametrize(("wish", "approval"), [({}, "required"), ({"approval": "auto"}, "auto")])
def test_from_synthesize_a_person_decides_anew_unless_the_fork_itself_asks_for_auto(wish: dict, approval: str):
    run = forked_run(accepted(approval="auto"), *WRITING[1:], step="synthesize", **wish)
    assert run.accepted.fact.approval == approval


def test_a_fork_is_owed_its_copies_before_anything_else_and_then_goes_on_by_itself():
    source = given(*WRITING).run
    run = forked_run(*WRITING, step="synthesize")
    due = owed(run, START)
    assert (due.facts, [copy.slot.path for copy in due.copies]) == ((), ["plan.1", "fetch.1.0", "fetch.1.1"])
    [(slot, _)] = owed(with_all_that_is_owed(run, source), START).facts
    assert slot.path == "hold.1"


def test_a_fork_from_fetch_asks_only_for_the_fetch_that_failed():
    run = with_all_that_is_owed(forked_run(*WRITING, step="fetch"), given(*WRITING).run)
    assert [slot.path for slot, _ in owed(run, START).facts] == ["task.fetch.1.1.1"]


@pytest.mark.parametrize("have", [[], ["plan.1"], ["fetch.1.1"], ["plan.1", "fetch.1.0"]])
def test_whichever_copies_are_there_the_others_are_owed(have: list[str]):
    source, run = given(*WRITING).run, forked_run(*WRITING, step="synthesize")
    for copy in owed(run, START).copies:
        if copy.slot.path in have:
            run = evolve(run, stored((copy.slot, copy_fact(copy, source)), 20))
    assert {copy.slot.path for copy in owed(run, START).copies} == {"plan.1", "fetch.1.0", "fetch.1.1"} - set(have)
    assert not owed(run, START).facts


def test_an_edited_plan_is_the_forks_own():
    run = forked_run(*WRITING, step="fetch", add=("birds",))
    [(slot, fact)] = owed(run, START).facts
    assert slot.path == "plan.1"
    assert fact == PlanMade(queries=("cats", "dogs", "birds"), planner=PLANNER)


def test_a_copy_is_the_origins_fact_names_it_and_costs_nothing():
    paid = (planned()[0], replace(planned()[1], usage=Usage(calls=1, input_tokens=9, cost_usd=0.5)))
    source = given(accepted(), paid, found(0), not_found(1)).run
    run = with_all_that_is_owed(forked_run(accepted(), paid, found(0), not_found(1), step="synthesize"), source)
    copies = {
        "plan.1": run.current.plan.fact,
        "fetch.1.0": run.current.fetches[0].fact,
        "fetch.1.1": run.current.fetches[1].fact,
    }
    for path, fact in copies.items():
        assert fact.copied_from == f"research.run.{RUN}.{path}"
    assert replace(copies["plan.1"], copied_from="", usage=paid[1].usage) == paid[1]
    assert replace(copies["fetch.1.0"], copied_from="") == source.current.fetches[0].fact
    assert replace(copies["fetch.1.1"], copied_from="") == source.current.fetches[1].fact
    assert run.usage() == Usage()


@pytest.mark.parametrize(("path", "kind"), [("plan.1", PlanMade), ("fetch.1.0", FetchFound)])
def test_an_origin_that_the_log_has_lost_is_a_failure_of_the_step(path: str, kind: type):
    [copy] = [copy for copy in owed(forked_run(*WRITING, step="fetch"), START).copies if copy.slot.path == path]
    assert isinstance(copy_fact(copy, given(*WRITING).run), kind)
    assert copy_fact(copy, None).error.code == "origin_missing"


def test_a_run_ends_although_its_copies_are_missing():
    run = forked_run(*WRITING, step="fetch")
    ended = evolve(run, stored((Slot(NEW, "completed"), completed("cancelled")[1]), 30))
    assert owed(ended, START) == Owed()


# As a request


def inbound(**fork: object) -> Inbound:
    return Inbound(7, START, NEW, Request(run_id=NEW, fork=Fork(run_id=RUN, **fork)))


def test_a_fork_is_a_request_like_any_other():
    source = given(*WRITING).run
    taken = decide_inbound(inbound(step="fetch"), None, Defaults(), source=source)
    assert isinstance(taken, Accept)
    assert taken.slot == Slot(NEW, "accepted")
    assert isinstance(taken.fact, RunAccepted)
    assert taken.fact.fork == Forked(RUN, "fetch", (Reused("plan.1", "plan.1"), Reused("fetch.1.0", "fetch.1.0")))
    run = evolve(Run(NEW), stored((taken.slot, taken.fact), 8))
    assert decide_inbound(inbound(step="fetch"), run, Defaults(), source=given(accepted()).run) == Duplicate()
    again = decide_inbound(inbound(step="plan"), run, Defaults(), source=source)
    assert isinstance(again, Reject)
    assert again.code == "clash"


def test_every_slot_that_is_reused_is_one():
    for step in ("fetch", "synthesize"):
        for reused in fork_of(*TWO_ROUNDS, step=step).reuses:
            for path in (reused.slot, reused.origin):
                assert parse_slot(f"research.run.x.{path}") in (Slot("x", "plan", 1), *_fetches())


def _fetches() -> list[Slot]:
    return [Step("x", "fetch", number, index).outcome for number in (1, 2) for index in range(3)]


def test_a_failed_fetch_stays_one_in_a_copy():
    run = with_all_that_is_owed(forked_run(*WRITING, step="synthesize"), given(*WRITING).run)
    assert isinstance(run.current.fetches[1].fact, FetchFailed)


def test_a_fork_of_several_rounds_has_what_reviewers_added_and_not_what_they_dropped():
    sent_back = (*HELD, revised(add=("birds",), drop=("dogs",)), planned("wolves", round_=2))
    told = (*sent_back, found(0, OTHER, round_=2), found(1, round_=2), hold(2))
    forked = fork_of(*told, step="synthesize")
    assert isinstance(forked, Forked)
    assert forked.queries == ("cats", "wolves", "birds")
    assert reuses(forked) == {"fetch.1.0": "fetch.1.0", "fetch.1.1": "fetch.2.0", "fetch.1.2": "fetch.2.1"}


def test_what_a_fork_copies_cost_the_other_run_and_not_this_one():
    source = given(accepted(), planned(planner="m-1", calls=(call(),)), found(0), not_found(1)).run
    run = forked_run(accepted(), planned(planner="m-1", calls=(call(),)), found(0), not_found(1), step="fetch")
    assert source.usage().calls == 1
    assert with_all_that_is_owed(run, source).usage() == Usage()
