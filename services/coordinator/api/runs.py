"""The HTTP API of the coordinator."""

from datetime import timedelta
from typing import Annotated, Final

import msgspec
from fastapi import Header, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.engine.requests import RequestPublisher, run_id_of
from services.coordinator.http import feed, problems
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
from services.coordinator.http.routes import WRITES, Routes
from shared.api.schemas import (
    Accepted,
    EventPage,
    NewApproval,
    NewCancel,
    NewExtension,
    NewRun,
    RunPage,
    RunView,
)
from shared.contracts import requests
from shared.contracts.requests import Extension, Revision, Ruling
from shared.domain.judgement import Reject
from shared.domain.run import Run
from shared.domain.steps import Lateness, lateness
from shared.runtime.log import Log

RUN: Final = "/v1/runs/{run_id}"
_DECIDES: Final = ("unknown_run", "not_held", "decided", "too_late", "stale_digest", "not_you", *WRITES)
_APPROVES: Final = (
    *(*_DECIDES, "digest_required", "unknown_source", "nothing_left", "unknown_query", "last_round", "over_budget"),
    *("unidentified", "requester_unknown", "four_eyes", "voted"),
)


class RunRoutes:
    """Routes of runs: ask, list, show, decide, extend and cancel."""

    def __init__(
        self,
        log: Log,
        coordinator: Coordinator,
        publisher: RequestPublisher,
        approvals: Approvals,
        late_after: timedelta,
    ) -> None:
        self._log = log
        self._coordinator = coordinator
        self._publisher = publisher
        self._approvals = approvals
        self._late_after = late_after

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        asks = ("idempotency_key_reused", "no_auto", "not_you", *WRITES)
        routes.add("POST", "/v1/runs", self.create, "ask", refuses=asks, status=202)
        routes.add("GET", "/v1/runs", self.list_runs, "read")
        routes.add("GET", RUN, self.show, "read", refuses=("unknown_run",))
        routes.add("GET", f"{RUN}/events", self.events, "read", refuses=("unknown_run",), response_model=EventPage)
        reports = ("unknown_run", "no_report", "report_missing")
        routes.add("GET", f"{RUN}/report", self.report, "read", refuses=reports)
        routes.add("POST", f"{RUN}/approvals", self.approve, "decide", refuses=_APPROVES)
        extends = (*_DECIDES, "not_later", "too_long")
        routes.add("POST", f"{RUN}/extension", self.extend, "decide", refuses=extends)
        cancels = ("unknown_run", "decided", "not_yours", "not_you", *WRITES)
        routes.add("POST", f"{RUN}/cancel", self.cancel, "cancel", refuses=cancels)

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
        refusal, run = await self._approvals.submit(body.decision, ruling, who)
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
        refusal, run = await self._approvals.extend(wish, who)
        return self._ruled(run_id, refusal, run, response)

    async def cancel(self, run_id: RunId, who: Caller, response: Response, body: NewCancel | None = None) -> RunView:
        """End a run now. Refused if it has ended."""
        body = body or NewCancel()
        by = problems.acting_name(who, body.by, "by")
        refusal, run = await self._approvals.submit("cancel", Ruling(run_id=run_id, by=by, comment=body.comment), who)
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
                raise ProblemError("invalid_field", text, run_id=run_id, field=field)
        return ruling
    revision = msgspec.convert(msgspec.to_builtins(ruling) | for_revisions, Revision)
    requests.check_revision(revision)
    return revision


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
