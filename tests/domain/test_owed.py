"""What a run is owed, box by box."""

from datetime import timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.contracts.evidence import Citation, CitedSource, Claim, Conflict, Estimate, Passage, Report, Source, Usage
from shared.contracts.facts import Fact, PlanMade, RunCompleted, SynthesisFailed, SynthesisWritten, TaskIssued
from shared.contracts.subjects import Slot, Step
from shared.domain.budget import WriterPricing
from shared.domain.owed import owed
from shared.domain.run import Recorded, Run, digest, evolve
from tests.coordinator.story import (
    DEADLINE,
    ERROR,
    FETCH_0,
    FETCH_1,
    OTHER,
    PLAN,
    PLAN_FAILED,
    PLAN_ISSUED,
    RUN,
    SOURCE,
    START,
    SYNTHESIS_FAILED,
    SYNTHESIZE,
    TEXT,
    Told,
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
    report,
    revised,
    stored,
    written,
)

COMPLETED = box("completed")
FOUND = (accepted(), planned(), found(0), found(1))
HELD = (*FOUND, hold())
SENT_BACK = revised(add=("birds",), drop=("cats", "q0"), exclude=(OTHER.sha256,), max_cost_usd=0.5)
LONG_AFTER = START + timedelta(days=400)


def test_nothing_is_owed_to_a_run_that_nobody_asked_for():
    given(planned(), found(0)).then_nothing_before(None)


def test_an_accepted_run_is_planned():
    [task] = given(accepted()).then_owed(PLAN.task(1))
    assert task.task.q == "What do cats do?"


def test_nothing_is_owed_twice():
    given(accepted(), PLAN_ISSUED).then_nothing_before(None)
    given(accepted(), planned(), issued(FETCH_0, 1), issued(FETCH_1, 1)).then_nothing_before(None)


def test_a_plan_fans_out_into_one_fetch_for_each_query():
    tasks = given(accepted(), planned("cats", "dogs")).then_owed(FETCH_0.task(1), FETCH_1.task(1))
    assert [task.task.query for task in tasks] == ["cats", "dogs"]


def test_no_hold_opens_before_every_fetch_has_ended():
    given(accepted(), planned(), issued(FETCH_0, 1), issued(FETCH_1, 1), found(0)).then_nothing_before(None)


def test_the_hold_opens_on_exactly_the_evidence():
    story = given(*FOUND)
    [opened] = story.then_owed(box("hold", 1))
    assert opened.digest == digest(story.run)
    assert opened.deadline == DEADLINE


def test_a_failed_fetch_goes_to_the_hold_with_what_there_is():
    given(accepted(), planned(), found(0), not_found(1)).then_owed(box("hold", 1))


def test_a_run_that_found_nothing_fails_and_says_why():
    [ended] = given(accepted(), planned(), not_found(0), not_found(1)).then_owed(COMPLETED)
    assert (ended.outcome, ended.ok) == ("failed", False)
    assert "It went boom." in ended.reason


def test_a_failed_plan_ends_the_run():
    [ended] = given(accepted(), PLAN_FAILED).then_owed(COMPLETED)
    assert (ended.outcome, ended.ok) == ("failed", False)
    assert "It went boom." in ended.reason


def test_a_held_run_only_waits():
    given(*HELD).then_nothing_before(DEADLINE)
    given(*HELD).at(DEADLINE - timedelta(microseconds=1)).then_nothing_before(DEADLINE)


def test_a_hold_that_nobody_decides_expires_at_its_deadline():
    given(*HELD).at(DEADLINE).then_owed(box("decision", 1))
    [ended] = given(*HELD, expired()).then_owed(COMPLETED)
    assert (ended.outcome, ended.ok) == ("expired", False)


def test_the_deadline_loses_to_an_earlier_approval():
    given(*HELD, approved()).at(LONG_AFTER).then_owed(SYNTHESIZE.task(1))


def test_an_approval_loses_to_an_earlier_deadline():
    [ended] = given(*HELD, expired(), approved()).then_owed(COMPLETED)
    assert ended.outcome == "expired"


def test_automatic_approval_is_a_decision_like_any_other():
    [decision] = given(accepted(approval="auto"), *HELD[1:]).then_owed(box("decision", 1))
    assert (decision.via, decision.digest) == ("policy", "d" * 64)


def test_an_early_approval_waits_for_the_evidence_and_needs_no_second_word():
    given(accepted(), approved()).then_owed(PLAN.task(1))
    given(*FOUND, approved()).then_owed(box("hold", 1))
    given(*HELD, approved()).then_owed(SYNTHESIZE.task(1))


def test_an_early_rejection_ends_the_run_without_spending_more():
    [ended] = given(accepted(), rejected()).then_owed(COMPLETED)
    assert (ended.outcome, ended.reason) == ("rejected", "Too thin.")


def test_the_writer_gets_the_evidence_that_was_decided_on():
    [task] = given(*HELD, approved()).then_owed(SYNTHESIZE.task(1))
    assert task.task.digest == "d" * 64
    assert [finding.sources for finding in task.task.findings] == [(SOURCE,), (SOURCE,)]


def test_an_excluded_source_is_in_no_task():
    told = (accepted(), planned(), found(0, SOURCE, OTHER), not_found(1), hold(), approved(exclude=(OTHER.sha256,)))
    [task] = given(*told).then_owed(SYNTHESIZE.task(1))
    assert [finding.sources for finding in task.task.findings] == [(SOURCE,), ()]


def test_a_written_report_completes_the_run_with_its_sources_and_digest():
    [ended] = given(*HELD, approved(), written()).then_owed(COMPLETED)
    assert (ended.outcome, ended.ok, ended.digest) == ("reported", True, "d" * 64)
    assert "Cats purr. [1]" in ended.report
    assert [source.sha256 for source in ended.sources] == [SOURCE.sha256]


@pytest.mark.parametrize(
    "citation",
    [
        Citation("c" * 64, "Cats purr.", 0),
        Citation(SOURCE.sha256, "Cats talk.", 0),
        Citation(SOURCE.sha256, "Cats purr.", 1),
        Citation(OTHER.sha256, "Trees grow", 0),
        Citation(OTHER.sha256, "Trees grow slowly.", 100),
    ],
    ids=["unknown source", "other words", "other place", "before its passage", "excluded source"],
)
def test_a_report_that_cites_what_was_not_decided_on_is_never_published(citation: Citation):
    told = (accepted(), planned(), found(0, SOURCE, OTHER), not_found(1), hold(), approved(exclude=(OTHER.sha256,)))
    [ended] = given(*told, written(citation)).then_owed(COMPLETED)
    assert (ended.outcome, ended.report) == ("failed", None)


CATS = Citation(SOURCE.sha256, "Cats purr.", 0)
DOGS = Citation(SOURCE.sha256, "Dogs bark.", 11)
STRAY = Citation(OTHER.sha256, "Trees grow slowly.", 100)


def reported(whole: Report) -> RunCompleted:
    """How a run ends whose evidence is SOURCE, with OTHER excluded, and whose writer wrote this."""
    told = (accepted(), planned(), found(0, SOURCE, OTHER), not_found(1), hold(), approved(exclude=(OTHER.sha256,)))
    [ended] = given(*told, (SYNTHESIZE.outcome, SynthesisWritten(digest="d" * 64, report=whole))).then_owed(COMPLETED)
    return ended


@pytest.mark.parametrize(
    "more",
    [
        {"unsupported": (Claim("Trees grow.", (STRAY,), "unsupported"),)},
        {"conflicts": (Conflict("Which?", CATS, STRAY),)},
        {"conflicts": (Conflict("Which?", STRAY, CATS),)},
        {"unsupported": (Claim("Trees grow.", (), "unsupported"),)},
        {"sources": (*report(CATS).sources, CitedSource(2, OTHER.sha256, "t", "l"))},
        {"sections": ()},
    ],
    ids=["unsupported", "conflict", "conflict, first", "unsupported and uncited", "listed source", "says nothing"],
)
def test_nothing_else_in_a_report_is_from_beyond_the_evidence_either(more: dict[str, object]):
    assert reported(report(CATS)).outcome == "reported"
    assert (ended := reported(replace(report(CATS), **more))).outcome == "failed"
    assert ended.report is None


def test_what_was_not_borne_out_and_what_contradicts_is_published_as_what_it_is():
    doubtful = Claim("Dogs never bark.", (DOGS,), "unsupported", "the quotes do not deny it")
    whole = replace(report(CATS), unsupported=(doubtful,), conflicts=(Conflict("Which?", CATS, DOGS),))
    assert "- Dogs never bark. [1] *(the quotes do not deny it)*" in reported(whole).report


def test_too_little_evidence_is_a_report_that_says_so():
    sources = (CitedSource(1, SOURCE.sha256, "Animals", "docs/animals.md"),)
    ended = reported(Report((), sources, "offline", insufficient=True))
    assert (ended.outcome, ended.ok, ended.sources) == ("reported", True, sources)
    assert "The evidence does not answer the question." in ended.report


def test_a_failed_synthesis_ends_the_run():
    [ended] = given(*HELD, approved(), SYNTHESIS_FAILED).then_owed(COMPLETED)
    assert (ended.outcome, ended.ok) == ("failed", False)


def test_a_completed_run_is_owed_nothing():
    given(*HELD, approved(), written(), completed()).at(LONG_AFTER).then_nothing_before(None)
    given(*HELD, completed("cancelled"), approved()).at(LONG_AFTER).then_nothing_before(None)


def test_a_revision_plans_another_round_with_the_feedback_and_keeps_the_evidence():
    second = Step(RUN, "plan", 2)
    [task] = given(*HELD, revised(exclude=(SOURCE.sha256,))).then_owed(second.task(1))
    assert (task.task.feedback, task.task.asked) == (("More on dogs.",), ("cats", "dogs"))
    told = (*HELD, revised(exclude=(SOURCE.sha256,)), planned("dogs", round_=2), found(0, OTHER, round_=2))
    given(*told).then_owed(box("hold", 2))
    [write] = given(*told, hold(2), approved(2)).then_owed(Step(RUN, "synthesize", 2).task(1))
    assert [finding.sources for finding in write.task.findings] == [(), (), (OTHER,)]


SECOND = Step(RUN, "plan", 2)


def test_what_a_reviewer_adds_is_fetched_beside_what_is_planned_and_the_planner_knows():
    sent_back = (*HELD, revised(add=("birds", "fish")))
    [task] = given(*sent_back).then_owed(SECOND.task(1))
    assert task.task.asked == ("cats", "dogs", "birds", "fish")
    fetches = [Step(RUN, "fetch", 2, index) for index in range(3)]
    tasks = given(*sent_back, planned("wolves", "birds", round_=2)).then_owed(*(step.task(1) for step in fetches))
    assert [task.task.query for task in tasks] == ["wolves", "birds", "fish"]


def test_what_a_reviewer_adds_is_fetched_even_where_no_plan_could_be_made():
    told = (*HELD, revised(add=("birds",)), (SECOND.outcome, PLAN_FAILED[1]))
    [task] = given(*told).then_owed(Step(RUN, "fetch", 2, 0).task(1))
    assert task.task.query == "birds"
    given(*told, found(0, OTHER, round_=2)).then_owed(box("hold", 2))


def test_what_a_reviewer_drops_is_in_no_task_after_that_and_still_in_the_digest():
    told = (accepted(), planned(), found(0), found(1, OTHER), hold(), revised(drop=("q1",)), planned("x", round_=2))
    story = given(*told, found(0, round_=2), hold(2), approved(2))
    [write] = story.then_owed(Step(RUN, "synthesize", 2).task(1))
    assert [finding.query for finding in write.task.findings] == ["q0", "q0"]
    [opened] = given(*told, found(0, round_=2)).then_owed(box("hold", 2))
    without = (told[0], told[1], told[2], *told[4:])
    assert opened.digest != given(*without, found(0, round_=2)).owed.facts[0][1].digest


def test_a_dropped_sub_query_that_is_asked_again_counts_again():
    told = (*HELD, revised(drop=("q0", "q1"), add=("q0",)), planned("x", round_=2), found(0, round_=2))
    [write] = given(*told, found(1, OTHER, round_=2), hold(2), approved(2)).then_owed(
        Step(RUN, "synthesize", 2).task(1)
    )
    assert [finding.query for finding in write.task.findings] == ["q0", "q1"]


def test_a_citation_of_a_dropped_finding_is_never_published():
    told = (accepted(), planned(), found(0), found(1, OTHER), hold(), revised(drop=("q1",)), planned("x", round_=2))
    told = (*told, found(0, round_=2), hold(2), approved(2))
    [ended] = given(*told, written(Citation(OTHER.sha256, "Trees grow slowly.", 100), round_=2)).then_owed(COMPLETED)
    assert (ended.outcome, ended.report) == ("failed", None)


def test_a_later_round_that_leaves_nothing_is_still_a_persons_to_decide():
    told = (*HELD, revised(exclude=(SOURCE.sha256,)), planned("x", round_=2), not_found(0, round_=2))
    given(*told).then_owed(box("hold", 2))


def test_the_policy_approves_the_first_round_alone():
    told = (accepted(approval="auto"), *HELD[1:], revised(), planned("x", round_=2), found(0, round_=2), hold(2))
    given(*told).then_nothing_before(DEADLINE)


# Cost

WRITER = WriterPricing("m-writer", 6_000, lambda into, out: (into + out) / 100_000)
ABOUT = Estimate("m-writer", 3_000, 6_000, 0.5)
UNPRICED = Estimate("m-writer", 3_000, 6_000, None)
PLANNED = planned(planner="m-planner", calls=(call(),))


def test_a_hold_says_what_the_report_may_cost_and_what_the_run_has():
    told = (accepted(), attempt_failed(PLAN, 1, calls=(call(),)), PLANNED, found(0), found(1))
    [opened] = given(*told).with_writer(WRITER).then_owed(box("hold", 1))
    assert opened.spent_usd == 0.5
    about = opened.estimate
    assert (about.model, about.output_tokens) == ("m-writer", 6_000)
    assert about.input_tokens * 3 > len(TEXT)
    assert about.cost_usd == WRITER.cost(about.input_tokens, about.output_tokens)


def test_more_evidence_is_estimated_higher_up_to_what_a_prompt_holds():
    def about(*sources: Source) -> int:
        told = (accepted(), PLANNED, found(0, *sources), not_found(1))
        [opened] = given(*told).with_writer(WRITER).then_owed(box("hold", 1))
        return opened.estimate.input_tokens

    def of(size: int) -> Source:
        return Source("c" * 64, "Long", "docs/long.md", "docs", (Passage("x" * size, 0),))

    assert about(SOURCE) < about(SOURCE, of(9_000)) < about(SOURCE, of(60_000)) == about(SOURCE, of(90_000))


def test_what_the_offline_model_will_write_has_no_estimate():
    [opened] = given(*FOUND).with_writer(WRITER).then_owed(box("hold", 1))
    assert opened.estimate is None


def test_a_plan_by_rule_because_of_the_limit_does_not_make_the_writer_offline():
    by_rule = (PLAN.outcome, PlanMade(queries=("cats", "dogs"), planner="offline", degraded="Too dear."))
    [opened] = given(accepted(), by_rule, found(0), found(1)).with_writer(WRITER).then_owed(box("hold", 1))
    assert opened.estimate


def test_every_task_for_a_model_says_what_is_left_for_it():
    [plan] = given(accepted(max_cost_usd=1.0)).then_owed(PLAN.task(1))
    assert plan.task.budget_usd == 1.0
    failed = attempt_failed(PLAN, 1, calls=(call(),))
    [again] = given(accepted(max_cost_usd=1.0), PLAN_ISSUED, failed).at(LONG_AFTER).then_owed(PLAN.task(2))
    assert again.task.budget_usd == 0.75
    held = (accepted(max_cost_usd=1.0), failed, PLANNED, found(0), found(1), hold(estimate=ABOUT, spent_usd=0.5))
    [write] = given(*held, approved()).then_owed(SYNTHESIZE.task(1))
    assert write.task.budget_usd == 0.5
    [write] = given(*held, approved(max_cost_usd=3.0)).then_owed(SYNTHESIZE.task(1))
    assert write.task.budget_usd == 2.5
    [plan] = given(*held, revised(max_cost_usd=2.0)).then_owed(SECOND.task(1))
    assert plan.task.budget_usd == 1.5


def test_without_a_limit_nothing_is_limited():
    [plan] = given(accepted()).then_owed(PLAN.task(1))
    assert plan.task.budget_usd is None


def test_nobody_is_left_with_less_than_nothing():
    [write] = given(
        accepted(max_cost_usd=0.1), PLANNED, found(0), found(1), hold(estimate=ABOUT), approved()
    ).then_owed(SYNTHESIZE.task(1))
    assert write.task.budget_usd == 0.0


@pytest.mark.parametrize(
    ("estimate", "spent_usd"), [(ABOUT, 0.6), (UNPRICED, 0.0)], ids=["beyond the limit", "of unknown price"]
)
def test_the_policy_does_not_approve_what_may_cost_more_than_the_run(estimate: Estimate, spent_usd: float):
    told = (accepted(approval="auto", max_cost_usd=1.0), *HELD[1:-1], hold(estimate=estimate, spent_usd=spent_usd))
    given(*told).then_nothing_before(DEADLINE)
    given(*told).at(DEADLINE).then_owed(box("decision", 1))
    given(*told, approved(max_cost_usd=2.0)).then_owed(SYNTHESIZE.task(1))


@pytest.mark.parametrize("most", [1.0, None])
def test_the_policy_approves_what_fits(most: float | None):
    told = (accepted(approval="auto", max_cost_usd=most), *HELD[1:-1], hold(estimate=ABOUT, spent_usd=0.5))
    [decision] = given(*told).then_owed(box("decision", 1))
    assert decision.via == "policy"


def test_a_person_who_gives_a_limit_where_no_price_is_known_has_it_written_at_any_price():
    told = (accepted(max_cost_usd=1.0), PLANNED, found(0), found(1), hold(estimate=UNPRICED))
    [write] = given(*told, approved(max_cost_usd=1.0)).then_owed(SYNTHESIZE.task(1))
    assert write.task.budget_usd is None


def test_the_end_says_what_each_agent_and_each_model_cost_failures_included():
    told = (accepted(), attempt_failed(PLAN, 1, calls=(call(),)), PLANNED, found(0), found(1), hold(), approved())
    told = (*told, attempt_failed(SYNTHESIZE, 1, calls=(call("writer", None),)), written(calls=(call("writer"),)))
    [ended] = given(*told).then_owed(COMPLETED)
    assert ended.usage == Usage(4, 400, 40, 0.75, unpriced=1)
    assert ended.agents == {"planner": Usage(2, 200, 20, 0.5), "writer": Usage(2, 200, 20, 0.25, unpriced=1)}
    assert ended.models == {"m-planner": ended.agents["planner"], "m-writer": ended.agents["writer"]}


def test_what_a_failed_synthesis_cost_is_in_the_end():
    failed = (SYNTHESIZE.outcome, SynthesisFailed(error=ERROR, calls=(call("writer"),)))
    [ended] = given(*HELD, approved(), failed).then_owed(COMPLETED)
    assert ended.usage == Usage(1, 100, 10, 0.25)


def test_what_an_older_release_recorded_without_its_calls_is_counted_all_the_same():
    before = PlanMade(queries=("cats", "dogs"), planner="m-1", usage=Usage(1, 100, 10, 0.25))
    assert given(accepted(), (PLAN.outcome, before)).run.usage() == Usage(1, 100, 10, 0.25)


def test_a_failed_plan_of_a_later_round_holds_what_there_is():
    failed = (Step(RUN, "plan", 2).outcome, PLAN_FAILED[1])
    given(*HELD, revised(), failed).then_owed(box("hold", 2))


class TestRetries:
    FAILED = (accepted(), PLAN_ISSUED, attempt_failed(PLAN, 1))

    def test_the_next_attempt_is_issued_when_it_is_due_and_not_before(self):
        due = given(*self.FAILED).owed.wake_at
        assert START + timedelta(seconds=0.5) <= due <= START + timedelta(seconds=1.5)
        given(*self.FAILED).at(due - timedelta(microseconds=1)).then_nothing_before(due)
        [task] = given(*self.FAILED).at(due).then_owed(PLAN.task(2))
        assert task.failures == 1

    def test_each_failure_doubles_the_wait_up_to_a_minute(self):
        told, waits = [accepted()], []
        for number in range(1, 12):
            told += [issued(PLAN, number), attempt_failed(PLAN, number)]
            waits.append((given(*told).owed.wake_at - START).total_seconds())
        for number, wait in enumerate(waits):
            nominal = min(2.0**number, 60)
            assert 0.5 * nominal <= wait <= 1.5 * nominal

    def test_an_interrupted_attempt_is_followed_at_once_and_counts_for_nothing(self):
        told = (accepted(), PLAN_ISSUED, attempt_failed(PLAN, 1, code="interrupted"))
        [task] = given(*told).then_owed(PLAN.task(2))
        assert task.failures == 0

    def test_an_attempt_whose_task_was_never_seen_counts_all_the_same(self):
        [task] = given(accepted(), attempt_failed(PLAN, 1)).at(LONG_AFTER).then_owed(PLAN.task(2))
        assert task.failures == 1

    def test_one_fetch_that_waits_does_not_delay_the_others(self):
        told = (accepted(), planned(), issued(FETCH_0, 1), attempt_failed(FETCH_0, 1))
        story = given(*told)
        story.then_owed(FETCH_1.task(1))
        assert story.owed.wake_at is not None


def test_whatever_boxes_are_filled_some_answers_lead_to_completed():
    """Liveness: answer what is owed, in any way a worker may, and the run ends; and no box is owed once it is full."""

    begun = (accepted(), accepted(approval="auto"), accepted(approval="auto", max_cost_usd=0.3))
    second = (planned("wolves", round_=2), found(0, round_=2), hold(2), approved(2), revised(2), written(round_=2))
    first = (PLANNED, hold(estimate=ABOUT), approved(), rejected(), expired(), revised(), SENT_BACK, written())

    @for_all(st.sampled_from(begun), st.sets(st.sampled_from((*HELD[1:], *first, *second))), st.data())
    @settings(max_examples=300, deadline=None)
    def holds(begins: Told, told: set, data: st.DataObject) -> None:
        run = fold(*(stored(fact, seq) for seq, fact in enumerate((begins, *sorted(told, key=str)), 1)))
        seq, now = run.seq, START
        filled = {slot.path for slot, _ in (begins, *told)}
        for _ in range(200):
            if run.completed:
                return
            due = owed(run, now, WRITER)
            now = max(now, due.wake_at or now)
            for slot, fact in due.facts or _answers(run, data):
                assert slot.path not in filled, f"{slot.path} is owed twice"
                filled.add(slot.path)
                seq += 1
                run = evolve(run, stored((slot, fact), seq, at=now))
        raise AssertionError(f"stuck: {run.status}")

    holds()


def _answers(run: Run, data: st.DataObject) -> list[tuple[Slot, Fact]]:
    """What a worker may say to any task that is out."""
    for number, round_ in run.rounds.items():
        for path in round_.issued:
            _, kind, _, index, attempt = path.split(".")
            step = Step(RUN, kind, number, int(index))
            answered = {"plan": round_.plan, "fetch": round_.fetches.get(int(index)), "synthesize": round_.synthesis}
            if answered[kind] or path in round_.attempts:
                continue
            if int(attempt) < 4 and data.draw(st.booleans()):
                return [attempt_failed(step, int(attempt))]
            return [_outcome(step, data)]
    return []


def _outcome(step: Step, data: st.DataObject) -> tuple[Slot, Fact]:
    good = data.draw(st.booleans())
    match step.kind:
        case "plan":
            return planned(round_=step.round) if good else (step.outcome, PLAN_FAILED[1])
        case "fetch":
            make = found if good else not_found
            return make(step.index, round_=step.round)
        case _:
            return written(round_=step.round) if good else (step.outcome, SYNTHESIS_FAILED[1])


def test_what_is_owed_fits_its_slot():
    """No fact is ever owed to a box that the fold would not take it in."""
    for told in (given(accepted()), given(*FOUND), given(*HELD).at(DEADLINE), given(*HELD, approved(), written())):
        for slot, fact in told.owed.facts:
            assert isinstance(fact, TaskIssued | RunCompleted) or isinstance(stored((slot, fact), 99), Recorded)
            assert type(stored((slot, fact), 99).fact) is type(fact)
