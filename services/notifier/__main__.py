"""`python -m services.notifier`."""

import asyncio
import sys

from services.notifier.deliver import Deliverer, DeliveryContext
from services.notifier.enqueue import Enqueuer
from services.notifier.http import Sender
from services.notifier.metrics import AttemptCounter
from shared.contracts.deliveries import DELIVERIES
from shared.nats import delivery_consumers
from shared.runtime import clock
from shared.runtime import webhooks as configuration
from shared.runtime.aio import retry_unavailable, run_until
from shared.runtime.endpoints import Webhooks
from shared.runtime.settings import Settings
from shared.runtime.webhooks import InvalidWebhooks
from shared.service.app import Health, connect, run, serve_health, write_trouble
from shared.telemetry.metrics import LogCollector, Metrics
from shared.telemetry.setup import Telemetry


async def _main(settings: Settings, webhooks: Webhooks, stop: asyncio.Event, telemetry: Telemetry) -> None:
    """Serve health and metrics, and notify, until `stop` is set."""
    health = Health()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_health(health, telemetry.metrics, settings, stop))
        group.create_task(_notify(settings, webhooks, stop, health, telemetry.metrics))


async def _notify(
    settings: Settings, webhooks: Webhooks, stop: asyncio.Event, health: Health, metrics: Metrics
) -> None:
    """Connect, ensure the consumers, then enqueue and deliver until `stop` is set; return early if
    `stop` is set first.
    """
    log = await connect(settings, "notifier", stop)
    if log is None:
        return
    metrics.add(LogCollector(log))
    try:
        deliveries = log.beside(DELIVERIES)
        names = [endpoint.name for endpoint in webhooks.endpoints]
        await run_until(
            stop, retry_unavailable(lambda: delivery_consumers.ensure_consumers(log.link, deliveries, names))
        )
        health.trouble = lambda: "The service is stopping." if stop.is_set() else write_trouble(deliveries)
        count = AttemptCounter(metrics, names).count
        where = DeliveryContext(log, deliveries, Sender(webhooks.allow), clock.now, settings.public_url, count)
        async with asyncio.TaskGroup() as group:
            group.create_task(run_until(stop, Enqueuer(log, deliveries, webhooks, clock.now).run()))
            for endpoint in webhooks.endpoints:
                group.create_task(Deliverer(endpoint, where).run(stop))
    finally:
        await log.close()


def main() -> None:
    """Read the settings and run the notifier until it is stopped. Exit with a message if the webhooks are not
    configured.
    """
    settings = Settings()
    if settings.webhooks is None:
        sys.exit("DOSSIER_WEBHOOKS is not set: name the file of webhooks.")
    try:
        webhooks = configuration.load_webhooks(settings.webhooks)
    except InvalidWebhooks as error:
        sys.exit(str(error))
    run("notifier", lambda stop, telemetry: _main(settings, webhooks, stop, telemetry), settings)


if __name__ == "__main__":
    main()
