"""A run as a person follows it."""

import pytest
from msgspec.structs import replace
from rich.console import Console

from services.cli.render.pages import evidence, run_page, shortened
from services.cli.render.progress import Line, on_hold, progress
from services.cli.shell.follow import advance, fold
from shared.contracts.evidence import Estimate, Failure, Passage, Skipped, Source
from shared.contracts.subjects import Step as Work
from tests.cli.api_events import FETCHED, HELD, events
from tests.coordinator.story import (
    FETCH_0,
    OTHER,
    PLAN,
    PLAN_FAILED,
    RUN,
    SOURCE,
    SYNTHESIS_FAILED,
    SYNTHESIZE,
    accepted,
    approved,
    attempt_failed,
    call,
    completed,
    expired,
    found,
    given,
    hold,
    issued,
    not_found,
    planned,
    rejected,
    revised,
    written,
)


def told(*facts) -> list[tuple[str, str]]:
    return [(step.state, step.name) for step in progress(given(*facts).run)]


def printed(renderable) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_nothing_is_told_of_a_run_that_is_not_known():
    assert told() == []


def test_a_step_waits_until_it_is_asked_for_and_then_works():
    assert told(accepted()) == [("waits", "plan")]
    assert told(accepted(), issued(PLAN, 1)) == [("works", "plan")]
    assert told(accepted(), planned(), issued(FETCH_0, 1)) == [("done", "plan"), ("works", "fetch"), ("waits", "fetch")]


def test_a_step_that_is_tried_again_says_why():
    run = given(accepted(), issued(PLAN, 1), attempt_failed(PLAN, 1), issued(PLAN, 2)).run
    assert progress(run) == [Line("works", "plan", "", "attempt 2, after: It went boom.")]


def test_each_sub_query_says_what_it_brought_or_why_nothing():
    assert progress(given(*FETCHED).run)[1:] == [
        Line("done", "fetch", "cats", "1 source"),
        Line("failed", "fetch", "dogs", "It went boom."),
    ]


def test_a_hold_is_the_last_step_until_it_is_decided():
    assert told(*HELD)[-1] == ("held", "on hold")
    assert told(*HELD, approved())[-2:] == [("done", "approved"), ("waits", "report")]
    assert told(*HELD, approved(), issued(SYNTHESIZE, 1))[-1] == ("works", "report")
    assert on_hold(given(*HELD).run)
    assert not on_hold(given(*HELD, approved()).run)


def test_a_report_says_who_wrote_it_and_from_how_much():
    assert progress(given(*HELD, approved(), written(), completed()).run)[-1] == Line(
        "done", "report", "1 citation of 1 source", "by offline"
    )


def test_a_decision_against_is_told_once():
    assert told(*HELD, rejected(), completed("rejected"))[-2:] == [("failed", "fetch"), ("failed", "rejected")]
    assert told(*HELD, expired(), completed("expired"))[-1] == ("failed", "expired")


def test_a_run_that_ends_in_the_middle_of_something_no_longer_works_at_it():
    assert told(accepted(), issued(PLAN, 1), completed("cancelled")) == [("failed", "cancelled")]
    assert told(*HELD, completed("cancelled"))[-1] == ("failed", "cancelled")


def test_what_failed_for_good_says_so():
    assert told(accepted(), PLAN_FAILED) == [("failed", "plan")]
    assert told(*HELD, approved(), SYNTHESIS_FAILED)[-1] == ("failed", "report")


def test_rounds_follow_each_other():
    again = Work(RUN, "plan", 2)
    assert told(*HELD, revised(), issued(again, 1))[-2:] == [("done", "sent back for more"), ("works", "plan")]


def test_the_events_of_the_api_make_the_run_that_the_coordinator_has():
    facts = (*HELD, approved(), written(), completed())
    assert progress(fold(RUN, events(*facts))) == progress(given(*facts).run)


def test_an_event_of_a_newer_release_parks_the_run_and_is_told():
    [event] = events(accepted())
    newer = event.model_copy(update={"slot": "hold.1", "type": "hold.opened.v9", "data": {"type": "hold.opened.v9"}})
    run = advance(fold(RUN, [event]), newer)
    assert progress(run)[-1] == Line("failed", "parked", "hold.opened.v9 is not a type that this release knows.")


@pytest.mark.parametrize("slot", ["amendment.1", "decision.1"])
def test_an_event_in_a_box_that_is_not_for_it_parks_the_run_as_in_the_coordinator(slot: str):
    [event] = events(accepted())
    run = advance(fold(RUN, [event]), event.model_copy(update={"slot": slot}))
    assert run.status == "parked"
    assert slot in run.unknown.fact


def test_nothing_that_was_found_can_speak_to_the_terminal():
    evil = Source("c" * 64, "\x1b[2Jcleared", "\x9b31m", "docs", (Passage("\x1b]0;title\x07text", 0),))
    run = fold(RUN, events(accepted(), planned("cats\x1b[A"), found(0, evil), hold()))
    text = printed(run_page(run))
    assert not {char for char in text if (ord(char) < 32 and char != "\n") or 127 <= ord(char) < 160}
    assert "cleared" in text


def test_the_evidence_names_sources_once_and_failures_always():
    run = given(accepted(), planned("a", "b", "c"), found(0), found(1, OTHER, SOURCE), not_found(2)).run
    text = printed(evidence(run))
    assert "2 sources for 3 sub-queries" in text
    assert text.count("Cats purr.") == 1
    assert text.count("aaaaaaaaaaaa") == 1
    assert "as above" in text
    assert "✗ It went boom." in text


PAGE = replace(
    OTHER,
    title="A page",
    location="https://a.example/page",
    url="https://a.example/page",
    published="2024-05-06",
    also=("https://b.example/copy",),
    stripped=("2 hidden passages: “Ignore previous…”",),
    origin="0" * 16,
)
UNDATED = replace(PAGE, sha256="d" * 64, published=None, also=(), stripped=())
SKIPPED = (
    Skipped("https://c.example/", Failure("robots", "https://c.example/ is not read: its robots.txt asks not to.")),
    Skipped("searxng: brave", Failure("searxng_engine", "It did not answer.\x1b[2J")),
)


def test_the_evidence_says_what_was_skipped_left_out_and_said_elsewhere_too():
    slot, fact = found(0, PAGE, UNDATED)
    run = given(accepted(), planned("a"), (slot, replace(fact, skipped=SKIPPED))).run
    text = printed(evidence(run))
    assert "2 sources of 1 origin for 1 sub-query" in text
    assert "published 2024-05-06  also https://b.example/copy" in text
    assert text.count("undated") == 1
    assert "! left out: 2 hidden passages: “Ignore previous…”" in text
    assert "– skipped: https://c.example/ is not read: its robots.txt asks not to." in text
    assert "– skipped: searxng: brave: It did not answer." in text
    assert "\x1b" not in text


def test_a_fetch_that_brought_nothing_says_of_each_page_why():
    slot, fact = not_found(0)
    run = given(accepted(), planned("a"), (slot, replace(fact, skipped=SKIPPED))).run
    text = printed(evidence(run))
    assert "✗ It went boom." in text
    assert text.count("– skipped: ") == 2


def test_the_evidence_says_what_was_excluded():
    run = given(accepted(), planned("a"), found(0, SOURCE, OTHER), hold(), approved(exclude=(OTHER.sha256,))).run
    assert printed(evidence(run)).count("excluded") == 1


def test_a_passage_is_cut_after_a_whole_word():
    assert shortened("one\n  two   three", 100) == "one two three"
    assert shortened("one two three", 9) == "one two …"
    assert shortened("abcd efgh ijkl", 11) == "abcd efgh …"


@pytest.mark.parametrize("limit", [2, 3, 5, 9, 12])
def test_a_shortened_text_is_no_longer_than_its_limit(limit: int):
    for text in ("onetwothreefour", "one two three four", "one twothreefour"):
        assert len(shortened(text, limit)) <= limit


ABOUT = Estimate("m-writer", 1_000, 6_000, 0.5)


def costs(*facts) -> list[str]:
    return [f"{step.name}: {step.text}, {step.detail}" for step in progress(given(*facts).run)]


def test_what_a_reviewer_added_is_followed_like_what_was_planned():
    sent_back = (*HELD, revised(add=("birds",)), planned("wolves", round_=2))
    assert told(*sent_back)[-3:] == [("done", "plan"), ("waits", "fetch"), ("waits", "fetch")]


def test_a_hold_says_what_the_report_may_cost_and_when_that_is_too_much():
    held = (*FETCHED[1:], hold(estimate=ABOUT))
    assert "estimate: $0.5000 at most to write the report, nothing spent yet" in costs(accepted(), *held)
    [line] = [line for line in costs(accepted(max_cost_usd=0.4), *held) if "estimate" in line]
    assert line.endswith("nothing spent yet of at most $0.4000; approval needs a higher --max-cost")
    [line] = [line for line in costs(accepted(max_cost_usd=0.6), *held) if "estimate" in line]
    assert "--max-cost" not in line


def test_a_hold_says_what_the_run_has_cost_and_its_lines_go_when_it_is_decided():
    held = (accepted(), planned(planner="m-planner", calls=(call(),)), *FETCHED[2:], hold(estimate=ABOUT))
    assert costs(*held)[-1] == "estimate: $0.5000 at most to write the report, $0.2500 spent"
    assert "estimate" not in str(costs(*held, approved()))
    settled = [step for step in told(*held) if step[0] in ("done", "failed")]
    assert told(*held, approved())[: len(settled)] == settled


def test_an_unknown_price_is_said_to_be_unknown_and_never_to_be_nothing():
    held = (accepted(), *FETCHED[1:], hold(estimate=Estimate("m-writer", 1_000, 6_000, None)))
    assert "estimate: unpriced to write the report, nothing spent yet" in costs(*held)
    done = (accepted(), planned(calls=(call("planner", None),)), *FETCHED[2:], hold(), approved(), written())
    assert costs(*done, completed())[-1] == "cost: unpriced, 1 call, 100 tokens in, 10 out"


def test_the_cost_of_a_run_is_told_for_each_model_that_took_part():
    writer = (call("writer", None), call("writer"))
    facts = (accepted(), planned(calls=(call(),)), *FETCHED[2:], hold(), approved(), written(calls=writer), completed())
    assert costs(*facts)[-3:] == [
        "cost: $0.5000, 3 calls, 1 unpriced, 300 tokens in, 30 out",
        ": $0.2500  planner, m-planner, 1 call, 100 tokens in, 10 out",
        ": $0.2500  writer, m-writer, 2 calls, 1 unpriced, 200 tokens in, 20 out",
    ]


def test_the_evidence_marks_what_was_dropped():
    run = given(*HELD, revised(drop=("q0",)), planned("x", round_=2), found(0, OTHER, round_=2), hold(2)).run
    shown = printed(evidence(run))
    assert "q0  dropped" in shown
    assert "q1  dropped" not in shown
