"""Whose approval counts, where it matters: judged over facts."""

from datetime import timedelta
from itertools import permutations

import msgspec
import pytest

from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    HoldOpened,
    RunAccepted,
    VoteCast,
)
from shared.contracts.messages import Message
from shared.contracts.requests import Ruling
from shared.contracts.subjects import APPROVED, ASKED, REJECTED, REQUESTED, Slot
from shared.domain.approval import ANY_APPROVAL, ApprovalRules, describe_deciders, verified_identity, voter_token
from shared.domain.decisions import Accept, Duplicate, Reject, decide_ruling
from shared.domain.inbound import Defaults, decide_inbound, parse_inbound
from shared.domain.owed import owed
from tests.coordinator.story import (
    DEADLINE,
    OTHER,
    RUN,
    SOURCE,
    START,
    SYNTHESIZE,
    Story,
    Told,
    accepted,
    box,
    fold,
    found,
    given,
    hold,
    planned,
    stored,
)

DIGEST = "d" * 64
ANN, BOB, CLEO = "key:aaaaaaaaaaaa", "key:bbbbbbbbbbbb", "session:cccccccccccc"
FOUR_EYES, TWO = ApprovalRules(four_eyes=True), ApprovalRules(quorum=2)


def asked(by: str = "ann", auth: str = ANN, approval: str = "required") -> Told:
    slot, fact = accepted(approval=approval)
    assert isinstance(fact, RunAccepted)
    return slot, msgspec.structs.replace(fact, requested_by=by, auth=auth)


def held(rules: ApprovalRules, *told: Told, by: str = "ann", auth: str = ANN, approval: str = "required") -> Story:
    """A run on a hold that opened under these rules."""
    slot, opened = hold()
    assert isinstance(opened, HoldOpened)
    demanding = msgspec.structs.replace(opened, quorum=rules.quorum, four_eyes=rules.four_eyes)
    story = (asked(by, auth, approval), planned("a"), found(0, SOURCE, OTHER), (slot, demanding), *told)
    return given(*story)


def vote(name: str, auth: str, *, exclude: tuple[str, ...] = (), comment: str = "", digest: str = DIGEST) -> Told:
    who = verified_identity(name, auth, trusts_nats=True)
    assert who
    fact = VoteCast(by=name, via="api", auth=auth, digest=digest, exclude=exclude, comment=comment)
    return Slot(RUN, "vote", 1, voter=voter_token(who)), fact


def approve(story: Story, name: str, auth: str, rules: ApprovalRules = ANY_APPROVAL, **more: object) -> object:
    ruling = Ruling(run_id=RUN, by=name, digest=DIGEST, **more)  # type: ignore[arg-type]
    return decide_ruling("approve", ruling, story.run, at=START, via="api", auth=auth, rules=rules)


def code(judgement: object) -> str:
    assert isinstance(judgement, Reject)
    return judgement.code


# Who somebody is


@pytest.mark.parametrize(
    ("auth", "trusts_nats", "known"),
    [
        (ANN, False, True),
        (CLEO, False, True),
        ("local", False, False),
        ("session:local", False, False),
        ("key:local", False, False),
        ("nats", False, False),
        ("nats", True, True),
        ("local", True, False),
        ("", True, False),
    ],
)
def test_a_name_counts_only_where_something_vouches_for_it(auth: str, trusts_nats: bool, known: bool):
    assert (verified_identity("ann", auth, trusts_nats=trusts_nats) is not None) == known


@pytest.mark.parametrize("spelling", ["Ann", " ann ", "ANN", "ａｎｎ"])
def test_one_person_is_the_same_however_spelt_and_by_whichever_key(spelling: str):
    assert verified_identity(spelling, "key:123", trusts_nats=False) == verified_identity(
        "ann", CLEO, trusts_nats=False
    )


# Four eyes


def test_with_four_eyes_somebody_else_may_approve():
    take = approve(held(FOUR_EYES), "bob", BOB)
    assert isinstance(take, Accept)
    assert take.slot == box("decision", 1)
    assert isinstance(take.fact, DecisionApproved)
    assert (take.fact.by, take.fact.auth) == ("bob", BOB)


@pytest.mark.parametrize("auth", [ANN, "key:another", "session:aaaaaaaaaaaa"])
def test_with_four_eyes_whoever_asked_may_not_approve_by_any_of_their_keys(auth: str):
    assert code(approve(held(FOUR_EYES), "Ann", auth)) == "four_eyes"


@pytest.mark.parametrize("auth", ["nats", "local", "session:local", ""])
def test_with_four_eyes_nobody_can_approve_what_nobody_is_known_to_have_asked(auth: str):
    assert code(approve(held(FOUR_EYES, by="zoe", auth=auth), "bob", BOB)) == "requester_unknown"


@pytest.mark.parametrize("rules", [FOUR_EYES, TWO])
@pytest.mark.parametrize("auth", ["nats", "local", "session:local"])
def test_where_it_matters_who_approves_a_name_that_is_only_claimed_does_not_count(rules: ApprovalRules, auth: str):
    assert code(approve(held(rules), "bob", auth)) == "unidentified"


def test_names_on_nats_count_where_the_operator_says_so():
    trusting = ApprovalRules(four_eyes=True, trusts_nats=True)
    asked_on_nats = held(FOUR_EYES, auth="nats")
    assert isinstance(approve(asked_on_nats, "bob", "nats", trusting), Accept)
    assert code(approve(asked_on_nats, "ANN", BOB, trusting)) == "four_eyes"


@pytest.mark.parametrize("verb", ["reject", "cancel"])
def test_whoever_asked_may_still_say_no(verb: str):
    ruling = Ruling(run_id=RUN, by="ann")
    no = decide_ruling(verb, ruling, held(FOUR_EYES).run, at=START, via="api", auth="local")  # type: ignore[arg-type]
    assert isinstance(no, Accept)


def test_what_a_hold_demands_is_what_it_opened_with_whatever_the_settings_are_by_now():
    assert isinstance(approve(held(ANY_APPROVAL), "ann", "local", FOUR_EYES), Accept)
    assert code(approve(held(FOUR_EYES), "ann", ANN, ANY_APPROVAL)) == "four_eyes"


@pytest.mark.parametrize("rules", [FOUR_EYES, TWO])
def test_where_it_matters_who_approves_nothing_is_approved_before_it_is_there(rules: ApprovalRules):
    unseen = given(asked(), planned("a"))
    ruling = Ruling(run_id=RUN, by="bob")
    early = decide_ruling("approve", ruling, unseen.run, at=START, via="nats", auth="nats", rules=rules)
    assert code(early) == "not_held"


# Quorum


def test_an_approval_of_several_is_a_vote_in_the_box_of_whoever_gave_it():
    take = approve(held(TWO), "bob", BOB, comment="Good.", exclude=(OTHER.sha256,))
    assert isinstance(take, Accept)
    assert take.slot == Slot(RUN, "vote", 1, voter=voter_token("bob"))
    assert take.fact == VoteCast(by="bob", via="api", comment="Good.", digest=DIGEST, auth=BOB, exclude=(OTHER.sha256,))


def test_the_same_person_has_one_vote_by_whichever_key():
    voted = held(TWO, vote("bob", BOB))
    assert code(approve(voted, "Bob", "session:another")) == "voted"
    assert isinstance(approve(voted, "cleo", CLEO), Accept)


def test_one_vote_of_two_decides_nothing():
    held(TWO, vote("bob", BOB)).then_nothing_before(DEADLINE)


def test_enough_votes_are_a_decision_that_names_the_voters():
    [decision] = held(TWO, vote("bob", BOB, comment="Good."), vote("cleo", CLEO)).then_owed(box("decision", 1))
    assert decision == DecisionApproved(
        by="bob, cleo", via="quorum", comment="bob: Good.", digest=DIGEST, voters=("bob", "cleo")
    )


def test_enough_votes_win_although_time_is_up():
    story = held(TWO, vote("bob", BOB), vote("cleo", CLEO)).at(DEADLINE + timedelta(hours=1))
    [decision] = story.then_owed(box("decision", 1))
    assert isinstance(decision, DecisionApproved)


def test_too_few_votes_expire():
    [decision] = held(TWO, vote("bob", BOB)).at(DEADLINE).then_owed(box("decision", 1))
    assert isinstance(decision, DecisionExpired)


def test_the_first_votes_that_suffice_decide_so_a_later_look_decides_the_same():
    story = held(TWO, vote("bob", BOB), vote("cleo", CLEO), vote("dan", "key:d", exclude=(SOURCE.sha256,)))
    [decision] = story.then_owed(box("decision", 1))
    assert isinstance(decision, DecisionApproved)
    assert (decision.voters, decision.exclude) == (("bob", "cleo"), ())


def test_the_order_in_which_votes_are_read_does_not_matter():
    told = (asked(), planned("a"), found(0), hold(), vote("bob", BOB), vote("cleo", CLEO), vote("bob", BOB))
    facts = [stored(one, seq) for seq, one in enumerate(told, 1)]
    whole = fold(*facts)
    assert len(whole.current.votes) == 2
    assert all(fold(*facts[:3], *some) == whole for some in permutations(facts[3:]))


def test_a_vote_on_other_evidence_does_not_count():
    held(TWO, vote("bob", BOB), vote("cleo", CLEO, digest="e" * 64)).then_nothing_before(DEADLINE)


def test_what_any_voter_leaves_out_is_left_out():
    story = held(TWO, vote("bob", BOB), vote("cleo", CLEO, exclude=(OTHER.sha256,)))
    [decision] = story.then_owed(box("decision", 1))
    assert isinstance(decision, DecisionApproved)
    assert decision.exclude == (OTHER.sha256,)


def test_voters_who_leave_nothing_between_them_reject():
    votes = (vote("bob", BOB, exclude=(SOURCE.sha256,)), vote("cleo", CLEO, exclude=(OTHER.sha256,)))
    [decision] = held(TWO, *votes).then_owed(box("decision", 1))
    assert isinstance(decision, DecisionRejected)
    assert decision.via == "quorum"


def test_one_rejection_decides_at_once():
    voted = held(TWO, vote("bob", BOB))
    no = decide_ruling("reject", Ruling(run_id=RUN, by="cleo"), voted.run, at=START, via="api", auth=CLEO)
    assert isinstance(no, Accept)
    assert no.slot == box("decision", 1)
    decided = held(TWO, vote("bob", BOB), (no.slot, no.fact), vote("dan", "key:d"))
    decided.then_owed(box("completed"))


def test_with_four_eyes_and_a_quorum_whoever_asked_is_not_one_of_them():
    both = ApprovalRules(quorum=2, four_eyes=True)
    assert code(approve(held(both), "ann", ANN)) == "four_eyes"
    assert isinstance(approve(held(both), "bob", BOB), Accept)


def test_a_report_is_written_once_enough_have_voted():
    votes = (vote("bob", BOB), vote("cleo", CLEO))
    [decision] = held(TWO, *votes).then_owed(box("decision", 1))
    held(TWO, *votes, (box("decision", 1), decision)).then_owed(SYNTHESIZE.task(1))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (ANY_APPROVAL, "anyone with an approver's key"),
        (TWO, "2 people with an approver's key; "),
        (FOUR_EYES, "one person with an approver's key, but not the requester"),
        (ApprovalRules(quorum=3, four_eyes=True), "3 people with an approver's key, but not the requester"),
    ],
)
def test_who_may_decide_is_said_as_the_hold_demands_it(rules: ApprovalRules, said: str):
    assert said in describe_deciders(held(rules).run)


@pytest.mark.parametrize(
    ("asked_for", "bob", "cleo", "most"),
    [
        (None, None, None, None),
        (0.5, None, None, 0.5),
        (0.5, 2.0, 1.0, 1.0),
        (0.5, 2.0, None, 0.5),
        (None, 2.0, None, 2.0),
    ],
)
def test_a_run_may_cost_what_all_who_decided_allow(
    asked_for: float | None, bob: float | None, cleo: float | None, most: float | None
):
    def allowing(told: Told, max_cost_usd: float | None) -> Told:
        return told[0], msgspec.structs.replace(told[1], max_cost_usd=max_cost_usd)

    slot, request = asked()
    _, opened = hold()
    two = (box("hold", 1), msgspec.structs.replace(opened, quorum=2))
    limited = (slot, msgspec.structs.replace(request, max_cost_usd=asked_for))
    votes = (allowing(vote("bob", BOB), bob), allowing(vote("cleo", CLEO), cleo))
    [decision] = given(limited, planned("a"), found(0), two, *votes).then_owed(box("decision", 1))
    assert isinstance(decision, DecisionApproved)
    assert decision.max_cost_usd == most


def test_a_vote_carries_what_the_run_may_cost():
    take = approve(held(TWO), "bob", BOB, max_cost_usd=1.5)
    assert isinstance(take, Accept)
    assert isinstance(take.fact, VoteCast)
    assert take.fact.max_cost_usd == 1.5


# Settings, policies and messages


@pytest.mark.parametrize("rules", [ANY_APPROVAL, FOUR_EYES, TWO])
def test_a_hold_records_what_it_demands(rules: ApprovalRules):
    story = given(asked(), planned("a"), found(0))
    [(_, opened)] = owed(story.run, START, rules=rules).facts
    assert isinstance(opened, HoldOpened)
    assert (opened.quorum, opened.four_eyes) == (rules.quorum, rules.four_eyes)


@pytest.mark.parametrize("rules", [FOUR_EYES, TWO])
def test_a_request_that_approves_itself_is_refused_or_held_for_people(rules: ApprovalRules):
    held(rules, approval="auto").then_nothing_before(DEADLINE)
    [inbound] = [parse_inbound(message(REQUESTED, {"q": "Why?", "approval": "auto"}))]
    assert code(decide_inbound(inbound, None, Defaults(rules=rules))) == "no_auto"  # type: ignore[arg-type]


def message(subject: str, data: object, seq: int = 9) -> Message:
    return Message(subject, seq, START, msgspec.json.encode(data))


def judged(subject: str, data: object, story: Story, rules: ApprovalRules) -> object:
    inbound = parse_inbound(message(subject, data))
    return decide_inbound(inbound, story.run, Defaults(rules=rules))  # type: ignore[arg-type]


@pytest.mark.parametrize("rules", [FOUR_EYES, TWO])
def test_a_published_approval_counts_only_where_the_operator_trusts_the_names_on_nats(rules: ApprovalRules):
    story, approval = held(rules), {"run_id": RUN, "by": "bob"}
    assert code(judged(APPROVED, approval, story, rules)) == "unidentified"
    trusting = msgspec.structs.replace(rules, trusts_nats=True)
    assert isinstance(judged(APPROVED, approval, story, trusting), Accept)
    assert isinstance(judged(REJECTED, approval, story, rules), Accept)


def test_a_published_vote_that_comes_twice_is_said_already():
    trusting = ApprovalRules(quorum=2, trusts_nats=True)
    take = judged(APPROVED, {"run_id": RUN, "by": "bob"}, held(TWO), trusting)
    assert isinstance(take, Accept)
    story = held(TWO, (take.slot, take.fact))
    assert judged(APPROVED, {"run_id": RUN, "by": "bob"}, story, trusting) == Duplicate()


def test_a_request_says_how_it_came_and_cannot_say_so_itself():
    over_http = parse_inbound(message(ASKED, {"request": {"q": "Why?", "requested_by": "ann"}, "auth": ANN}))
    take = decide_inbound(over_http, None, Defaults())  # type: ignore[arg-type]
    assert isinstance(take, Accept)
    assert isinstance(take.fact, RunAccepted)
    assert (take.fact.requested_by, take.fact.auth) == ("ann", ANN)
    forged = parse_inbound(message(REQUESTED, {"q": "Why?", "requested_by": "ann", "auth": ANN}))
    assert type(forged).__name__ == "RequestRefused"
