"""Commands of people: ask, decide, extend, cancel and fork, from the API's bodies, for the API and the pages alike."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import msgspec

from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.forks import Forks, ForkStarted
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.requests import RequestPublisher, run_id_of
from services.coordinator.http.problems import ProblemError, acting_name, rejected, unknown_run
from shared.api.schemas import NewApproval, NewCancel, NewExtension, NewRun
from shared.api.views import NewFork, NewForks
from shared.contracts.forks import Fork
from shared.contracts.requests import Extension, Request, Revision, Ruling, check_request, check_revision
from shared.domain.judgement import Reject
from shared.domain.roles import Principal
from shared.domain.run import Run
from shared.errors import InvalidMessage

_FORK: Final = "fork."
"""Prefix, in a published request, of the fields that the API takes at the top level."""


class Commands:
    """Carries out commands in the name of a principal.

    All raise `ProblemError` for a command that is refused, `RequestError` for a request that is not published,
    `InvalidMessage` for a body that breaks the contract, `Unavailable` and `LogFull`.
    """

    def __init__(
        self, coordinator: Coordinator, publisher: RequestPublisher, approvals: Approvals, forks: Forks
    ) -> None:
        self._coordinator = coordinator
        self._publisher = publisher
        self._approvals = approvals
        self._forks = forks

    async def ask(
        self, body: NewRun, who: Principal, *, key: str | None, traceparent: str | None = None
    ) -> tuple[str, int]:
        """Publish a question; return the id of its run and the sequence of the request. One run for each `key`."""
        by = acting_name(who, body.requested_by, "requested_by")
        request = _request(body, run_id_of(key), by)
        seq = await self._publisher.submit(
            request, auth=who.auth, rules=self._coordinator.rules, once=bool(key), traceparent=traceparent
        )
        assert request.run_id
        return request.run_id, seq

    async def decide(self, run_id: str, body: NewApproval, who: Principal) -> Run:
        """Record a decision, and return the run with it."""
        ruling = _ruling(run_id, body, acting_name(who, body.by, "by"))
        return _accepted_run(run_id, *await self._approvals.submit(body.decision, ruling, who))

    async def extend(self, run_id: str, body: NewExtension, who: Principal) -> Run:
        """Extend the deadline of a hold, and return the run with the later deadline. Repeating it changes nothing."""
        by = acting_name(who, body.by, "by")
        wish = Extension(run_id=run_id, by=by, deadline=body.deadline, comment=body.comment, digest=body.digest)
        return _accepted_run(run_id, *await self._approvals.extend(wish, who))

    async def cancel(self, run_id: str, body: NewCancel, who: Principal) -> Run:
        """End a run, and return it with its end."""
        ruling = Ruling(run_id=run_id, by=acting_name(who, body.by, "by"), comment=body.comment)
        return _accepted_run(run_id, *await self._approvals.submit("cancel", ruling, who))

    async def fork(
        self, run_id: str, body: NewFork, who: Principal, *, key: str | None, traceparent: str | None = None
    ) -> ForkStarted:
        """Publish a fork of a run, as far as it is folded here. One fork for each `key`."""
        by = acting_name(who, body.requested_by, "requested_by")
        request = Request(run_id=run_id_of(key), requested_by=by, fork=fork_of(body, run_id))
        source = self._coordinator.fold.peek(run_id)
        with top_level_fields():
            started = await self._forks.start(request, source, auth=who.auth, traceparent=traceparent)
        if not isinstance(started, Reject):
            return started
        if started.code == "unknown_run":
            raise unknown_run(run_id)
        raise rejected(Reject(started.code, top_level(started.message), top_level(started.field)), source)


def fork_of(body: NewFork | NewForks, run_id: str) -> Fork:
    """The fork of a run that a body describes; a body for many runs edits neither question nor sub-queries."""
    edits = body if isinstance(body, NewFork) else NewFork()
    return Fork(
        run_id=run_id,
        step=body.step,
        all=body.all,
        q=edits.q,
        replace=edits.replace,
        add=tuple(edits.add),
        drop=tuple(edits.drop),
        approval=body.approval,
        approval_timeout=body.approval_timeout,
        max_cost_usd=body.max_cost_usd,
        tools=None if body.tools is None else tuple(body.tools),
    )


@contextmanager
def top_level_fields() -> Generator[None]:
    """Name the fields of an `InvalidMessage` as the API takes them, not as they stand in the published request."""
    try:
        yield
    except InvalidMessage as error:
        raise InvalidMessage(error.code, top_level(error.message), field=top_level(error.field)) from error


def top_level(text: str) -> str:
    """A field, or a message that begins with one, without the prefix that it has in a published request."""
    return text.removeprefix(_FORK)


def _request(body: NewRun, run_id: str, by: str) -> Request:
    """The request for a new run. Raises `InvalidMessage` if the contract does not allow it."""
    request = Request(
        q=body.q,
        run_id=run_id,
        approval=body.approval,
        approval_timeout=body.approval_timeout,
        max_cost_usd=body.max_cost_usd,
        tools=tuple(body.tools),
        requested_by=by,
    )
    check_request(request)
    return request


def _ruling(run_id: str, body: NewApproval, by: str) -> Ruling:
    """The ruling of a body: a `Revision` if it revises.

    Raises `ProblemError` if another decision has fields of a revision, `InvalidMessage` for a revision that the
    contract does not allow.
    """
    ruling = Ruling(
        run_id=run_id,
        by=by,
        comment=body.comment,
        digest=body.digest,
        exclude=tuple(body.exclude),
        max_cost_usd=body.max_cost_usd,
    )
    revision = {"feedback": body.feedback, "queries_add": body.queries_add, "queries_drop": body.queries_drop}
    if body.decision == "revise":
        revised = msgspec.convert(msgspec.to_builtins(ruling) | revision, Revision)
        check_revision(revised)
        return revised
    if field := next((field for field, value in revision.items() if value), None):
        text = f"{field}: it goes with the decision revise, not {body.decision}."
        raise ProblemError("invalid_field", text, run_id=run_id, field=field)
    return ruling


def _accepted_run(run_id: str, refusal: Reject | None, run: Run | None) -> Run:
    """The run of an accepted command. Raises `ProblemError` for a refusal, or if there is no such run."""
    if refusal:
        raise rejected(refusal, run)
    if run is None:
        raise unknown_run(run_id)
    return run
