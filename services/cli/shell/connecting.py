"""Connection of a command to NATS, within seconds."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.cli.shell.refusal import FAILED, Refusal
from shared.nats.connection import Connection, mask_passwords
from shared.runtime.identity import NO_IDENTITY, Identity

CONNECT_S: Final = 10.0


async def connected(
    servers: Sequence[str], *, name: str, identity: Identity = NO_IDENTITY, code: int = FAILED
) -> Connection:
    """Connect to one of the servers. Raises `Refusal` with the last reason if none accepts it within `CONNECT_S`."""
    reasons: list[str] = []
    try:
        async with asyncio.timeout(CONNECT_S):
            return await Connection.open(servers, name=name, identity=identity, hear=reasons.append)
    except TimeoutError as error:
        reason = f": {reasons[-1]}" if reasons else "."
        text = f"NATS at {mask_passwords(servers)} does not accept the connection{reason}"
        raise Refusal(f"{text} (--nats or DOSSIER_NATS_URL names the servers)", code=code) from error
