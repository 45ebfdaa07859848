"""The HTTP API over logs in memory, served on a loopback port, with workers and something to be asked about."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.contracts import samples
from shared.contracts.requests import Request
from shared.contracts.subjects import KINDS, REQUESTED
from shared.runtime.deliveries import encode_delivery
from shared.runtime.memory import MemoryLog
from shared.service.app import serve_http
from tests.access.entry import entered
from tests.contracts.documents import whole_api
from tests.dossier import coordinating, working
from tests.harness import http
from tests.harness.ports import free_port
from tests.harness.stub import Knobs, Stub
from tests.harness.waiting import wait_until


@contextmanager
def served(data: Path) -> Iterator[int]:
    """The port, while it is served."""
    port, stop, loop = free_port(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(data, port, stop)), daemon=True)
    thread.start()
    try:
        wait_until(lambda: http.status(port, "/readyz") == 200)
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _serve(data: Path, port: int, stop: asyncio.Event) -> None:
    log, deliveries = MemoryLog(), MemoryLog()
    performs = {kind: Stub(log, Knobs(), kind).perform for kind in KINDS}
    async with coordinating(log, data) as dossier, working(log, performs), entered() as access:
        await log.publish(REQUESTED, msgspec.json.encode(Request(q=samples.QUESTION, run_id=samples.RUN)))
        await deliveries.fill(
            [encode_delivery(subject, record, source="test", time=samples.AT) for subject, record in samples.RECORDS]
        )
        await serve_http(whole_api(dossier, access, deliveries), host="127.0.0.1", port=port, stop=stop)
