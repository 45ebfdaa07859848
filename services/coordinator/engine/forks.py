"""Forks of runs: each is checked against the folded source and published as a request, singly or in bulk."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from services.coordinator.engine.requests import RequestPublisher
from shared.contracts.facts import Forked, RunAccepted
from shared.contracts.forks import Fork
from shared.contracts.requests import Request, check_request
from shared.domain.approval import ApprovalRules
from shared.domain.fork import fork_approval, resolve_fork
from shared.domain.judgement import Reject, reject_auto_approval
from shared.domain.run import Run


class ForkStarted(Struct, frozen=True):
    """A fork whose request is stored at `seq`, and what it reuses of its source."""

    run_id: str
    seq: int
    forked: Forked


class BulkFork(Struct, frozen=True):
    """Result for one source of a bulk fork: the fork's id, and what it reuses or why it is refused.

    `fork_id` is `None` in a refusal and in a dry run without a key. `already`: an earlier call with this key made it.
    """

    source: Run
    result: Literal["would_fork", "forked", "already", "refused"]
    forked: Forked | Reject
    fork_id: str | None = None


class Forks:
    """Starts forks. `rules` decide whether a fork may approve itself."""

    def __init__(self, publisher: RequestPublisher, rules: ApprovalRules) -> None:
        self._publisher = publisher
        self._rules = rules

    async def start(
        self, request: Request, source: Run | None, *, auth: str, traceparent: str | None = None
    ) -> ForkStarted | Reject:
        """Publish the fork that `request` describes, once for its `run_id`; or return why `source` cannot be forked so.

        Raises `RequestError` if the request cannot be published, `InvalidMessage` if it breaks the contract.
        """
        check_request(request)
        assert request.fork
        assert request.run_id
        forked = self._resolve(request.fork, source)
        if isinstance(forked, Reject):
            return forked
        seq = await self._publisher.publish_once(request, auth=auth, traceparent=traceparent)
        return ForkStarted(request.run_id, seq, forked)

    async def start_all(
        self, sources: Sequence[Run], wish: Fork, *, key: str | None, by: str, auth: str, dry_run: bool
    ) -> list[BulkFork]:
        """Fork each source by `wish` (its `run_id` is ignored), in the name of `by`; a result for each, in order.

        Each fork's id follows from `key` and its source, so a repeated call forks nothing twice. A `dry_run`, or a call
        without `key`, publishes nothing. Raises `RequestError` where one cannot be published, `InvalidMessage`.
        """
        requests = [self._request(run, wish, key, by) for run in sources]
        planned = [self._plan(run, request, key) for run, request in zip(sources, requests, strict=True)]
        ids = [request.run_id for request in requests if request.run_id]
        accepted = await self._publisher.accepted(ids)
        work = (
            self._publish(plan, request, accepted.get(request.run_id or ""), auth=auth, dry_run=dry_run)
            for plan, request in zip(planned, requests, strict=True)
        )
        return await asyncio.gather(*work)

    def _request(self, source: Run, wish: Fork, key: str | None, by: str) -> Request:
        """The request that forks `source`; without a `run_id` if there is no key. Raises `InvalidMessage`."""
        fork_id = fork_id_of(source.id, wish.step, key) if key else None
        request = Request(run_id=fork_id, requested_by=by, fork=replace(wish, run_id=source.id))
        check_request(request)
        return request

    def _plan(self, source: Run, request: Request, key: str | None) -> BulkFork:
        """The result before anything is published: `would_fork` or `refused`, also for a fork made with this key."""
        assert request.fork
        origin = source.accepted.fact.fork if source.accepted else None
        if key and origin and fork_id_of(origin.run_id, request.fork.step, key) == source.id:
            own = Reject("unfit_edit", f"Run {source.id} is itself a fork that was made with this key.")
            return BulkFork(source, "refused", own)
        forked = self._resolve(request.fork, source)
        if isinstance(forked, Reject):
            return BulkFork(source, "refused", forked)
        return BulkFork(source, "would_fork", forked, request.run_id)

    async def _publish(
        self, plan: BulkFork, request: Request, accepted: RunAccepted | None, *, auth: str, dry_run: bool
    ) -> BulkFork:
        """Publish a planned fork unless it exists (`already`), is refused, or this is a dry run; its result then."""
        if accepted and accepted.fork:
            return BulkFork(plan.source, "already", accepted.fork, plan.fork_id)
        if plan.result == "refused" or dry_run or not plan.fork_id:
            return plan
        await self._publisher.publish(request, auth=auth)
        return replace(plan, result="forked")

    def _resolve(self, wish: Fork, source: Run | None) -> Forked | Reject:
        """Facts that the fork reuses, or its refusal: by its source, or since it may not approve itself here."""
        forked = resolve_fork(wish, source)
        if isinstance(forked, Reject) or source is None or source.accepted is None:
            return forked
        return reject_auto_approval(fork_approval(wish, forked, source.accepted.fact), self._rules) or forked


def fork_id_of(source: str, step: str | None, key: str) -> str:
    """Run id of the fork of `source` from `step` by the call with this idempotency key: `f` and 32 hex digits."""
    derived = sha256("\0".join((key, source, step or "")).encode())
    return f"f{derived.hexdigest()[:32]}"
