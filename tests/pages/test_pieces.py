"""The pure pieces of the desk: times and amounts in words, the waterfall, passages, the record of who said what."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.coordinator.web import wording
from services.coordinator.web.details import step_details
from services.coordinator.web.passages import excerpt
from services.coordinator.web.record import decision_record, describe_source
from services.coordinator.web.timeline import Line, timeline_bars, timeline_lines
from shared.contracts.facts import DecisionRevised, PlanFailed, RunCompleted, VoteCast
from shared.contracts.subjects import Slot
from shared.domain.run import Run
from tests.coordinator.story import (
    ERROR,
    FETCH_0,
    FETCH_1,
    OTHER,
    PLAN,
    RUN,
    START,
    SYNTHESIZE,
    Told,
    accepted,
    approved,
    attempt_failed,
    box,
    expired,
    fold,
    found,
    hold,
    issued,
    not_found,
    planned,
    revised,
    stored,
    written,
)


def told(*facts: tuple[Told, float]) -> Run:
    """A run of these facts, each so many seconds after the start."""
    return fold(*(stored(fact, seq, at=START + timedelta(seconds=at)) for seq, (fact, at) in enumerate(facts, 1)))


PLANNED = ((accepted(), 0), (issued(PLAN, 1), 1), (planned("cats", "dogs"), 3))
FETCHED = (*PLANNED, (issued(FETCH_0, 1), 4), (issued(FETCH_1, 1), 4), (found(0), 6), (not_found(1), 7))
HELD = (*FETCHED, (hold(), 8))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 ms"),
        (0.04, "40 ms"),
        (1.25, "1.2 s"),
        (59.4, "59 s"),
        (61, "1 min"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (2 * 86_400 + 4 * 3_600 + 59, "2 d 4 h"),
        (14 * 86_400, "14 d"),
    ],
)
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: float, said: str):
    assert wording.span(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(None, "unpriced"), (0, "$0.00"), (0.00042, "$0.0004"), (0.5, "$0.5000"), (1234.5, "$1,234.50")],
)
def test_what_nobody_knows_the_price_of_is_never_free(amount: float | None, said: str):
    assert wording.money(amount) == said


def test_the_host_of_an_address_is_what_is_shown_of_it():
    assert wording.host("https://www.example.com/a/b") == "example.com"
    assert wording.host("docs/tides.md") == "docs/tides.md"


def test_every_step_that_has_begun_has_a_line_and_the_wait_for_the_person_too():
    drawn = timeline_lines(told(*HELD))
    assert [(line.key, line.state) for line in drawn] == [
        ("plan.1", "done"),
        ("fetch.1.0", "done"),
        ("fetch.1.1", "failed"),
        ("hold.1", "held"),
    ]
    assert [line.brought for line in drawn] == ["2 sub-queries", "1 source", "", ""]
    assert drawn[2].error == ERROR
    assert drawn[3].ends is None


def test_a_step_that_is_tried_again_shows_each_attempt_and_when_the_next_is_due():
    run = told(*PLANNED, (issued(FETCH_0, 1), 4), (attempt_failed(FETCH_0, 1), 6), (found(1), 6))
    now = START + timedelta(seconds=6)
    [line] = [line for line in timeline_lines(run) if line.key == "fetch.1.0"]
    assert line.state == "waits"
    assert line.next_try
    assert now < line.next_try < now + timedelta(seconds=3)
    [attempt] = line.attempts
    assert attempt.error
    assert attempt.error.code == "boom"
    assert (attempt.queued, attempt.worked) == (timedelta(seconds=1), timedelta(seconds=1))


def test_each_step_that_waits_shows_its_own_next_try_and_not_the_earliest_of_the_run():
    run = told(
        *PLANNED,
        *((issued(fetch, 1), 4) for fetch in (FETCH_0, FETCH_1)),
        (attempt_failed(FETCH_0, 1), 6),
        (attempt_failed(FETCH_1, 1), 16),
    )
    drawn = {line.key: line for line in timeline_lines(run)}
    first, second = drawn["fetch.1.0"], drawn["fetch.1.1"]
    assert first.next_try
    assert second.next_try
    assert START + timedelta(seconds=6) < first.next_try < START + timedelta(seconds=8)
    assert START + timedelta(seconds=16) < second.next_try < START + timedelta(seconds=18)


def test_a_run_that_was_cancelled_tries_nothing_again():
    cancelled = RunCompleted(run_id=RUN, ok=False, outcome="cancelled", reason="No.", by="ada")
    run = told(*PLANNED, (issued(FETCH_0, 1), 4), (attempt_failed(FETCH_0, 1), 6), ((box("completed"), cancelled), 6))
    [line] = [line for line in timeline_lines(run) if line.key == "fetch.1.0"]
    assert line.next_try is None


def test_a_sub_query_that_a_reviewer_added_has_a_line():
    back = ((revised(add=("lions",)), 9), (planned("wolves", round_=2), 10))
    run = told(*HELD, *back, (found(0, round_=2), 11), (found(1, round_=2), 11))
    drawn = [(line.key, line.name, line.state) for line in timeline_lines(run)]
    assert drawn[-2:] == [("fetch.2.0", "wolves", "done"), ("fetch.2.1", "lions", "done")]


def test_a_sub_query_that_a_reviewer_added_has_a_line_also_where_no_plan_could_be_made():
    unplanned = (box("plan", 2), PlanFailed(error=ERROR))
    run = told(*HELD, (revised(add=("lions",)), 9), (unplanned, 10), (found(0, round_=2), 11))
    drawn = [(line.key, line.name, line.state) for line in timeline_lines(run)]
    assert drawn[-2:] == [("plan.2", "Plan", "failed"), ("fetch.2.0", "lions", "done")]


def test_a_second_attempt_that_succeeds_stands_beside_the_first():
    run = told(
        *PLANNED, (issued(FETCH_0, 1), 4), (attempt_failed(FETCH_0, 1), 6), (issued(FETCH_0, 2), 7), (found(0), 9)
    )
    [line] = [line for line in timeline_lines(run) if line.key == "fetch.1.0"]
    assert [bool(attempt.error) for attempt in line.attempts] == [True, False]
    assert (line.state, line.next_try, line.error) == ("done", None, None)


def spans(line: Line, run: Run, seconds: float) -> list[tuple[str, float, float]]:
    now = START + timedelta(seconds=seconds)
    return [(bar.kind, bar.x, bar.width) for bar in timeline_bars(timeline_lines(run), run, now)[line.key]]


def test_the_waterfall_is_in_order_within_its_width_and_a_long_wait_leaves_room_for_work():
    days = 14 * 86_400
    run = told(*HELD, (approved(), days), (issued(SYNTHESIZE, 1), days), (written(), days + 8))
    drawn = timeline_lines(run)
    pieces = [piece for line in drawn for piece in spans(line, run, days + 8)]
    assert all(0 <= x <= 100 and x + width <= 100.5 for _, x, width in pieces)
    starts = [x for _, x, _ in pieces]
    assert starts == sorted(starts)
    [wait] = [width for kind, _, width in pieces if kind == "wait"]
    report = pieces[-1]
    assert wait == 14.0
    assert report[2] > 30


def test_what_is_under_way_is_not_passed_off_as_work():
    run = told(*PLANNED, (issued(FETCH_0, 1), 4))
    [line] = [line for line in timeline_lines(run) if line.key == "fetch.1.0"]
    assert (line.state, line.ends) == ("works", None)
    assert [kind for kind, _, _ in spans(line, run, 9)] == ["open"]


def test_a_run_of_which_nothing_is_known_has_no_lines():
    assert timeline_lines(Run("x")) == []
    assert step_details(Run("x")) == {}


def test_the_record_has_every_round_with_what_was_said_on_which_evidence():
    vote = VoteCast(by="bob", via="api", auth="key:1", digest="d" * 64, comment="Fine.", exclude=(OTHER.sha256,))
    run = told(
        *HELD,
        (revised(add=("lions",), drop=("dogs",), exclude=(OTHER.sha256,)), 9),
        (planned("wolves", round_=2), 10),
        (found(0, round_=2), 11),
        (hold(2), 12),
        ((Slot(RUN, "vote", 2, voter="a" * 32), vote), 13),
        (approved(2, max_cost_usd=0.5), 14),
    )
    entries = decision_record(run)
    assert [(one.word, one.round, one.by) for one in entries] == [
        ("sent back", 1, "ada"),
        ("voted to approve", 2, "bob"),
        ("approved", 2, "ada"),
    ]
    back, voted, yes = entries
    assert (back.why, back.added, back.dropped, back.excluded) == ("More on dogs.", ("lions",), ("dogs",), 1)
    assert (voted.why, voted.how, voted.excluded) == ("Fine.", "with the key 1", 1)
    assert (yes.digest, yes.max_cost_usd) == ("d" * 64, 0.5)


def test_the_record_says_who_cancelled_and_that_time_was_up():
    cancelled = RunCompleted(run_id=RUN, ok=False, outcome="cancelled", reason="No.", by="ada", auth="session:local")
    [one] = decision_record(told(*HELD, ((box("completed"), cancelled), 9)))
    assert (one.word, one.by, one.why, one.how) == ("cancelled", "ada", "No.", "signed in from this data folder")
    [one] = decision_record(told(*HELD, (expired(), 9)))
    assert (one.word, one.how) == ("expired", "by time")


@pytest.mark.parametrize(
    ("via", "auth", "words"),
    [
        ("api", "key:abc", "with the key abc"),
        ("api", "session:abc", "signed in with the key abc"),
        ("api", "local", "with the data folder's token"),
        ("nats", "nats", "by a message on NATS"),
        ("policy", "", "as the request asked for"),
        ("api", "", ""),
    ],
)
def test_how_a_name_is_known_is_said_in_words(via: str, auth: str, words: str):
    assert describe_source(via, auth) == words  # type: ignore[arg-type]


def test_a_step_says_what_it_was_given_and_what_it_brought():
    made = step_details(told(*HELD, (approved(), 9), (written(), 10)))
    assert '"cats"' in made["plan.1"].brought
    assert '"query": "dogs"' in made["fetch.1.1"].given
    assert ERROR.message in made["fetch.1.1"].brought
    assert '"claims": 1' in made["synthesis.1"].brought
    assert "d" * 64 in made["hold.1"].given


def test_a_detail_is_cut_where_it_would_fill_the_page():
    [slot, fact] = revised()
    assert isinstance(fact, DecisionRevised)
    long = replace(fact, feedback="x" * 50_000)
    made = step_details(told(*HELD, ((slot, long), 9)))
    assert len(made["hold.1"].brought) < 13_000
    assert made["hold.1"].brought.endswith("…")


def test_a_passage_is_shown_with_what_stands_around_it():
    text = "a" * 5_000 + "QUOTE" + "b" * 5_000
    it = excerpt(text, 5_000, 5)
    assert (it.quote, len(it.before), len(it.after), it.cut_before, it.cut_after) == ("QUOTE", 1_500, 1_500, True, True)
    it = excerpt("abQUOTEcd", 2, 5)
    assert (it.before, it.quote, it.after, it.cut_before, it.cut_after) == ("ab", "QUOTE", "cd", False, False)


@pytest.mark.parametrize(("start", "length"), [(None, 0), (3, 0), (-1, 2), (8, 5), (100, 1)])
def test_a_place_that_is_none_shows_the_text_from_its_beginning(start: int | None, length: int):
    it = excerpt("short text", start, length)
    assert (it.before, it.quote, it.after) == ("", "", "short text")
