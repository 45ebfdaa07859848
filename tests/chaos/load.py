"""Everybody outside, over plain nats-py and HTTP: who asks, who decides early, late, twice or wrongly, who listens."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from pathlib import Path
from random import Random  # noqa: TID251  seeded: the same choices each time
from typing import Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from tests.harness import http

_ANSWER_S: Final = 2.0
_AGAIN_S: Final = 0.1
_TIMEOUT: Final = "8s"
_MALFORMED: Final = (b"{", b'{"q": ""}', b'{"q": "Why?", "surprise": 1}', b'{"q": "Why?", "run_id": "no.token"}')


class Load:
    """Keeps asking until told to stop, and repeats what was not acknowledged until it is."""

    def __init__(
        self, urls: Sequence[str], apis: Sequence[tuple[int, Path]], rng: Random, *, pause_s: float, prefix: str
    ) -> None:
        self._urls = list(urls)
        self._apis = apis
        self._rng = rng
        self._pause_s = pause_s
        self._prefix = prefix
        self._later: list[asyncio.Task[None]] = []
        self._connection: Client | None = None
        self._stop = asyncio.Event()
        self._threads = ThreadPoolExecutor(64)
        self.acknowledged: list[str] = []
        self.heard: Counter[str] = Counter()

    async def run(self) -> None:
        """Ask until `stop`, then see what was begun to its end."""
        self._connection = await nats.connect(
            self._urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet
        )
        await self._connection.subscribe("research.completed", cb=self._hear)
        number = 0
        while not self._stop.is_set():
            await self._one(f"{self._prefix}{number}", number)
            number += 1
            await asyncio.sleep(self._pause_s)
        await asyncio.gather(*self._later)

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    async def close(self) -> None:
        """End the connection."""
        self._threads.shutdown()
        if self._connection:
            await self._connection.close()

    async def _one(self, run: str, number: int) -> None:
        story = number % 10
        approval = "auto" if story < 3 else "required"
        request = {"q": run, "run_id": run, "approval": approval, "approval_timeout": _TIMEOUT}
        await self._publish("research.requested", request)
        self.acknowledged.append(run)
        if story == 2:
            await self._publish("research.requested", request)
        elif story == 3:
            await self._publish("research.approved", {"run_id": run, "by": "early"})
        elif story in (4, 5):
            self._soon(self._publish("research.approved", {"run_id": run, "by": "later"}))
        elif story == 6:
            self._soon(self._publish("research.rejected", {"run_id": run, "by": "later"}))
            self._soon(self._publish("research.approved", {"run_id": run, "by": "another"}))
        elif story == 7:
            self._soon(self._publish("research.cancelled", {"run_id": run, "by": "later"}))
        elif story == 8:
            self._soon(self._ask_the_api(run))
        elif number % 40 == 9:
            await self._publish("research.requested", self._rng.choice(_MALFORMED))

    def _soon(self, what: Coroutine[None, None, None]) -> None:
        async def later() -> None:
            await asyncio.sleep(self._rng.random() * 4)
            await what

        self._later.append(asyncio.create_task(later()))

    async def _publish(self, subject: str, data: object) -> None:
        """Publish until it is acknowledged; so it may be stored more than once, as with any honest client."""
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        assert self._connection
        while True:
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await self._connection.jetstream().publish(subject, payload, timeout=_ANSWER_S)
                return
            await asyncio.sleep(_AGAIN_S)

    async def _ask_the_api(self, run: str) -> None:
        """Approve over HTTP, at any coordinator, until one has an answer that is final."""
        path, body = f"/v1/runs/{run}/approvals", {"decision": "approve", "by": "api"}
        while True:
            port, data = self._rng.choice(self._apis)
            with contextlib.suppress(OSError, HTTPException):
                answer = await asyncio.get_running_loop().run_in_executor(
                    self._threads, partial(http.ask, port, "POST", path, body, http.key(data))
                )
                if answer.status == 200 or (answer.status == 409 and answer.body["code"] != "not_held"):
                    return
            await asyncio.sleep(_AGAIN_S)

    async def _hear(self, message: Msg) -> None:
        self.heard[json.loads(message.data)["data"]["run_id"]] += 1


async def _quiet(_error: Exception) -> None:
    pass
