"""Routes of runs: ask, list, show, decide, extend and cancel."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import Header, Query, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.http import feed, problems
from services.coordinator.http.commands import Commands
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
    locate_run,
)
from services.coordinator.http.presenters import run_summary, run_view
from services.coordinator.http.reports import read_report
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

    def __init__(self, log: Log, coordinator: Coordinator, commands: Commands, late_after: timedelta) -> None:
        self._log = log
        self._coordinator = coordinator
        self._commands = commands
        self._late_after = late_after

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        asks = ("idempotency_key_reused", "no_auto", "not_you", *WRITES)
        routes.add("POST", "/v1/runs", self.create, "ask", refuses=asks, status=202)
        routes.add("GET", "/v1/runs", self.list_runs, "read")
        routes.add("GET", RUN, self.show, "read", refuses=("unknown_run",))
        routes.add(
            *("GET", f"{RUN}/events", self.events, "read"),
            refuses=("unknown_run",),
            response_model=EventPage,
            responses={204: {"description": "No Content: `Last-Event-ID` is the end of the run."}},
        )
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
        run_id, seq = await self._commands.ask(body, who, key=idempotency_key, traceparent=traceparent)
        return Accepted(run_id=run_id, location=locate_run(response, run_id, seq), sequence=seq)

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
            runs=[run_summary(run, self._late(run)) for run in runs[:limit]], next=str(more.seq) if more else None
        )

    async def show(self, run_id: RunId, since: Since = 0) -> RunView:
        """The state of a run: plan, evidence, hold, decision, outcome and costs."""
        return self._view(await self._run(run_id, since))

    def _view(self, run: Run) -> RunView:
        """The run in full, with `late` if it is overdue now."""
        return run_view(run, self._late(run))

    def _late(self, run: Run) -> Lateness | None:
        """Why the run is overdue now; None if it is not."""
        return lateness(run, self._coordinator.now(), self._late_after)

    async def events(
        self,
        run_id: RunId,
        accept: Annotated[str, Header()] = "",
        last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,18}$")] = None,
        since: Since = 0,
    ) -> EventPage | Response:
        """The facts of a run in order; live as server-sent events with `Accept: text/event-stream`.

        The stream ends with the run. A reader whose `Last-Event-ID` is the run's end gets 204, and need not reconnect.
        """
        run = await self._run(run_id, since)
        after = int(last_event_id or 0)
        if "text/event-stream" in accept:
            if feed.has_ended(run, after):
                return Response(status_code=HTTPStatus.NO_CONTENT)
            stream = feed.event_stream(self._log, self._coordinator.fold, run_id, after=after)
            return EventSourceResponse(stream, headers=feed.HEADERS)
        return EventPage(run_id=run_id, events=await feed.stored(self._log, run_id, after=after))

    async def report(self, run_id: RunId, accept: Annotated[str, Header()] = "", since: Since = 0) -> Response:
        """The report as Markdown, or with `Accept: application/json` as every claim, quote and offset."""
        written = await read_report(await self._run(run_id, since), self._log)
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
        if if_match:
            body.digest = if_match.strip().removeprefix("W/").strip('"')
        return self._decided(await self._commands.decide(run_id, body, who), response)

    async def extend(self, run_id: RunId, body: NewExtension, who: Caller, response: Response) -> RunView:
        """Extend the deadline of a hold."""
        return self._decided(await self._commands.extend(run_id, body, who), response)

    async def cancel(self, run_id: RunId, who: Caller, response: Response, body: NewCancel | None = None) -> RunView:
        """End a run now. Refused if it has ended."""
        return self._decided(await self._commands.cancel(run_id, body or NewCancel(), who), response)

    def _decided(self, run: Run, response: Response) -> RunView:
        """The run in full; sets `Dossier-Sequence` to the sequence of the decision."""
        response.headers[SEQUENCE] = str(run.seq)
        return self._view(run)

    async def _run(self, run_id: str, since: int) -> Run:
        """The run once the log is folded to the sequence `since`, after 2 s at most. Raises `ProblemError`
        (`unknown_run`).
        """
        run = await self._coordinator.wait_until(run_id, since, lambda _: True, within_s=WAIT_S if since else 0)
        if run is None:
            raise problems.unknown_run(run_id)
        return run
