"""Everybody outside: keeps so many runs in flight and so many on hold, and lets some pass their deadline."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from itertools import cycle
from typing import Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from tests.harness import http
from tests.harness.deployment import Service

FLYING: Final = "flying-"
HELD: Final = "held-"
EXPIRING: Final = "expiring-"

_ANSWER_S: Final = 5.0
_AGAIN_S: Final = 0.1
_HELD_S: Final = 60.0
_SPARE: Final = 25
"""Flights beyond those that are promised: between the end of one and the request for the next there is a moment."""
_LONG: Final = "1h"
_SHORT: Final = "1s"


class Load:
    """At least `runs` in flight, each of which is followed by another when it has completed, and as many on hold."""

    def __init__(self, url: str, coordinators: Sequence[Service], *, runs: int, step_s: float) -> None:
        self._url = url
        self._coordinators = coordinators
        self._runs = runs
        self._lap_s = 3 * step_s
        self._connection: Client | None = None
        self._flying = 0
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.acknowledged: list[str] = []
        self.heard: Counter[str] = Counter()

    async def open(self) -> None:
        """Connect, and return when the runs are on hold that stay there."""
        self._connection = await nats.connect(self._url, error_cb=_quiet)
        await self._connection.subscribe("research.completed", cb=self._hear)
        holds = await self._connection.subscribe("research.run.*.hold.1")
        await asyncio.gather(*(self._ask(run, approval="required", approval_timeout=_LONG) for run in self.held))
        on_hold: set[str] = set()
        while len(on_hold) < self._runs:
            on_hold.add((await holds.next_msg(timeout=_HELD_S)).subject)
        await holds.unsubscribe()

    async def close(self) -> None:
        """End the connection."""
        if self._connection:
            await self._connection.close()

    @property
    def held(self) -> list[str]:
        """The runs that stay on hold until they are decided."""
        return [f"{HELD}{number}" for number in range(self._runs)]

    async def take_off(self) -> None:
        """Return when all are in flight and so spread that each second as many end as begin."""
        self._tasks.append(asyncio.create_task(self._expire()))
        flights = self._runs + max(_SPARE, self._runs // 4)
        for _ in range(flights):
            self._tasks.append(asyncio.create_task(self._fly()))
            await asyncio.sleep(self._lap_s / flights)
        await asyncio.sleep(self._lap_s)

    async def land(self) -> None:
        """Ask no more, and return when all but those on hold have ended."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._ended([run for run in self.acknowledged if not run.startswith(HELD)])

    async def _fly(self) -> None:
        while not self._stopping:
            run = f"{FLYING}{self._flying}"
            self._flying += 1
            await self._ask(run, approval="auto")
            await self._ended([run])

    async def _expire(self) -> None:
        """Deadlines all the time, some of them while nobody leads."""
        number = 0
        while not self._stopping:
            await self._ask(f"{EXPIRING}{number}", approval="required", approval_timeout=_SHORT)
            number += 1
            await asyncio.sleep(self._lap_s / 15)

    async def decide(self) -> None:
        """Approve all that are on hold: over NATS, over one coordinator's API and over the other's in turn."""
        ways = [self._approve, *(partial(self._approve_at, coordinator) for coordinator in self._coordinators)]
        await asyncio.gather(*(way(run) for run, way in zip(self.held, cycle(ways), strict=False)))
        await self._ended(self.held)

    async def _ask(self, run: str, **how: str) -> None:
        self._ends[run] = asyncio.Event()
        await self._publish("research.requested", {"q": run, "run_id": run} | how)
        self.acknowledged.append(run)

    async def _approve(self, run: str) -> None:
        await self._publish("research.approved", {"run_id": run, "by": "ada"})

    async def _approve_at(self, coordinator: Service, run: str) -> None:
        body = {"decision": "approve", "by": "ada"}
        with contextlib.suppress(HTTPException):
            answer = await asyncio.to_thread(
                http.ask, coordinator.port, "POST", f"/v1/runs/{run}/approvals", body, http.key(coordinator.data)
            )
            assert answer.status == 200, answer.body

    async def _publish(self, subject: str, data: object) -> None:
        """Publish until it is acknowledged."""
        assert self._connection
        while True:
            with contextlib.suppress(NatsError, TimeoutError):
                await self._connection.jetstream().publish(subject, json.dumps(data).encode(), timeout=_ANSWER_S)
                return
            await asyncio.sleep(_AGAIN_S)

    async def _ended(self, runs: Sequence[str]) -> None:
        for run in runs:
            await self._ends[run].wait()

    async def _hear(self, message: Msg) -> None:
        run = json.loads(message.data)["data"]["run_id"]
        self.heard[run] += 1
        self._ends[run].set()


async def _quiet(_error: Exception) -> None:
    pass
