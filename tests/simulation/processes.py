"""The product's programs, each to be started, stopped, killed and started again."""

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection
from shared.contracts.subjects import Kind
from shared.domain.inbound import Defaults
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Worker
from tests.dossier import nothing_to_set_up
from tests.simulation.loop import OUTSIDE, Host
from tests.simulation.network import Connection

if TYPE_CHECKING:
    from tests.simulation.world import World

_AT_MOST: Final = 2
_GRACE_S: Final = 4.0


class Process:
    """A program that can be started again and again."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.running: asyncio.Task[None] | None = None
        self.host: Host
        self.connection: Connection

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.running is not None

    def begin(self, memory: str = "saved") -> None:
        """Live again."""
        self.world.network.say(self.name, f"starts, with its memory {memory}")
        skew = self.world.scenario.skews.get(self.name, 0.0)
        self.host = self.world.loop.host(self.name, skew_s=skew)
        self.connection = self.world.network.connect(self.host)
        self.running = self.host.begin(self.main(memory))
        self.running.add_done_callback(partial(self._ended, self.host), context=OUTSIDE)

    async def main(self, memory: str) -> None:
        """What the program does."""
        raise NotImplementedError

    def stop(self) -> None:
        """Be told to stop."""
        raise NotImplementedError

    def leave(self) -> None:
        """What is on disk is kept for the next life."""

    def kill(self) -> None:
        """Die, between two steps."""
        self.host.dead = self.host.still = True
        self._end()

    def _end(self) -> None:
        self.leave()
        self.running = None
        self.connection.close()

    def _ended(self, host: Host, running: "asyncio.Task[None]") -> None:
        """It came to its end by itself."""
        if host.dead:
            return
        host.dead = True
        self._end()
        if not running.cancelled() and (error := running.exception()):
            self.world.crashes.append(f"{self.name} ended with {error!r}.")
            self.world.network.say(self.name, f"ends with {error!r}")
            self.world.later(1.0, self.begin)


class CoordinatorProcess(Process):
    """A coordinator, with a projection that outlives it."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.saved: list[bytes] = []
        self.projection: Projection
        self.coordinator: Coordinator
        self.desk: Approvals

    def begin(self, memory: str = "saved") -> None:
        self.projection = Projection(Path(":memory:"))
        if self.saved and memory != "none":
            self.projection._db.deserialize(self.saved[-1] if memory == "saved" else self.saved[len(self.saved) // 2])
        super().begin(memory)

    async def main(self, memory: str) -> None:
        self.coordinator = Coordinator(self.connection, self.projection, defaults=Defaults(), set_up=nothing_to_set_up)
        self.desk = Approvals(self.connection, self.coordinator, digest_required=False)
        await self.coordinator.run()

    def stop(self) -> None:
        if self.running:
            self.running.cancel()

    def leave(self) -> None:
        self.saved.append(self.projection._db.serialize())


class WorkerProcess(Process):
    """A worker of one kind."""

    def __init__(self, world: "World", name: str, kind: Kind) -> None:
        super().__init__(world, name)
        self._kind: Kind = kind
        self._stop = asyncio.Event()

    async def main(self, memory: str) -> None:
        self._stop = asyncio.Event()
        perform = partial(self.world.work.perform, connection=self.connection)
        worker = Worker(self.connection, self._kind, perform, at_most=_AT_MOST, policy=RetryPolicy(), grace_s=_GRACE_S)
        await worker.run(self._stop)

    def stop(self) -> None:
        self._stop.set()
