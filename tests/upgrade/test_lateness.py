"""Whoever is late by more than a restart is found out, and nobody else."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.stored import Stored
from tests.upgrade.lateness import Course, Restart, expiries, flights, late, on_their_way, undisturbed

START = datetime(2026, 1, 1, tzinfo=UTC)
SENT_AWAY = 100.0
RESTART = Restart("plan-1", START + timedelta(seconds=SENT_AWAY), START + timedelta(seconds=SENT_AWAY + 3), 0)
USUAL = 5.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def course(due: float, done: float) -> Course:
    return Course("flying-1", at(due), at(done))


def beyond(*courses: Course) -> list[float]:
    """By how many seconds each was later than the restart excuses."""
    before = course(0, USUAL)
    return [(each.late - each.restart).total_seconds() for each in late([before, *courses], [RESTART])]


@pytest.mark.parametrize(("due", "done"), [(98, 103), (98, 106), (102, 110), (94, 100.5)])
def test_a_run_may_take_longer_by_the_restart_that_it_met(due: float, done: float):
    assert all(seconds <= 0 for seconds in beyond(course(due, done)))


def test_a_run_that_took_longer_still_is_late():
    assert beyond(course(98, 106.5)) == [0.5]


@pytest.mark.parametrize(("due", "done"), [(80, 99), (103.5, 120)])
def test_a_run_that_met_no_restart_is_not_judged_by_one(due: float, done: float):
    assert beyond(course(due, done)) == []


def test_two_restarts_in_a_row_excuse_no_more_than_the_longer_one():
    again = Restart("plan-2", at(103), at(105), 0)
    [each] = late([course(0, USUAL), course(99, 112)], [RESTART, again])
    assert (each.late, each.restart) == (timedelta(seconds=8), timedelta(seconds=3))


def test_what_is_usual_was_seen_before_anything_was_replaced():
    assert undisturbed([course(0, 4), course(0, 5), course(99, 120)], [RESTART]) == timedelta(seconds=5)
    with pytest.raises(ValueError, match="empty"):
        undisturbed([course(99, 120)], [RESTART])


def stored(*messages: tuple[str, float, dict[str, object]]) -> list[Stored]:
    """A log in which these subjects were written at these seconds."""
    return [
        Stored(subject, seq, at(when), json.dumps(data).encode())
        for seq, (subject, when, data) in enumerate(messages, 1)
    ]


def held(run: str, when: float, deadline: float = 1_000) -> tuple[str, float, dict[str, object]]:
    return f"research.run.{run}.hold.1", when, {"data": {"deadline": at(deadline).isoformat()}}


def said(run: str, slot: str, when: float) -> tuple[str, float, dict[str, object]]:
    return f"research.run.{run}.{slot}", when, {"data": {}}


def asked(run: str, when: float) -> tuple[str, float, dict[str, object]]:
    return "research.requested", when, {"run_id": run}


def spans(courses: Iterable[Course]) -> list[tuple[str, float]]:
    return [(each.run, each.took.total_seconds()) for each in courses]


def test_a_flight_lasts_from_the_request_to_the_end():
    log = stored(
        asked("flying-1", 1), asked("held-1", 1), said("flying-1", "completed", 7), said("held-1", "completed", 9)
    )
    assert spans(flights(log)) == [("flying-1", 6)]


def test_a_deadline_is_late_until_it_is_recorded():
    log = stored(
        held("expiring-1", 1, deadline=3), said("expiring-1", "decision.1", 4.5), held("held-1", 1, deadline=3)
    )
    assert spans(expiries(log)) == [("expiring-1", 1.5)]


def test_who_is_on_the_way_is_counted_as_of_a_moment():
    log = stored(
        asked("flying-1", 1), asked("flying-2", 2), held("held-1", 3), held("held-2", 3), held("expiring-1", 3),
        said("flying-1", "completed", 5), said("held-1", "decision.1", 6), said("flying-2", "completed", 8),
    )  # fmt: skip
    assert [on_their_way(log, at(seconds)) for seconds in (1.5, 4, 5.5, 7, 9)] == [
        (1, 0),
        (2, 2),
        (1, 2),
        (1, 1),
        (0, 1),
    ]
