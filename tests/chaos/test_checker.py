"""The checker sees what is wrong: each log here is a good one with one thing done to it."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.chaos.checker import Findings, check, check_server
from tests.chaos.deadlines import expired_early
from tests.chaos.stored import Json, Stored, frozen, runs_of
from tests.harness.server import NatsServer

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
Log = list[Stored]

TEXT = "Because it is so."
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()


def event(kind: str, **data: Any) -> bytes:
    return json.dumps({"type": f"{kind}.v1", "data": data}).encode()


def report(sha256: str, quote: str, start: int) -> Json:
    citation = {"sha256": sha256, "quote": quote, "start": start}
    return {"sections": [{"claims": [{"text": "So it is.", "citations": [citation]}]}]}


def good() -> Log:
    """One run, from request to report, and one message that was refused."""
    evidence = [
        ("accepted", event("run.accepted", q="Why?", request_seq=1)),
        ("plan.1", event("plan.made", queries=["how"])),
        ("fetch.1.0", event("fetch.found", query="how", sources=[{"sha256": SHA256}])),
    ]
    lines = sorted(f"research.run.a.{slot} {hashlib.sha256(data).hexdigest()}\n" for slot, data in evidence)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    told: list[tuple[str, bytes]] = [
        ("research.requested", b'{"q": "Why?", "run_id": "a"}'),
        ("research.run.a.accepted", evidence[0][1]),
        ("research.run.a.task.plan.1.0.1", event("task.issued")),
        ("research.run.a.plan.1", evidence[1][1]),
        ("research.run.a.task.fetch.1.0.1", event("task.issued")),
        ("research.run.a.fetch.1.0", evidence[2][1]),
        ("research.run.a.hold.1", event("hold.opened", digest=digest)),
        ("research.approved", b'{"run_id": "a", "by": "ann"}'),
        ("research.run.a.decision.1", event("decision.approved", message_seq=8)),
        ("research.run.a.task.synthesize.1.0.1", event("task.issued")),
        ("research.run.a.synthesis.1", event("synthesis.written", report=report(SHA256, "it is so", 8))),
        ("research.run.a.completed", event("run.completed", run_id="a", ok=True, outcome="reported", report="#")),
        ("research.rejected", b'{"run_id": "a", "by": "bob"}'),
        ("research.invalid.13", event("request.refused", seq=13)),
    ]
    return [Stored(subject, n, BEGAN + timedelta(seconds=n), data) for n, (subject, data) in enumerate(told, 1)]


def without(subject: str) -> Callable[[Log], Log]:
    return lambda log: [message for message in log if message.subject != subject]


def twice(subject: str) -> Callable[[Log], Log]:
    def done(log: Log) -> Log:
        return [*log, *(message._replace(seq=99) for message in log if message.subject == subject)]

    return done


def saying(subject: str, data: bytes) -> Callable[[Log], Log]:
    return lambda log: [message._replace(data=data) if message.subject == subject else message for message in log]


def later(subject: str) -> Callable[[Log], Log]:
    return lambda log: [message._replace(seq=99) if message.subject == subject else message for message in log]


def judged(log: Log) -> tuple[Json, Findings]:
    completions = [message for message in log if message.subject == "research.run.a.completed"]
    return check(log, completions[:1], acknowledged=["a"], texts={SHA256: TEXT})


def test_a_good_log_is_good():
    line, found = judged(good())
    assert found.ok, found.wrong
    assert (line["acknowledged"], line["completed"], line["refused"], line["lost"]) == (1, 1, 1, 0)


def expired(at_s: float, *extended: tuple[float, float]) -> list[str]:
    """What is found of a hold until 10 s that expires then; each extension is stored at a time, until another."""
    told = [("hold.1", 0.0, event("hold.opened", deadline=(BEGAN + timedelta(seconds=10)).isoformat()))]
    for number, (stored_s, until_s) in enumerate(extended, 1):
        until = (BEGAN + timedelta(seconds=until_s)).isoformat()
        told.append((f"extension.1.{number}", stored_s, event("hold.extended", deadline=until)))
    told.append(("decision.1", at_s, event("decision.expired")))
    log = [
        Stored(f"research.run.a.{slot}", seq, BEGAN + timedelta(seconds=at), data)
        for seq, (slot, at, data) in enumerate(told, 1)
    ]
    return list(expired_early(runs_of(log)["a"]))


def test_a_hold_that_expires_before_its_last_deadline_is_seen():
    assert expired(9.9)
    assert not expired(10.0)
    assert expired(10.0, (9.9, 20))
    assert not expired(10.0, (10.0, 20))
    assert expired(20.0, (5, 20), (19.9, 30))
    assert not expired(20.0, (5, 20), (20.0, 30))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (without("research.run.a.completed"), "lost"),
        (twice("research.run.a.completed"), "completed_twice"),
        (twice("research.run.a.fetch.1.0"), "outcomes_twice"),
        (twice("research.run.a.task.plan.1.0.1"), "outcomes_twice"),
        (twice("research.run.a.decision.1"), "decisions_twice"),
        (without("research.run.a.accepted"), "wrong"),
        (without("research.run.a.task.fetch.1.0.1"), "wrong"),
        (without("research.run.a.decision.1"), "wrong"),
        (without("research.invalid.13"), "wrong"),
        (twice("research.invalid.13"), "wrong"),
        (later("research.run.a.decision.1"), "wrong"),
        (saying("research.run.a.fetch.1.0", event("fetch.found", query="forged")), "wrong"),
        (saying("research.run.a.decision.1", event("decision.rejected", message_seq=8)), "wrong"),
        (saying("research.run.a.synthesis.1", event("synthesis.written", report=report(SHA256, "so", 0))), "wrong"),
        (saying("research.run.a.synthesis.1", event("synthesis.written", report=report("0" * 64, "it", 8))), "wrong"),
        (saying("research.run.a.completed", event("run.completed", run_id="a", ok=False, outcome="expired")), "wrong"),
        (saying("research.run.a.completed", event("run.completed", run_id="b", ok=True, outcome="reported")), "wrong"),
    ],
)
def test_one_thing_wrong_is_seen(harm: Callable[[Log], Log], what: str):
    line, found = judged(harm(good()))
    assert line[what] == len(getattr(found, what)) > 0, line


def forked(*, sources: list[Json] | None = None, origin: str = "fetch.1.0", reuses: str = "fetch.1.0") -> list[str]:
    """What is wrong with the good log and a run that took plan and fetch over from it."""
    fork = {
        "run_id": "a",
        "from": "synthesize",
        "reuses": [{"slot": slot, "origin": slot} for slot in ("plan.1", reuses)],
    }
    copy = {"query": "how", "sources": [{"sha256": SHA256}] if sources is None else sources}
    told = [
        ("research.requested", b'{"run_id": "b", "fork": {"run_id": "a"}}'),
        ("research.run.b.accepted", event("run.accepted", q="Why?", request_seq=15, fork=fork)),
        ("research.run.b.plan.1", event("plan.made", queries=["how"], copied_from="research.run.a.plan.1")),
        ("research.run.b.fetch.1.0", event("fetch.found", copied_from=f"research.run.a.{origin}", **copy)),
    ]
    log = [Stored(subject, n, BEGAN + timedelta(seconds=n), data) for n, (subject, data) in enumerate(told, 15)]
    return judged([*good(), *log])[1].wrong


def test_a_fork_may_have_what_it_took_over_and_nothing_else():
    assert forked() == []
    assert forked(sources=[]) == ["b.fetch.1.0 is not what research.run.a.fetch.1.0 says"]
    assert "b.fetch.1.0 is not what research.run.a.fetch.1.1 says" in forked(origin="fetch.1.1")
    assert "b.fetch.1.0 was never asked for" in forked(reuses="fetch.1.1")


def test_what_was_said_in_a_model_call_and_is_not_frozen_is_seen():
    def paying(reply: str) -> Log:
        calls = [{"prompt_sha256": SHA256, "reply_sha256": reply}, {"prompt_sha256": "", "reply_sha256": ""}]
        plan = event("plan.made", queries=["how"], calls=calls)
        return saying("research.run.a.plan.1", plan)(good())

    def wrong(reply: str) -> list[str]:
        return [what for what in judged(paying(reply))[1].wrong if "model call" in what]

    assert wrong(SHA256) == []
    assert wrong("f" * 64) == [f"a.plan.1 names {'f' * 64} as said in a model call, which is not frozen"]


def test_a_text_that_was_found_and_is_not_frozen_is_seen():
    _, found = check(good(), [], acknowledged=[], texts={})
    assert any("is not frozen" in wrong for wrong in found.wrong)


def test_a_text_of_which_a_chunk_is_missing_or_another_is_not_there():
    data = TEXT.encode()
    chunks = [Stored(f"evidence.{SHA256}.{n}", n + 1, BEGAN, part) for n, part in enumerate((data[:5], data[5:]))]
    assert frozen(chunks) == {SHA256: TEXT}
    assert frozen(chunks[:1]) == frozen([chunks[0], chunks[1]._replace(data=b"another")]) == {}


FAILED = saying("research.run.a.completed", event("run.completed", run_id="a", ok=False, outcome="failed", reason="?"))
SENT_BACK = saying("research.run.a.decision.1", event("decision.revised", message_seq=8))


def test_a_run_may_fail_where_nothing_was_found_and_not_where_all_went_well():
    nothing = saying("research.run.a.fetch.1.0", event("fetch.found", query="how", sources=[]))
    assert any("failed without" in what for what in judged(FAILED(good()))[1].wrong)
    assert not any("failed without" in what for what in judged(FAILED(nothing(good())))[1].wrong)


def test_what_was_sent_back_is_not_reported_before_it_is_approved():
    assert any("was reported after" in what for what in judged(SENT_BACK(good()))[1].wrong)


def test_a_request_that_names_its_run_only_in_a_header_may_be_made_again():
    again = Stored("research.requested", 99, BEGAN, b'{"q": "Why?"}')
    log = [*good(), again]
    assert check(log, [])[1].wrong
    assert not check(log, [], named={99: "a"})[1].wrong


def test_a_completion_stored_twice_is_seen():
    [completed] = [message for message in good() if message.subject.endswith(".completed")]
    _, found = check(good(), [completed, completed], acknowledged=["a"])
    assert found.completed_twice == ["a, in COMPLETIONS"]


def test_work_done_again_is_counted_and_so_is_work_on_what_was_there():
    begun = [{"kind": "plan", "about": "Why?", "at": (BEGAN + timedelta(seconds=at)).isoformat()} for at in (3, 4, 9)]
    line, _ = check(good(), [], journal=begun)
    assert (line["performed_again"], line["performed_after_all"]) == (2, 1)


def test_the_longest_stall_is_between_two_ends_while_requests_come():
    log = [Stored("research.requested", n, BEGAN + timedelta(seconds=n), b"{}") for n in (1, 5, 30)]
    log.append(Stored("research.run.a.completed", 40, BEGAN + timedelta(seconds=10), event("run.completed")))
    assert check(log, [])[0]["longest_stall_s"] == 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_real_log_is_read_to_its_end(server: NatsServer):
    async def story() -> tuple[Json, Findings]:
        connection = await nats.connect(server.url)
        js = connection.jetstream()
        await js.add_stream(name="RESEARCH", subjects=["research.>"])
        await js.add_stream(name="COMPLETIONS", subjects=["done"])
        await js.add_stream(name="EVIDENCE", subjects=["evidence.*.*"])
        for message in good():
            await js.publish(message.subject, message.data)
        for _ in range(2_000):
            await js.publish("research.run.b.accepted", good()[1].data)
        await connection.close()
        return await check_server([server.url], acknowledged=["a"])

    line, found = asyncio.run(story())
    assert found.lost == ["a"]
    assert found.outcomes_twice == ["b.accepted"]
    assert line["completed"] == 0
