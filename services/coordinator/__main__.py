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
from services.coordinator.access.middleware import Protected
from services.coordinator.api.failures import Expected
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
from shared.domain.decisions import Defaults
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


class NobodyMay(DossierError):
    """The API would be reachable for others, and nobody has a key to it."""


class _Door:
    """What answers at the API's address: only the probes, until there is a log to answer from."""

    def __init__(self) -> None:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        waiting = Starlette(routes=[*probes(Health()), Route("/{path:path}", _not_ready, methods=methods)])
        self.app: ASGIApp = Protected(waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def _not_ready(_: Request) -> Response:
    detail = "This coordinator is not connected to NATS yet; it is safe to repeat the request."
    return problems.problem_response(problems.ProblemError("nats_unavailable", detail))


async def _serve(door: _Door, settings: Settings, stop: asyncio.Event) -> None:
    await serve_http(
        door, host=settings.api_host, port=settings.api_port, stop=stop, trusted_proxies=settings.trusted_proxies
    )


class _Process(Struct, frozen=True):
    """What there is of this process before there is a log."""

    settings: Settings
    stop: asyncio.Event
    telemetry: Telemetry
    door: _Door
    health: Health

    @property
    def projection(self) -> Path:
        """The file of the projection."""
        return self.settings.data / "projection.db"


async def _main(process: _Process) -> None:
    settings, stop = process.settings, process.stop
    async with asyncio.TaskGroup() as group:
        group.create_task(_serve(process.door, settings, stop))
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
    """Answer from the log and write to it, until `stop`."""
    settings, stop, observer = process.settings, process.stop, FactCounters(process.telemetry)
    await run_until(stop, retry_unavailable(lambda: topology.ensure_lead(log.link, settings.limits)))
    await run_until(stop, retry_unavailable(lambda: topology.ensure_access(log.link, settings.limits)))
    defaults = Defaults(
        parse_duration_s(settings.approval_timeout),
        settings.digest_required,
        settings.rounds,
        _writer(settings),
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
    access = Access(log.beside(ACCESS), _entry(settings))
    app = application(
        log,
        coordinator,
        access,
        unready=lambda: write_trouble(log) or coordinator.trouble,
        expected=Expected(settings.attempts, late_after),
        deliveries=log.beside(DELIVERIES),
        observe=observer,
        metrics=process.telemetry.metrics,
    )
    figures = Gauges(log, coordinator, process.projection, late_after=late_after)
    process.telemetry.metrics.add(figures, figures.look)
    process.telemetry.metrics.add(LogCollector(log))
    process.health.trouble = lambda: write_trouble(log) or coordinator.trouble
    async with asyncio.TaskGroup() as group:
        keeping_up = group.create_task(access.run())
        await run_until(stop, retry_unavailable(access.open))
        if not stop.is_set():
            _refuse_if_nobody_may(settings, access)
            process.door.app = app
            await run_until(stop, coordinator.run())
        keeping_up.cancel()


def _entry(settings: Settings) -> AccessSettings:
    """Where the API is reached; the token of the data folder counts only where this machine alone reaches it."""
    token = local_token.ensure_token(settings.data) if local_token.is_loopback(settings.api_host) else None
    own = (settings.api_host.lower(), *(host.lower() for host in settings.hosts))
    return AccessSettings(token, (*local_token.LOOPBACK_NAMES, *own))


def _rules(settings: Settings) -> ApprovalRules:
    return ApprovalRules(settings.quorum, settings.four_eyes, settings.trust_nats_identity)


def _refuse_if_nobody_may(settings: Settings, access: Access) -> None:
    if not local_token.is_loopback(settings.api_host) and not access.lets_anybody_in:
        raise NobodyMay(
            f"The API would listen on {settings.api_host}, and there is no key that lets anybody in. Make one first: "
            f"dossier keys create YOUR-NAME --role operator --nats {settings.nats_url[0]}"
        )


def _writer(settings: Settings) -> WriterPricing:
    """What prices reports: the models of writer and judge at their prices. It takes no key to know them."""
    judge = _priced(settings, "judge", settings.planner_context) if settings.judge else None
    return replace(_priced(settings, "writer", settings.writer_context), judge=judge)


def _priced(settings: Settings, agent: Agent, context: int | None) -> WriterPricing:
    priced = tariff(settings, agent)
    fits = window_of(agent, context or MOST_CONTEXT)
    return WriterPricing(priced.model, fits.reply, lambda into, out: priced.cost(Tokens(into, out), clock.now()))


def main() -> None:
    """Coordinate until told to stop."""
    settings = Settings()
    try:
        run(
            "coordinator",
            lambda stop, telemetry: _main(_Process(settings, stop, telemetry, _Door(), Health())),
            settings,
        )
    except* (ServerTooOld, NobodyMay) as errors:
        sys.exit(str(_first(errors)))


def _first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


if __name__ == "__main__":
    main()
