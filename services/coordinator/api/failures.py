"""The routes for whoever wonders what went wrong: failures, and why a run does not move."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Query
from msgspec import Struct

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import FailureFilter
from services.coordinator.http import problems
from services.coordinator.http.params import WAIT_S, Code, Cursor, Limit, Moment, RunId, Since, Text
from services.coordinator.http.routes import Routes
from shared.api.schemas import LateView
from shared.api.views import FailurePage, FailureView, WhyView, failure_view, wait_view
from shared.contracts.messages import Queue
from shared.contracts.subjects import COORDINATOR_LEAD, TOKEN, Kind
from shared.domain.diagnosis import Observations, diagnose
from shared.domain.failures import FailureKind, FailureRecord, failed_attempts, failed_input
from shared.domain.run import Run
from shared.domain.steps import lateness, open_steps
from shared.errors import Refused, Unavailable
from shared.runtime.log import Consumer, Log
from shared.runtime.retry_policy import RetryPolicy

SHOWN: Final = 4_000
"""Characters of a refused message that are shown."""


class Expected(Struct, frozen=True):
    """What is normal: how often a step is tried, and how long a run may be due to move before it is late."""

    attempts: int = RetryPolicy().attempts
    late_after: timedelta = timedelta(minutes=5)


EXPECTED: Final = Expected()


class FailureRoutes:
    """Answers from the projection, and asks the log only for what one answer needs."""

    def __init__(self, log: Log, coordinator: Coordinator, expected: Expected) -> None:
        self._log = log
        self._coordinator = coordinator
        self._expected = expected

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/v1/failures", self.failures, "read")
        routes.add("GET", "/v1/runs/{run_id}/why", self.why, "read", refuses=("unknown_run",))

    async def failures(
        self,
        kind: Annotated[list[FailureKind] | None, Query(description="May be given more than once")] = None,
        code: Code = "",
        run: Annotated[str, Query(pattern=f"^({TOKEN.pattern})?$")] = "",
        text: Text = "",
        since_time: Annotated[Moment, Query(alias="since")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
        since: Since = 0,
    ) -> FailurePage:
        """Final failures, newest first: steps, failed and parked runs, and refused messages."""
        await self._coordinator.folded(since, within_s=WAIT_S)
        wanted = FailureFilter(kind or (), code, run, text, since_time)
        failed = self._coordinator.saved.failures(wanted, before=int(cursor) if cursor else None, limit=limit + 1)
        more = str(failed[limit - 1].seq) if len(failed) > limit else None
        return FailurePage(failures=await asyncio.gather(*map(self._failure, failed[:limit])), next=more)

    async def _failure(self, failed: FailureRecord) -> FailureView:
        run = self._coordinator.fold.peek(failed.run) if failed.run and failed.refused is None else None
        if run:
            return failure_view(failed, failed_attempts(run, failed), failed_input(run, failed))
        view = failure_view(failed, (), None)
        message = await self._log.at(failed.refused) if failed.refused else None
        if message:
            view.content = message.data[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
            view.content_bytes = len(message.data)
        return view

    async def why(self, run_id: RunId, since: Since = 0) -> WhyView:
        """The reason why a run waits: for a person, a worker, a retry, the limit or a coordinator; or how it ended."""
        known = await self._coordinator.wait_until(run_id, since, lambda _: True, within_s=WAIT_S if since else 0)
        messages = self._coordinator.fold.pending.about(run_id)
        if known is None and not messages:
            raise self._unknown(run_id)
        run = known or Run(run_id)
        seen = await self._seen(run, messages)
        [first, *others] = [wait_view(wait, seen.attempts) for wait in diagnose(run, seen)]
        due = lateness(run, seen.now, self._expected.late_after)
        return WhyView(
            **first.model_dump(),
            run_id=run_id,
            status=run.status,
            at=seen.now,
            late=LateView(code=due.code, since=due.since, reason=due.text) if due else None,
            others=others,
        )

    async def _seen(self, run: Run, messages: Sequence[tuple[int, str]]) -> Observations:
        kinds: list[Kind] = sorted({state.step.kind for state in open_steps(run)})
        lead, *queues = await asyncio.gather(*map(self._queue, (COORDINATOR_LEAD, *kinds)))
        return Observations(
            now=self._coordinator.now(),
            attempts=self._expected.attempts,
            led=True if self._coordinator.leads else lead.in_flight > 0 if lead else None,
            queues={kind: queue for kind, queue in zip(kinds, queues, strict=True) if queue},
            messages=messages,
        )

    async def _queue(self, consumer: Consumer) -> Queue | None:
        try:
            return await self._log.queue(consumer)
        except (Unavailable, Refused):
            return None

    def _unknown(self, run_id: str) -> problems.ProblemError:
        """Nobody knows this run; perhaps because its request was refused."""
        for failed in self._coordinator.saved.failures(FailureFilter(kinds=("request",), run=run_id), limit=1):
            text = f"There is no run {run_id}: what was sent was refused. {failed.error.message}"
            return problems.ProblemError("unknown_run", text, run_id=run_id)
        return problems.unknown_run(run_id)
