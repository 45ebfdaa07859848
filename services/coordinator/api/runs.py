"""The HTTP API of the coordinator."""

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response, Security
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.routing import Mount

from services.coordinator.access.access import Access
from services.coordinator.access.middleware import AuthMiddleware, Caller
from services.coordinator.api import openapi
from services.coordinator.api.deliveries import Deliveries
from services.coordinator.api.failures import EXPECTED, Expected, Troubles
from services.coordinator.api.forks import Forking
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.forks import Forks
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.projection import RunFilter
from services.coordinator.engine.requests import RequestPublisher, run_id_of
from services.coordinator.http import feed, problems, rights
from services.coordinator.http.params import (
    SEQUENCE,
    WAIT_S,
    Code,
    Cursor,
    Key,
    Limit,
    Moment,
    RunId,
    Since,
    Statuses,
    Text,
    checked_statuses,
)
from services.coordinator.http.presenters import summary, view
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.reports import report_of
from services.coordinator.web.shell import tell
from services.coordinator.web.sign_in import SignIn
from services.coordinator.web.site import site
from shared.api.schemas import (
    Accepted,
    EventPage,
    NewApproval,
    NewCancel,
    NewExtension,
    NewRun,
    Problem,
    RunPage,
    RunView,
)
from shared.contracts import requests
from shared.contracts.requests import Extension, Revision, Ruling
from shared.domain.judgement import Reject
from shared.domain.run import Run
from shared.domain.steps import Lateness, lateness
from shared.runtime.log import Log
from shared.service.app import readiness
from shared.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class Api:
    """The routes, and what they need."""

    def __init__(
        self,
        log: Log,
        coordinator: Coordinator,
        access: Access,
        *,
        digest_required: bool,
        trouble: Callable[[], str | None],
        expected: Expected = EXPECTED,
        rounds: int = 5,
        deliveries: Log | None = None,
        observe: Observe = unobserved,
        metrics: Metrics | None = None,
    ) -> None:
        self._log = log
        self._deliveries = deliveries
        self._access = access
        self._coordinator = coordinator
        self._late_after = expected.late_after
        self._publisher = RequestPublisher(log)
        self._troubles = Troubles(log, coordinator, expected)
        self._forking = Forking(coordinator, Forks(self._publisher, coordinator.rules))
        self._desk = Approvals(log, coordinator, digest_required=digest_required, rounds=rounds, observe=observe)
        self._metrics = metrics
        self._trouble = trouble
        self._rounds = rounds

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI(title="Dossier", version="1", docs_url=None, redoc_url=None)
        problems.install(app, tell)
        app.middleware("http")(self._number)
        app.add_middleware(AuthMiddleware, access=self._access, tell=tell)
        app.include_router(self._router())
        app.include_router(SignIn(self._access).router())
        app.include_router(self._site())
        openapi.describe(app)
        app.add_api_route("/livez", self.livez, include_in_schema=False)
        app.add_api_route("/readyz", self.readyz, include_in_schema=False)
        if self._metrics:
            app.add_route("/metrics", self._metrics.answer, include_in_schema=False)
        rights.check(routes(app))
        return app

    def _site(self) -> APIRouter:
        late_after, rounds = self._late_after, self._rounds
        return site(self._coordinator, self._log, self, self._forking, late_after=late_after, rounds=rounds)

    def _router(self) -> APIRouter:
        responses: dict[int | str, dict[str, object]] = {"default": {"model": Problem}}
        key = Security(HTTPBearer(auto_error=False, scheme_name="key", description="Or the data folder's token."))
        router = APIRouter(prefix="/v1", responses=responses, dependencies=[key])
        router.add_api_route("/runs", self.create, methods=["POST"], status_code=202, response_model=Accepted)
        router.add_api_route("/runs", self.list_runs, methods=["GET"], response_model=RunPage)
        router.add_api_route("/runs/{run_id}", self.show, methods=["GET"], response_model=RunView)
        router.add_api_route("/runs/{run_id}/events", self.events, methods=["GET"], response_model=EventPage)
        router.add_api_route("/runs/{run_id}/report", self.report, methods=["GET"], response_model=None)
        router.add_api_route("/runs/{run_id}/approvals", self.approve, methods=["POST"], response_model=RunView)
        router.add_api_route("/runs/{run_id}/extension", self.extend, methods=["POST"], response_model=RunView)
        router.add_api_route("/runs/{run_id}/cancel", self.cancel, methods=["POST"], response_model=RunView)
        self._troubles.add_to(router)
        self._forking.add_to(router)
        if self._deliveries:
            Deliveries(self._deliveries).add_to(router)
        return router

    async def _number(self, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            response = await call(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path, extra={"event": "request.failed"})
            response = tell(request, problems.internal_error())
        response.headers.setdefault(SEQUENCE, str(self._coordinator.fold.seq))
        return response

    async def livez(self) -> PlainTextResponse:
        """The process runs."""
        return PlainTextResponse("ok\n")

    async def readyz(self) -> Response:
        """NATS is reachable and takes writes, and the projection has caught up."""
        return readiness(self.unready())

    def unready(self) -> str | None:
        """Why this coordinator cannot work; `None` where it can."""
        return self._trouble() or self._coordinator.trouble

    async def create(
        self,
        body: NewRun,
        who: Caller,
        response: Response,
        idempotency_key: Key = None,
        traceparent: Annotated[str | None, Header()] = None,
    ) -> Accepted:
        """Ask a question. Answers once the request is in the log. The same `Idempotency-Key` is the same run."""
        run_id = run_id_of(idempotency_key)
        request = _request(body, run_id, by=problems.acting_name(who, body.requested_by, "requested_by"))
        seq = await self._publisher.submit(
            request,
            auth=who.auth,
            rules=self._coordinator.rules,
            once=bool(idempotency_key),
            traceparent=traceparent,
        )
        location = f"/v1/runs/{run_id}"
        response.headers["Location"] = location
        response.headers[SEQUENCE] = str(seq)
        return Accepted(run_id=run_id, location=location, sequence=seq)

    async def list_runs(
        self,
        status: Statuses = None,
        text: Text = "",
        code: Code = "",
        since_time: Annotated[Moment, Query(alias="since")] = None,
        late: bool | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
        since: Since = 0,
    ) -> RunPage:
        """Runs, newest first: by `status`, `text` in question or id, `since` a time, `code` of a failure, or `late`."""
        await self._coordinator.folded(since, within_s=WAIT_S)
        before = self._coordinator.now() - self._late_after if late else None
        wanted = RunFilter(checked_statuses(status), text, code, since_time, owed_before=before)
        runs = self._coordinator.saved.select(wanted, before=int(cursor) if cursor else None, limit=limit + 1)
        more = runs[limit - 1].accepted if len(runs) > limit else None
        return RunPage(
            runs=[summary(run, self._late(run)) for run in runs[:limit]], next=str(more.seq) if more else None
        )

    async def show(self, run_id: RunId, since: Since = 0) -> RunView:
        """The state of a run: plan, evidence, hold, decision, outcome and costs."""
        return self._view(await self._run(run_id, since))

    def _view(self, run: Run) -> RunView:
        return view(run, self._late(run))

    def _late(self, run: Run) -> Lateness | None:
        return lateness(run, self._coordinator.now(), self._late_after)

    async def events(
        self,
        run_id: RunId,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,18}$")] = None,
        since: Since = 0,
    ) -> EventPage | StreamingResponse:
        """The facts of a run in order; live as server-sent events with `Accept: text/event-stream`."""
        await self._run(run_id, since)
        after = int(last_event_id or 0)
        if "text/event-stream" in accept:
            stream = feed.event_stream(self._log, self._coordinator.fold, run_id, after=after)
            return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return EventPage(run_id=run_id, events=await feed.stored(self._log, run_id, after=after))

    async def report(self, run_id: RunId, accept: Annotated[str, Header()] = "", since: Since = 0) -> Response:
        """The report as Markdown, or with `Accept: application/json` as every claim, quote and offset."""
        written = await report_of(await self._run(run_id, since), self._log)
        if "application/json" in accept:
            return Response(msgspec.json.encode(written), media_type="application/json")
        return PlainTextResponse(written.markdown, media_type="text/markdown; charset=utf-8")

    async def approve(
        self,
        run_id: RunId,
        body: NewApproval,
        who: Caller,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> RunView:
        """Decide on a run. With `If-Match` or `digest`, only if that is still the digest of the evidence."""
        digest = if_match.strip().removeprefix("W/").strip('"') if if_match else body.digest
        ruling = _ruling(run_id, body, digest, by=problems.acting_name(who, body.by, "by"))
        refusal, run = await self._desk.submit(body.decision, ruling, who)
        return self._ruled(run_id, refusal, run, response)

    async def extend(self, run_id: RunId, body: NewExtension, who: Caller, response: Response) -> RunView:
        """Extend the deadline of a hold."""
        wish = Extension(
            run_id=run_id,
            by=problems.acting_name(who, body.by, "by"),
            deadline=body.deadline,
            comment=body.comment,
            digest=body.digest,
        )
        refusal, run = await self._desk.extend(wish, who)
        return self._ruled(run_id, refusal, run, response)

    async def cancel(self, run_id: RunId, who: Caller, response: Response, body: NewCancel | None = None) -> RunView:
        """End a run now. Refused if it has ended."""
        body = body or NewCancel()
        by = problems.acting_name(who, body.by, "by")
        refusal, run = await self._desk.submit("cancel", Ruling(run_id=run_id, by=by, comment=body.comment), who)
        return self._ruled(run_id, refusal, run, response)

    async def _run(self, run_id: str, since: int) -> Run:
        run = await self._coordinator.wait_until(run_id, since, lambda _: True, within_s=WAIT_S if since else 0)
        if run is None:
            raise problems.unknown_run(run_id)
        return run

    def _ruled(self, run_id: str, refusal: Reject | None, run: Run | None, response: Response) -> RunView:
        if refusal:
            raise problems.rejected(refusal, run)
        if run is None:
            raise problems.unknown_run(run_id)
        response.headers[SEQUENCE] = str(run.seq)
        return self._view(run)


def _ruling(run_id: str, body: NewApproval, digest: str | None, *, by: str) -> Ruling:
    ruling = Ruling(
        run_id=run_id,
        by=by,
        comment=body.comment,
        digest=digest,
        exclude=tuple(body.exclude),
        max_cost_usd=body.max_cost_usd,
    )
    for_revisions = {"feedback": body.feedback, "queries_add": body.queries_add, "queries_drop": body.queries_drop}
    if body.decision != "revise":
        for field, value in for_revisions.items():
            if value:
                text = f"{field}: it goes with the decision revise, not {body.decision}."
                raise ProblemError(422, "invalid_field", text, run_id=run_id, field=field)
        return ruling
    revision = msgspec.convert(msgspec.to_builtins(ruling) | for_revisions, Revision)
    requests.check_revision(revision)
    return revision


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every route of the application: its method and path template; of what is mounted GET, and all that is below."""
    return [
        (method, f"{route.path or ''}{'/{path:path}' if isinstance(route.original_route, Mount) else ''}")
        for route in iter_route_contexts(app.routes)
        for method in route.methods or {"GET"}
    ]


def _request(body: NewRun, run_id: str, *, by: str) -> requests.Request:
    request = requests.Request(
        q=body.q,
        run_id=run_id,
        approval=body.approval,
        approval_timeout=body.approval_timeout,
        max_cost_usd=body.max_cost_usd,
        tools=tuple(body.tools),
        requested_by=by,
    )
    requests.check_request(request)
    return request
