"""Prometheus metrics of a process. Counting costs a microsecond; values that need a query are refreshed when scraped.

Labels have few, known values: never a run, a person or a text.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.contracts.evidence import Call
from shared.contracts.subjects import Kind
from shared.nats.jetstream import JetStreamLog
from shared.telemetry.attempts import RESULTS, AttemptReport

_STEP_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LOOK_UP_WITHIN_S: Final = 3.0
_CODES: Final = 100
_URGENT: Final = ("unauthorized", "forbidden", "quota_exhausted")
"""Codes that a person has to act on. They are there from the start, so that the first of them is an increase."""

Refresh = Callable[[], Awaitable[None]]

disable_created_metrics()


class Metrics:
    """The registry of one process, and the refreshes that run before it is read."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._refreshes: list[Refresh] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        about = Gauge("dossier_build_info", "The release that runs.", ["service", "version"], registry=self.registry)
        about.labels(service, version("dossier")).set(1)

    def add(self, collector: Collector, refresh: Refresh | None = None) -> None:
        """Register a collector, and `refresh` to be awaited before each scrape."""
        self.registry.register(collector)
        if refresh:
            self._refreshes.append(refresh)

    async def answer(self, request: Request) -> Response:
        """Return all metrics in the format that the request accepts. A refresh that takes over 3 s is cut off."""
        await asyncio.gather(*(self._refresh(refresh) for refresh in self._refreshes))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.registry), headers={"Content-Type": content_type})

    async def _refresh(self, refresh: Refresh) -> None:
        """Await one refresh for at most `_LOOK_UP_WITHIN_S` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_UP_WITHIN_S):
                await refresh()

    def route(self) -> Route:
        """The route `/metrics`."""
        return Route("/metrics", self.answer)


class LogCollector:
    """Metrics of the connection to NATS."""

    def __init__(self, log: JetStreamLog) -> None:
        self._log = log

    def collect(self) -> Iterable[Metric]:
        """Yield connection state, reconnects, and failures and fullness by stream."""
        link = self._log.link
        yield GaugeMetricFamily("dossier_nats_connected", "Whether NATS is reachable.", float(link.connected))
        yield CounterMetricFamily("dossier_nats_reconnects", "Reconnections to NATS.", link.reconnects)
        failures = CounterMetricFamily("dossier_publish_failures", "Failed tries to write.", labels=["stream"])
        full = GaugeMetricFamily("dossier_log_full", "Whether NATS takes no writes to a stream.", labels=["stream"])
        for health in self._log.write_health:
            failures.add_metric([health.stream], health.failures)
            full.add_metric([health.stream], float(health.trouble is not None))
        yield failures
        yield full


class AttemptMetrics:
    """Metrics of a worker's attempts and of their model calls."""

    def __init__(self, metrics: Metrics, kind: Kind) -> None:
        self._kind: Kind = kind
        self._results: dict[str, int] = dict.fromkeys(map(str, RESULTS), 0)
        self._codes: dict[str, int] = dict.fromkeys(map(str, _URGENT), 0)
        self._duration, self._queued = _DurationHistogram(), _DurationHistogram()
        self._under_way = self._redelivered = self._throttled = 0
        self._calls = _CallMetrics(metrics.registry)
        metrics.add(self)

    def began(self) -> None:
        """Count an attempt as in progress."""
        self._under_way += 1

    def ended(self, attempted: AttemptReport) -> None:
        """Count a finished attempt: result, code, durations, redelivery, throttling and calls.

        Beyond 100 codes, new ones count as `other`. Queue time is measured for first deliveries only.
        """
        self._under_way -= 1
        self._results[attempted.result] += 1
        self._duration.observe(attempted.took_s)
        if attempted.deliveries == 1:
            self._queued.observe(attempted.queued_s)
        else:
            self._redelivered += 1
        if attempted.code:
            code = attempted.code if attempted.code in self._codes or len(self._codes) < _CODES else "other"
            self._codes[code] = self._codes.get(code, 0) + 1
        self._throttled += attempted.throttled
        for call in attempted.calls:
            self._calls.add(call)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of attempts, all labelled with the kind."""
        yield self._by("dossier_attempts", "Attempts that are over, by result.", "result", self._results)
        yield self._by("dossier_attempt_errors", "Attempts that went wrong, by code.", "code", self._codes)
        about = "From the beginning of an attempt until it is recorded."
        yield self._duration.family("dossier_attempt_duration_seconds", about, self._kind)
        about = "From the storage of a task until its first attempt began."
        yield self._queued.family("dossier_queue_time_seconds", about, self._kind)
        for name, about, count in (
            ("dossier_redeliveries", "Attempts of tasks that were handed out before.", self._redelivered),
            ("dossier_throttled", "Times that an attempt was throttled.", self._throttled),
        ):
            family = CounterMetricFamily(name, about, labels=["kind"])
            family.add_metric([self._kind], count)
            yield family
        gauge = GaugeMetricFamily("dossier_attempts_in_flight", "Attempts under way in this process.", labels=["kind"])
        gauge.add_metric([self._kind], self._under_way)
        yield gauge

    def _by(self, name: str, about: str, label: str, counts: Mapping[str, int]) -> Metric:
        """Return a counter with one further label."""
        family = CounterMetricFamily(name, about, labels=["kind", label])
        for value, count in counts.items():
            family.add_metric([self._kind, value], count)
        return family


class _DurationHistogram:
    """A histogram without locks, at a fifth of the cost. Use it from one thread only."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_STEP_S) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration in seconds."""
        self._counts[bisect_left(_STEP_S, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, about: str, kind: Kind) -> Metric:
        """Return the histogram as a metric with the label `kind`."""
        bounds = [*(str(float(bound)) for bound in _STEP_S), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        family = HistogramMetricFamily(name, about, labels=["kind"])
        family.add_metric([kind], buckets, self._sum)
        return family


class _CallMetrics:
    """Metrics of model calls, also of paid calls without a usable reply."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["agent", "model"]
        self._count = Counter(
            "dossier_model_calls", "Model calls, by the use of the reply.", [*by, "reading"], registry=registry
        )
        self._tokens = Counter("dossier_model_tokens", "Tokens.", [*by, "direction"], registry=registry)
        self._cost = Counter(
            "dossier_model_cost_dollars", "US dollars, of calls whose price is known.", by, registry=registry
        )
        self._unpriced = Counter(
            "dossier_model_unpriced_calls", "Calls whose price is not known.", by, registry=registry
        )
        self._duration = Histogram(
            "dossier_model_call_duration_seconds", "How long a call took.", by, buckets=_STEP_S, registry=registry
        )

    def add(self, call: Call) -> None:
        """Count a call: reading, tokens, duration, and cost or missing price."""
        who = call.agent, call.model
        self._count.labels(*who, call.reading).inc()
        self._tokens.labels(*who, "input").inc(call.input_tokens)
        self._tokens.labels(*who, "output").inc(call.output_tokens)
        self._duration.labels(*who).observe(call.duration_s)
        if call.cost_usd is None:
            self._unpriced.labels(*who).inc()
        else:
            self._cost.labels(*who).inc(call.cost_usd)
