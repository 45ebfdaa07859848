"""Gauges of a coordinator: runs by status, queues, and its lag behind the log.

Values are looked up at most every 2 s, however many scrapers read them.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from services.coordinator.engine.loop import Coordinator
from services.coordinator.telemetry import census
from services.coordinator.telemetry.census import RunCensus
from shared.contracts.messages import Queue
from shared.contracts.subjects import KINDS, Kind, task_filter
from shared.errors import Refused, Unavailable
from shared.runtime.log import Log

_KEPT_S: Final = 2.0


class GaugeValues(Struct, frozen=True):
    """State of one queue, and since when its first task waits; `None` if none does."""

    queue: Queue
    waits_since: datetime | None


class Gauges:
    """Gauges that are looked up. A value that could not be looked up is left out, not repeated."""

    def __init__(self, log: Log, coordinator: Coordinator, projection: Path, *, late_after: timedelta) -> None:
        self._log = log
        self._coordinator = coordinator
        self._projection = projection
        self._late_after = late_after
        self._refreshing = asyncio.Lock()
        self._refreshed_at = -_KEPT_S
        self._census: RunCensus | None = None
        self._queues: Mapping[Kind, GaugeValues] = {}
        self._end: int | None = None

    async def refresh(self) -> None:
        """Look up all values, unless that was done in the last 2 s. Never raises."""
        async with self._refreshing:
            now = asyncio.get_running_loop().time()
            if now - self._refreshed_at < _KEPT_S:
                return
            self._refreshed_at = now
            self._census, self._queues, self._end = None, {}, None
            await asyncio.gather(self._count(), self._ask())

    async def _count(self) -> None:
        """Take the census of runs in a thread; none if the file cannot be read."""
        late_before = self._coordinator.now() - self._late_after
        try:
            self._census = await asyncio.to_thread(census.take_census, self._projection, late_before=late_before)
        except sqlite3.Error:
            self._census = None

    async def _ask(self) -> None:
        """Ask NATS for the end of the log and all queues; no queues if it does not answer."""
        try:
            self._end = (await self._log.end()).seq
            self._queues = {kind: await self._stands(kind) for kind in KINDS}
        except (Unavailable, Refused):
            self._queues = {}

    async def _stands(self, kind: Kind) -> GaugeValues:
        """State of one queue. Raises `Unavailable` or `Refused`."""
        queue = await self._log.queue(kind)
        waits = await self._log.first(task_filter(kind), after=queue.handed_out) if queue.waiting else None
        return GaugeValues(queue, waits.time if waits else None)

    def collect(self) -> Iterable[Metric]:
        """Metrics for the registry; see `Collector`."""
        coordinator = self._coordinator
        yield GaugeMetricFamily("dossier_leader", "Whether this coordinator leads.", float(coordinator.leads))
        yield GaugeMetricFamily("dossier_caught_up", "Whether the log is read.", float(coordinator.caught_up))
        if self._end is not None:
            lag = max(0, self._end - coordinator.fold.seq)
            yield GaugeMetricFamily("dossier_projection_lag_messages", "Messages of the log that are not folded.", lag)
        if self._census:
            yield from _runs(self._census, coordinator.now().timestamp())
        if self._queues:
            yield from _queues(self._queues, coordinator.now())


def _runs(census: RunCensus, now: float) -> Iterable[Metric]:
    """Metrics of runs and holds at `now`, in seconds since 1970."""
    runs = GaugeMetricFamily("dossier_runs", "Runs that have not ended.", labels=["status"])
    for status, count in census.open.items():
        runs.add_metric([status], count)
    yield runs
    yield GaugeMetricFamily("dossier_runs_late", "Runs that are due to move and do not.", census.late)
    yield GaugeMetricFamily("dossier_holds_open", "Runs that wait for a decision.", census.held)
    oldest = max(0.0, now - census.oldest) if census.oldest else 0.0
    yield GaugeMetricFamily("dossier_hold_oldest_age_seconds", "For how long the oldest hold has been open.", oldest)
    nearest = GaugeMetricFamily("dossier_hold_nearest_deadline_seconds", "Until the next hold expires; none: no value.")
    if census.nearest:
        nearest.add_metric([], census.nearest - now)
    yield nearest


_QUEUE: Final[tuple[tuple[str, str, Callable[[Queue], int]], ...]] = (
    ("dossier_queue_tasks_waiting", "Tasks that are not delivered to a worker yet.", lambda queue: queue.waiting),
    ("dossier_queue_tasks_in_flight", "Tasks that workers have in hand.", lambda queue: queue.in_flight),
    ("dossier_queue_limit", "Tasks that may be in hand at once.", lambda queue: queue.limit),
    ("dossier_queue_redelivered", "Tasks in hand that came back before.", lambda queue: queue.redelivered),
    ("dossier_queue_workers_asking", "Orders of workers that have room for more.", lambda queue: queue.asking),
)


def _queues(queues: Mapping[Kind, GaugeValues], now: datetime) -> Iterable[Metric]:
    """Metrics of the queues, labelled by kind."""
    for name, text, figure in _QUEUE:
        family = GaugeMetricFamily(name, text, labels=["kind"])
        for kind, standing in queues.items():
            family.add_metric([kind], figure(standing.queue))
        yield family
    age = GaugeMetricFamily("dossier_queue_oldest_age_seconds", "For how long the first has waited.", labels=["kind"])
    for kind, standing in queues.items():
        age.add_metric([kind], max(0.0, (now - standing.waits_since).total_seconds()) if standing.waits_since else 0.0)
    yield age
