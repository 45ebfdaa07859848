"""Routes that fork one run, or all runs that a filter selects."""

from typing import Annotated

from fastapi import Header, Response

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.forks import BulkFork, Forks
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.http.commands import Commands, fork_of, top_level, top_level_fields
from services.coordinator.http.params import WAIT_S, Key, RunId, Since, checked_statuses, locate_run
from services.coordinator.http.problems import ProblemError, acting_name
from services.coordinator.http.routes import WRITES, Routes
from shared.api.views import ErrorView, ForkAccepted, ForkedRow, ForkPage, NewFork, NewForks
from shared.domain.judgement import Reject


class ForkRoutes:
    """Routes that fork one run, or all runs that a filter selects."""

    def __init__(self, coordinator: Coordinator, commands: Commands, forks: Forks) -> None:
        self._coordinator = coordinator
        self._commands = commands
        self._forks = forks

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        forks = ("idempotency_key_reused", "not_you", *WRITES)
        one = ("unknown_run", "not_that_far", "unfit_edit", "no_auto", *forks)
        routes.add("POST", "/v1/runs/{run_id}/fork", self.fork, "operate", refuses=one, status=202)
        routes.add("POST", "/v1/forks", self.fork_all, "operate", refuses=forks)

    async def fork(
        self,
        run_id: RunId,
        who: Caller,
        response: Response,
        body: NewFork | None = None,
        idempotency_key: Key = None,
        traceparent: Annotated[str | None, Header()] = None,
        since: Since = 0,
    ) -> ForkAccepted:
        """Start a new run that reuses the facts of this one before a step. This one does not change."""
        await self._coordinator.folded(since, within_s=WAIT_S)
        started = await self._commands.fork(
            run_id, body or NewFork(), who, key=idempotency_key, traceparent=traceparent
        )
        return ForkAccepted(
            run_id=started.run_id,
            location=locate_run(response, started.run_id, started.seq),
            sequence=started.seq,
            forked=run_id,
            step=started.forked.step,
            reused=len(started.forked.reuses),
        )

    async def fork_all(self, body: NewForks, who: Caller, idempotency_key: Key = None, since: Since = 0) -> ForkPage:
        """Fork all matching runs, newest first, `limit` at a time. The same `Idempotency-Key` forks nothing twice."""
        _check_bulk(body, idempotency_key)
        await self._coordinator.folded(since, within_s=WAIT_S)
        wanted = RunFilter(checked_statuses(body.status), body.text, body.code, body.since)
        before = int(body.cursor) if body.cursor else None
        runs = self._coordinator.saved.select(wanted, before=before, limit=body.limit + 1)
        more = runs[body.limit - 1].accepted if len(runs) > body.limit else None
        by = acting_name(who, body.requested_by, "requested_by")
        with top_level_fields():
            forks = await self._forks.start_all(
                runs[: body.limit],
                fork_of(body, ""),
                key=idempotency_key,
                by=by,
                auth=who.auth,
                dry_run=body.dry_run,
            )
        return ForkPage(forks=[_row(each) for each in forks], next=str(more.seq) if more else None)


def _check_bulk(body: NewForks, key: str | None) -> None:
    """Raise `ProblemError` (`invalid_field`) if a filter is missing, or a key where it is no dry run."""
    if not (body.status or body.code or body.text or body.since):
        text = "status: say which runs, by at least one of status, code, text and since."
        raise ProblemError("invalid_field", text, field="status")
    if not (key or body.dry_run):
        text = "Idempotency-Key: it is required, so that repeating the call forks nothing twice."
        raise ProblemError("invalid_field", text, field="Idempotency-Key")


def _row(fork: BulkFork) -> ForkedRow:
    """The result of a bulk fork for one run."""
    run, forked = fork.source, fork.forked
    row = ForkedRow(
        run_id=run.id,
        status=run.status,
        q=run.accepted.fact.q if run.accepted else "",
        result=fork.result,
        fork_id=fork.fork_id,
    )
    if isinstance(forked, Reject):
        return row.model_copy(update={"error": ErrorView(code=forked.code, message=top_level(forked.message))})
    return row.model_copy(update={"step": forked.step, "reused": len(forked.reuses)})
