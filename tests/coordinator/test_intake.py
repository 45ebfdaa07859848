"""Whatever comes in ends in one place: a box of its run, a refusal that says why, or nowhere, being known already."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from services.coordinator.engine.projection import RunFilter
from shared.contracts.evidence import Estimate
from shared.contracts.facts import (
    DecisionApproved,
    DecisionRejected,
    DecisionRevised,
    Fact,
    RequestRefused,
    RunAccepted,
    RunCompleted,
)
from shared.contracts.messages import Fill, Message
from shared.contracts.requests import Revision, Ruling
from shared.contracts.subjects import APPROVED, CANCELLED, INVALID, LEAD, REJECTED, REQUESTED, Slot
from shared.domain.decisions import Accept, Duplicate, Judgement, Reject, Verb, decide_ruling, describe_winner
from shared.domain.inbound import Defaults, Inbound, decide_inbound, parse_inbound
from shared.domain.run import Run
from shared.runtime.memory import MemoryLog
from tests.coordinator.story import (
    DEADLINE,
    OTHER,
    RUN,
    SOURCE,
    START,
    Told,
    accepted,
    approved,
    completed,
    expired,
    found,
    given,
    hold,
    not_found,
    planned,
    rejected,
    revised,
    written,
)
from tests.dossier import coordinating
from tests.harness.waiting import PATIENCE_S
from tests.waiting import wait_until

RUN_PREFIX = f"research.run.{RUN}"
DIGEST, STALE = "d" * 64, "e" * 64
DEFAULTS = Defaults(approval_timeout_s=60.0)
SUBJECTS = {"approve": APPROVED, "reject": REJECTED, "cancel": CANCELLED}


def message(subject: str, content: object, *, seq: int = 9, at: datetime = START, **headers: str) -> Message:
    data = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return Message(subject, seq, at, data, headers)


def judged(it: Message, run: Run | None, defaults: Defaults = DEFAULTS) -> Judgement:
    inbound = parse_inbound(it)
    assert isinstance(inbound, Inbound), inbound
    return decide_inbound(inbound, run, defaults)


# Requests

REQUEST = {"q": "What do cats do?", "run_id": RUN, "requested_by": "ann"}


def test_a_new_request_begins_its_run():
    asked = message(
        REQUESTED, {**REQUEST, "approval": "auto", "approval_timeout": "2h", "max_cost_usd": 1, "tools": ["x"]}
    )
    take = judged(asked, None)
    assert isinstance(take, Accept)
    assert take.slot == Slot(RUN, "accepted")
    assert isinstance(take.fact, RunAccepted)
    assert msgspec.structs.replace(take.fact, request_sha256="") == RunAccepted(
        q="What do cats do?",
        request_seq=9,
        request_sha256="",
        approval="auto",
        approval_timeout_s=7_200.0,
        max_cost_usd=1.0,
        tools=("x",),
        requested_by="ann",
        auth="nats",
    )


def test_a_request_that_says_no_timeout_gets_the_default():
    take = judged(message(REQUESTED, REQUEST), None)
    assert isinstance(take, Accept)
    assert isinstance(take.fact, RunAccepted)
    assert (take.fact.approval, take.fact.approval_timeout_s) == ("required", 60.0)


def begun_by(it: Message) -> Run:
    take = judged(it, None)
    assert isinstance(take, Accept)
    return given((take.slot, take.fact)).run


def test_the_same_request_again_is_the_same_run():
    run = begun_by(message(REQUESTED, REQUEST))
    assert judged(message(REQUESTED, REQUEST, seq=10), run) == Duplicate()


def test_the_same_request_in_another_envelope_is_the_same_run():
    run = begun_by(message(REQUESTED, {**REQUEST, "approval": "required"}))
    event = {"specversion": "1.0", "id": "x", "source": "s", "type": "t", "data": dict(reversed(REQUEST.items()))}
    again = message(REQUESTED, event, seq=10, **{"content-TYPE": "application/cloudevents+json"})
    assert judged(again, run) == Duplicate()


def test_the_same_request_after_the_run_has_ended_is_still_the_same_run():
    begun = judged(message(REQUESTED, REQUEST), None)
    assert isinstance(begun, Accept)
    run = given((begun.slot, begun.fact), completed()).run
    assert judged(message(REQUESTED, REQUEST, seq=10), run) == Duplicate()


@pytest.mark.parametrize(
    "change", [{"q": "And dogs?"}, {"approval": "auto"}, {"requested_by": "bob"}, {"tools": ["x"]}]
)
def test_another_request_under_a_known_id_is_refused(change: dict[str, object]):
    refusal = judged(message(REQUESTED, REQUEST | change, seq=10), begun_by(message(REQUESTED, REQUEST)))
    assert isinstance(refusal, Reject)
    assert (refusal.code, refusal.field) == ("clash", "run_id")
    assert RUN in refusal.message


@pytest.mark.parametrize("header", ["Nats-Msg-Id", "nats-msg-id", "NATS-MSG-ID"])
def test_a_request_without_an_id_is_called_by_its_message_id(header: str):
    inbound = parse_inbound(message(REQUESTED, {"q": "Why?"}, **{header: "order-66"}))
    assert isinstance(inbound, Inbound)
    assert inbound.run == "order-66"


def test_a_request_without_any_id_is_called_by_its_place():
    inbound = parse_inbound(message(REQUESTED, {"q": "Why?"}))
    assert isinstance(inbound, Inbound)
    assert inbound.run == "r9"


@pytest.mark.parametrize("subject", [REQUESTED, *SUBJECTS.values()])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"q": 1}',
        b'{"q": "\xff"}',
        b'{"q": "x", "more": "\xff"}',
        b'{"q": ' + b"[" * 100_000,
    ],
    ids=["empty", "cut", "list", "bytes", "wrong type", "no UTF-8", "no UTF-8 in what is unknown", "deep"],
)
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/cloudevents+json"}], ids=["bare", "structured"])
def test_what_cannot_be_read_is_refused(subject: str, data: bytes, headers: dict[str, str]):
    refusal = parse_inbound(message(subject, data, **headers))
    assert isinstance(refusal, RequestRefused)
    assert (refusal.seq, refusal.subject) == (9, subject)
    assert refusal.error.message


# Decisions

BEGUN = (accepted(),)
FETCHING = (*BEGUN, planned("cats"))
HELD = (*FETCHING, found(0, SOURCE, OTHER), hold())
SENT_BACK = (*HELD, revised())
HELD_AGAIN = (*SENT_BACK, planned("dogs", round_=2), found(0, OTHER, round_=2), hold(2))
REPORTED = (*HELD, approved(), written(), completed())


class Row(NamedTuple):
    """What is said of which run and when; what follows for a decision and for a cancel: a box, or a refusal's code."""

    told: tuple[Told, ...]
    decision: str
    cancel: str
    more: dict[str, Any] = {}  # noqa: RUF012  a named tuple's default, and nobody changes it
    at: datetime = START


ROWS = {
    "unknown run": Row((), "unknown_run", "unknown_run"),
    "before the plan": Row(BEGUN, "decision.1", "completed"),
    "before the hold": Row(FETCHING, "decision.1", "completed"),
    "before the hold, with a digest": Row(FETCHING, "stale_digest", "completed", {"digest": DIGEST}),
    "on hold": Row(HELD, "decision.1", "completed"),
    "right digest": Row(HELD, "decision.1", "completed", {"digest": DIGEST}),
    "stale digest": Row(HELD, "stale_digest", "completed", {"digest": STALE}),
    "at the last moment": Row(HELD, "decision.1", "completed", at=DEADLINE - timedelta(microseconds=1)),
    "at the deadline": Row(HELD, "too_late", "completed", at=DEADLINE),
    "after the deadline, stale digest": Row(HELD, "too_late", "completed", {"digest": STALE}, DEADLINE),
    "after an approval": Row((*HELD, approved()), "decided", "completed"),
    "after a rejection": Row((*HELD, rejected()), "decided", "completed"),
    "after it expired": Row((*HELD, expired()), "decided", "completed", at=DEADLINE),
    "after the report": Row(REPORTED, "decided", "decided"),
    "after the report, stale digest": Row(REPORTED, "decided", "decided", {"digest": STALE}),
    "after a cancel": Row((*HELD, completed("cancelled")), "decided", "decided"),
    "after a failure": Row((*BEGUN, completed("failed")), "decided", "decided"),
    "sent back": Row(SENT_BACK, "not_held", "completed"),
    "sent back, after the first deadline": Row(SENT_BACK, "not_held", "completed", at=DEADLINE),
    "held again": Row(HELD_AGAIN, "decision.2", "completed", {"digest": DIGEST}),
    "a source excluded": Row(HELD, "decision.1", "completed", {"exclude": [OTHER.sha256]}),
    "an unknown source excluded": Row(HELD, "unknown_source", "completed", {"exclude": ["c" * 64]}),
    "all sources excluded": Row(HELD, "nothing_left", "completed", {"exclude": [OTHER.sha256, SOURCE.sha256]}),
}
ABOUT, UNPRICED = Estimate("m-writer", 9_000, 6_000, 0.5), Estimate("m-writer", 9_000, 6_000, None)


def limited(estimate: Estimate | None, *, max_cost_usd: float | None = 1.0, spent_usd: float = 0.6) -> tuple[Told, ...]:
    """A run on hold that may cost so much."""
    held = hold(estimate=estimate, spent_usd=spent_usd)
    return accepted(max_cost_usd=max_cost_usd), planned("cats"), found(0, SOURCE, OTHER), held


# What an approval costs, and what it may cost
APPROVALS = {
    "beyond the limit": (limited(ABOUT), None, "over_budget"),
    "beyond a limit that is raised too little": (limited(ABOUT), 1.05, "over_budget"),
    "beyond the limit, which is raised": (limited(ABOUT), 1.1, "decision.1"),
    "within the limit": (limited(ABOUT, spent_usd=0.5), None, "decision.1"),
    "within the limit, which is lowered": (limited(ABOUT, spent_usd=0.1), 0.5, "over_budget"),
    "without a limit": (limited(ABOUT, max_cost_usd=None), None, "decision.1"),
    "without a limit, one is given": (limited(ABOUT, max_cost_usd=None), 1.0, "over_budget"),
    "of unknown price": (limited(UNPRICED), None, "over_budget"),
    "of unknown price, at any price": (limited(UNPRICED), 1.0, "decision.1"),
    "of unknown price, without a limit": (limited(UNPRICED, max_cost_usd=None), None, "decision.1"),
    "by rule": (limited(None, spent_usd=2.0), None, "decision.1"),
    "raised when it was sent back": (
        (
            *limited(ABOUT),
            revised(max_cost_usd=2.0),
            planned("dogs", round_=2),
            found(0, OTHER, round_=2),
            hold(2, estimate=ABOUT, spent_usd=1.2),
        ),
        None,
        "decision.2",
    ),
}


@pytest.mark.parametrize(("told", "most", "follows"), APPROVALS.values(), ids=APPROVALS.keys())
def test_an_approval_whose_report_may_cost_more_than_the_run_must_say_so(
    told: tuple[Told, ...], most: float | None, follows: str
):
    more = {} if most is None else {"max_cost_usd": most}
    judgement = judged(message(APPROVED, {"run_id": RUN, "by": "ada", **more}), given(*told).run)
    assert outcome(judgement) == follows
    if isinstance(judgement, Reject):
        assert judgement.field == "max_cost_usd"
        assert "approve with" in judgement.message


def test_the_limit_that_a_refusal_names_is_enough():
    run = given(*limited(ABOUT, spent_usd=0.123456)).run
    for most in (None, 0.2):
        ruling = Ruling(run_id=RUN, by="ada", max_cost_usd=most or 0.2)
        refusal = decide_ruling("approve", ruling, run, at=START, via="api")
        assert isinstance(refusal, Reject)
        [named] = re.findall(r"max_cost_usd of ([0-9.]+) or more", refusal.message)
        again = Ruling(run_id=RUN, by="ada", max_cost_usd=float(named))
        assert isinstance(decide_ruling("approve", again, run, at=START, via="api"), Accept)


def test_a_rejection_and_a_revision_cost_nothing_and_are_taken_whatever_is_left():
    run = given(*limited(ABOUT)).run
    assert isinstance(decide_ruling("reject", Ruling(run_id=RUN, by="ada"), run, at=START, via="api"), Accept)
    assert isinstance(decide_ruling("revise", SEND_BACK, run, at=START, via="api"), Accept)


SEND_BACK = Revision(run_id=RUN, by="ada", feedback="No, not enough on dogs.")


def sent_back(told: tuple[Told, ...], *, rounds: int = 5, at: datetime = START, **more: object) -> Judgement:
    revision = msgspec.structs.replace(SEND_BACK, **more)
    return decide_ruling("revise", revision, given(*told).run, at=at, via="api", rounds=rounds)


def test_a_revision_records_the_words_and_what_to_add_to_drop_and_to_exclude():
    more = {"queries_add": ("birds",), "queries_drop": ("cats",), "exclude": (OTHER.sha256,), "max_cost_usd": 2.0}
    take = sent_back(HELD, digest=DIGEST, **more)
    assert take == Accept(
        Slot(RUN, "decision", 1),
        DecisionRevised(by="ada", via="api", digest=DIGEST, feedback="No, not enough on dogs.", **more),
    )


@pytest.mark.parametrize(
    ("told", "more", "follows"),
    [
        (HELD, {}, "decision.1"),
        (HELD, {"digest": STALE}, "stale_digest"),
        (HELD, {"at": DEADLINE}, "too_late"),
        (HELD, {"queries_drop": ("wolves",)}, "unknown_query"),
        (HELD, {"exclude": ("c" * 64,)}, "unknown_source"),
        (HELD, {"exclude": (OTHER.sha256, SOURCE.sha256)}, "decision.1"),
        (HELD, {"rounds": 1}, "last_round"),
        (HELD_AGAIN, {}, "decision.2"),
        (HELD_AGAIN, {"queries_drop": ("cats", "dogs")}, "decision.2"),
        (HELD_AGAIN, {"rounds": 2}, "last_round"),
        (FETCHING, {}, "not_held"),
        (SENT_BACK, {}, "not_held"),
        ((*HELD, approved()), {}, "decided"),
        ((*HELD, rejected()), {}, "decided"),
        (REPORTED, {}, "decided"),
    ],
)
def test_what_follows_a_revision(told: tuple[Told, ...], more: dict[str, Any], follows: str):
    assert outcome(sent_back(told, **more)) == follows


def test_the_last_round_is_still_approved_and_rejected():
    for verb in ("approve", "reject"):
        ruling = Ruling(run_id=RUN, by="ada")
        assert isinstance(decide_ruling(verb, ruling, given(*HELD).run, at=START, via="api", rounds=1), Accept)


def test_what_is_left_after_all_exclusions_and_drops_decides_whether_a_report_can_be_approved():
    emptied = (*HELD, revised(drop=("q0",)), planned("dogs", round_=2), not_found(0, round_=2), hold(2))
    said = message(APPROVED, {"run_id": RUN, "by": "ada"})
    assert outcome(judged(said, given(*emptied).run)) == "nothing_left"
    assert outcome(sent_back(emptied)) == "decision.2"


@pytest.mark.parametrize("subject", SUBJECTS.values())
def test_a_revision_comes_over_http_alone(subject: str):
    refusal = parse_inbound(message(subject, {"run_id": RUN, "by": "ada", "feedback": "More."}))
    assert isinstance(refusal, RequestRefused)
    assert refusal.field == "feedback"


each_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
each_verb = pytest.mark.parametrize("verb", SUBJECTS)


def run_of(row: Row) -> Run | None:
    return given(*row.told).run if row.told else None


def outcome(judgement: Judgement) -> str:
    """The box that is filled, or the code of the refusal."""
    assert isinstance(judgement, Accept | Reject)
    return judgement.slot.path if isinstance(judgement, Accept) else judgement.code


@each_row
@each_verb
def test_what_follows_a_word_over_nats(verb: str, row: Row):
    said = message(SUBJECTS[verb], {"run_id": RUN, "by": "ada", **row.more}, at=row.at)
    assert outcome(judged(said, run_of(row))) == (row.cancel if verb == "cancel" else row.decision)


@each_row
@each_verb
def test_the_same_follows_a_word_over_http(verb: Verb, row: Row):
    ruling = msgspec.convert({"run_id": RUN, "by": "ada", **row.more}, Ruling)
    judgement = decide_ruling(verb, ruling, run_of(row), at=row.at, via="api")
    assert outcome(judgement) == (row.cancel if verb == "cancel" else row.decision)


@each_row
@each_verb
def test_every_refusal_names_the_run_or_the_field(verb: str, row: Row):
    judgement = judged(message(SUBJECTS[verb], {"run_id": RUN, "by": "ada", **row.more}, at=row.at), run_of(row))
    if isinstance(judgement, Reject):
        assert RUN in judgement.message or judgement.message.startswith(f"{judgement.field}: ")


def taken(verb: str, told: tuple[Told, ...], **more: object) -> Fact:
    take = judged(message(SUBJECTS[verb], {"run_id": RUN, "by": "ada", **more}, seq=17), given(*told).run)
    assert isinstance(take, Accept)
    return take.fact


def test_an_approval_records_who_how_on_what_and_without_what():
    fact = taken("approve", HELD, comment="Good.", exclude=[OTHER.sha256])
    assert fact == DecisionApproved(
        by="ada", via="nats", comment="Good.", digest=DIGEST, message_seq=17, auth="nats", exclude=(OTHER.sha256,)
    )


def test_a_rejection_records_who_how_and_on_what():
    fact = taken("reject", HELD, comment="Thin.")
    assert fact == DecisionRejected(by="ada", via="nats", comment="Thin.", digest=DIGEST, message_seq=17, auth="nats")


def test_an_early_decision_records_that_it_was_on_no_evidence():
    fact = taken("approve", FETCHING)
    assert isinstance(fact, DecisionApproved)
    assert fact.digest is None


@pytest.mark.parametrize(("comment", "reason"), [("Not now.", "Not now."), ("", "Cancelled by ada.")])
def test_a_cancel_is_a_completion_that_says_why(comment: str, reason: str):
    assert taken("cancel", HELD, comment=comment) == RunCompleted(
        run_id=RUN, ok=False, outcome="cancelled", reason=reason, by="ada", message_seq=17, auth="nats"
    )


@pytest.mark.parametrize("told", [FETCHING, HELD], ids=["before the hold", "on hold"])
@each_verb
def test_the_same_message_again_is_known_already(verb: str, told: tuple[Told, ...]):
    """It comes again after a crash between writing its consequence and saving that."""
    said = message(SUBJECTS[verb], {"run_id": RUN, "by": "ada"})
    take = judged(said, given(*told).run)
    assert isinstance(take, Accept)
    assert judged(said, given(*told, (take.slot, take.fact)).run) == Duplicate()


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_said_before_a_later_rounds_hold_does_not_count_for_it_however_late_it_is_read(verb: str):
    said = message(SUBJECTS[verb], {"run_id": RUN, "by": "ada"}, seq=len(SENT_BACK))
    assert outcome(judged(said, given(*HELD_AGAIN).run)) == "not_held"


def test_a_decision_is_known_already_also_in_a_later_round():
    early = (Slot(RUN, "decision", 2), DecisionApproved(by="ada", via="nats", message_seq=9))
    said = message(APPROVED, {"run_id": RUN, "by": "ada"})
    assert judged(said, given(*HELD_AGAIN, early).run) == Duplicate()


@each_verb
def test_where_digests_are_required_only_a_cancel_needs_none(verb: str):
    strict = Defaults(digest_required=True)
    without = judged(message(SUBJECTS[verb], {"run_id": RUN, "by": "ada"}), given(*HELD).run, strict)
    naming = judged(message(SUBJECTS[verb], {"run_id": RUN, "by": "ada", "digest": DIGEST}), given(*HELD).run, strict)
    assert outcome(without) == ("completed" if verb == "cancel" else "digest_required")
    assert outcome(naming) == ("completed" if verb == "cancel" else "decision.1")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((*HELD, approved()), "approved by ada"),
        ((*HELD, rejected()), "rejected by ada"),
        ((*HELD, expired()), "expired by deadline"),
        (REPORTED, "approved by ada"),
        ((*HELD, approved(), completed("cancelled")), "cancelled"),
        ((*BEGUN, completed("failed")), "failed"),
    ],
)
def test_whoever_comes_second_is_told_who_won(told: tuple[Told, ...], words: str):
    run = given(*told).run
    assert describe_winner(run).startswith(words)
    refusal = judged(message(APPROVED, {"run_id": RUN, "by": "bob"}), run)
    assert isinstance(refusal, Reject)
    assert words in refusal.message


# Strangers

STRANGE = {
    "a slot of no round": f"{RUN_PREFIX}.plan.x",
    "a slot of a round beyond all numbers": f"{RUN_PREFIX}.plan.{'9' * 30}",
    "a slot of no run": "research.run..accepted",
    "a refusal of nothing": f"{INVALID}.x",
    "a refusal beyond all numbers": f"{INVALID}.{'9' * 5_000}",
    "a word about the lead": LEAD,
}


@pytest.mark.parametrize("subject", STRANGE.values(), ids=STRANGE.keys())
async def test_the_coordinator_outlives_what_strangers_write(tmp_path: Path, subject: str):
    """Whoever may publish there, by permission or for want of one, must not be able to stop all runs."""

    async with coordinating(MemoryLog(), tmp_path) as it:
        await it.log.fill([Fill(subject, b"{}")])
        await it.coordinator.folded((await it.log.end()).seq, within_s=PATIENCE_S)
        it.coordinator.saved.select(RunFilter(), limit=1)  # saves what is folded
        await it.until(await it.ask("What do cats do?", run_id="cats"), "planning")


@pytest.mark.parametrize(
    "content",
    [{"q": "x", "y" * 250_000: 1}, {"q": "x", "approval": "y" * 250_000}, {"q": "x", "tools": ["\\" * 120_000]}],
    ids=["field", "value", "value that grows when it is quoted"],
)
async def test_a_refusal_fits_into_the_log_whatever_is_refused(tmp_path: Path, content: object):
    async with coordinating(MemoryLog(), tmp_path) as it:
        seq = await it.log.publish(REQUESTED, msgspec.json.encode(content))
        await wait_until(lambda: it.stored(f"{INVALID}.{seq}"))
