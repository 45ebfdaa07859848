"""Every route over HTTP: who is let in, who is not, and how it is said."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from services.coordinator.access.access import Access, AccessSettings
from services.coordinator.app import application, rights_of
from services.coordinator.http.rights import ANYONE, SOMEONE, Right, Rights, UndeclaredRoute
from services.coordinator.http.routes import routes_of
from shared.contracts.access import Role
from shared.contracts.evidence import Citation
from shared.contracts.facts import FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.messages import Fill
from shared.contracts.subjects import REQUESTED, key_revoked
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain import keys
from shared.domain.approval import ANY_APPROVAL, ApprovalRules
from shared.domain.inbound import Defaults
from shared.domain.roles import LEAST, ROLES
from shared.errors import Unavailable
from shared.runtime import clock
from shared.runtime.log import End
from shared.runtime.memory import MemoryLog
from shared.telemetry.metrics import Metrics
from tests.access.entry import SHOWN, TOKEN, URL, created, entered, revoked, shown
from tests.coordinator.story import OTHER, SOURCE, report
from tests.dossier import Dossier, coordinating, working
from tests.harness.waiting import PATIENCE_S

SITE = {"Sec-Fetch-Site": "same-origin", "Origin": URL}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SESSION = "dossier"
ENDLESS = {"/inbox/live": 0.05}
"""Answers that go on once somebody is let in, and how long to listen to them."""


async def perform(task: Task) -> StepOutcome:
    match task:
        case PlanTask():
            return PlanMade(queries=("cats",), planner="test")
        case FetchTask(query=query):
            return FetchFound(query=query, sources=(SOURCE, OTHER))
        case SynthesizeTask(digest=digest):
            return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))


class House:
    """A Dossier, its keys, and somebody at the door."""

    def __init__(
        self, http: httpx2.AsyncClient, dossier: Dossier, log: MemoryLog, access: Access, app: FastAPI
    ) -> None:
        self.http = http
        self.dossier = dossier
        self.log = log
        self.access = access
        self.app = app

    @property
    def rights(self) -> Mapping[tuple[str, str], Right]:
        """The right of each route."""
        return rights_of(self.app).table

    async def key(self, role: Role = "operator", name: str = "ann", **more: Any) -> dict[str, str]:
        """The header of a new key."""
        return shown(await created(self.log, name, role, **more))

    async def ask(self, who: Mapping[str, str], **body: object) -> str:
        answer = await self.http.post("/v1/runs", json={"q": "What do cats do?"} | body, headers=who)
        assert answer.status_code == 202, answer.text
        return answer.json()["run_id"]

    async def held(self, who: Mapping[str, str], **body: object) -> str:
        run_id = await self.ask(who, **body)
        await self.dossier.until(run_id, "hold")
        return run_id

    async def approve(self, run_id: str, who: Mapping[str, str], **body: object) -> httpx2.Response:
        path = f"/v1/runs/{run_id}/approvals"
        return await self.http.post(path, json={"decision": "approve"} | body, headers=who)

    async def sign_in(self, key: str, **more: str) -> httpx2.Response:
        return await self.http.post("/sign-in", data={"key": key, **more}, headers=SITE)

    async def csrf(self) -> str:
        """The token that a page of this session would have in its forms."""
        [cookie] = [one.value for one in self.http.cookies.jar if one.name == SESSION]
        found = await self.access.session(cookie or "")
        assert found
        return self.access.csrf(found[1])


@asynccontextmanager
async def a_house(
    data: Path, *, log: MemoryLog | None = None, rules: ApprovalRules = ANY_APPROVAL, token: str | None = TOKEN
) -> AsyncGenerator[House]:
    """The API behind its gate, with workers, over logs in memory; `log` has the keys."""
    log, memory = log or MemoryLog(), MemoryLog()
    performs = dict.fromkeys(("plan", "fetch", "synthesize"), perform)
    async with (
        coordinating(memory, data, defaults=Defaults(rules=rules)) as dossier,
        working(memory, performs),
        entered(log, token=token) as access,
    ):
        app = application(
            memory,
            dossier.coordinator,
            access,
            unready=lambda: None,
            deliveries=MemoryLog(),
            metrics=Metrics("coordinator"),
        )
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as http:
            yield House(http, dossier, log, access, app)


def is_refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    return answer.json()


def filled(path: str) -> str:
    return re.sub(r"{[^}]*}", "nobody", path)


# The table


async def test_every_route_of_the_application_is_in_the_table_and_every_row_is_a_route(tmp_path: Path):
    async with a_house(tmp_path) as house:
        assert {(method, path) for method, path in routes_of(house.app) if method != "HEAD"} == set(house.rights)


async def test_a_coordinator_with_a_route_without_a_right_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    declare = Rights.declare

    def forget(rights: Rights, method: str, path: str, right: Right) -> None:
        if (method, path) != ("POST", "/v1/runs"):
            declare(rights, method, path, right)

    monkeypatch.setattr(Rights, "declare", forget)
    with pytest.raises(UndeclaredRoute, match="POST /v1/runs"):
        async with a_house(tmp_path):
            pass


async def test_what_is_mounted_has_to_be_listed_too(tmp_path: Path):
    async with a_house(tmp_path) as house:
        house.app.mount("/pictures", PlainTextResponse("ok"))
        with pytest.raises(UndeclaredRoute, match=r"GET /pictures/\{path:path\}"):
            rights_of(house.app).check(routes_of(house.app))
        is_refused(await house.http.get("/pictures/x.css"), 401, "unauthenticated")


async def test_nobody_gets_past_a_route_that_takes_somebody_without_a_key(tmp_path: Path):
    async with a_house(tmp_path) as house:
        for (method, path), need in house.rights.items():
            answer = await house.http.request(method, filled(path), content=b"{not json")
            if need == ANYONE:
                assert answer.status_code != 401 or path == "/sign-in"
                continue
            is_refused(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_passes_where_the_table_lets_it_and_nowhere_else(tmp_path: Path, role: Role):
    async with a_house(tmp_path) as house:
        who = await house.key(role)
        for (method, path), need in house.rights.items():
            try:
                async with asyncio.timeout(ENDLESS.get(path)):
                    answer = await house.http.request(method, filled(path), headers=who)
            except TimeoutError:
                assert need == "read"
                continue
            if need in (ANYONE, SOMEONE) or ROLES.index(role) >= ROLES.index(LEAST[need]):
                assert answer.status_code != 403, (method, path)
            else:
                problem = is_refused(answer, 403, "forbidden")
                assert LEAST[need] in problem["detail"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("DELETE", "/v1/runs"), ("GET", "/v1/runs/a/b/c")])
async def test_what_is_no_route_is_nobodys_business_without_a_key(tmp_path: Path, method: str, path: str):
    async with a_house(tmp_path) as house:
        is_refused(await house.http.request(method, path), 401, "unauthenticated")
        assert (await house.http.request(method, path, headers=SHOWN)).status_code in (404, 405)


async def test_a_scope_narrows_a_key(tmp_path: Path):
    async with a_house(tmp_path) as house:
        who = await house.key("operator", scopes=("ask",))
        await house.ask(who)
        assert "ask" in is_refused(await house.http.get("/v1/runs", headers=who), 403, "forbidden")["detail"]


async def test_the_description_says_that_it_takes_a_key(tmp_path: Path):
    async with a_house(tmp_path) as house:
        described = (await house.http.get("/openapi.json", headers=SHOWN)).json()
        assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
        assert described["paths"]["/v1/runs"]["post"]["security"] == [{"key": []}]


async def test_no_route_that_does_something_takes_a_session_without_its_token(tmp_path: Path):
    async with a_house(tmp_path) as house:
        await house.sign_in(await created(house.log, "ann"))
        unsafe = [(method, path) for (method, path), need in house.rights.items() if method != "GET" and need != ANYONE]
        assert len(unsafe) > 10
        for method, path in unsafe:
            for form in ({}, {"csrf": "x"}):
                is_refused(await house.http.request(method, filled(path), data=form, headers=SITE), 403, "csrf")


# Keys


async def test_every_key_that_opens_nothing_is_refused_in_the_same_words(tmp_path: Path):
    async with a_house(tmp_path) as house:
        gone = await created(house.log, "ann")
        assert (await house.http.get("/v1/runs", headers=shown(gone))).status_code == 200
        await revoked(house.log, gone)
        await asyncio.sleep(0)
        over = await created(house.log, "ann", now=clock.now() - timedelta(days=2))
        right = await created(house.log, "ann")
        id_ = keys.key_id(right) or ""
        wrong = [
            keys.format_key(id_, "0" * 64),
            keys.format_key("unknown", "0" * 64),
            right[:-1],
            "",
            f"{right} {right}",
        ]
        await asyncio.sleep(0)
        headers = [shown(key) for key in (gone, over, *wrong)]
        headers += [{"Authorization": right}, {"Authorization": f"Basic {right}"}, {"Authorization": ""}]
        answers = [await house.http.get("/v1/runs", headers=one) for one in headers]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1


async def test_the_token_of_the_folder_opens_everything_and_only_where_there_is_one(tmp_path: Path):
    async with a_house(tmp_path) as house:
        assert (await house.http.get("/v1/runs", headers=SHOWN)).status_code == 200
        is_refused(
            await house.http.get("/v1/runs", headers=shown(keys.format_key("local", "2" * 64))), 401, "unauthenticated"
        )
    async with a_house(tmp_path, token=None) as house:
        is_refused(await house.http.get("/v1/runs", headers=SHOWN), 401, "unauthenticated")


async def test_a_revoked_key_is_refused_as_soon_as_that_is_read(tmp_path: Path):
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        assert (await house.http.get("/v1/runs", headers=shown(key))).status_code == 200
        await revoked(house.log, key)
        for _ in range(10):
            await asyncio.sleep(0)
        is_refused(await house.http.get("/v1/runs", headers=shown(key)), 401, "unauthenticated")


class Unread(MemoryLog):
    """An `ACCESS` that cannot be read from a moment on."""

    gone = False

    async def end(self) -> End:
        if self.gone:
            raise Unavailable("NATS gave no answer.")
        return await super().end()


async def test_while_nobody_knows_who_may_no_key_opens_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = Unread()

    monkeypatch.setattr("services.coordinator.access.access._FRESH_S", 0.0)
    async with a_house(tmp_path, log=log) as house:
        who = await house.key()
        assert (await house.http.get("/v1/runs", headers=who)).status_code == 200
        log.gone = True
        is_refused(await house.http.get("/v1/runs", headers=who), 503, "nats_unavailable")
        assert (await house.http.get("/livez")).status_code == 200
        assert (await house.http.get("/v1/runs", headers=SHOWN)).status_code == 200
        log.gone = False
        assert (await house.http.get("/v1/runs", headers=who)).status_code == 200


class Remade(MemoryLog):
    """An `ACCESS` that an operator deletes; what is made anew under its name is another stream, and empty."""

    def wipe(self) -> None:
        self._messages.clear()
        self._newest.clear()
        self._created += timedelta(seconds=1)


async def test_keys_of_a_stream_that_was_deleted_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = Remade()

    monkeypatch.setattr("services.coordinator.access.access._FRESH_S", 0.0)
    async with a_house(tmp_path, log=log) as house:
        who = await house.key()
        assert (await house.http.get("/v1/runs", headers=who)).status_code == 200
        log.wipe()
        is_refused(await house.http.get("/v1/runs", headers=who), 401, "unauthenticated")
        again = await house.key()
        assert (await house.http.get("/v1/runs", headers=again)).status_code == 200


async def test_whoever_guesses_is_slowed_down_and_nobody_who_was_there_before(tmp_path: Path):
    async with a_house(tmp_path) as house:
        known = await house.key(name="bob")
        assert (await house.http.get("/v1/runs", headers=known)).status_code == 200
        answers = [await house.http.get("/v1/runs", headers=shown(f"dsr_{n}")) for n in range(30)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == sorted(statuses)
        assert set(statuses) == {401, 429}
        assert int(answers[-1].headers["Retry-After"]) >= 1
        is_refused(await house.http.get("/v1/runs", headers=await house.key(name="cleo")), 429, "too_many")
        assert (await house.http.get("/v1/runs", headers=known)).status_code == 200


# Hosts, headers and other sites


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8400", "10.0.0.1:8400", ""])
async def test_a_page_that_had_its_own_name_point_here_reaches_nothing(tmp_path: Path, host: str):
    async with a_house(tmp_path) as house:
        for path in ("/v1/runs", "/sign-in"):
            is_refused(await house.http.get(path, headers=SHOWN | {"Host": host}), 421, "unknown_host")
        assert (await house.http.get("/livez", headers={"Host": host})).status_code == 200


ANSWERS = {
    "an answer": ("GET", "/v1/runs", SHOWN),
    "a page": ("GET", "/sign-in", {}),
    "a probe": ("GET", "/livez", {}),
    "nobody": ("GET", "/v1/runs", {}),
    "not found": ("GET", "/nothing", SHOWN),
    "another host": ("GET", "/", {"Host": "evil.example"}),
    "refused": ("POST", "/v1/runs", SHOWN),
}


@pytest.mark.parametrize(("method", "path", "headers"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_every_answer_keeps_browsers_from_what_they_should_not_do(
    tmp_path: Path, method: str, path: str, headers: Mapping[str, str]
):
    async with a_house(tmp_path) as house:
        answer = await house.http.request(method, path, headers=headers)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] in ("same-origin", "no-referrer")
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


async def test_the_page_has_nothing_inline(tmp_path: Path):
    async with a_house(tmp_path) as house:
        hostile = {"next": '/"><script>alert(1)</script>', "ticket": '"><b onclick="x">'}
        html = (await house.http.get("/sign-in", params=hostile)).text
        assert "ticket" in html
        assert not re.search("<script|<style|<b |' on|\" on|style=|javascript:", html)


# Sessions


async def test_a_key_becomes_a_session_that_no_script_and_no_other_site_can_use(tmp_path: Path):
    async with a_house(tmp_path) as house:
        answer = await house.sign_in(await created(house.log, "ann"), next="/v1/runs?limit=1")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/v1/runs?limit=1")
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert "Domain" not in cookie
        assert (await house.http.get("/v1/runs")).status_code == 200


async def test_over_tls_the_cookie_is_secure_and_no_other_host_can_set_it(tmp_path: Path):
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        house.http.base_url = "https://localhost"
        answer = await house.http.post("/sign-in", data={"key": key}, headers={"Origin": "https://localhost"})
        assert answer.headers["Set-Cookie"].startswith("__Host-dossier=")
        assert "Secure" in answer.headers["Set-Cookie"].split("; ")
        assert (await house.http.get("/v1/runs")).status_code == 200
        value = answer.headers["Set-Cookie"].split(";")[0].removeprefix("__Host-")
        house.http.cookies.clear()
        is_refused(await house.http.get("/v1/runs", headers={"Cookie": value}), 401, "unauthenticated")


async def test_a_key_is_not_taken_over_a_network_in_the_clear(tmp_path: Path):
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        house.access.entry = AccessSettings(TOKEN, ("dossier.example",))
        answer = await house.http.post("/sign-in", data={"key": key}, headers={"Host": "dossier.example"})
        assert answer.status_code == 403
        assert "https" in answer.text
        assert "Set-Cookie" not in answer.headers


async def test_a_wrong_key_is_told_on_the_page_and_slowed_down(tmp_path: Path):
    async with a_house(tmp_path) as house:
        answers = [await house.sign_in("dsr_wrong") for _ in range(25)]
        assert {answer.status_code for answer in answers} == {401, 429}
        assert 'role="alert"' in answers[0].text
        assert "Set-Cookie" not in answers[0].headers


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "evil", ""])
async def test_after_signing_in_one_stays_on_this_site(tmp_path: Path, target: str):
    async with a_house(tmp_path) as house:
        answer = await house.sign_in(await created(house.log, "ann"), next=target)
        assert answer.headers["Location"] == "/"


async def test_whoever_wants_a_page_and_is_not_known_is_sent_to_sign_in(tmp_path: Path):
    async with a_house(tmp_path) as house:
        answer = await house.http.get("/runs/r1?tab=evidence", headers={"Accept": "text/html,*/*"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=%2Fruns%2Fr1%3Ftab%3Devidence")
        is_refused(await house.http.get("/v1/runs", headers={"Accept": "text/html"}), 401, "unauthenticated")


async def test_a_session_ends_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.coordinator.access.access._FRESH_S", 0.0)
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        await house.sign_in(key)
        assert (await house.http.get("/v1/runs")).status_code == 200
        await revoked(house.log, key)
        is_refused(await house.http.get("/v1/runs"), 401, "unauthenticated")


async def test_a_session_ends_when_the_token_of_the_folder_is_replaced(tmp_path: Path):
    async with a_house(tmp_path) as house:
        assert (await house.sign_in(TOKEN)).status_code == 303
        assert (await house.http.get("/v1/runs")).status_code == 200
        house.access.entry = AccessSettings(keys.format_key("local", "2" * 64))
        is_refused(await house.http.get("/v1/runs"), 401, "unauthenticated")


async def test_a_session_outlives_its_coordinator(tmp_path: Path):
    log, cookies = MemoryLog(), httpx2.Cookies()

    async with a_house(tmp_path, log=log) as house:
        await house.sign_in(await created(house.log, "ann"))
        cookies.update(house.http.cookies)
    async with a_house(tmp_path, log=log) as house:
        house.http.cookies = cookies
        assert (await house.http.get("/v1/runs")).status_code == 200


async def test_signing_out_makes_the_browser_forget(tmp_path: Path):
    async with a_house(tmp_path) as house:
        await house.sign_in(await created(house.log, "ann"))
        answer = await house.http.post("/sign-out", data={"csrf": await house.csrf()}, headers=SITE)
        assert answer.status_code == 303
        is_refused(await house.http.get("/v1/runs"), 401, "unauthenticated")


async def test_a_session_changes_something_only_with_its_token_in_a_header_or_a_field(tmp_path: Path):
    async with a_house(tmp_path) as house:
        await house.sign_in(await created(house.log, "ann"))
        token = await house.csrf()
        body = {"q": "What do cats do?"}
        for wrong in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": token[:-1]}):
            is_refused(await house.http.post("/v1/runs", json=body, headers=SITE | wrong), 403, "csrf")
        assert (await house.http.post("/v1/runs", json=body, headers=SITE | {"X-CSRF-Token": token})).status_code == 202
        is_refused(await house.http.post("/sign-out", data={"csrf": "x"}, headers=SITE), 403, "csrf")
        assert (await house.http.post("/sign-out", data={"csrf": token}, headers=SITE)).status_code == 303


async def test_a_form_that_was_read_for_its_token_can_be_read_again(tmp_path: Path):
    seen: list[bytes] = []

    async with a_house(tmp_path) as house:

        async def taken(scope: Any, receive: Any, send: Any) -> None:
            message = await receive()
            seen.append(message["body"])
            await PlainTextResponse("ok")(scope, receive, send)

        await house.sign_in(await created(house.log, "ann"))
        token = await house.csrf()
        house.app.mount("/form", taken)
        await house.http.post("/form/x", data={"csrf": token, "comment": "ä"}, headers=SITE)
    assert seen == [seen[0]]
    assert b"comment=%C3%A4" in seen[0]


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
async def test_another_site_changes_nothing_even_with_the_token(tmp_path: Path, headers: Mapping[str, str]):
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        await house.sign_in(key)
        token = {"X-CSRF-Token": await house.csrf()}
        is_refused(await house.http.post("/v1/runs", json={"q": "?"}, headers=token | headers), 403, "cross_site")
        is_refused(await house.http.post("/sign-in", data={"key": key}, headers=headers), 403, "cross_site")


async def test_a_key_in_the_header_needs_no_token_beside_a_session(tmp_path: Path):
    async with a_house(tmp_path) as house:
        key = await created(house.log, "ann")
        await house.sign_in(key)
        await house.ask(shown(key))


# Links


async def link(house: House, who: Mapping[str, str], **body: object) -> str:
    answer = await house.http.post("/v1/sign-in-links", json=body, headers=who)
    assert answer.status_code == 201, answer.text
    return answer.json()["path"]


async def test_a_link_signs_in_once_and_only_by_a_click(tmp_path: Path):
    async with a_house(tmp_path) as house:
        path = await link(house, SHOWN, by="zoe")
        for _ in range(3):
            page = await house.http.get(path)
            assert page.headers["Referrer-Policy"] == "no-referrer"
            assert "Set-Cookie" not in page.headers
        ticket = path.partition("ticket=")[2]
        assert f'name="ticket" value="{ticket}"' in page.text
        assert (await house.http.post("/sign-in", data={"ticket": ticket}, headers=SITE)).status_code == 303
        token = {"X-CSRF-Token": await house.csrf()}
        run_id = await house.held(SITE | token)
        assert (await house.approve(run_id, SITE | token)).json()["decision"].items() >= {
            "by": "zoe",
            "auth": "session:local",
        }.items()
        house.http.cookies.clear()
        assert (await house.http.post("/sign-in", data={"ticket": ticket}, headers=SITE)).status_code == 401


async def test_a_link_of_a_key_signs_in_as_that_key_and_by_no_other_name(tmp_path: Path):
    async with a_house(tmp_path) as house:
        path = await link(house, await house.key("viewer", "ann"), by="zoe")
        await house.http.post("/sign-in", data={"ticket": path.partition("ticket=")[2]}, headers=SITE)
        token = {"X-CSRF-Token": await house.csrf()}
        problem = is_refused(await house.http.post("/v1/runs", json={"q": "?"}, headers=SITE | token), 403, "forbidden")
        assert "ann" in problem["detail"]


# Who did it


async def test_what_a_key_does_is_done_in_its_name_and_says_how_it_is_known(tmp_path: Path):
    async with a_house(tmp_path) as house:
        ann, bob = await created(house.log, "ann", "requester"), await created(house.log, "bob", "approver")
        run_id = await house.held(shown(ann))
        view = (await house.http.get(f"/v1/runs/{run_id}", headers=shown(ann))).json()
        assert (view["requested_by"], view["requested_auth"]) == ("ann", f"key:{keys.key_id(ann)}")
        decision = (await house.approve(run_id, shown(bob), comment="Good.")).json()["decision"]
        assert (
            decision.items()
            >= {
                "by": "bob",
                "auth": f"key:{keys.key_id(bob)}",
                "comment": "Good.",
                "digest": view["digest"],
            }.items()
        )


async def test_a_key_speaks_for_nobody_else(tmp_path: Path):
    async with a_house(tmp_path) as house:
        ann = await house.key(name="ann")
        answer = await house.http.post("/v1/runs", json={"q": "?", "requested_by": "bob"}, headers=ann)
        assert is_refused(answer, 422, "not_you")["field"] == "requested_by"
        run_id = await house.held(ann, requested_by="ann")
        assert is_refused(await house.approve(run_id, ann, by="bob"), 422, "not_you")["field"] == "by"
        cancel = await house.http.post(f"/v1/runs/{run_id}/cancel", json={"by": "bob"}, headers=ann)
        is_refused(cancel, 422, "not_you")
        assert (await house.approve(run_id, ann, by="ann")).status_code == 200


async def test_with_the_token_of_the_folder_any_name_may_be_given(tmp_path: Path):
    async with a_house(tmp_path) as house:
        run_id = await house.held(SHOWN, requested_by="zoe")
        decision = (await house.approve(run_id, SHOWN, by="yan")).json()["decision"]
        assert (decision["by"], decision["auth"]) == ("yan", "local")
        nameless = await house.held(SHOWN)
        assert (await house.approve(nameless, SHOWN)).json()["decision"]["by"] == "local"


async def test_a_requester_cancels_what_is_theirs_and_nothing_else(tmp_path: Path):
    async with a_house(tmp_path) as house:
        ann, bob = await house.key("requester", "ann"), await house.key("requester", "bob")
        cleo, another = await house.key("approver", "cleo"), await house.key("requester", "Ann")
        runs = [await house.held(ann) for _ in range(3)]
        path = "/v1/runs/{}/cancel"
        is_refused(await house.http.post(path.format(runs[0]), headers=bob), 403, "not_yours")
        cancelled = await house.http.post(path.format(runs[0]), headers=ann)
        assert cancelled.json()["status"] == "cancelled"
        assert (await house.http.post(path.format(runs[1]), headers=another)).status_code == 200
        assert (await house.http.post(path.format(runs[2]), headers=cleo)).status_code == 200
        claimed = await house.dossier.ask("Why?", requested_by="ann")
        await house.dossier.until(claimed, "hold")
        is_refused(await house.http.post(path.format(claimed), headers=ann), 403, "not_yours")


async def test_whoever_decides_faster_than_anybody_reads_is_slowed_down(tmp_path: Path):
    async with a_house(tmp_path) as house:
        who = await house.key("approver")
        answers = [await house.approve("nobody", who) for _ in range(130)]
        assert {answer.status_code for answer in answers[:100]} == {404}
        is_refused(answers[-1], 429, "too_many")


# Four eyes and quorum


async def test_with_four_eyes_whoever_asked_is_refused_and_somebody_else_is_not(tmp_path: Path):
    async with a_house(tmp_path, rules=ApprovalRules(four_eyes=True)) as house:
        ann, bob = await house.key(name="ann"), await house.key("approver", "bob")
        run_id = await house.held(ann)
        assert (await house.http.get(f"/v1/runs/{run_id}", headers=ann)).json()["four_eyes"]
        is_refused(await house.approve(run_id, ann), 403, "four_eyes")
        is_refused(await house.approve(run_id, SHOWN), 403, "unidentified")
        assert (await house.approve(run_id, bob)).status_code == 200
        await house.dossier.until(run_id, "reported")


async def test_a_quorum_of_two_decides_when_the_second_has_approved(tmp_path: Path):
    async with a_house(tmp_path, rules=ApprovalRules(quorum=2)) as house:
        ann, bob, cleo = [await house.key("approver", name) for name in ("ann", "bob", "cleo")]
        run_id = await house.held(ann)
        first = (await house.approve(run_id, bob)).json()
        assert (first["status"], first["quorum"], [vote["by"] for vote in first["votes"]]) == ("hold", 2, ["bob"])
        is_refused(await house.approve(run_id, bob), 409, "voted")
        is_refused(await house.approve(run_id, SHOWN), 403, "unidentified")
        assert (await house.approve(run_id, cleo)).status_code == 200
        done = await house.dossier.until(run_id, "reported")
        assert done.current.decision
        assert done.current.decision.fact.via == "quorum"
        view = (await house.http.get(f"/v1/runs/{run_id}", headers=ann)).json()
        assert view["decision"]["voters"] == ["bob", "cleo"]


async def test_where_people_have_to_approve_a_request_cannot_approve_itself(tmp_path: Path):
    async with a_house(tmp_path, rules=ApprovalRules(quorum=2)) as house:
        who = await house.key()
        answer = await house.http.post("/v1/runs", json={"q": "?", "approval": "auto"}, headers=who)
        assert is_refused(answer, 422, "no_auto")["field"] == "approval"


async def test_a_fork_is_asked_for_by_whoever_forks_and_not_by_whoever_asked_before(tmp_path: Path):
    async with a_house(tmp_path, rules=ApprovalRules(four_eyes=True)) as house:
        ann, bob, cleo = await house.key(name="ann"), await house.key(name="bob"), await house.key(name="cleo")
        run_id = await house.held(ann)
        forked = (await house.http.post(f"/v1/runs/{run_id}/fork", json={"from": "fetch"}, headers=bob)).json()
        await house.dossier.until(forked["run_id"], "hold")
        view = (await house.http.get(f"/v1/runs/{forked['run_id']}", headers=ann)).json()
        assert view["requested_by"] == "bob"
        assert view["requested_auth"].startswith("key:")
        is_refused(await house.approve(forked["run_id"], bob), 403, "four_eyes")
        assert (await house.approve(forked["run_id"], cleo)).status_code == 200
        many = {"text": "cats", "requested_by": "ann", "dry_run": True}
        is_refused(await house.http.post("/v1/forks", json=many, headers=bob), 422, "not_you")


async def test_where_people_have_to_approve_a_fork_cannot_approve_itself(tmp_path: Path):
    async with a_house(tmp_path, rules=ApprovalRules(quorum=2)) as house:
        who = await house.key()
        run_id = await house.held(who)
        wish = {"from": "fetch", "approval": "auto"}
        is_refused(await house.http.post(f"/v1/runs/{run_id}/fork", json=wish, headers=who), 422, "no_auto")
        many = {"text": "cats", "approval": "auto", "dry_run": True}
        [row] = (await house.http.post("/v1/forks", json=many, headers=who)).json()["forks"]
        assert (row["result"], row["error"]["code"]) == ("refused", "no_auto")
        seq = await house.dossier.log.publish(
            REQUESTED, msgspec.json.encode({"fork": {"run_id": run_id, "from": "fetch", "approval": "auto"}})
        )
        await house.dossier.coordinator.folded(seq + 1, within_s=PATIENCE_S)
        assert b"no_auto" in house.dossier.stored(f"research.invalid.{seq}")[0]


async def test_a_box_of_access_that_holds_nonsense_keeps_nobody_else_out(tmp_path: Path):
    async with a_house(tmp_path) as house:
        await house.log.fill([Fill(key_revoked("x"), b"\xff"), Fill("access.key.y.created", b"{}")])
        assert (await house.http.get("/v1/runs", headers=await house.key())).status_code == 200
