"""`python -m services.coordinator`."""

import asyncio
import logging

from services.coordinator.api import Api
from services.coordinator.intake import Defaults
from services.coordinator.loop import Coordinator
from services.coordinator.projection import Projection
from shared.contracts.requests import duration_s
from shared.runtime import topology
from shared.runtime.app import connect, run, serve_http
from shared.runtime.jetstream import JetStreamLog
from shared.runtime.settings import Settings

logger = logging.getLogger(__name__)


async def _main(settings: Settings, stop: asyncio.Event) -> None:
    log = await connect(settings, "coordinator", stop)
    if log is None:
        return
    projection = Projection(settings.data / "projection.db")
    try:
        await _coordinate(settings, log, projection, stop)
    finally:
        await log.close()
        projection.close()


async def _coordinate(settings: Settings, log: JetStreamLog, projection: Projection, stop: asyncio.Event) -> None:
    await topology.ensure_lead(log.link, settings.limits)
    defaults = Defaults(duration_s(settings.approval_timeout), settings.digest_required)
    coordinator = Coordinator(
        log, projection, defaults=defaults, set_up=lambda: topology.ensure(log.link, settings.limits)
    )
    api = Api(log, coordinator, digest_required=settings.digest_required, ready=lambda: log.link.connected)
    async with asyncio.TaskGroup() as group:
        coordinating = group.create_task(coordinator.run())
        await serve_http(api.app(), host=settings.api_host, port=settings.api_port, stop=stop)
        coordinating.cancel()


def main() -> None:
    """Coordinate until told to stop."""
    settings = Settings()
    run(lambda stop: _main(settings, stop), settings)


if __name__ == "__main__":
    main()
