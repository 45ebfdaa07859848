"""What a process measures, for Prometheus. To count costs a microsecond; what has to be looked up is, when asked for.

No label ever has a run, a person or a text in it: their values are few, and known.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.contracts.evidence import Call
from shared.contracts.subjects import Kind
from shared.runtime.jetstream import JetStreamLog
from shared.runtime.observing import RESULTS, Attempted

_STEP_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LOOK_UP_WITHIN_S: Final = 3.0
_CODES: Final = 100
_URGENT: Final = ("unauthorized", "forbidden", "quota_exhausted")
"""Codes that a person has to act on. They are there from the start, so that the first of them is an increase."""

Look = Callable[[], Awaitable[None]]

disable_created_metrics()


class Metrics:
    """The registry of one process, and what is to be looked up before it is read."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._looks: list[Look] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        about = Gauge("dossier_build_info", "The release that runs.", ["service", "version"], registry=self.registry)
        about.labels(service, version("dossier")).set(1)

    def add(self, collector: Collector, look: Look | None = None) -> None:
        """Have this read as well, after `look`."""
        self.registry.register(collector)
        if look:
            self._looks.append(look)

    async def answer(self, request: Request) -> Response:
        """Everything, in the form that is asked for. What cannot be looked up in time is left out."""
        await asyncio.gather(*(self._looked(look) for look in self._looks))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.registry), headers={"Content-Type": content_type})

    async def _looked(self, look: Look) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_UP_WITHIN_S):
                await look()

    def route(self) -> Route:
        """`/metrics`."""
        return Route("/metrics", self.answer)


class LogCollector:
    """How a process gets on with NATS."""

    def __init__(self, log: JetStreamLog) -> None:
        self._log = log

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        link = self._log.link
        yield GaugeMetricFamily("dossier_nats_connected", "Whether NATS is reachable.", float(link.connected))
        yield CounterMetricFamily("dossier_nats_reconnects", "How often the connection came back.", link.reconnects)
        failures = CounterMetricFamily("dossier_publish_failures", "Tries to write that failed.", labels=["stream"])
        full = GaugeMetricFamily("dossier_log_full", "Whether NATS takes no writes to a stream.", labels=["stream"])
        for room in self._log.rooms:
            failures.add_metric([room.stream], room.failures)
            full.add_metric([room.stream], float(room.trouble is not None))
        yield failures
        yield full


class Attempts:
    """What a worker measures of its attempts, and of the model calls in them."""

    def __init__(self, metrics: Metrics, kind: Kind) -> None:
        registry = metrics.registry
        self._kind = kind
        self._codes = Counter(
            "dossier_attempt_errors", "Attempts that went wrong, by code.", ["kind", "code"], registry=registry
        )
        attempts = Counter(
            "dossier_attempts", "Attempts that are over, by result.", ["kind", "result"], registry=registry
        )
        self._results = {result: attempts.labels(kind, result) for result in RESULTS}
        self._duration = Histogram(
            "dossier_attempt_duration_seconds",
            "From the beginning of an attempt until it is recorded.",
            ["kind"],
            buckets=_STEP_S,
            registry=registry,
        ).labels(kind)
        self._queued = Histogram(
            "dossier_queue_time_seconds",
            "From a task's place in the log until somebody first began with it.",
            ["kind"],
            buckets=_STEP_S,
            registry=registry,
        ).labels(kind)
        self._redelivered = Counter(
            "dossier_redeliveries", "Tasks that were begun again.", ["kind"], registry=registry
        ).labels(kind)
        self._throttled = Counter(
            "dossier_throttled", "Times that somebody asked to wait.", ["kind"], registry=registry
        ).labels(kind)
        self._under_way = 0
        in_flight = Gauge(
            "dossier_attempts_in_flight", "Attempts under way in this process.", ["kind"], registry=registry
        )
        in_flight.labels(kind).set_function(lambda: self._under_way)
        self._calls = _Calls(registry)
        self._seen: set[str] = set(_URGENT)
        for code in _URGENT:
            self._codes.labels(kind, code)

    def began(self) -> None:
        """One more is under way."""
        self._under_way += 1

    def ended(self, attempted: Attempted) -> None:
        """One is over."""
        self._under_way -= 1
        self._results[attempted.result].inc()
        self._duration.observe(attempted.took_s)
        if attempted.deliveries == 1:
            self._queued.observe(attempted.queued_s)
        else:
            self._redelivered.inc()
        if attempted.code:
            self._codes.labels(self._kind, self._known(attempted.code)).inc()
        if attempted.throttled:
            self._throttled.inc(attempted.throttled)
        for call in attempted.calls:
            self._calls.add(call)

    def _known(self, code: str) -> str:
        """The code, unless there have been too many already: those of a tool are what its author makes of them."""
        if len(self._seen) < _CODES:
            self._seen.add(code)
        return code if code in self._seen else "other"


class _Calls:
    """Calls of language models, also those that were paid for and brought nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["agent", "model"]
        self._count = Counter("dossier_model_calls", "Calls, by what was brought.", [*by, "reading"], registry=registry)
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
        who = call.agent, call.model
        self._count.labels(*who, call.reading).inc()
        self._tokens.labels(*who, "input").inc(call.input_tokens)
        self._tokens.labels(*who, "output").inc(call.output_tokens)
        self._duration.labels(*who).observe(call.duration_s)
        if call.cost_usd is None:
            self._unpriced.labels(*who).inc()
        else:
            self._cost.labels(*who).inc(call.cost_usd)
