"""`dossier nats consumers`: what only an operator may make.

Whoever makes a consumer says where it delivers to, and NATS does not ask whether they may publish there.
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
    """Make what is missing. Raises `Refusal` where that cannot be done."""
    try:
        names = configuration.endpoint_names(webhooks) if webhooks else []
    except InvalidWebhooks as error:
        raise Refusal(str(error), code=MISUSED) from error
    log = JetStreamLog(await connected(servers, name="dossier-consumers", identity=identity))
    try:
        await _subscriber(log.link)
        if webhooks:
            await notifier.ensure_consumers(log.link, log.beside(DELIVERIES), names)
    except (Unavailable, Refused) as error:
        text = f"The consumers cannot be made: {error} It takes the operator's key, and a coordinator has to have run."
        raise Refusal(text) from error
    finally:
        await log.close()
    terminal.say(f"{COMPLETIONS} has the consumer {SUBSCRIBER}.")
    if webhooks:
        terminal.say(f"The notifier has its consumers; endpoints: {', '.join(names)}.")


async def _subscriber(link: Connection) -> None:
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
