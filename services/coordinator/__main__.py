"""`python -m services.coordinator`."""

import asyncio
import sys
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.coordinator import problems
from services.coordinator.api import Api
from services.coordinator.intake import Defaults
from services.coordinator.loop import Coordinator
from services.coordinator.projection import Projection
from services.coordinator.spending import Writer
from services.coordinator.troubles import Expected
from shared.contracts.deliveries import DELIVERIES
from shared.contracts.requests import duration_s
from shared.errors import ServerTooOld
from shared.models.roles import tariff
from shared.models.room import MOST_CONTEXT, room
from shared.models.tokens import Tokens
from shared.runtime import clock, topology
from shared.runtime.app import Health, connect, probes, run, serve_http, trouble
from shared.runtime.jetstream import JetStreamLog
from shared.runtime.patience import patiently
from shared.runtime.settings import Settings
from shared.runtime.stopping import unless


class _Door:
    """What answers at the API's address: only the probes, until there is a log to answer from."""

    def __init__(self) -> None:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        self.app: ASGIApp = Starlette(routes=[*probes(Health()), Route("/{path:path}", _not_ready, methods=methods)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def _not_ready(_: Request) -> Response:
    detail = "This coordinator is not connected to NATS yet; it is safe to repeat the request."
    return problems.answer(problems.ProblemError(503, "nats_unavailable", detail))


async def _main(settings: Settings, stop: asyncio.Event) -> None:
    door = _Door()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_http(door, host=settings.api_host, port=settings.api_port, stop=stop))
        log = await connect(settings, "coordinator", stop)
        if log is None:
            return
        projection = Projection(settings.data / "projection.db")
        try:
            await _coordinate(settings, log, projection, door, stop)
        finally:
            stop.set()
            await log.close()
            projection.close()


async def _coordinate(
    settings: Settings, log: JetStreamLog, projection: Projection, door: _Door, stop: asyncio.Event
) -> None:
    """Answer from the log and write to it, until `stop`."""
    await unless(stop, patiently(lambda: topology.ensure_lead(log.link, settings.limits)))
    defaults = Defaults(
        duration_s(settings.approval_timeout), settings.digest_required, settings.rounds, _writer(settings)
    )
    coordinator = Coordinator(
        log, projection, defaults=defaults, set_up=lambda: topology.ensure(log.link, settings.limits)
    )
    expected = Expected(settings.attempts, timedelta(seconds=duration_s(settings.late_after)))
    api = Api(
        log,
        coordinator,
        digest_required=settings.digest_required,
        trouble=lambda: trouble(log),
        expected=expected,
        rounds=settings.rounds,
        deliveries=log.beside(DELIVERIES),
    )
    door.app = api.app()
    await unless(stop, coordinator.run())


def _writer(settings: Settings) -> Writer:
    """What prices reports: the writer's model at its price. It takes no key to know that."""
    priced = tariff(settings, "writer")
    fits = room("writer", settings.writer_context or MOST_CONTEXT)
    return Writer(priced.model, fits.reply, lambda into, out: priced.cost(Tokens(into, out), clock.now()))


def main() -> None:
    """Coordinate until told to stop."""
    settings = Settings()
    try:
        run(lambda stop: _main(settings, stop), settings)
    except* ServerTooOld as errors:
        sys.exit(str(errors.exceptions[0]))


if __name__ == "__main__":
    main()
