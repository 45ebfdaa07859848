"""What goes wrong, at moments drawn from one seed: processes and servers die, freeze, are stopped, or all at once."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from random import Random  # noqa: TID251  seeded: the same faults in the same order each time
from typing import Final

import nats
from nats.errors import Error as NatsError

from shared.runtime import clock
from tests.chaos.world import World
from tests.harness.children import Child

_LONGEST_CALM_S: Final = 1.2
_LONGEST_DOWN_S: Final = 0.5
_LONGEST_FROZEN_S: Final = 6.0
_STOPS_WITHIN_S: Final = 30.0
_CLUSTER_RECOVERS_S: Final = 8.0


class Faults:
    """Does one thing after another to a world until told to stop; then mends everything.

    What was done when is in the world's `faults.jsonl`.
    """

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._frozen: set[asyncio.Task[None]] = set()
        self.kills = 0
        self.freezes = 0
        self.stops = 0
        self.rebuilds = 0
        self.leaders = 0
        self._spared_until = 0.0

    async def run(self, seconds: float) -> None:
        """Faults for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await asyncio.sleep(self._rng.random() * _LONGEST_CALM_S)
                    await asyncio.shield(asyncio.ensure_future(self._one()))
        await asyncio.gather(*self._frozen)
        self._start(self._world.children)

    async def _one(self) -> None:
        die = self._rng.random()
        if die < 0.18:
            await self._hit_a_server(die)
        elif die < 0.33:
            self._freeze(self._rng.choice(self._world.services))
        elif die < 0.41:
            await self._stop(self._rng.choice(self._world.services))
        elif die < 0.46:
            await self._lose_a_projection()
        else:
            await self._kill([self._rng.choice(self._world.services)])

    async def _hit_a_server(self, die: float) -> None:
        """One of them, or everything at once; in a cluster not before it had time to elect its leaders again."""
        now, is_cluster = asyncio.get_running_loop().time(), len(self._world.servers) > 1
        if now < self._spared_until:
            return
        self._spared_until = now + (_CLUSTER_RECOVERS_S if is_cluster else 0)
        if die < 0.04:
            await self._kill(self._world.children)
        elif die < 0.08 and is_cluster:
            self._freeze(self._rng.choice(self._world.servers))
        else:
            await self._kill([await self._server()])

    async def _kill(self, children: Sequence[Child]) -> None:
        for child in children:
            if child.running:
                self._note("kill", child)
                child.kill()
                self.kills += 1
        await asyncio.sleep(self._rng.random() * _LONGEST_DOWN_S)
        self._start(children)

    async def _stop(self, child: Child) -> None:
        """SIGTERM, as at a redeploy."""
        if child.running and child not in self._world.frozen:
            self._note("stop", child)
            child.ask_to_stop()
            self.stops += 1
            await asyncio.to_thread(child.exit_code, within_s=_STOPS_WITHIN_S)
        self._start([child])

    async def _lose_a_projection(self) -> None:
        coordinator = self._rng.choice(self._world.coordinators)
        self._note("kill and forget", coordinator)
        coordinator.kill()
        self.kills += 1
        self.rebuilds += 1
        shutil.rmtree(self._world.data(coordinator), ignore_errors=True)
        self._start([coordinator])

    def _freeze(self, child: Child) -> None:
        if not child.running or child in self._world.frozen:
            return
        self.freezes += 1
        self._note("freeze", child)
        child.freeze()
        self._world.frozen.add(child)
        task = asyncio.create_task(self._thaw(child, self._rng.random() * _LONGEST_FROZEN_S))
        self._frozen.add(task)
        task.add_done_callback(self._frozen.discard)

    async def _thaw(self, child: Child, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._note("thaw", child)
        child.thaw()
        self._world.frozen.discard(child)

    def _note(self, what: str, child: Child) -> None:
        with (self._world.folder / "faults.jsonl").open("a") as story:
            story.write(json.dumps({"at": clock.now().isoformat(), "what": what, "to": child.name}) + "\n")

    def _start(self, children: Sequence[Child]) -> None:
        for child in children:
            self._world.start(child)

    async def _server(self) -> Child:
        """The server that leads the log, where one can be asked; in a cluster that is the one to hit."""
        servers = self._world.servers
        if len(servers) == 1:
            return servers[0]
        leader = await _leader(self._world.urls)
        self.leaders += leader is not None
        return next((server for server in servers if server.name == leader), self._rng.choice(servers))


async def _leader(urls: Sequence[str]) -> str | None:
    with contextlib.suppress(NatsError, OSError, TimeoutError, ValueError, KeyError):
        connection = await nats.connect(list(urls), connect_timeout=1, allow_reconnect=False, error_cb=_quiet)
        try:
            answer = await connection.request("$JS.API.STREAM.INFO.RESEARCH", timeout=1)
            return json.loads(answer.data)["cluster"]["leader"]
        finally:
            await connection.close()
    return None


async def _quiet(_error: Exception) -> None:
    pass
