"""Consumers of subscribers and of the notifier in a locked-down NATS.

Only the operator may create them: the creator of a consumer chooses the subject of its deliveries, and NATS does not
check that the creator may publish there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.cli.lockdown.permissions import SUBSCRIBER
from services.cli.shell.connecting import connected
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.terminal import Terminal
from shared.contracts.deliveries import DELIVERIES
from shared.contracts.subjects import COMPLETED, COMPLETIONS
from shared.errors import Refused, Unavailable
from shared.nats import delivery_consumers as notifier
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime import webhooks as configuration
from shared.runtime.identity import Identity
from shared.runtime.webhooks import InvalidWebhooks

_ACK_WAIT_S: Final = 30
_NS: Final = 1_000_000_000


async def ensure(servers: Sequence[str], identity: Identity, webhooks: Path | None, terminal: Terminal) -> None:
    """Create missing consumers and print them. Raises `Refusal` if NATS or the file of webhooks does not allow it."""
    try:
        names = configuration.endpoint_names(webhooks) if webhooks else []
    except InvalidWebhooks as error:
        raise Refusal(str(error), code=MISUSED) from error
    log = JetStreamLog(await connected(servers, name="dossier-consumers", identity=identity))
    try:
        await _ensure_subscriber(log.link)
        if webhooks:
            await notifier.ensure_consumers(log.link, log.beside(DELIVERIES), names)
    except (Unavailable, Refused) as error:
        text = f"The consumers cannot be created: {error} Use the operator's key, after a coordinator has run once."
        raise Refusal(text) from error
    finally:
        await log.close()
    terminal.say(f"{COMPLETIONS} has the consumer {SUBSCRIBER}.")
    if webhooks:
        terminal.say(f"The notifier has its consumers; endpoints: {', '.join(names)}.")


async def _ensure_subscriber(link: Connection) -> None:
    """Create the consumer of `COMPLETIONS` unless it exists. Raises `Unavailable` or `Refused`."""
    if await topology.consumer_exists(link, COMPLETIONS, SUBSCRIBER):
        return
    config: dict[str, Any] = {
        "durable_name": SUBSCRIBER,
        "filter_subject": COMPLETED,
        "ack_policy": "explicit",
        "ack_wait": _ACK_WAIT_S * _NS,
        "max_deliver": -1,
    }
    call = f"CONSUMER.DURABLE.CREATE.{COMPLETIONS}.{SUBSCRIBER}"
    await topology.request_api(link, call, {"stream_name": COMPLETIONS, "config": config})
