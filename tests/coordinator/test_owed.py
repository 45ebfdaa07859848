"""What a run is owed, box by box."""

from datetime import timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.coordinator.owed import owed
from services.coordinator.run import Recorded, Run, digest, evolve
from shared.contracts.evidence import Citation, CitedSource, Claim, Conflict, Report
from shared.contracts.facts import Fact, RunCompleted, SynthesisWritten, TaskIssued
from shared.contracts.subjects import Slot, Step
from tests.coordinator.story import (
    DEADLINE,
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
    accepted,
    approved,
    attempt_failed,
    box,
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
    """Liveness: answer what is owed, in any way a worker may, and the run ends."""

    @for_all(st.sets(st.sampled_from((*HELD[1:], approved(), rejected(), expired(), revised(), written()))), st.data())
    @settings(max_examples=200, deadline=None)
    def holds(told: set, data: st.DataObject) -> None:
        run = fold(*(stored(fact, seq) for seq, fact in enumerate((accepted(), *sorted(told, key=str)), 1)))
        seq, now = run.seq, START
        for _ in range(200):
            if run.completed:
                return
            due = owed(run, now)
            now = max(now, due.wake_at or now)
            for slot, fact in due.facts or _answers(run, data):
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
