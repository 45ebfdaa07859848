"""`python -m services.coordinator`."""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.coordinator.access.access import Access, AccessSettings
from services.coordinator.access.middleware import SecurityHeaders
from services.coordinator.api.failures import Expectations
from services.coordinator.app import application
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection
from services.coordinator.http import problems
from services.coordinator.telemetry.counters import FactCounters
from services.coordinator.telemetry.gauges import Gauges
from shared.api import local_token
from shared.contracts.deliveries import DELIVERIES
from shared.contracts.requests import parse_duration_s
from shared.contracts.subjects import ACCESS
from shared.contracts.tokens import Tokens
from shared.domain.approval import ApprovalRules
from shared.domain.budget import WriterPricing
from shared.domain.inbound import Defaults
from shared.errors import DossierError, ServerTooOld
from shared.models.context_window import MOST_CONTEXT, Agent, window_of
from shared.models.roles import tariff
from shared.nats import topology
from shared.nats.jetstream import JetStreamLog
from shared.runtime import clock
from shared.runtime.aio import retry_unavailable, run_until
from shared.runtime.settings import Settings
from shared.service.app import Health, connect, probes, run, serve_health, serve_http, write_trouble
from shared.telemetry.metrics import LogCollector
from shared.telemetry.setup import Telemetry


class NoUsableKey(DossierError):
    """The API would be reachable from other machines, and no usable key exists."""


class _SwitchedApp:
    """ASGI application that answers probes only, and 503 otherwise, until `app` is replaced by the API."""

    def __init__(self) -> None:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        waiting = Starlette(routes=[*probes(Health()), Route("/{path:path}", _not_ready, methods=methods)])
        self.app: ASGIApp = SecurityHeaders(waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on to the current application."""
        await self.app(scope, receive, send)


async def _not_ready(_: Request) -> Response:
    """Answer 503: there is no connection to NATS yet."""
    detail = "This coordinator is not connected to NATS yet; it is safe to repeat the request."
    return problems.problem_response(problems.ProblemError("nats_unavailable", detail))


async def _serve(app: _SwitchedApp, settings: Settings, stop: asyncio.Event) -> None:
    """Serve the API's address until `stop` is set."""
    await serve_http(
        app, host=settings.api_host, port=settings.api_port, stop=stop, trusted_proxies=settings.trusted_proxies
    )


class _Process(Struct, frozen=True):
    """Parts of this process that exist before there is a connection to NATS."""

    settings: Settings
    stop: asyncio.Event
    telemetry: Telemetry
    app: _SwitchedApp
    health: Health

    @property
    def projection(self) -> Path:
        """Path of the projection's file."""
        return self.settings.data / "projection.db"


async def _main(process: _Process) -> None:
    """Serve probes, connect to NATS, and coordinate until `stop` is set."""
    settings, stop = process.settings, process.stop
    async with asyncio.TaskGroup() as group:
        group.create_task(_serve(process.app, settings, stop))
        if settings.health_port != settings.api_port:
            group.create_task(serve_health(process.health, process.telemetry.metrics, settings, stop))
        log = await connect(settings, "coordinator", stop)
        if log is None:
            return
        projection = Projection(process.projection)
        try:
            await _coordinate(process, log, projection)
        finally:
            stop.set()
            await log.close()
            projection.close()


async def _coordinate(process: _Process, log: JetStreamLog, projection: Projection) -> None:
    """Coordinate and serve the API until `stop` is set. Raises `NoUsableKey`."""
    settings, stop, observer = process.settings, process.stop, FactCounters(process.telemetry)
    await run_until(stop, retry_unavailable(lambda: topology.ensure_lead(log.link, settings.limits)))
    await run_until(stop, retry_unavailable(lambda: topology.ensure_access(log.link, settings.limits)))
    defaults = Defaults(
        parse_duration_s(settings.approval_timeout),
        settings.digest_required,
        settings.rounds,
        _writer_pricing(settings),
        _rules(settings),
    )
    coordinator = Coordinator(
        log,
        projection,
        defaults=defaults,
        set_up=lambda: topology.ensure_topology(log.link, settings.limits),
        observe=observer,
    )
    late_after = timedelta(seconds=parse_duration_s(settings.late_after))
    access = Access(log.beside(ACCESS), _access_settings(settings))
    app = application(
        log,
        coordinator,
        access,
        unready=lambda: write_trouble(log) or coordinator.trouble,
        expected=Expectations(settings.attempts, late_after),
        deliveries=log.beside(DELIVERIES),
        observe=observer,
        metrics=process.telemetry.metrics,
    )
    gauges = Gauges(log, coordinator, process.projection, late_after=late_after)
    process.telemetry.metrics.add(gauges, gauges.refresh)
    process.telemetry.metrics.add(LogCollector(log))
    process.health.trouble = lambda: write_trouble(log) or coordinator.trouble
    async with asyncio.TaskGroup() as group:
        keeping_up = group.create_task(access.run())
        await run_until(stop, retry_unavailable(access.open))
        if not stop.is_set():
            _require_usable_key(settings, access)
            process.app.app = app
            await run_until(stop, coordinator.run())
        keeping_up.cancel()


def _access_settings(settings: Settings) -> AccessSettings:
    """Hosts of the API, and the data folder's token if only this machine can reach it."""
    token = local_token.ensure_token(settings.data) if local_token.is_loopback(settings.api_host) else None
    own = (settings.api_host.lower(), *(host.lower() for host in settings.hosts))
    return AccessSettings(token, (*local_token.LOOPBACK_NAMES, *own))


def _rules(settings: Settings) -> ApprovalRules:
    """Rules of approval from the settings."""
    return ApprovalRules(settings.quorum, settings.four_eyes, settings.trust_nats_identity)


def _require_usable_key(settings: Settings, access: Access) -> None:
    """Raise `NoUsableKey` if the API listens beyond this machine and no key is usable."""
    if not local_token.is_loopback(settings.api_host) and not access.has_usable_key:
        raise NoUsableKey(
            f"The API would listen on {settings.api_host}, and there is no usable key to it. Create one first: "
            f"dossier keys create YOUR-NAME --role operator --nats {settings.nats_url[0]}"
        )


def _writer_pricing(settings: Settings) -> WriterPricing:
    """Prices of reports: the models of writer and judge with their prices. Needs no API key."""
    judge = _pricing(settings, "judge", settings.planner_context) if settings.judge else None
    return replace(_pricing(settings, "writer", settings.writer_context), judge=judge)


def _pricing(settings: Settings, agent: Agent, context: int | None) -> WriterPricing:
    """Price and longest reply of an agent's model; `context` is its context window in tokens, or `None`."""
    priced = tariff(settings, agent)
    fits = window_of(agent, context or MOST_CONTEXT)
    return WriterPricing(priced.model, fits.reply, lambda into, out: priced.cost(Tokens(into, out), clock.now()))


def main() -> None:
    """Run a coordinator until SIGTERM or SIGINT. Exits with a message if no key is usable or the server is too old."""
    settings = Settings()
    try:
        run(
            "coordinator",
            lambda stop, telemetry: _main(_Process(settings, stop, telemetry, _SwitchedApp(), Health())),
            settings,
        )
    except* (ServerTooOld, NoUsableKey) as errors:
        sys.exit(str(_first(errors)))


def _first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    """The first exception in nested groups."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


if __name__ == "__main__":
    main()
