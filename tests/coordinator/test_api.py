"""The HTTP API over a coordinator that runs: what it takes, what it gives, and how it says no."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import msgspec
import pytest

from services.coordinator.app import application
from services.coordinator.engine.approvals import Approvals
from services.coordinator.http.feed import event_stream
from services.coordinator.http.params import SEQUENCE
from shared.contracts.evidence import Call, Citation, usage_of
from shared.contracts.facts import FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.messages import Fill, Message
from shared.contracts.requests import Ruling
from shared.contracts.subjects import ASKED
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain.budget import WriterPricing
from shared.domain.inbound import Defaults
from shared.domain.roles import local_principal
from shared.errors import Unavailable
from shared.runtime import clock
from shared.runtime.log import Filled, LogCheck
from shared.runtime.memory import MemoryLog
from tests.access.entry import SHOWN, URL, entered
from tests.coordinator.story import OTHER, SOURCE, report
from tests.dossier import Dossier, coordinating, working
from tests.harness.waiting import PATIENCE_S

QUESTION = "What do cats do?"
PROBLEM = "application/problem+json"
MARKDOWN = "# What do cats do?\n"


CALL = Call("planner", "m-planner", "plan.v1", 100, 10, 0.25, 1.5)


class Workers:
    """Perform at once and well, at a price; only fetching waits until it may."""

    def __init__(self) -> None:
        self.performed: list[Task] = []
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()

    async def perform(self, task: Task) -> StepOutcome:
        self.performed.append(task)
        match task:
            case PlanTask(asked=()):
                return PlanMade(queries=("cats", "dogs"), planner="test", calls=(CALL,), usage=usage_of((CALL,)))
            case PlanTask():
                return PlanMade(queries=("wolves",), planner="test")
            case FetchTask(query=query):
                await self.may_fetch.wait()
                return FetchFound(query=query, sources=(SOURCE, OTHER))
            case SynthesizeTask(digest=digest):
                return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))


class User:
    """Somebody with an HTTP client, and a look behind the API."""

    def __init__(self, http: httpx2.AsyncClient, dossier: Dossier, workers: Workers) -> None:
        self.http = http
        self.dossier = dossier
        self.workers = workers

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers=headers)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx2.Response:
        content = None if body is None else msgspec.json.encode(body)
        return await self.http.post(path, content=content, headers={"Content-Type": "application/json", **headers})

    async def held(self, q: str = QUESTION, **more: object) -> str:
        """A run on hold, of this key."""
        run_id = (await self.post("/v1/runs", {"q": q, **more})).json()["run_id"]
        await self.dossier.until(run_id, "hold")
        return run_id

    async def reported(self, q: str = QUESTION) -> str:
        run_id = (await self.post("/v1/runs", {"q": q, "approval": "auto"})).json()["run_id"]
        await self.dossier.until(run_id, "reported")
        return run_id

    async def approve(self, run_id: str, **body: object) -> httpx2.Response:
        return await self.post(f"/v1/runs/{run_id}/approvals", {"decision": "approve", "by": "ada", **body})


Story = Callable[[User], Awaitable[None]]


@asynccontextmanager
async def using(
    data: Path,
    *,
    log: MemoryLog | None = None,
    digest_required: bool = False,
    writer: WriterPricing | None = None,
    rounds: int = 5,
) -> AsyncGenerator[User]:
    """A story over a coordinator, its workers and its API."""
    memory, workers = log or MemoryLog(), Workers()
    performs = dict.fromkeys(("plan", "fetch", "synthesize"), workers.perform)
    defaults = Defaults(digest_required=digest_required, writer=writer, rounds=rounds)
    async with (
        coordinating(memory, data, defaults=defaults) as dossier,
        working(memory, performs),
        entered() as access,
    ):
        app = application(
            memory,
            dossier.coordinator,
            access,
            unready=lambda: memory.trouble or dossier.coordinator.trouble,
        )
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=SHOWN) as http:
            yield User(http, dossier, workers)
            workers.may_fetch.set()


def is_problem(response: httpx2.Response, status: int, code: str, **more: str) -> dict[str, Any]:
    """Problem details, complete and of this content."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:dossier:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert more.items() <= problem.items()
    return problem


# Asking


async def test_a_question_is_taken_and_says_where_its_run_is(tmp_path: Path):
    async with using(tmp_path) as user:
        answer = await user.post("/v1/runs", {"q": QUESTION})
        assert answer.status_code == 202
        body = answer.json()
        assert UUID(body["run_id"]).version == 7
        assert body["location"] == answer.headers["Location"] == f"/v1/runs/{body['run_id']}"
        assert answer.headers[SEQUENCE] == str(body["sequence"])
        assert (await user.dossier.log.at(body["sequence"])).subject == ASKED
        assert (await user.get(body["location"], **{SEQUENCE: answer.headers[SEQUENCE]})).json()["q"] == QUESTION


async def test_all_that_is_asked_for_reaches_the_run(tmp_path: Path):
    async with using(tmp_path) as user:
        asked = {
            "q": QUESTION,
            "approval_timeout": "90m",
            "max_cost_usd": 0.5,
            "tools": ["docs"],
            "requested_by": "ann",
        }
        run_id = await user.held(**asked)
        accepted = msgspec.to_builtins(user.dossier.facts(run_id)["accepted"])
        assert (
            accepted.items()
            >= {
                "approval": "required",
                "approval_timeout_s": 5_400.0,
                "max_cost_usd": 0.5,
                "tools": ("docs",),
                "requested_by": "ann",
            }.items()
        )


@pytest.mark.parametrize("key", ["order-66", "order 66", "r17", "ä", "x" * 200])
async def test_the_same_key_and_content_is_the_same_run(tmp_path: Path, key: str):
    async with using(tmp_path) as user:
        headers = {"Idempotency-Key": key.encode()}
        answers = [await user.http.post("/v1/runs", json={"q": QUESTION}, headers=headers) for _ in range(2)]
        await user.dossier.until(answers[0].json()["run_id"], "hold")
        answers.append(await user.http.post("/v1/runs", json={"q": QUESTION}, headers=headers))
        assert [answer.status_code for answer in answers] == [202, 202, 202]
        assert len({answer.json()["run_id"] for answer in answers}) == 1
        assert answers[2].json()["sequence"] == answers[0].json()["sequence"]
        assert len((await user.get("/v1/runs")).json()["runs"]) == 1
        assert user.dossier.stored("research.invalid") == []


async def test_a_key_that_can_be_a_run_id_is_the_run_id(tmp_path: Path):
    async with using(tmp_path) as user:
        answer = await user.post("/v1/runs", {"q": QUESTION}, **{"Idempotency-Key": "order-66"})
        assert answer.headers["Location"] == "/v1/runs/order-66"


async def test_the_same_key_for_other_content_is_refused(tmp_path: Path):
    async with using(tmp_path) as user:
        key = {"Idempotency-Key": "order-66"}
        await user.post("/v1/runs", {"q": QUESTION}, **key)
        await user.dossier.until("order-66", "hold")
        again = await user.post("/v1/runs", {"q": "And dogs?"}, **key)
        is_problem(again, 422, "idempotency_key_reused", run_id="order-66")
        assert (await user.get("/v1/runs/order-66")).json()["q"] == QUESTION


REFUSED_REQUESTS = [
    ({}, "q"),
    ({"q": ""}, "q"),
    ({"q": "  "}, "q"),
    ({"q": 1}, "q"),
    ({"q": "x" * 8_001}, "q"),
    ({"q": "x", "run_id": "mine"}, "run_id"),
    ({"q": "x", "aproval": "auto"}, "aproval"),
    ({"q": "x", "approval": "maybe"}, "approval"),
    ({"q": "x", "approval_timeout": "soon"}, "approval_timeout"),
    ({"q": "x", "approval_timeout": "367d"}, "approval_timeout"),
    ({"q": "x", "max_cost_usd": 0}, "max_cost_usd"),
    ({"q": "x", "tools": ["a.b"]}, "tools"),
    ({"q": "x", "tools": "docs"}, "tools"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED_REQUESTS)
async def test_a_question_is_refused_by_field(tmp_path: Path, body: object, field: str):
    async with using(tmp_path) as user:
        problem = is_problem(await user.post("/v1/runs", body), 422, "invalid_field", field=field)
        assert problem["detail"].startswith(f"{field}: ")
        assert user.dossier.log.messages[1:] == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"q": "\\ud800"}', b'{"q": "x", "\\ud800": 1}', b'{"q": ' + b"[" * 100_000],
    ids=["empty", "cut", "list", "bytes", "half a character", "half a character as a name", "deep"],
)
async def test_a_body_that_is_no_request_is_the_senders_fault(tmp_path: Path, body: bytes):
    async with using(tmp_path) as user:
        answer = await user.http.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["Content-Type"] == PROBLEM


# Reading


async def test_a_list_is_of_the_newest_first_and_goes_on_where_it_ended(tmp_path: Path):
    async with using(tmp_path) as user:
        ids = [await user.held(f"Question {number}?") for number in range(5)]
        listed: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (await user.get(f"/v1/runs?limit=2{f'&cursor={cursor}' if cursor else ''}")).json()
            assert len(page["runs"]) <= 2
            listed += [one["run_id"] for one in page["runs"]]
            cursor = page["next"]
        assert listed == ids[::-1]


async def test_a_list_can_be_of_some_statuses_and_some_words(tmp_path: Path):
    async with using(tmp_path) as user:
        held = await user.held("100% of cats_and dogs?")
        reported = await user.reported("Plants?")
        rejected = await user.held("Plants, again?")
        await user.approve(rejected, decision="reject")
        await user.dossier.until(rejected, "rejected")

        async def listed(query: str) -> list[str]:
            return [one["run_id"] for one in (await user.get(f"/v1/runs?{query}")).json()["runs"]]

        assert await listed("") == [rejected, reported, held]
        assert await listed("status=hold") == [held]
        assert await listed("status=hold&status=reported") == [reported, held]
        assert await listed("status=cancelled") == []
        assert await listed("text=PLANTS") == [rejected, reported]
        assert await listed("text=Plants&status=reported") == [reported]
        assert await listed(f"text={reported[-12:]}") == [reported]
        assert await listed("text=0%25 of") == [held]
        assert await listed("text=s_a") == [held]
        assert await listed("text=0_ of") == []
        assert await listed("text=%25%25") == []


@pytest.mark.parametrize("query", ["status=done", "limit=0", "limit=201", "cursor=x", "cursor=-1", f"text={'x' * 201}"])
async def test_a_list_of_what_cannot_be_is_refused(tmp_path: Path, query: str):
    async with using(tmp_path) as user:
        is_problem(await user.get(f"/v1/runs?{query}"), 422, "invalid_field", field=query.partition("=")[0])


async def test_a_run_on_hold_shows_what_there_is_to_decide(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held(requested_by="ann")
        shown = (await user.get(f"/v1/runs/{run_id}")).json()
        expected = {"run_id": run_id, "status": "hold", "q": QUESTION, "requested_by": "ann", "round": 1}
        expected |= {"queries": 2, "answered": 2, "failed": 0, "sources": 2, "origins": 2, "plan": ["cats", "dogs"]}
        expected |= {"decision": None, "outcome": None, "ok": None, "completed_at": None, "parked": None}
        assert {name: shown[name] for name in expected} == expected
        assert len(shown["digest"]) == 64
        assert shown["deadline"] > shown["created_at"]
        first = shown["findings"][0]["sources"][0]
        assert (first["sha256"], first["excluded"], first["passages"]) == (
            *(SOURCE.sha256, False),
            [{"text": SOURCE.passages[0].text, "start": 0}],
        )


async def test_the_events_of_a_run_are_its_stored_facts_in_order(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.reported()
        events = (await user.get(f"/v1/runs/{run_id}/events")).json()["events"]
        slots = [event["slot"] for event in events]
        assert slots[:3] == ["accepted", "task.plan.1.0.1", "plan.1"]
        assert slots[-4:] == ["decision.1", "task.synthesize.1.0.1", "synthesis.1", "completed"]
        assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)
        assert (events[0]["type"], events[0]["data"]["q"]) == ("run.accepted.v1", QUESTION)
        later = (await user.get(f"/v1/runs/{run_id}/events", **{"Last-Event-ID": str(events[4]["sequence"])})).json()
        assert later["events"] == events[5:]


def sent(text: str) -> list[dict[str, str]]:
    """Server-sent events, each by its fields; comments left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def test_the_events_of_a_run_come_as_they_happen_until_its_end(tmp_path: Path):
    async with using(tmp_path) as user:
        user.workers.may_fetch.clear()
        run_id = (await user.post("/v1/runs", {"q": QUESTION, "approval": "auto"})).json()["run_id"]
        await user.dossier.until(run_id, "fetching")
        watching = asyncio.create_task(user.get(f"/v1/runs/{run_id}/events", Accept="text/event-stream"))
        await asyncio.sleep(0)
        user.workers.may_fetch.set()
        answer = await watching
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert SEQUENCE in answer.headers
        streamed = [msgspec.json.decode(event["data"]) for event in sent(answer.text)]
        stored = (await user.get(f"/v1/runs/{run_id}/events")).json()["events"]
        assert streamed == stored
        assert [event["id"] for event in sent(answer.text)] == [str(event["sequence"]) for event in stored]
        assert [event["event"] for event in sent(answer.text)] == [event["type"] for event in stored]


async def test_a_reader_that_comes_back_hears_only_what_it_has_not_heard(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        stored = (await user.get(f"/v1/runs/{run_id}/events")).json()["events"]
        last = str(stored[-2]["sequence"])
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
        watching = asyncio.create_task(user.get(f"/v1/runs/{run_id}/events", **headers))
        await asyncio.sleep(0)
        await user.post(f"/v1/runs/{run_id}/cancel")
        events = sent((await watching).text)
        assert events[0]["id"] == str(stored[-1]["sequence"])
        assert [event["event"] for event in events] == ["hold.opened.v1", "run.completed.v1"]


@pytest.mark.parametrize("beyond", [0, 1_000])
async def test_a_reader_that_has_read_the_end_is_answered_at_once_and_need_not_come_back(tmp_path: Path, beyond: int):
    async with using(tmp_path) as user:
        run_id = await user.reported()
        end = (await user.get(f"/v1/runs/{run_id}/events")).json()["events"][-1]["sequence"] + beyond
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(end)}
        async with asyncio.timeout(PATIENCE_S):
            answer = await user.get(f"/v1/runs/{run_id}/events", **headers)
            assert (answer.status_code, answer.text) == (204, "")
            fold = user.dossier.coordinator.fold
            assert [sent async for sent in event_stream(user.dossier.log, fold, run_id, after=end)] == []


async def test_a_report_is_markdown_or_json_as_asked(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.reported()
        text = await user.get(f"/v1/runs/{run_id}/report")
        assert text.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert text.text.startswith(MARKDOWN)
        assert "Cats purr. [1]" in text.text
        whole = (await user.get(f"/v1/runs/{run_id}/report", Accept="application/json")).json()
        assert (whole["run_id"], whole["markdown"]) == (run_id, text.text)
        claim = whole["report"]["sections"][0]["claims"][0]
        assert claim["citations"] == [{"sha256": SOURCE.sha256, "quote": "Cats purr.", "start": 0}]
        assert whole["digest"] == (await user.get(f"/v1/runs/{run_id}")).json()["digest"]


async def test_a_run_without_a_report_says_how_it_stands(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        is_problem(await user.get(f"/v1/runs/{run_id}/report"), 409, "no_report", run_id=run_id, state="hold")
        await user.approve(run_id, decision="reject", comment="Too thin.")
        await user.dossier.until(run_id, "rejected")
        problem = is_problem(await user.get(f"/v1/runs/{run_id}/report"), 409, "no_report", state="rejected")
        assert "Too thin." in problem["detail"]


# Deciding


async def test_an_approval_is_taken_and_the_report_written(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        answer = await user.approve(run_id, comment="Good.", exclude=[OTHER.sha256])
        assert answer.status_code == 200
        shown = answer.json()
        assert (
            shown["decision"].items()
            >= {
                "decision": "approved",
                "by": "ada",
                "via": "api",
                "comment": "Good.",
                "digest": shown["digest"],
            }.items()
        )
        assert [source["excluded"] for source in shown["findings"][0]["sources"]] == [False, True]
        await user.dossier.until(run_id, "reported")


async def test_a_rejection_ends_the_run(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        assert (await user.approve(run_id, decision="reject")).json()["decision"]["decision"] == "rejected"
        await user.dossier.until(run_id, "rejected")


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"', ' "{}" '])
async def test_a_decision_that_names_the_right_digest_is_taken(tmp_path: Path, form: str):
    async with using(tmp_path, digest_required=True) as user:
        run_id = await user.held()
        digest = (await user.get(f"/v1/runs/{run_id}")).json()["digest"]
        body = {"decision": "approve", "by": "ada"}
        answer = await user.post(f"/v1/runs/{run_id}/approvals", body, **{"If-Match": form.format(digest)})
        assert answer.status_code == 200


async def test_a_decision_on_other_evidence_is_refused(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        path, body = f"/v1/runs/{run_id}/approvals", {"decision": "approve"}
        by_header = await user.post(path, body, **{"If-Match": '"e"'})
        is_problem(by_header, 412, "stale_digest", run_id=run_id, state="hold", field="digest")
        is_problem(await user.approve(run_id, digest="e" * 64), 412, "stale_digest")
        await user.dossier.until(run_id, "hold")


async def test_where_digests_are_required_a_decision_without_one_is_refused(tmp_path: Path):
    async with using(tmp_path, digest_required=True) as user:
        run_id = await user.held()
        is_problem(await user.approve(run_id), 428, "digest_required", run_id=run_id, field="digest")


async def test_a_decision_before_the_hold_is_refused_and_leaves_no_trace(tmp_path: Path):
    async with using(tmp_path) as user:
        user.workers.may_fetch.clear()
        run_id = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(run_id, "fetching")
        problem = is_problem(await user.approve(run_id), 409, "not_held", run_id=run_id, state="fetching")
        assert "winner" not in problem
        user.workers.may_fetch.set()
        await user.dossier.until(run_id, "hold")
        assert (await user.approve(run_id)).status_code == 200


async def test_of_many_decisions_at_once_one_is_taken_and_all_others_learn_which(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        answers = await asyncio.gather(*(user.approve(run_id, by=f"user-{number}") for number in range(8)))
        [taken] = [answer for answer in answers if answer.status_code == 200]
        for answer in answers:
            if answer is not taken:
                problem = is_problem(answer, 409, "decided", run_id=run_id)
                assert problem["winner"].startswith(f"approved by {taken.json()['decision']['by']} at ")
        await user.dossier.until(run_id, "reported")


class Forgetful(MemoryLog):
    """A log whose answers to decisions are lost: the writer tries again, and finds its own fact."""

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        if any(".decision." in fill.subject for fill in fills):
            await super().fill(fills, session=session)
        return await super().fill(fills, session=session)


async def test_a_decision_whose_answer_was_lost_is_not_told_that_it_lost_to_itself(tmp_path: Path):
    async with using(tmp_path, log=Forgetful()) as user:
        run_id = await user.held()
        answer = await user.approve(run_id)
        assert answer.status_code == 200
        assert answer.json()["decision"]["by"] == "ada"


async def test_a_decision_over_http_loses_to_an_earlier_one_over_nats(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        await user.dossier.say("reject", run_id)
        await user.dossier.until(run_id, "rejected")
        problem = is_problem(await user.approve(run_id), 409, "decided", run_id=run_id, state="rejected")
        assert problem["winner"].startswith("rejected by ada at ")


async def test_a_decision_is_in_time_by_the_clock_of_the_log_whatever_a_coordinators_own_says(tmp_path: Path):
    log = MemoryLog(now=lambda: clock.now() - timedelta(hours=1))
    performs = dict.fromkeys(("plan", "fetch", "synthesize"), Workers().perform)
    async with coordinating(log, tmp_path, name="leader") as leader, working(log, performs):
        run_id = await leader.ask(QUESTION, approval_timeout="10m")
        await leader.until(run_id, "hold")
        async with coordinating(log, tmp_path, name="follower") as follower:
            await follower.until(run_id, "hold")
            desk = Approvals(log, follower.coordinator, digest_required=False)
            refusal, _ = await desk.submit("approve", Ruling(run_id=run_id, by="ada"), local_principal())
            assert refusal is None


async def test_a_decision_after_the_deadline_is_refused_and_told_that_it_expired(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held(approval_timeout="1s")
        await user.dossier.until(run_id, "expired")
        problem = is_problem(await user.approve(run_id), 409, "decided", run_id=run_id, state="expired")
        assert problem["winner"].startswith("expired by deadline at ")


REFUSED_DECISIONS = [
    ({}, "invalid_field", "decision"),
    ({"decision": "maybe"}, "invalid_field", "decision"),
    ({"decision": "approve", "by": ""}, "invalid_field", "by"),
    ({"decision": "approve", "by": "  "}, "invalid_field", "by"),
    ({"decision": "approve", "comment": "x" * 8_001}, "invalid_field", "comment"),
    ({"decision": "approve", "exclude": "all"}, "invalid_field", "exclude"),
    ({"decision": "approve", "excluded": []}, "invalid_field", "excluded"),
    ({"decision": "approve", "feedback": "No, not enough."}, "invalid_field", "feedback"),
    ({"decision": "reject", "queries_add": ["birds"]}, "invalid_field", "queries_add"),
    ({"decision": "approve", "queries_drop": ["cats"]}, "invalid_field", "queries_drop"),
    ({"decision": "approve", "max_cost_usd": 0}, "invalid_field", "max_cost_usd"),
    ({"decision": "revise"}, "invalid_field", "feedback"),
    ({"decision": "revise", "feedback": "  "}, "invalid_field", "feedback"),
    ({"decision": "revise", "feedback": "x" * 4_001}, "invalid_field", "feedback"),
    ({"decision": "revise", "feedback": "More.", "queries_add": ["?"]}, "invalid_field", "queries_add"),
    ({"decision": "revise", "feedback": "More.", "queries_add": list("abcdef")}, "invalid_field", "queries_add"),
    ({"decision": "revise", "feedback": "More.", "queries_drop": ["wolves"]}, "unknown_query", "queries_drop"),
    ({"decision": "revise", "feedback": "More.", "exclude": ["c" * 64]}, "unknown_source", "exclude"),
    ({"decision": "approve", "exclude": ["c" * 64]}, "unknown_source", "exclude"),
    ({"decision": "approve", "exclude": [SOURCE.sha256, OTHER.sha256]}, "nothing_left", "exclude"),
]


@pytest.mark.parametrize(("body", "code", "field"), REFUSED_DECISIONS)
async def test_a_decision_is_refused_by_field(tmp_path: Path, body: object, code: str, field: str):
    async with using(tmp_path) as user:
        run_id = await user.held()
        is_problem(await user.post(f"/v1/runs/{run_id}/approvals", body), 422, code, field=field)
        await user.dossier.until(run_id, "hold")


# Sending back


async def test_a_revision_is_answered_with_the_next_round_and_keeps_what_was_found(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        body = {"feedback": "No, not enough on birds.", "queries_add": ["birds"], "queries_drop": ["dogs"]}
        answer = await user.approve(run_id, decision="revise", **body)
        assert (answer.status_code, answer.json()["round"]) == (200, 2)
        assert answer.json()["decision"]["decision"] == "revised"
        assert answer.json()["decision"]["comment"] == "No, not enough on birds."
        known = await user.dossier.coordinator.wait_until(
            run_id, 0, lambda run: run.round == 2 and run.status == "hold", within_s=PATIENCE_S
        )
        assert known
        view = (await user.get(f"/v1/runs/{run_id}")).json()
        assert view["plan"] == ["cats", "dogs", "wolves", "birds"]
        shown = [(finding["round"], finding["query"], finding["dropped"]) for finding in view["findings"]]
        assert shown == [(1, "cats", False), (1, "dogs", True), (2, "wolves", False), (2, "birds", False)]
        assert (await user.approve(run_id)).status_code == 200
        await user.dossier.until(run_id, "reported")
        [write] = [task for task in user.workers.performed if isinstance(task, SynthesizeTask)]
        assert [finding.query for finding in write.findings] == ["cats", "wolves", "birds"]


async def test_of_a_revision_and_many_other_decisions_at_once_one_is_taken_and_all_others_learn_which(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        verbs = ["approve", "reject", "revise"] * 3
        said = [{"decision": verb} | ({"feedback": "More."} if verb == "revise" else {}) for verb in verbs]
        answers = await asyncio.gather(*(user.approve(run_id, **body) for body in said))
        [taken] = [answer for answer in answers if answer.status_code == 200]
        won = taken.json()["decision"]["decision"]
        for answer in answers:
            if answer is not taken:
                problem = answer.json()
                assert problem["code"] in ("decided", "not_held"), problem
        facts = user.dossier.facts(run_id)
        assert type(facts["decision.1"]).__name__ == f"Decision{won.title()}"


async def test_the_last_round_is_not_sent_back(tmp_path: Path):
    async with using(tmp_path, rounds=1) as user:
        run_id = await user.held()
        problem = is_problem(
            await user.approve(run_id, decision="revise", feedback="More."), 409, "last_round", run_id=run_id
        )
        assert "approve or reject" in problem["detail"]
        assert (await user.approve(run_id)).status_code == 200


# Cost

WRITER = WriterPricing("m-writer", 6_000, lambda into, out: 0.5)


async def test_a_run_shows_what_it_cost_and_who_and_what_it_may_cost_yet(tmp_path: Path):
    async with using(tmp_path, writer=WRITER) as user:
        view = (await user.get(f"/v1/runs/{await user.held(max_cost_usd=1)}")).json()
        spent = {
            "calls": 1,
            "input_tokens": 100,
            "output_tokens": 10,
            "cost_usd": 0.25,
            "unpriced": 0,
            "estimated": 0,
        }
        assert (view["usage"], view["agents"], view["models"]) == (spent, {"planner": spent}, {"m-planner": spent})
        assert (view["max_cost_usd"], view["over_budget"]) == (1.0, False)
        assert view["estimate"].items() >= {"model": "m-writer", "output_tokens": 6_000, "cost_usd": 0.5}.items()


@pytest.mark.parametrize("approval", ["required", "auto"])
async def test_a_run_at_its_limit_holds_until_an_approval_raises_it(tmp_path: Path, approval: str):
    async with using(tmp_path, writer=WRITER) as user:
        run_id = await user.held(max_cost_usd=0.5, approval=approval)
        assert (await user.get(f"/v1/runs/{run_id}")).json()["over_budget"] is True
        problem = is_problem(await user.approve(run_id), 409, "over_budget", run_id=run_id, field="max_cost_usd")
        assert "max_cost_usd of 0.7500 or more" in problem["detail"]
        assert (await user.approve(run_id, max_cost_usd=0.75)).status_code == 200
        await user.dossier.until(run_id, "reported")
        [write] = [task for task in user.workers.performed if isinstance(task, SynthesizeTask)]
        assert write.budget_usd == 0.5


async def test_a_hold_is_given_more_time_and_shows_who_gave_it(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        before = (await user.get(f"/v1/runs/{run_id}")).json()
        later = datetime.fromisoformat(before["deadline"]) + timedelta(hours=2)
        body = {"deadline": later.isoformat(), "comment": "At lunch.", "by": "ada", "digest": before["digest"]}
        answer = await user.post(f"/v1/runs/{run_id}/extension", body)
        assert answer.status_code == 200
        assert datetime.fromisoformat(answer.json()["deadline"]) == later
        [extension] = answer.json()["extensions"]
        assert (extension["by"], extension["auth"], extension["comment"]) == ("ada", "local", "At lunch.")
        again = await user.post(f"/v1/runs/{run_id}/extension", body)
        assert again.json()["extensions"] == [extension]
        shown = await user.get(f"/v1/runs/{run_id}", **{SEQUENCE: answer.headers[SEQUENCE]})
        assert datetime.fromisoformat(shown.json()["deadline"]) == later
        assert (await user.get("/v1/runs")).json()["runs"][0]["deadline"] == shown.json()["deadline"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_field"),
        ({"deadline": "2999-01-01T00:00:00"}, 422, "invalid_field"),
        ({"deadline": "2h"}, 422, "invalid_field"),
        ({"deadline": "2999-01-01T00:00:00Z"}, 422, "too_long"),
        ({"deadline": "2000-01-01T00:00:00Z"}, 409, "not_later"),
        ({"deadline": "2999-01-01T00:00:00Z", "digest": "0" * 64}, 412, "stale_digest"),
    ],
)
async def test_an_extension_is_refused_by_name(tmp_path: Path, body: Mapping[str, str], status: int, code: str):
    async with using(tmp_path) as user:
        run_id = await user.held()
        answer = await user.post(f"/v1/runs/{run_id}/extension", body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await user.get(f"/v1/runs/{run_id}")).json()["extensions"] == []


async def test_an_extension_after_a_decision_is_told_who_won(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        await user.approve(run_id)
        answer = await user.post(f"/v1/runs/{run_id}/extension", {"deadline": "2999-01-01T00:00:00Z"})
        assert (answer.status_code, answer.json()["code"]) == (409, "decided")
        assert answer.json()["winner"].startswith("approved by ada")


@pytest.mark.parametrize("body", [None, {}, {"by": "ada", "comment": "Not now."}])
async def test_a_cancel_ends_the_run_at_once(tmp_path: Path, body: Mapping[str, str] | None):
    async with using(tmp_path) as user:
        user.workers.may_fetch.clear()
        run_id = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(run_id, "fetching")
        answer = await user.post(f"/v1/runs/{run_id}/cancel", body)
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["status"], shown["ok"]) == ("cancelled", False)
        assert shown["reason"] == (body or {}).get("comment", "Cancelled by local.")
        again = await user.post(f"/v1/runs/{run_id}/cancel")
        problem = is_problem(again, 409, "decided", state="cancelled")
        assert problem["winner"].startswith("cancelled by ")


async def test_a_cancel_after_the_report_is_told_who_won(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.reported()
        problem = is_problem(await user.post(f"/v1/runs/{run_id}/cancel"), 409, "decided", state="reported")
        assert problem["winner"].startswith("approved by auto at ")


# Saying no

NOBODY = "/v1/runs/nobody"
ERRORS = {
    "no such route": ("GET", "/v1/nothing", None, 404, "not_found"),
    "no such method": ("DELETE", "/v1/runs", None, 405, "method_not_allowed"),
    "show": ("GET", NOBODY, None, 404, "unknown_run"),
    "events": ("GET", f"{NOBODY}/events", None, 404, "unknown_run"),
    "report": ("GET", f"{NOBODY}/report", None, 404, "unknown_run"),
    "approval": ("POST", f"{NOBODY}/approvals", {"decision": "approve"}, 404, "unknown_run"),
    "cancel": ("POST", f"{NOBODY}/cancel", None, 404, "unknown_run"),
    "no id": ("GET", "/v1/runs/a.b", None, 422, "invalid_field"),
    "a long id": ("GET", f"/v1/runs/{'x' * 65}", None, 422, "invalid_field"),
    "no body": ("POST", "/v1/runs", None, 422, "invalid_field"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), ERRORS.values(), ids=ERRORS.keys())
async def test_every_error_is_a_problem_and_carries_a_sequence(
    tmp_path: Path, method: str, path: str, body: object, status: int, code: str
):
    async with using(tmp_path) as user:
        answer = await user.http.request(method, path, json=body)
        is_problem(answer, status, code)
        assert int(answer.headers[SEQUENCE]) >= 0


async def test_a_method_that_is_not_allowed_says_which_are(tmp_path: Path):
    async with using(tmp_path) as user:
        answer = await user.http.delete("/v1/runs")
        assert {method.strip() for method in answer.headers["Allow"].split(",")} >= {"GET"}


class Gone(MemoryLog):
    """A log that takes no contract messages."""

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = {}) -> int:
        raise Unavailable("NATS gave no answer.")


async def test_a_question_that_nats_did_not_take_may_be_repeated_under_the_same_id(tmp_path: Path):
    async with using(tmp_path, log=Gone()) as user:
        answer = await user.post("/v1/runs", {"q": QUESTION}, **{"Idempotency-Key": "order-66"})
        problem = is_problem(answer, 503, "nats_unavailable", run_id="order-66")
        assert "repeat" in problem["detail"]


async def test_a_full_log_takes_no_question_and_no_decision_says_what_to_do_and_takes_them_later(tmp_path: Path):
    log = MemoryLog()

    async with using(tmp_path, log=log) as user:
        run_id = await user.held()
        log.is_full("NATS has no room in RESEARCH; raise max_bytes.")
        asked = await user.post("/v1/runs", {"q": QUESTION}, **{"Idempotency-Key": "order-66"})
        assert "raise max_bytes" in is_problem(asked, 507, "log_full", run_id="order-66")["detail"]
        is_problem(await user.approve(run_id), 507, "log_full")
        is_problem(await user.post(f"/v1/runs/{run_id}/cancel"), 507, "log_full")
        ready = await user.http.get("/readyz")
        assert (ready.status_code, "raise max_bytes" in ready.text) == (503, True)
        assert (await user.http.get(f"/v1/runs/{run_id}")).json()["status"] == "hold"
        log.is_full(None)
        assert (await user.http.get("/readyz")).status_code == 200
        assert (await user.approve(run_id)).status_code == 200


class Stuck(MemoryLog):
    """A log that finds out that it is full while it writes."""

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        if any(".decision." in fill.subject for fill in fills):
            self.is_full("no room")
        return await super().fill(fills, session=session)


async def test_a_decision_that_finds_the_log_full_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.coordinator.engine.approvals._ANSWER_WITHIN_S", 0.05)

    async with using(tmp_path, log=Stuck()) as user:
        is_problem(await user.approve(await user.held()), 507, "log_full")


class Broken(MemoryLog):
    """A log with a defect."""

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = {}) -> int:
        raise ZeroDivisionError("of all things")


async def test_a_defect_is_a_problem_that_gives_nothing_away(tmp_path: Path):
    async with using(tmp_path, log=Broken()) as user:
        answer = await user.post("/v1/runs", {"q": QUESTION})
        problem = is_problem(answer, 500, "defect")
        assert "of all things" not in problem["detail"]


async def test_also_a_defect_carries_a_sequence(tmp_path: Path):
    async with using(tmp_path, log=Broken()) as user:
        assert SEQUENCE in (await user.post("/v1/runs", {"q": QUESTION})).headers


# Sequences


class Late(MemoryLog):
    """A log whose followers hear of everything a moment late, as over a network."""

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        async with aclosing(super().follow(after, check=check)) as chunks:
            async for chunk in chunks:
                await asyncio.sleep(0.02)
                yield chunk


async def test_whoever_names_a_sequence_reads_what_was_written_there(tmp_path: Path):
    async with using(tmp_path, log=Late()) as user:
        for number in range(5):
            asked = await user.post("/v1/runs", {"q": f"Question {number}?"})
            since = {SEQUENCE: asked.headers[SEQUENCE]}
            listed = (await user.get("/v1/runs?limit=1", **since)).json()["runs"]
            assert [one["run_id"] for one in listed] == [asked.json()["run_id"]]


async def test_the_answer_to_a_question_leads_to_its_run(tmp_path: Path):
    async with using(tmp_path, log=Late()) as user:
        asked = await user.post("/v1/runs", {"q": QUESTION})
        shown = await user.get(asked.headers["Location"], **{SEQUENCE: asked.headers[SEQUENCE]})
        assert shown.json()["q"] == QUESTION


async def test_the_answer_to_an_approval_names_a_sequence_that_includes_it(tmp_path: Path):
    async with using(tmp_path, log=Late()) as user:
        run_id = await user.held()
        taken = await user.approve(run_id)
        shown = await user.get(f"/v1/runs/{run_id}", **{SEQUENCE: taken.headers[SEQUENCE]})
        assert shown.json()["decision"] is not None


async def test_the_answer_to_a_cancel_names_a_sequence_that_includes_it(tmp_path: Path):
    async with using(tmp_path, log=Late()) as user:
        run_id = await user.held()
        taken = await user.post(f"/v1/runs/{run_id}/cancel")
        shown = await user.get(f"/v1/runs/{run_id}", **{SEQUENCE: taken.headers[SEQUENCE]})
        assert shown.json()["status"] == "cancelled"


@pytest.mark.parametrize("since", ["-1", "x"])
async def test_a_sequence_that_is_none_is_refused(tmp_path: Path, since: str):
    async with using(tmp_path) as user:
        is_problem(await user.get("/v1/runs", **{SEQUENCE: since}), 422, "invalid_field")


async def test_the_probes_say_whether_it_runs_and_can_work(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await user.held()
        assert run_id
        assert (await user.get("/livez")).status_code == 200
        assert (await user.get("/readyz")).status_code == 200
