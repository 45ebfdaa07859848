"""The API for whoever wonders what went wrong, and does it over."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.coordinator.api.failures import MAX_SHOWN, Expectations
from services.coordinator.app import application
from services.coordinator.http.params import SEQUENCE
from shared.contracts.subjects import APPROVED, ASKED, REQUESTED
from shared.domain.approval import describe_deciders
from shared.errors import Terminal, Unavailable
from shared.runtime.memory import MemoryLog
from tests.access.entry import SHOWN as SHOWN_KEY
from tests.access.entry import URL, entered
from tests.coordinator.test_api import QUESTION, User, Workers, is_problem
from tests.dossier import coordinating, working
from tests.harness.waiting import PATIENCE_S


class Failing(Workers):
    """`broken` names the kinds of tasks, or queries, that fail for good."""

    broken: frozenset[str] = frozenset()

    async def perform(self, task: Any) -> Any:
        name = getattr(task, "query", task.__struct_config__.tag)
        if {name, task.__struct_config__.tag} & self.broken:
            raise Terminal("broken", f"{name} is broken.")
        return await super().perform(task)


@asynccontextmanager
async def using(
    data: Path, *, log: MemoryLog | None = None, expected: Expectations | None = None
) -> AsyncGenerator[User]:
    memory, workers = log or MemoryLog(), Failing()
    performs = dict.fromkeys(("plan", "fetch", "synthesize"), workers.perform)
    async with coordinating(memory, data) as dossier, working(memory, performs), entered() as access:
        app = application(
            memory, dossier.coordinator, access, unready=lambda: None, expected=expected or Expectations()
        )
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=SHOWN_KEY) as http:
            yield User(http, dossier, workers)
            workers.may_fetch.set()


async def failed(user: User, *broken: str, q: str = QUESTION) -> str:
    """A run that failed because of these; they are mended again."""
    user.workers.broken = frozenset(broken)
    run_id = (await user.post("/v1/runs", {"q": q, "approval": "auto"})).json()["run_id"]
    await user.dossier.until(run_id, "failed")
    user.workers.broken = frozenset()
    return run_id


async def listed(user: User, query: str = "") -> list[dict[str, Any]]:
    answer = await user.get(f"/v1/failures?{query}")
    assert answer.status_code == 200, answer.text
    assert int(answer.headers[SEQUENCE])
    return answer.json()["failures"]


# Failures


async def test_a_failed_step_is_listed_with_its_input_attempts_and_error(tmp_path: Path):
    async with using(tmp_path) as user:
        run_id = await failed(user, "plan")
        [one] = await listed(user)
        assert (one["kind"], one["run_id"], one["round"], one["index"]) == ("plan", run_id, 1, 0)
        assert one["error"] == {"code": "broken", "message": "plan is broken."}
        assert one["input"]["q"] == QUESTION
        assert [(each["attempt"], each["error"]["code"]) for each in one["attempts"]] == [(1, "broken")]


async def test_a_refused_message_is_listed_with_what_it_said_cut_at_a_bound(tmp_path: Path):
    async with using(tmp_path) as user:
        log = user.dossier.log
        long = b'{"q": "' + b"x" * 20_000 + b'"}'
        seqs = [await log.publish(REQUESTED, long), await log.publish(REQUESTED, b"\xff{")]
        seqs.append(await log.publish(APPROVED, b'{"run_id": "nobody", "by": "ann"}'))
        await user.dossier.coordinator.folded(len(log.messages) + 3, within_s=PATIENCE_S)
        third, second, first = await listed(user, "kind=request")
        assert [one["refused"] for one in (first, second, third)] == seqs
        assert (first["subject"], first["field"], first["content_bytes"]) == (REQUESTED, "q", len(long))
        assert first["content"] == long.decode()[:MAX_SHOWN]
        assert second["content"] == "\N{REPLACEMENT CHARACTER}{"
        assert (third["run_id"], third["error"]["code"]) == ("nobody", "unknown_run")


async def test_failures_come_in_pages_and_by_filter(tmp_path: Path):
    async with using(tmp_path) as user:
        plans = [await failed(user, "plan", q=f"Question {n}?") for n in range(3)]
        report = await failed(user, "synthesize")
        got: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await user.get(f"/v1/failures?limit=2{f'&cursor={cursor}' if cursor else ''}")).json()
            got += [one["run_id"] for one in page["failures"]]
            cursor = page["next"]
        assert got == [report, *reversed(plans)]
        assert [one["run_id"] for one in await listed(user, "kind=synthesize")] == [report]
        assert [one["run_id"] for one in await listed(user, f"run={plans[0]}")] == [plans[0]]
        assert [one["run_id"] for one in await listed(user, "text=question%201")] == [plans[1]]
        assert len(await listed(user, "code=broken")) == 4
        assert await listed(user, "code=other") == []
        assert await listed(user, "since=2100-01-01T00:00:00Z") == []
        assert [one["run_id"] for one in (await user.get("/v1/runs?code=broken&status=failed")).json()["runs"]] == got


@pytest.mark.parametrize("query", ["kind=nothing", "cursor=x", "limit=0", "since=yesterday", "run=a.b"])
async def test_a_filter_that_cannot_be_is_refused_by_name(tmp_path: Path, query: str):
    async with using(tmp_path) as user:
        is_problem(await user.get(f"/v1/failures?{query}"), 422, "invalid_field")


# Why


async def test_why_says_what_a_run_waits_for(tmp_path: Path):
    async with using(tmp_path) as user:
        user.workers.may_fetch.clear()
        run_id = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(run_id, "fetching")
        said = (await user.get(f"/v1/runs/{run_id}/why")).json()
        while said["code"] == "coordinator":
            said = (await user.get(f"/v1/runs/{run_id}/why")).json()
        assert (said["code"], said["kind"], said["index"], said["of"]) == ("working", "fetch", 0, 2)
        assert (said["attempt"], said["attempts"], said["status"]) == (1, 4, "fetching")
        assert said["queue"]["limit"] == 20
        assert [other["index"] for other in said["others"]] == [1]
        user.workers.may_fetch.set()
        held = await user.dossier.until(run_id, "hold")
        said = (await user.get(f"/v1/runs/{run_id}/why")).json()
        assert (said["code"], said["may_decide"]) == ("person", describe_deciders(held))
        assert said["deadline"]
        await user.approve(run_id)
        await user.dossier.until(run_id, "reported")
        assert (await user.get(f"/v1/runs/{run_id}/why")).json()["code"] == "ended"


async def test_why_answers_also_when_nats_does_not(tmp_path: Path):
    class Deaf(MemoryLog):
        async def queue(self, consumer: Any) -> Any:
            raise Unavailable("No answer.")

    async with using(tmp_path, log=Deaf()) as user:
        user.workers.may_fetch.clear()
        run_id = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(run_id, "fetching")
        said = (await user.get(f"/v1/runs/{run_id}/why")).json()
        assert said["queue"] is None
        assert said["text"]


async def test_why_of_a_run_that_nobody_knows_says_whether_it_was_refused(tmp_path: Path):
    async with using(tmp_path) as user:
        is_problem(await user.get("/v1/runs/nobody/why"), 404, "unknown_run")
        await user.dossier.log.publish(APPROVED, b'{"run_id": "nobody", "by": "ann"}')
        await user.dossier.coordinator.folded(len(user.dossier.log.messages) + 1, within_s=PATIENCE_S)
        problem = is_problem(await user.get("/v1/runs/nobody/why"), 404, "unknown_run")
        assert "refused" in problem["detail"]


# Late


async def test_late_runs_are_listed_and_those_on_hold_are_not(tmp_path: Path):
    async with using(tmp_path, expected=Expectations(late_after=timedelta())) as user:
        held = await user.held()
        user.workers.may_fetch.clear()
        stuck = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(stuck, "fetching")
        [late] = (await user.get("/v1/runs?late=true")).json()["runs"]
        assert late["run_id"] == stuck
        assert late["late"]["code"] in ("unanswered", "unwritten")
        shown = (await user.get(f"/v1/runs/{stuck}")).json()
        assert shown["late"]["since"] == late["late"]["since"]
        assert (await user.get(f"/v1/runs/{held}")).json()["late"] is None
        assert (await user.get(f"/v1/runs/{stuck}/why")).json()["late"]


async def test_no_run_is_late_at_once(tmp_path: Path):
    async with using(tmp_path) as user:
        user.workers.may_fetch.clear()
        stuck = (await user.post("/v1/runs", {"q": QUESTION})).json()["run_id"]
        await user.dossier.until(stuck, "fetching")
        assert (await user.get("/v1/runs?late=true")).json()["runs"] == []
        assert (await user.get(f"/v1/runs/{stuck}")).json()["late"] is None


# Forks


async def test_a_fork_is_taken_and_says_what_it_reuses(tmp_path: Path):
    async with using(tmp_path) as user:
        old = await failed(user, "synthesize")
        answer = await user.post(f"/v1/runs/{old}/fork", {"approval": "auto"}, **{"Idempotency-Key": "again"})
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert (body["run_id"], body["forked"], body["from"], body["reused"]) == ("again", old, "synthesize", 3)
        assert answer.headers["Location"] == body["location"] == "/v1/runs/again"
        await user.dossier.until("again", "reported")
        shown = (await user.get("/v1/runs/again")).json()
        assert shown["fork"] == {"run_id": old, "from": "synthesize", "reused": 3}
        repeated = await user.post(f"/v1/runs/{old}/fork", {"approval": "auto"}, **{"Idempotency-Key": "again"})
        assert repeated.json()["sequence"] == body["sequence"]
        other = await user.post(f"/v1/runs/{old}/fork", {"from": "plan"}, **{"Idempotency-Key": "again"})
        is_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"from": "hold"}, 422, "invalid_field", "from"),
        ({"step": "plan", "x": 1}, 422, "invalid_field", "x"),
        ({"q": " "}, 422, "invalid_field", "q"),
        ({"from": "fetch"}, 409, "not_that_far", "from"),
        ({"from": "synthesize", "tools": ["docs"]}, 422, "unfit_edit", "tools"),
    ],
)
async def test_a_fork_is_refused_by_field(tmp_path: Path, body: Mapping[str, Any], status: int, code: str, field: str):
    async with using(tmp_path) as user:
        old = await failed(user, "plan")
        problem = is_problem(await user.post(f"/v1/runs/{old}/fork", body), status, code, field=field)
        assert "fork." not in problem["detail"]
        assert len((await user.get("/v1/runs")).json()["runs"]) == 1


async def test_a_fork_of_an_unknown_run_is_404(tmp_path: Path):
    async with using(tmp_path) as user:
        is_problem(await user.post("/v1/runs/nobody/fork"), 404, "unknown_run", run_id="nobody")


async def forks(user: User, key: str = "", **body: object) -> dict[str, Any]:
    answer = await user.post("/v1/forks", body, **({"Idempotency-Key": key} if key else {}))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_many_are_forked_once_for_each_key_after_a_look_at_what_would_be(tmp_path: Path):
    async with using(tmp_path) as user:
        reported = await user.reported()
        old = [await failed(user, "plan", q=f"Question {n}?") for n in range(5)]
        dry = await forks(user, status=["failed"], code="broken", dry_run=True)
        assert [(one["run_id"], one["result"], one["from"]) for one in dry["forks"]] == [
            (run_id, "would_fork", "plan") for run_id in reversed(old)
        ]
        keyed = await forks(user, "k", status=["failed"], dry_run=True)
        assert [one["result"] for one in keyed["forks"]] == ["would_fork"] * 5
        assert len(user.dossier.stored(ASKED)) == 6
        made: dict[str, str] = {}
        cursor = None
        while True:
            page = await forks(user, "k", status=["failed"], limit=2, cursor=cursor)
            made |= {one["run_id"]: one["fork_id"] for one in page["forks"] if one["result"] == "forked"}
            if (cursor := page["next"]) is None:
                break
        assert set(made) == set(old)
        for new in made.values():
            await user.dossier.until(new, "reported")
        again = await forks(user, "k", status=["failed"])
        assert {one["run_id"]: one["fork_id"] for one in again["forks"]} == made
        assert {one["result"] for one in again["forks"]} == {"already"}
        assert len((await user.get("/v1/runs")).json()["runs"]) == 11
        assert reported not in made


async def test_what_a_call_forked_is_not_forked_by_repeating_it_when_it_failed_again(tmp_path: Path):
    async with using(tmp_path) as user:
        await failed(user, "plan")
        user.workers.broken = frozenset({"plan"})
        [first] = (await forks(user, "k", status=["failed"]))["forks"]
        await user.dossier.until(first["fork_id"], "failed")
        again = await forks(user, "k", status=["failed"])
        assert [one["result"] for one in again["forks"]] == ["refused", "already"]
        assert len((await user.get("/v1/runs")).json()["runs"]) == 2


async def test_what_cannot_be_forked_from_there_is_said_and_the_others_are(tmp_path: Path):
    async with using(tmp_path) as user:
        no_plan, no_report = await failed(user, "plan"), await failed(user, "synthesize")
        rows = {one["run_id"]: one for one in (await forks(user, "k", status=["failed"], **{"from": "fetch"}))["forks"]}
        assert (rows[no_plan]["result"], rows[no_plan]["error"]["code"]) == ("refused", "not_that_far")
        assert rows[no_plan]["fork_id"] is None
        assert rows[no_report]["result"] == "forked"
        await user.dossier.until(rows[no_report]["fork_id"], "reported")


@pytest.mark.parametrize(
    ("body", "key", "field"),
    [
        ({}, "k", "status"),
        ({"status": ["failed"]}, "", "Idempotency-Key"),
        ({"status": ["broken"]}, "k", "status"),
        ({"status": ["failed"], "q": "One for all?"}, "k", "q"),
    ],
)
async def test_a_bulk_fork_is_refused_by_field(tmp_path: Path, body: Mapping[str, Any], key: str, field: str):
    async with using(tmp_path) as user:
        headers = {"Idempotency-Key": key} if key else {}
        is_problem(await user.post("/v1/forks", body, **headers), 422, "invalid_field", field=field)
