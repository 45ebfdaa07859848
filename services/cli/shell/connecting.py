"""A connection to NATS for a command: there soon, or a sentence that says why not."""

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
    """Connect. Raises `Refusal` where no NATS answers, or none that lets us in, within `CONNECT_S`."""
    reasons: list[str] = []
    try:
        async with asyncio.timeout(CONNECT_S):
            return await Connection.open(servers, name=name, identity=identity, hear=reasons.append)
    except TimeoutError as error:
        why = f": {reasons[-1]}" if reasons else "."
        text = f"NATS does not let us in at {mask_passwords(servers)}{why}"
        raise Refusal(f"{text} (--nats or DOSSIER_NATS_URL says where it is)", code=code) from error
