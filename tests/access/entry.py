"""A way in: an `Access` over a log in memory, and keys to it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from services.coordinator.access.access import Access, AccessSettings
from shared.contracts import envelope
from shared.contracts.access import AccessFact, Action, KeyCreated, KeyRevoked, Role
from shared.contracts.messages import Fill
from shared.contracts.subjects import key_created, key_revoked
from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.runtime import clock
from shared.runtime.log import Log
from shared.runtime.memory import MemoryLog

URL = "http://localhost:8400"
TOKEN = keys.format_key(LOCAL, "1" * 64)
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def entered(log: Log | None = None, *, token: str | None = TOKEN) -> AsyncGenerator[Access]:
    """An `Access` that is open and keeps up, with the token of a data folder."""
    access = Access(log or MemoryLog(), AccessSettings(token))
    running = asyncio.create_task(access.run())
    try:
        await access.open()
        yield access
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def created(
    log: Log,
    name: str,
    role: Role = "operator",
    *,
    scopes: tuple[Action, ...] = (),
    life: timedelta = timedelta(days=1),
    now: datetime | None = None,
) -> str:
    """A key, and the fact of it in `log`."""
    id_ = clock.token()[: keys.ID_LENGTH]
    key = keys.format_key(id_, clock.secret())
    until = (now or clock.now()) + life
    fact = KeyCreated(id=id_, name=name, role=role, sha256=keys.key_hash(key), expires_at=until, scopes=scopes)
    await written(log, key_created(id_), fact)
    return key


async def revoked(log: Log, key: str) -> None:
    """The fact that a key opens nothing any more."""
    await written(log, key_revoked(keys.key_id(key) or ""), KeyRevoked(by="test"))


async def written(log: Log, subject: str, fact: AccessFact) -> None:
    """Any fact in its box."""
    await log.fill([Fill(subject, envelope.encode_message(subject, fact, source="test", time=clock.now()))])


def shown(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}
