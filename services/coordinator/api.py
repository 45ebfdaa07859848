"""The HTTP API of the coordinator."""

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from services.coordinator import feed, problems
from services.coordinator.desk import Desk
from services.coordinator.loop import Coordinator
from services.coordinator.problems import ProblemError
from services.coordinator.run import STATUSES, Run
from services.coordinator.schemas import (
    Accepted,
    EventPage,
    NewApproval,
    NewCancel,
    NewRun,
    Problem,
    RunPage,
    RunView,
    summary,
    view,
)
from shared.contracts import envelope, requests
from shared.contracts.facts import RunAccepted, SynthesisWritten
from shared.contracts.requests import Revision, Ruling
from shared.contracts.subjects import REQUESTED, TOKEN, Slot, is_reserved
from shared.errors import Unavailable
from shared.runtime import clock
from shared.runtime.log import Log

logger = logging.getLogger(__name__)

SEQUENCE: Final = "Dossier-Sequence"
"""Header of every answer: how far the log is folded that it was made from. A request that names one waits for it."""
_WAIT_S: Final = 2.0

RunId = Annotated[str, Path(pattern=f"^{TOKEN.pattern}$")]
Since = Annotated[int, Header(alias=SEQUENCE, ge=0)]


class Api:
    """The routes, and what they need."""

    def __init__(
        self,
        log: Log,
        coordinator: Coordinator,
        *,
        digest_required: bool,
        ready: Callable[[], bool],
        rounds: int = 5,
    ) -> None:
        self._log = log
        self._coordinator = coordinator
        self._desk = Desk(log, coordinator, digest_required=digest_required, rounds=rounds)
        self._ready = ready

    def app(self) -> FastAPI:
        """The application."""
        app = FastAPI(title="Dossier", version="1", docs_url=None, redoc_url=None)
        problems.install(app)
        app.middleware("http")(self._number)
        app.include_router(self._router())
        app.add_api_route("/livez", self.livez, include_in_schema=False)
        app.add_api_route("/readyz", self.readyz, include_in_schema=False)
        return app

    def _router(self) -> APIRouter:
        responses: dict[int | str, dict[str, object]] = {"default": {"model": Problem}}
        router = APIRouter(prefix="/v1", responses=responses)
        router.add_api_route("/runs", self.create, methods=["POST"], status_code=202, response_model=Accepted)
        router.add_api_route("/runs", self.list_runs, methods=["GET"], response_model=RunPage)
        router.add_api_route("/runs/{run_id}", self.show, methods=["GET"], response_model=RunView)
        router.add_api_route("/runs/{run_id}/events", self.events, methods=["GET"], response_model=EventPage)
        router.add_api_route("/runs/{run_id}/report", self.report, methods=["GET"], response_model=None)
        router.add_api_route("/runs/{run_id}/approvals", self.approve, methods=["POST"], response_model=RunView)
        router.add_api_route("/runs/{run_id}/cancel", self.cancel, methods=["POST"], response_model=RunView)
        return router

    async def _number(self, request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            response = await call(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            response = problems.answer(problems.defect())
        response.headers.setdefault(SEQUENCE, str(self._coordinator.fold.seq))
        return response

    async def livez(self) -> PlainTextResponse:
        """The process runs."""
        return PlainTextResponse("ok\n")

    async def readyz(self) -> PlainTextResponse:
        """NATS is reachable and the projection has caught up."""
        if self._ready() and self._coordinator.caught_up:
            return PlainTextResponse("ok\n")
        return PlainTextResponse("NATS is not reachable, or the log is still being read\n", 503)

    async def create(
        self,
        body: NewRun,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=256)] = None,
        traceparent: Annotated[str | None, Header()] = None,
    ) -> Accepted:
        """Ask a question. The answer comes after the log has it; the same `Idempotency-Key` is the same run."""
        run_id = requests.run_id_of_key(idempotency_key) if idempotency_key else clock.uuid7()
        request = _request(body, run_id)
        seq = await self._recorded_before(request, run_id) if idempotency_key else 0
        if not seq:
            seq = await self._publish(request, run_id, traceparent)
        location = f"/v1/runs/{run_id}"
        response.headers["Location"] = location
        response.headers[SEQUENCE] = str(seq)
        return Accepted(run_id=run_id, location=location, sequence=seq)

    async def _publish(self, request: requests.Request, run_id: str, traceparent: str | None) -> int:
        headers = {"traceparent": traceparent} if traceparent else {}
        try:
            return await self._log.publish(REQUESTED, msgspec.json.encode(request), headers)
        except Unavailable as error:
            text = f"{error} Whether the run began is not known; repeat with Idempotency-Key: {run_id}"
            raise ProblemError(503, "nats_unavailable", text, run_id=run_id) from error

    async def _recorded_before(self, request: requests.Request, run_id: str) -> int:
        """The sequence of the request that this one repeats; 0 where it is the first."""
        slot = Slot(run_id, "accepted")
        stored = (await self._log.last([slot.subject])).get(slot.subject)
        if stored is None:
            return 0
        accepted = envelope.decode(stored.data).fact
        assert isinstance(accepted, RunAccepted)
        if accepted.request_sha256 != request.content_sha256:
            text = "This Idempotency-Key was used for another question; take another key."
            raise ProblemError(422, "idempotency_key_reused", text, run_id=run_id)
        return accepted.request_seq

    async def list_runs(
        self,
        status: Annotated[list[str] | None, Query()] = None,
        text: Annotated[str, Query(max_length=200)] = "",
        cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        since: Since = 0,
    ) -> RunPage:
        """Runs, newest first. `status` may be given more than once; `text` is looked for in question and id."""
        for name in status or []:
            if name not in STATUSES:
                known = ", ".join(STATUSES)
                raise ProblemError(422, "invalid_field", f"status: {name} is none of {known}.", field="status")
        await self._coordinator.folded(since, within_s=_WAIT_S)
        before = int(cursor) if cursor else None
        runs = self._coordinator.select(statuses=status or [], text=text, before=before, limit=limit + 1)
        more = runs[limit - 1].accepted if len(runs) > limit else None
        return RunPage(runs=[summary(run) for run in runs[:limit]], next=str(more.seq) if more else None)

    async def show(self, run_id: RunId, since: Since = 0) -> RunView:
        """Everything that is known of a run."""
        return view(await self._run(run_id, since))

    async def events(
        self,
        run_id: RunId,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,18}$")] = None,
        since: Since = 0,
    ) -> EventPage | StreamingResponse:
        """The facts of a run in order; as server-sent events, live, where `text/event-stream` is asked for."""
        await self._run(run_id, since)
        after = int(last_event_id or 0)
        if "text/event-stream" in accept:
            stream = feed.stream(self._log, self._coordinator.fold, run_id, after=after)
            return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return EventPage(run_id=run_id, events=await feed.stored(self._log, run_id, after=after))

    async def report(self, run_id: RunId, accept: Annotated[str, Header()] = "", since: Since = 0) -> Response:
        """The report, as Markdown, or as JSON with every claim, quote and offset where `application/json` is asked."""
        run = await self._run(run_id, since)
        ended = run.completed.fact if run.completed else None
        written = run.current.synthesis.fact if run.current.synthesis else None
        if ended is None or ended.report is None or not isinstance(written, SynthesisWritten):
            text = f"Run {run_id} has no report: {ended.reason if ended else run.status}"
            raise ProblemError(409, "no_report", text, run_id=run_id, state=run.status)
        if "application/json" in accept:
            body = {"run_id": run_id, "digest": written.digest, "report": written.report, "markdown": ended.report}
            return Response(msgspec.json.encode(body), media_type="application/json")
        return PlainTextResponse(ended.report, media_type="text/markdown; charset=utf-8")

    async def approve(
        self, run_id: RunId, body: NewApproval, response: Response, if_match: Annotated[str | None, Header()] = None
    ) -> RunView:
        """Decide on a run. `If-Match` (or `digest`) with the hold's digest is refused when the evidence is not that."""
        digest = if_match.strip().removeprefix("W/").strip('"') if if_match else body.digest
        refusal, run = await self._desk.rule(body.decision, _ruling(run_id, body, digest))
        return _ruled(run_id, refusal, run, response)

    async def cancel(self, run_id: RunId, response: Response, body: NewCancel | None = None) -> RunView:
        """End a run now. Its report, if that was first, wins."""
        body = body or NewCancel()
        refusal, run = await self._desk.rule("cancel", Ruling(run_id=run_id, by=body.by, comment=body.comment))
        return _ruled(run_id, refusal, run, response)

    async def _run(self, run_id: str, since: int) -> Run:
        run = await self._coordinator.wait_until(run_id, since, lambda _: True, within_s=_WAIT_S if since else 0)
        if run is None:
            raise problems.unknown_run(run_id)
        return run


def _ruled(run_id: str, refusal: problems.Refuse | None, run: Run | None, response: Response) -> RunView:
    if refusal:
        raise problems.refused(refusal, run)
    if run is None:
        raise problems.unknown_run(run_id)
    response.headers[SEQUENCE] = str(run.seq)
    return view(run)


def _ruling(run_id: str, body: NewApproval, digest: str | None) -> Ruling:
    ruling = Ruling(
        run_id=run_id,
        by=body.by,
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


def _request(body: NewRun, run_id: str) -> requests.Request:
    if is_reserved(run_id):
        raise ProblemError(422, "invalid_field", f"{run_id} is reserved.", field="Idempotency-Key")
    request = requests.Request(
        q=body.q,
        run_id=run_id,
        approval=body.approval,
        approval_timeout=body.approval_timeout,
        max_cost_usd=body.max_cost_usd,
        tools=tuple(body.tools),
        requested_by=body.requested_by,
    )
    requests.check_request(request)
    return request
