"""What failed for good is listed with all that is known of it; what goes on is not."""

from pathlib import Path

import pytest

from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.projection import FailureFilter, Projection, RunFilter
from shared.contracts import envelope
from shared.contracts.evidence import Failure
from shared.contracts.facts import FetchFailed, RequestRefused
from shared.contracts.messages import Message
from shared.domain.decoding import decode_fact
from shared.domain.failures import failed_attempts, failed_input, refusal_failure, run_failures
from shared.domain.run import evolve
from tests.coordinator.story import (
    ERROR,
    FETCH_1,
    PLAN,
    PLAN_FAILED,
    PLAN_ISSUED,
    RUN,
    START,
    SYNTHESIS_FAILED,
    Told,
    accepted,
    approved,
    attempt_failed,
    completed,
    found,
    given,
    hold,
    issued,
    not_found,
    planned,
)

HELD = (accepted(), planned(), found(0), not_found(1), hold())


def kinds(*told: Told) -> list[str]:
    return [failed.kind for failed in run_failures(given(*told).run)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((accepted(), PLAN_ISSUED, attempt_failed(PLAN, 1)), []),
        ((accepted(), PLAN_FAILED), ["plan"]),
        ((accepted(), PLAN_FAILED, completed("failed")), ["plan"]),
        ((accepted(), planned(), found(0), not_found(1)), ["fetch"]),
        ((*HELD, approved(), SYNTHESIS_FAILED, completed("failed")), ["fetch", "synthesize"]),
        ((accepted(), planned(), found(0), found(1), completed("failed")), ["run"]),
        ((accepted(), completed("cancelled")), []),
    ],
)
def test_what_failed_for_good_is_listed(told: tuple, expected: list[str]):
    assert kinds(*told) == expected


def test_what_was_copied_failed_elsewhere():
    copied = (FETCH_1.outcome, FetchFailed(query="dogs", error=ERROR, copied_from="research.run.old.fetch.1.1"))
    assert kinds(accepted(), planned(), found(0), copied) == []


def test_a_parked_run_is_listed():
    newer = b'{"specversion":"1.0","id":"x","source":"s","type":"plan.made.v9","time":"2026-01-01T00:00:00Z","data":{}}'
    run = evolve(given(accepted()).run, decode_fact(PLAN.outcome, newer, seq=5, stored_at=START))
    [failed] = run_failures(run)
    assert (failed.kind, failed.seq, failed.error.code) == ("parked", 5, "unknown")


def test_a_failed_step_has_its_input_and_every_attempt():
    told = (accepted(), planned(), issued(FETCH_1, 1), attempt_failed(FETCH_1, 1), issued(FETCH_1, 2), not_found(1))
    run = given(*told).run
    [failed] = run_failures(run)
    assert (failed.round, failed.index, failed.about) == (1, 1, "q1")
    assert [(one.attempt, one.error.code, one.duration_s) for one in failed_attempts(run, failed)] == [
        (1, "boom", 1.0),
        (2, "boom", None),
    ]
    assert failed_input(run, failed) == {"query": "q1", "tools": ()}


def test_a_fetch_that_nobody_could_read_is_named_by_the_plan():
    unreadable = (FETCH_1.outcome, FetchFailed(query="", error=ERROR))
    [failed] = run_failures(given(accepted(), planned(), unreadable).run)
    assert failed.about == "dogs"


def refusal(seq: int, refused: int, code: str = "invalid_field") -> Message:
    why = RequestRefused(
        seq=refused, subject="research.requested", run_id="r7", field="q", error=Failure(code, "q: no.")
    )
    data = envelope.encode_message(f"research.invalid.{refused}", why, source="s", time=START)
    return Message(f"research.invalid.{refused}", seq, START, data)


def test_a_refusal_is_listed_also_when_it_cannot_be_read():
    failed = refusal_failure(refusal(9, 7))
    assert (failed.seq, failed.kind, failed.refused, failed.run, failed.field) == (9, "request", 7, "r7", "q")
    assert refusal_failure(Message("research.invalid.7", 9, START, b"\xff")).error.code == "unreadable"
    assert refusal_failure(Message("research.requested", 9, START, b"{}")) is None


def test_failures_are_found_by_kind_code_run_text_and_time_and_in_pages(tmp_path: Path):
    projection = Projection(tmp_path / "projection.db")
    run = given(*HELD, approved(), SYNTHESIS_FAILED, completed("failed")).run
    here = Checkpoint("", 20, "")
    refusals = [refusal_failure(refusal(seq, seq - 1)) for seq in (10, 12)]
    for _ in range(2):
        projection.save([(run, None)], here, unanswered=(), answered=(), refusals=refusals)

    def listed(before: int | None = None, limit: int = 10, **wanted: object) -> list[int]:
        return [failed.seq for failed in projection.failures(FailureFilter(**wanted), before=before, limit=limit)]

    assert listed() == [12, 10, 7, 4]
    assert listed(limit=2) == [12, 10]
    assert listed(before=10) == [7, 4]
    assert listed(kinds=["fetch", "request"]) == [12, 10, 4]
    assert listed(code="boom") == [7, 4]
    assert listed(run=RUN) == [7, 4]
    assert listed(text="Q1") == [4]
    assert listed(text="100%") == []
    assert listed(since=START) == [12, 10, 7, 4]
    assert listed(since=START.replace(year=2027)) == []
    assert [one.id for one in projection.select(RunFilter(code="boom"), limit=5)] == [RUN]
    assert projection.select(RunFilter(code="invalid_field"), limit=5) == []
    projection.close()


def test_a_projection_of_an_earlier_release_is_opened_and_made_again(tmp_path: Path):
    import sqlite3

    old = sqlite3.connect(tmp_path / "projection.db")
    old.executescript("CREATE TABLE run (id TEXT PRIMARY KEY, place INTEGER); CREATE TABLE checkpoint (one INTEGER);")
    old.close()
    projection = Projection(tmp_path / "projection.db")
    assert projection.checkpoint() is None
    projection.save([(given(*HELD).run, None)], Checkpoint("", 5, ""), unanswered=(), answered=())
    projection.close()
    again = Projection(tmp_path / "projection.db")
    assert again.load(RUN) == given(*HELD).run
    again.close()
