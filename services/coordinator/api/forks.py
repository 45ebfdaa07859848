"""The routes that do runs over: one, or all that a filter names."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import Header, Response

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.forks import BulkFork, Forks
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.engine.requests import run_id_of
from services.coordinator.http import problems
from services.coordinator.http.params import SEQUENCE, WAIT_S, Key, RunId, Since, checked_statuses
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.routes import WRITES, Routes
from shared.api.views import ErrorView, ForkAccepted, ForkedRow, ForkPage, NewFork, NewForks
from shared.contracts.forks import Fork
from shared.contracts.requests import Request
from shared.domain.judgement import Reject
from shared.domain.run import Run
from shared.errors import InvalidMessage

_WITHIN: Final = "fork."
"""Where in a published request the fields stand that the API takes at the top."""


class ForkRoutes:
    """Routes that fork one run, or all runs that a filter selects."""

    def __init__(self, coordinator: Coordinator, forks: Forks) -> None:
        self._coordinator = coordinator
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
        body = body or NewFork()
        fork_id = run_id_of(idempotency_key)
        wish = _wish(body, run_id, q=body.q, replace=body.replace, add=tuple(body.add), drop=tuple(body.drop))
        by = problems.acting_name(who, body.requested_by, "requested_by")
        request = Request(run_id=fork_id, requested_by=by, fork=wish)
        await self._coordinator.folded(since, within_s=WAIT_S)
        source = self._coordinator.fold.peek(run_id)
        with _fields_at_the_top():
            started = await self._forks.start(request, source, auth=who.auth, traceparent=traceparent)
        if isinstance(started, Reject):
            raise _refused(started, run_id, source)
        location = f"/v1/runs/{fork_id}"
        response.headers["Location"] = location
        response.headers[SEQUENCE] = str(started.seq)
        return ForkAccepted(
            run_id=fork_id,
            location=location,
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
        by = problems.acting_name(who, body.requested_by, "requested_by")
        with _fields_at_the_top():
            forks = await self._forks.start_all(
                runs[: body.limit],
                _wish(body, ""),
                key=idempotency_key,
                by=by,
                auth=who.auth,
                dry_run=body.dry_run,
            )
        return ForkPage(forks=[_row(each) for each in forks], next=str(more.seq) if more else None)


def _check_bulk(body: NewForks, key: str | None) -> None:
    if not (body.status or body.code or body.text or body.since):
        text = "status: say which runs, by at least one of status, code, text and since."
        raise ProblemError("invalid_field", text, field="status")
    if not (key or body.dry_run):
        text = "Idempotency-Key: it is required, so that repeating the call forks nothing twice."
        raise ProblemError("invalid_field", text, field="Idempotency-Key")


def _row(fork: BulkFork) -> ForkedRow:
    """The result of a bulk fork for one run, as the API shows it."""
    run, forked = fork.source, fork.forked
    row = ForkedRow(
        run_id=run.id,
        status=run.status,
        q=run.accepted.fact.q if run.accepted else "",
        result=fork.result,
        fork_id=fork.fork_id,
    )
    if isinstance(forked, Reject):
        return row.model_copy(update={"error": ErrorView(code=forked.code, message=_at_the_top(forked.message))})
    return row.model_copy(update={"step": forked.step, "reused": len(forked.reuses)})


def _wish(
    body: NewFork | NewForks,
    run_id: str,
    *,
    q: str | None = None,
    replace: dict[str, str] | None = None,
    add: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Fork:
    return Fork(
        run_id=run_id,
        step=body.step,
        all=body.all,
        q=q,
        replace=replace or {},
        add=tuple(add),
        drop=tuple(drop),
        approval=body.approval,
        approval_timeout=body.approval_timeout,
        max_cost_usd=body.max_cost_usd,
        tools=None if body.tools is None else tuple(body.tools),
    )


@contextmanager
def _fields_at_the_top() -> Generator[None]:
    """Name the fields of an `InvalidMessage` as the API takes them, not as they stand in the published request."""
    try:
        yield
    except InvalidMessage as error:
        raise InvalidMessage(error.code, _at_the_top(error.message), field=_at_the_top(error.field)) from error


def _refused(why: Reject, run_id: str, source: Run | None) -> ProblemError:
    if why.code == "unknown_run":
        return problems.unknown_run(run_id)
    return problems.rejected(Reject(why.code, _at_the_top(why.message), _at_the_top(why.field)), source)


def _at_the_top(text: str) -> str:
    return text.removeprefix(_WITHIN)
