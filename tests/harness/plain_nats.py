"""Plain nats-py, without anything of Dossier's."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nats.aio.client import Client


@asynccontextmanager
async def closing() -> AsyncGenerator[Client]:
    """A client that leaves no open socket behind, as nats-py does where the server refuses it."""
    client = Client()
    try:
        yield client
        await client.close()
    finally:
        for writer in (client._transport._io_writer, client._transport._bare_io_writer) if client._transport else ():
            if writer:
                writer.transport.abort()
        await asyncio.sleep(0)
