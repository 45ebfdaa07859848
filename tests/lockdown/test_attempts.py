"""Forbidden actions of each user, tried with its real key on real servers; each is also tried by a user who may.

A message that NATS does not let through is answered by nobody, which proves little: the store is looked at as well.
"""

from base64 import b64encode
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple

import pytest

from services.cli.lockdown.permissions import WHOAMI
from shared.contracts.subjects import KINDS
from tests.harness.waiting import wait_until
from tests.lockdown.people import NAMES, People

WORKERS = frozenset({"planner", "fetcher", "synthesizer"})
COORDINATOR = frozenset({"coordinator"})
NO_IDENTITY: frozenset[str] = frozenset()
_number = count(1)


class Write(NamedTuple):
    """A subject, and who besides the operator may write it. `{n}` differs each time."""

    subject: str
    may: frozenset[str]
    stream: str = "RESEARCH"


WRITES = [
    Write("research.requested", frozenset({"requester"})),
    Write("research.approved", frozenset({"approver"})),
    Write("research.rejected", frozenset({"approver"})),
    Write("research.cancelled", frozenset({"approver"})),
    Write("research.asked", COORDINATOR),
    Write("research.lead", COORDINATOR),
    Write("research.invalid.{n}", COORDINATOR),
    Write("research.log.truncated.{n}", COORDINATOR),
    Write("research.log.padding", COORDINATOR),
    Write("research.run.w{n}.accepted", COORDINATOR),
    *(Write(f"research.run.w{{n}}.task.{kind}.1.0.1", COORDINATOR) for kind in KINDS),
    Write("research.run.w{n}.plan.1", COORDINATOR | {"planner"}),
    Write("research.run.w{n}.attempt.plan.1.0.1", COORDINATOR | {"planner"}),
    Write("research.run.w{n}.fetch.1.0", COORDINATOR | {"fetcher"}),
    Write("research.run.w{n}.attempt.fetch.1.0.1", COORDINATOR | {"fetcher"}),
    Write("research.run.w{n}.synthesis.1", COORDINATOR | {"synthesizer"}),
    Write("research.run.w{n}.attempt.synthesize.1.0.1", COORDINATOR | {"synthesizer"}),
    Write("research.run.w{n}.hold.1", COORDINATOR),
    Write("research.run.w{n}.extension.1.1", COORDINATOR),
    Write("research.run.w{n}.vote.1.0123456789abcdef0123456789abcdef", COORDINATOR),
    Write("research.run.w{n}.decision.1", COORDINATOR),
    Write("research.run.w{n}.completed", COORDINATOR),
    Write("research.run.w{n}.plan.1.decision", COORDINATOR),
    Write("evidence.{n}.0", COORDINATOR | WORKERS, "EVIDENCE"),
    Write("delivery.ops.w{n}.ended.asked.1", COORDINATOR | {"notifier"}, "DELIVERIES"),
    Write("delivery.ops.w{n}.ended.asked.2", COORDINATOR, "DELIVERIES"),
    Write("delivery.ops.w{n}.ended.tried.1.1", frozenset({"notifier"}), "DELIVERIES"),
    Write("access.secret", COORDINATOR, "ACCESS"),
    Write("access.key.k{n}.created", NO_IDENTITY, "ACCESS"),
    Write("access.key.k{n}.revoked", NO_IDENTITY, "ACCESS"),
]


def fresh(subject: str) -> tuple[str, bytes]:
    """A subject and content that are used once."""
    n = next(_number)
    return subject.format(n=n), f'{{"forged": {n}}}'.encode()


def holds(people: People, write: Write, subject: str, content: bytes) -> bool:
    """Return True if the store has this content under the subject."""
    found = people.stored(subject, write.stream)
    return found is not None and found.get("data") == encoded(content)


def encoded(content: bytes) -> str:
    """The content as the API of streams shows it."""
    return b64encode(content).decode()


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.subject)
def test_a_subject_is_written_by_those_who_may_and_by_nobody_else(people: People, write: Write):
    wrote = set[str]()
    for who in NAMES:
        subject, content = fresh(write.subject)
        answer = people.say(who, subject, content)
        assert answer.stored == holds(people, write, subject, content)
        assert answer.stored != answer.denied, (who, answer)
        if answer.stored:
            wrote.add(who)
    assert wrote == write.may | {"operator"}


# By the way of an answer

ASKS: dict[str, list[tuple[str, Any]]] = {
    "coordinator": [("$JS.API.STREAM.INFO.RESEARCH", b""), ("research.run.own{n}.plan.1", b"own")],
    "planner": [
        ("research.run.own{n}.plan.1", b"own"),
        ("$JS.API.DIRECT.GET.RESEARCH.research.run.bait.plan.1", b""),
        ("$JS.API.CONSUMER.MSG.NEXT.RESEARCH.plan", {"batch": 1, "no_wait": True}),
        ("$JS.API.CONSUMER.INFO.RESEARCH.plan", b""),
        ("$JS.API.DIRECT.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}),
        ("$JS.API.STREAM.MSG.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}),
        ("$SYS.REQ.USER.INFO", b""),
    ],
    "fetcher": [
        ("research.run.own{n}.fetch.1.0", b"own"),
        ("$JS.API.DIRECT.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}),
    ],
    "synthesizer": [
        ("research.run.own{n}.synthesis.1", b"own"),
        ("$JS.API.DIRECT.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}),
    ],
    "notifier": [
        ("$JS.API.STREAM.MSG.GET.RESEARCH", {"last_by_subj": "research.run.bait.plan.1"}),
        ("$JS.API.DIRECT.GET.DELIVERIES", {"last_by_subj": "delivery.>"}),
        ("$JS.API.CONSUMER.MSG.NEXT.DELIVERIES.tell-ops", {"batch": 1, "no_wait": True}),
    ],
    "requester": [("research.requested", b"{}")],
    "approver": [("research.approved", b"{}")],
    "subscriber": [
        ("$JS.API.CONSUMER.MSG.NEXT.COMPLETIONS.subscriber", {"batch": 1, "no_wait": True}),
        ("$JS.API.DIRECT.GET.RESEARCH.research.run.bait.completed", b""),
    ],
}
FORBIDDEN = {
    "research.approved": {"approver"},
    "research.run.v{n}.decision.1": {"coordinator"},
    "research.run.v{n}.hold.1": {"coordinator"},
    "access.key.v{n}.created": set[str](),
}
"""Target of the smuggled content, and the users who may write there directly."""
FORGED = b'{"run_id": "bait", "by": "mallory"}'


@pytest.fixture(scope="module")
def bait(people: People) -> People:
    """Content where those who may write something may have put it, to be carried elsewhere."""
    people.say("planner", "research.run.bait.plan.1", FORGED)
    people.say("fetcher", "evidence.bait.0", FORGED)
    people.say("coordinator", "research.run.bait.completed", FORGED)
    people.say("coordinator", "research.run.bait.task.plan.1.0.1", FORGED)
    people.say("notifier", "delivery.ops.bait.ended.asked.1", FORGED)
    return people


@pytest.mark.parametrize("who", ASKS)
def test_no_answer_can_be_had_sent_to_where_its_asker_may_not_write(bait: People, who: str):
    before = {stream: bait.state(stream)["messages"] for stream in ("RESEARCH", "ACCESS")}
    targets = [target for target in FORBIDDEN if who not in FORBIDDEN[target]]
    own = 0
    for subject, data in ASKS[who]:
        for target in targets:
            n = str(next(_number))
            bait.say(who, subject.replace("{n}", n), data, reply=target.replace("{n}", n))
            own += subject.startswith("research.")
    sent_by_the_operator(bait)
    after = {stream: bait.state(stream)["messages"] for stream in ("RESEARCH", "ACCESS")}
    assert after == {"RESEARCH": before["RESEARCH"] + own + 1, "ACCESS": before["ACCESS"]}


def sent_by_the_operator(people: People) -> None:
    """The control: NATS sends answers to any reply subject for users of the store's own account."""
    target = f"research.run.v{next(_number)}.hold.1"
    question = {"last_by_subj": "research.run.bait.plan.1"}
    people.say("operator", "$JS.API.DIRECT.GET.RESEARCH", question, reply=target)
    assert wait_until(lambda: people.stored(target))["data"] == encoded(FORGED)


# By headers

OWN = {
    "planner": "research.run.own{n}.plan.1",
    "fetcher": "research.run.own{n}.fetch.1.0",
    "synthesizer": "research.run.own{n}.synthesis.1",
    "notifier": "delivery.ops.own{n}.ended.asked.1",
    "requester": "research.requested",
    "approver": "research.approved",
}
TARGET = "research.run.h{n}.decision.1"
REFUSED_HEADERS = {
    "rollup-all": {"Nats-Rollup": "all"},
    "rollup-sub": {"Nats-Rollup": "sub"},
    "schedule": {"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": TARGET},
    "schedule-next": {"Nats-Scheduler": TARGET, "Nats-Schedule-Next": "purge"},
    "ttl": {"Nats-TTL": "1s"},
    "counter": {"Nats-Incr": "+1"},
    "marker": {"Nats-Marker-Reason": "Purge", "Nats-TTL": "1s"},
}
HARMLESS_HEADERS = {
    "msg-id": {"Nats-Msg-Id": "h{n}"},
    "subject-of-the-guard": {
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Last-Subject-Sequence-Subject": TARGET,
    },
    "subject": {"Nats-Subject": TARGET, "Nats-Stream": "RESEARCH", "Nats-Sequence": "1"},
    "request-info": {"Nats-Request-Info": '{"acc":"DOSSIER","svc":"DOSSIER"}'},
}


def filled(headers: dict[str, str], n: int) -> dict[str, str]:
    return {name: value.replace("{n}", str(n)) for name, value in headers.items()}


@pytest.mark.parametrize("headers", REFUSED_HEADERS)
@pytest.mark.parametrize("who", OWN)
def test_a_header_that_would_reach_beyond_its_subject_is_refused(people: People, who: str, headers: str):
    n = next(_number)
    state = people.state("RESEARCH")
    answer = people.say(who, OWN[who].format(n=n), b"x", filled(REFUSED_HEADERS[headers], n))
    assert people.stored(TARGET.format(n=n)) is None
    after = people.state("RESEARCH")
    assert (after["first_seq"], after.get("num_deleted", 0)) == (state["first_seq"], state.get("num_deleted", 0))
    assert not answer.stored or headers == "schedule-next", answer


@pytest.mark.parametrize("headers", HARMLESS_HEADERS)
@pytest.mark.parametrize("who", OWN)
def test_no_other_header_makes_a_message_land_elsewhere(people: People, who: str, headers: str):
    n = next(_number)
    people.say(who, OWN[who].format(n=n), b"x", filled(HARMLESS_HEADERS[headers], n))
    assert people.stored(TARGET.format(n=n)) is None


@pytest.mark.parametrize("who", OWN)
def test_the_way_of_a_message_is_not_traced_to_where_its_sender_may_not_write(people: People, who: str):
    n = next(_number)
    answer = people.say(who, OWN[who].format(n=n), b"x", {"Nats-Trace-Dest": TARGET.format(n=n)})
    assert answer.denied
    assert people.stored(TARGET.format(n=n)) is None


@pytest.mark.parametrize("who", ["planner", "fetcher", "synthesizer"])
def test_a_batch_takes_in_nothing_that_its_sender_may_not_write(people: People, who: str):
    n = next(_number)
    batch = {"Nats-Batch-Id": f"b{n}"}
    people.say(who, OWN[who].format(n=n), b"x", batch | {"Nats-Batch-Sequence": "1"})
    assert people.say(who, TARGET.format(n=n), b"x", batch | {"Nats-Batch-Sequence": "2"}).denied
    last = OWN[who].format(n=f"{n}b")
    committed = people.say(who, last, b"x", batch | {"Nats-Batch-Sequence": "2", "Nats-Batch-Commit": "1"})
    assert committed.stored, "the control: what it may write is taken"
    assert people.stored(TARGET.format(n=n)) is None


def test_frozen_text_is_not_written_over_by_whoever_leaves_out_the_guard(people: People):
    subject = f"evidence.{sha256(b'text').hexdigest()}.0"
    assert people.say("fetcher", subject, b"text").stored
    for who in (*sorted(WORKERS), "coordinator"):
        assert not people.say(who, subject, b"another").stored
    found = people.stored(subject, "EVIDENCE")
    assert found
    assert found["data"] == encoded(b"text")


# JetStream's API


class Call(NamedTuple):
    """A call that changes or reads, and who besides the operator may make it."""

    call: str
    body: object = b""
    may: frozenset[str] = NO_IDENTITY


def consumer(name: str, **more: object) -> dict[str, object]:
    return {"stream_name": "RESEARCH", "config": {"name": name, "ack_policy": "none", **more}}


CALLS = [
    Call("STREAM.PURGE.RESEARCH", {"filter": "research.run.none.>"}),
    Call("STREAM.PURGE.ACCESS", {"filter": "access.key.none.created"}),
    Call("STREAM.MSG.DELETE.RESEARCH", {"seq": 1, "no_erase": True}),
    Call("STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["other"]}),
    Call("STREAM.UPDATE.OTHER", {"name": "OTHER", "subjects": ["other"], "allow_rollup_hdrs": True}),
    Call("STREAM.DELETE.OTHER"),
    Call("STREAM.SNAPSHOT.RESEARCH", {"deliver_subject": "snapshot", "no_consumers": True}),
    Call("STREAM.LEADER.STEPDOWN.COMPLETIONS"),
    Call("STREAM.NAMES"),
    Call("STREAM.INFO.RESEARCH", {"subjects_filter": "research.run.*.accepted"}, COORDINATOR),
    Call("STREAM.INFO.EVIDENCE"),
    Call("STREAM.MSG.GET.RESEARCH", {"last_by_subj": "research.run.bait.plan.1"}, COORDINATOR | {"notifier"}),
    Call("STREAM.MSG.GET.ACCESS", {"last_by_subj": "access.>"}, COORDINATOR),
    Call("STREAM.MSG.GET.COMPLETIONS", {"last_by_subj": "research.completed"}),
    Call("STREAM.MSG.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}, COORDINATOR | WORKERS),
    Call("STREAM.MSG.GET.DELIVERIES", {"last_by_subj": "delivery.>"}, COORDINATOR | {"notifier"}),
    Call("DIRECT.GET.RESEARCH", {"last_by_subj": "research.run.bait.plan.1"}, COORDINATOR),
    Call("DIRECT.GET.ACCESS", {"last_by_subj": "access.secret"}, COORDINATOR),
    Call("DIRECT.GET.COMPLETIONS", {"last_by_subj": "research.completed"}),
    Call("DIRECT.GET.EVIDENCE", {"last_by_subj": "evidence.bait.0"}, COORDINATOR | WORKERS),
    Call("DIRECT.GET.DELIVERIES", {"last_by_subj": "delivery.>"}, COORDINATOR | {"notifier"}),
    Call("DIRECT.GET.RESEARCH.research.run.bait.plan.1", b"", COORDINATOR | {"planner"}),
    Call("DIRECT.GET.RESEARCH.research.run.*.plan.1", b"", COORDINATOR | {"planner"}),
    Call("DIRECT.GET.RESEARCH.research.run.bait.task.plan.1.0.1", b"", COORDINATOR),
    Call("DIRECT.GET.RESEARCH.research.run.bait.completed", b"", COORDINATOR | WORKERS | {"subscriber"}),
    Call("DIRECT.GET.RESEARCH.research.run.bait.>", b"", COORDINATOR),
    Call("DIRECT.GET.RESEARCH.research.>", b"", COORDINATOR),
    Call("DIRECT.GET.RESEARCH.research.requested", b"", COORDINATOR),
    Call("DIRECT.GET.EVIDENCE.evidence.bait.0"),
    Call("CONSUMER.CREATE.RESEARCH.spy", consumer("spy"), COORDINATOR),
    Call("CONSUMER.CREATE.COMPLETIONS.spy", consumer("spy") | {"stream_name": "COMPLETIONS"}),
    Call("CONSUMER.CREATE.DELIVERIES.spy", consumer("spy") | {"stream_name": "DELIVERIES"}),
    Call("CONSUMER.CREATE.EVIDENCE.spy", consumer("spy") | {"stream_name": "EVIDENCE"}),
    Call(
        "CONSUMER.CREATE.DELIVERIES.push",
        consumer("push", deliver_subject="research.approved") | {"stream_name": "DELIVERIES"},
    ),
    Call("CONSUMER.PAUSE.RESEARCH.plan", {"pause_until": "2020-01-01T00:00:00Z"}),
    Call("CONSUMER.LEADER.STEPDOWN.RESEARCH.synthesize"),
    Call("CONSUMER.NAMES.RESEARCH"),
    Call("CONSUMER.INFO.RESEARCH.plan", b"", COORDINATOR | {"planner"}),
    Call("CONSUMER.INFO.RESEARCH.fetch", b"", COORDINATOR | {"fetcher"}),
    Call("CONSUMER.INFO.RESEARCH.notices", b"", COORDINATOR | {"notifier"}),
    Call("CONSUMER.INFO.COMPLETIONS.subscriber", b"", frozenset({"subscriber"})),
    Call("CONSUMER.INFO.DELIVERIES.tell-ops", b"", frozenset({"notifier"})),
    Call("CONSUMER.DELETE.COMPLETIONS.spy"),
    Call("INFO", b"", COORDINATOR),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.call)
def test_jetstream_does_it_for_those_who_may_ask_and_for_nobody_else(bait: People, call: Call):
    may = call.may | {"operator"}
    for who in NAMES:
        answer = bait.say(who, f"$JS.API.{call.call}", call.body)
        assert answer.denied == (who not in may), (who, answer)
        assert answer.data is None or who in may
    assert answer.done, ("the operator", answer)


@pytest.mark.parametrize(
    "call",
    [
        "STREAM.LIST",
        "STREAM.RESTORE.RESTORED",
        "STREAM.PEER.REMOVE.COMPLETIONS",
        "CONSUMER.LIST.RESEARCH",
        "CONSUMER.RESET.RESEARCH.plan",
        "CONSUMER.UNPIN.RESEARCH.plan",
        "META.LEADER.STEPDOWN",
        "SERVER.REMOVE",
        "ACCOUNT.PURGE.DOSSIER",
        "ACCOUNT.STREAM.MOVE.DOSSIER.RESEARCH",
    ],
)
def test_what_is_slow_or_ruinous_to_try_as_the_operator_is_let_through_from_nobody_else(people: People, call: str):
    for who in set(NAMES) - {"operator"}:
        assert people.say(who, f"$JS.API.{call}").denied, who


@pytest.mark.parametrize(
    "body",
    [
        {"multi_last": ["research.>"], "batch": 10},
        {"seq": 1, "next_by_subj": "research.>", "batch": 10},
        {"seq": 1},
        {"last_by_subj": "research.run.bait.completed"},
    ],
    ids=["multi_last", "next_by_subj", "seq", "last_by_subj"],
)
def test_what_is_asked_for_in_the_subject_is_not_widened_by_the_body(bait: People, body: dict[str, object]):
    subject = "$JS.API.DIRECT.GET.RESEARCH.research.run.bait.plan.1"
    assert bait.say("planner", subject).data == FORGED, "the control: without a body it is read"
    answer = bait.say("planner", subject, body)
    assert (answer.data, answer.headers.get("Status")) == (b"", "408")


@pytest.mark.parametrize("where", ["research.run.>.plan.1", "research.run.>.completed"])
def test_a_wildcard_in_what_is_asked_for_leads_no_further_than_its_own_box(bait: People, where: str):
    answer = bait.say("planner", f"$JS.API.DIRECT.GET.RESEARCH.{where}")
    assert (answer.data, answer.headers.get("Status")) == (b"", "404")


# Others' work

OWNERS = {
    ("RESEARCH", "plan"): "planner",
    ("RESEARCH", "fetch"): "fetcher",
    ("RESEARCH", "synthesize"): "synthesizer",
    ("RESEARCH", "lead"): "coordinator",
    ("RESEARCH", "notices"): "notifier",
    ("DELIVERIES", "tell-ops"): "notifier",
    ("COMPLETIONS", "subscriber"): "subscriber",
}
FEEDS = {
    "plan": "research.run.o{n}.task.plan.1.0.1",
    "fetch": "research.run.o{n}.task.fetch.1.0.1",
    "synthesize": "research.run.o{n}.task.synthesize.1.0.1",
    "lead": "research.lead",
    "notices": "research.run.o{n}.hold.1",
    "tell-ops": "delivery.ops.o{n}.ended.asked.1",
    "subscriber": "research.run.o{n}.completed",
}


@pytest.mark.parametrize(("stream", "name"), OWNERS, ids=lambda part: part)
def test_nobody_takes_or_acknowledges_what_is_anothers_to_do(people: People, stream: str, name: str):
    owner = OWNERS[stream, name]
    people.say("coordinator", FEEDS[name].format(n=next(_number)))
    wait_until(lambda: people.info(stream, name)["num_pending"] > 0)
    handed = people.info(stream, name)["delivered"]["consumer_seq"]
    may_take = {owner, "operator"} | (COORDINATOR if stream == "RESEARCH" else NO_IDENTITY)
    for who in set(NAMES) - may_take:
        assert people.say(who, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", {"batch": 1}).denied, who
    reply = people.take(owner, stream, name)
    assert people.info(stream, name)["delivered"]["consumer_seq"] == handed + 1, "its owner alone has taken it"
    unacknowledged = people.info(stream, name)["num_ack_pending"]
    for who in set(NAMES) - {owner, "operator"}:
        for word in (b"+ACK", b"+TERM", b"-NAK"):
            assert people.say(who, reply, word).denied, (who, word)
    assert people.info(stream, name)["num_ack_pending"] == unacknowledged
    assert people.say(owner, reply, b"+ACK").data is not None
    assert people.info(stream, name)["num_ack_pending"] == unacknowledged - 1, "its owner has acknowledged it"


@pytest.mark.parametrize("who", ["planner", "subscriber", "notifier"])
def test_no_acknowledgement_of_anothers_work_is_dressed_up_as_ones_own(people: People, who: str):
    """The newer form of an ack has a stream and a consumer where the older has numbers."""
    stream, name = next(owned for owned, owner in OWNERS.items() if owner == who)
    for others in ("DELIVERIES.tell-ops", "RESEARCH.fetch", "RESEARCH.lead"):
        if who != "notifier" or others.startswith("RESEARCH"):
            assert people.say(who, f"$JS.ACK.{others}.{stream}.{name}.1.1.1.0").denied


# Subscriptions

HEARD = {
    "research.completed": frozenset({"subscriber"}),
    "research.invalid.*": frozenset({"subscriber"}),
    "live.*.cancelled": WORKERS,
    "research.run.*.hold.*": NO_IDENTITY,
    "research.requested": NO_IDENTITY,
    "evidence.>": NO_IDENTITY,
    "access.>": NO_IDENTITY,
    ">": NO_IDENTITY,
}


@pytest.mark.parametrize("pattern", HEARD)
@pytest.mark.parametrize("who", [name for name in NAMES if name != "operator"])
def test_what_goes_by_is_heard_by_whom_it_is_for(people: People, who: str, pattern: str):
    n = next(_number)
    may = who in HEARD[pattern]
    with people.listening(who, pattern) as heard, people.listening("operator", pattern) as control:
        for speaker in ("operator", "coordinator"):
            subjects = (f"live.{speaker}.cancelled", f"research.run.g{n}.hold.1", f"research.invalid.{n}")
            for subject in (*subjects, f"research.run.g{n}{speaker}.completed"):
                people.say(speaker, subject, reply="nowhere")
        for subject in ("research.requested", f"evidence.g{n}.0", f"access.key.g{n}.revoked"):
            people.say("operator", subject, reply="nowhere")
        wait_until(lambda: control and (heard or not may))
    assert bool(heard) == may


@pytest.mark.parametrize("who", [name for name in NAMES if name != "coordinator"])
def test_nobody_hears_what_another_is_answered(people: People, who: str):
    with people.listening(who, "_INBOX.>") as heard:
        people.say("coordinator", "$JS.API.STREAM.INFO.RESEARCH", reply="_INBOX.of.the.coordinator")
        people.say(who, WHOAMI, reply="_INBOX.the.control")
        wait_until(lambda: "_INBOX.the.control" in heard)
    assert "_INBOX.of.the.coordinator" not in heard


@pytest.mark.parametrize("who", [name for name in NAMES if name not in ("operator", "coordinator")])
def test_nobody_makes_others_hear_of_an_end_or_a_cancel_that_never_was(people: People, who: str):
    n = next(_number)
    with (
        people.listening("subscriber", "research.completed") as ends,
        people.listening("subscriber", "research.invalid.*") as refusals,
        people.listening("planner", "live.*.cancelled") as cancels,
    ):
        for subject in ("research.completed", f"research.invalid.{n}", f"live.f{n}.cancelled"):
            people.say(who, subject, b"forged", reply="nowhere")
        for subject in (f"research.run.f{n}.completed", f"research.invalid.{n}", f"live.f{n}.cancelled"):
            people.say("coordinator", subject, reply="nowhere")
        wait_until(lambda: ends and refusals and cancels)
    assert (len(ends), len(refusals), len(cancels)) == (1, 1, 1), "the control is the coordinator, whom they hear"
