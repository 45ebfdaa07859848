"""The routes that do runs over: one, or all that a filter names."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from msgspec import Struct

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.http import problems
from services.coordinator.http.params import SEQUENCE, WAIT_S, Key, RunId, Since, checked_statuses
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.publishing import RequestPublisher, run_id_of
from shared.api.views import ErrorView, ForkAccepted, ForkedRow, ForkPage, NewFork, NewForks
from shared.contracts.facts import Forked, RunAccepted
from shared.contracts.forks import Fork
from shared.contracts.requests import AuthenticatedRequest, Request, check_request
from shared.domain.approval import ApprovalRules
from shared.domain.fork import fork_approval, resolve_fork
from shared.domain.judgement import Reject, reject_auto_approval
from shared.domain.roles import Principal
from shared.domain.run import Run
from shared.errors import InvalidMessage

_WITHIN: Final = "fork."
"""Where in a published request the fields stand that the API takes at the top."""


class _Planned(Struct, frozen=True):
    """One run of many, and what is to become of it."""

    run: Run
    request: Request
    fork_id: str | None
    row: ForkedRow


class Forking:
    """Publishes forks as the requests that they are, after a judgement of its own: whoever asks learns at once."""

    def __init__(self, coordinator: Coordinator, publisher: RequestPublisher) -> None:
        self._coordinator = coordinator
        self._publisher = publisher

    def add_to(self, router: APIRouter) -> None:
        """Serve these routes."""
        router.add_api_route(
            "/runs/{run_id}/fork", self.fork, methods=["POST"], status_code=202, response_model=ForkAccepted
        )
        router.add_api_route("/forks", self.fork_all, methods=["POST"], response_model=ForkPage)

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
        request = _request(wish, fork_id, problems.acting_name(who, body.requested_by, "requested_by"))
        await self._coordinator.folded(since, within_s=WAIT_S)
        source = self._coordinator.fold.peek(run_id)
        forked = _allowed(wish, source, self._coordinator.rules)
        if isinstance(forked, Reject):
            raise _refused(forked, run_id, source)
        seq = await self._publisher.publish_once(
            AuthenticatedRequest(request=request, auth=who.auth), fork_id, traceparent
        )
        location = f"/v1/runs/{fork_id}"
        response.headers["Location"] = location
        response.headers[SEQUENCE] = str(seq)
        return ForkAccepted(
            run_id=fork_id,
            location=location,
            sequence=seq,
            forked=run_id,
            step=forked.step,
            reused=len(forked.reuses),
        )

    async def fork_all(self, body: NewForks, who: Caller, idempotency_key: Key = None, since: Since = 0) -> ForkPage:
        """Fork all matching runs, newest first, `limit` at a time. The same `Idempotency-Key` forks nothing twice."""
        _check_bulk(body, idempotency_key)
        await self._coordinator.folded(since, within_s=WAIT_S)
        wanted = RunFilter(checked_statuses(body.status), body.text, body.code, body.since)
        before = int(body.cursor) if body.cursor else None
        runs = self._coordinator.saved.select(wanted, before=before, limit=body.limit + 1)
        more = runs[body.limit - 1].accepted if len(runs) > body.limit else None
        body.requested_by = problems.acting_name(who, body.requested_by, "requested_by")
        plans = [_planned(run, body, idempotency_key, self._coordinator.rules) for run in runs[: body.limit]]
        recorded = await self._publisher.recorded([plan.fork_id for plan in plans if plan.fork_id])
        rows = await asyncio.gather(*(self._do(plan, recorded, who, dry_run=body.dry_run) for plan in plans))
        return ForkPage(forks=rows, next=str(more.seq) if more else None)

    async def _do(
        self, plan: _Planned, recorded: dict[str, RunAccepted], who: Principal, *, dry_run: bool
    ) -> ForkedRow:
        row = plan.row
        if plan.fork_id and (before := recorded.get(plan.fork_id)) and before.fork:
            fork = before.fork
            update = {"result": "already", "step": fork.step, "reused": len(fork.reuses), "error": None}
            return row.model_copy(update=update)
        if row.result == "refused" or dry_run or not plan.fork_id:
            return row
        await self._publisher.publish(AuthenticatedRequest(request=plan.request, auth=who.auth), plan.fork_id)
        return row.model_copy(update={"result": "forked"})


def fork_id_of(source: str, body: NewForks, key: str) -> str:
    """The run that a source is forked into by the call with this key; another for another first step."""
    derived = sha256("\0".join((key, source, body.step or "")).encode())
    return f"f{derived.hexdigest()[:32]}"


def _check_bulk(body: NewForks, key: str | None) -> None:
    if not (body.status or body.code or body.text or body.since):
        text = "status: say which runs, by at least one of status, code, text and since."
        raise ProblemError(422, "invalid_field", text, field="status")
    if not (key or body.dry_run):
        text = "Idempotency-Key: it is required, so that repeating the call forks nothing twice."
        raise ProblemError(422, "invalid_field", text, field="Idempotency-Key")


def _planned(run: Run, body: NewForks, key: str | None, rules: ApprovalRules) -> _Planned:
    wish = _wish(body, run.id)
    fork_id = fork_id_of(run.id, body, key) if key else None
    request = _request(wish, fork_id, body.requested_by)
    return _Planned(run, request, fork_id, _row(run, fork_id, _resolved(run, wish, body, key, rules)))


def _resolved(run: Run, wish: Fork, body: NewForks, key: str | None, rules: ApprovalRules) -> Forked | Reject:
    of = run.accepted.fact.fork if run.accepted else None
    if key and of and fork_id_of(of.run_id, body, key) == run.id:
        return Reject("unfit_edit", f"Run {run.id} is itself a fork that was made with this key.")
    return _allowed(wish, run, rules)


def _allowed(wish: Fork, source: Run | None, rules: ApprovalRules) -> Forked | Reject:
    """What a fork takes from `source`, or why it cannot be, here."""
    forked = resolve_fork(wish, source)
    if isinstance(forked, Reject) or source is None or source.accepted is None:
        return forked
    return reject_auto_approval(fork_approval(wish, forked, source.accepted.fact), rules) or forked


def _row(run: Run, fork_id: str | None, forked: Forked | Reject) -> ForkedRow:
    row = ForkedRow(
        run_id=run.id,
        status=run.status,
        q=run.accepted.fact.q if run.accepted else "",
        result="would_fork",
        fork_id=fork_id,
    )
    if isinstance(forked, Reject):
        error = ErrorView(code=forked.code, message=_at_the_top(forked.message))
        return row.model_copy(update={"result": "refused", "fork_id": None, "error": error})
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


def _request(wish: Fork, fork_id: str | None, requested_by: str) -> Request:
    request = Request(run_id=fork_id, requested_by=requested_by, fork=wish)
    try:
        check_request(request)
    except InvalidMessage as error:
        raise InvalidMessage(error.code, _at_the_top(error.message), field=_at_the_top(error.field)) from error
    return request


def _refused(why: Reject, run_id: str, source: Run | None) -> ProblemError:
    if why.code == "unknown_run":
        return problems.unknown_run(run_id)
    return problems.rejected(Reject(why.code, _at_the_top(why.message), _at_the_top(why.field)), source)


def _at_the_top(text: str) -> str:
    return text.removeprefix(_WITHIN)
