"""A real nats-server comes back on another state of its store, while coordinators stay up or are away.

Every request that is acknowledged from then on runs, and no id that a sequence makes is given to a second run.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection
from shared.contracts import envelope
from shared.contracts.facts import RunAccepted, RunCompleted
from shared.contracts.subjects import LOG_TRUNCATED, REQUESTED, parse_slot
from shared.contracts.topology import Limits
from shared.domain.inbound import Defaults
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime import dataref
from tests.coordinator.test_loop import WELL
from tests.dossier import working
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer
from tests.waiting import wait_until

WITHIN_S = 60


class Scene:
    """One server whose store can be set back, what is asked of it, and what came of that."""

    def __init__(self, folder: Path, log: JetStreamLog, server: NatsServer) -> None:
        self.folder = folder
        self.log = log
        self.server = server
        self.asked: set[int] = set()

    @property
    def _store(self) -> Path:
        return self.folder / "server" / "data"

    async def ask(self, count: int) -> list[int]:
        """Publish so many requests that have no id of their own; their sequences."""
        seqs = [await ask(self.log, f"What do cats do on day {n}?") for n in range(count)]
        self.asked |= set(seqs)
        return seqs

    def copy(self) -> Path:
        """Copy the store as it is."""
        copy = self.folder / "copy"
        shutil.copytree(self._store, copy)
        self.asked = set()
        return copy

    async def set_back(self, copy: Path, *, grown: int = 0) -> None:
        """Start the server again on this copy, in which `grown` requests were stored after it was made."""
        self.server.kill()
        if grown:
            self.asked |= set(await self._grown(copy, grown))
        shutil.rmtree(self._store)
        shutil.copytree(copy, self._store)
        await asyncio.to_thread(self.server.start)

    async def _grown(self, copy: Path, count: int) -> list[int]:
        """Store requests in a copy, through a server that nobody else is connected to."""
        elsewhere = self.folder / "elsewhere"
        shutil.copytree(copy, elsewhere / "data")
        server = NatsServer(elsewhere)
        await asyncio.to_thread(server.start)
        async with connected(server) as log:
            seqs = [await ask(log, f"What do dogs do on day {n}?") for n in range(count)]
        server.kill()
        shutil.rmtree(copy)
        shutil.copytree(elsewhere / "data", copy)
        return seqs

    async def runs(self) -> Mapping[int, str]:
        """The run of each request that was accepted, by the sequence of the request."""
        accepted = [(slot, fact) async for slot, fact in self._facts("accepted") if isinstance(fact, RunAccepted)]
        assert max(Counter(fact.request_seq for _, fact in accepted).values(), default=0) <= 1
        return {fact.request_seq: run for run, fact in accepted}

    async def ended(self) -> Mapping[int, str]:
        """The run of each request that was asked since the copy was made, as soon as all of them are reported."""
        async with asyncio.timeout(WITHIN_S):
            while not await self._are_reported():  # noqa: ASYNC110  the log is asked, and it tells of nothing
                await asyncio.sleep(0.05)
        runs = await self.runs()
        return {seq: runs[seq] for seq in self.asked}

    async def _are_reported(self) -> bool:
        runs = await self.runs()
        completed = [(run, fact) async for run, fact in self._facts("completed") if isinstance(fact, RunCompleted)]
        reported = {run for run, fact in completed if fact.outcome == "reported"}
        return self.asked <= runs.keys() and {runs[seq] for seq in self.asked} <= reported

    async def _facts(self, path: str) -> AsyncGenerator[tuple[str, object]]:
        async for message in self.log.history(f"research.run.*.{path}"):
            slot, whole = parse_slot(message.subject), await dataref.load_text(self.log, message)
            assert slot
            yield slot.run, envelope.decode(whole.data, whole.text).fact


async def ask(log: JetStreamLog, q: str) -> int:
    return await log.publish(REQUESTED, msgspec.json.encode({"q": q, "approval": "auto"}))


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncGenerator[JetStreamLog]:
    log = JetStreamLog(await Connection.open([server.url], name="test"))
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def coordinating(server: NatsServer, projection: Path) -> AsyncGenerator[Coordinator]:
    """A coordinator with a connection of its own."""
    async with connected(server) as log:
        await topology.ensure_lead(log.link, Limits())
        saved = Projection(projection)
        set_up = lambda: topology.ensure_topology(log.link, Limits())  # noqa: E731
        coordinator = Coordinator(log, saved, defaults=Defaults(), set_up=set_up)
        running = asyncio.create_task(coordinator.run())
        try:
            yield coordinator
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            saved.close()


@asynccontextmanager
async def scene(folder: Path) -> AsyncGenerator[Scene]:
    """A server and workers."""
    (folder / "server").mkdir()
    (folder / "elsewhere").mkdir()
    server = NatsServer(folder / "server")
    server.start()
    try:
        async with connected(server) as log, connected(server) as of_workers:
            await topology.ensure_topology(log.link, Limits())
            async with working(of_workers, WELL):  # type: ignore[arg-type]
                yield Scene(folder, log, server)
    finally:
        server.kill()


async def a_tail_is_lost(it: Scene, *, lost: int = 5) -> tuple[Path, set[str], int]:
    """Let runs end, copy the store, let more end: the copy, every id that was given, and where the log ended."""
    await it.ask(3)
    early = await it.ended()
    copy = it.copy()
    await it.ask(lost)
    given = {*early.values(), *(await it.ended()).values()}
    it.asked = set()
    return copy, given, (await it.log.end()).seq


def troubles_of(coordinator: Coordinator, heard: set[str]) -> "asyncio.Task[None]":
    """Gather every reason for which it is not ready."""

    async def listen() -> None:
        while True:
            heard.add(coordinator.trouble or "")
            await asyncio.sleep(0.001)

    return asyncio.create_task(listen())


async def test_under_coordinators_that_stay_up(tmp_path: Path):
    async with (
        scene(tmp_path) as it,
        coordinating(it.server, tmp_path / "1.db") as first,
        coordinating(it.server, tmp_path / "2.db"),
    ):
        copy, given, end = await a_tail_is_lost(it)
        heard = set[str]()
        listening = troubles_of(first, heard)
        await it.set_back(copy)
        await it.ask(10)
        runs = await it.ended()
        assert not given & set(runs.values())
        await wait_until(lambda: first.trouble is None and first.fold.seq > end, within_s=WITHIN_S)
        listening.cancel()
        assert any("it ends at" in reason and f"was read up to {end}" in reason for reason in heard), heard
        it.asked = set()
        await it.ask(3)
        assert all(run == f"r{seq}" and seq > end for seq, run in (await it.ended()).items())


async def test_when_it_has_grown_past_its_old_end_before_they_connect(tmp_path: Path):
    async with scene(tmp_path) as it, coordinating(it.server, tmp_path / "1.db"):
        copy, given, end = await a_tail_is_lost(it, lost=1)
        await it.set_back(copy, grown=end)
        assert max(it.asked) > end
        assert not given & set((await it.ended()).values())


@pytest.mark.parametrize("grown", [0, 60])
async def test_while_the_coordinator_is_away(tmp_path: Path, grown: int):
    async with scene(tmp_path) as it:
        async with coordinating(it.server, tmp_path / "1.db") as before:
            copy, given, end = await a_tail_is_lost(it, lost=1)
            await before.folded(end, within_s=PATIENCE_S)
        await it.set_back(copy, grown=grown)
        await it.ask(3)
        async with coordinating(it.server, tmp_path / "1.db"):
            assert not given & set((await it.ended()).values())


async def test_while_one_coordinator_is_away_and_another_comes_with_nothing(tmp_path: Path):
    async with scene(tmp_path) as it:
        async with coordinating(it.server, tmp_path / "1.db") as before:
            copy, _, end = await a_tail_is_lost(it)
            await before.folded(end, within_s=PATIENCE_S)
        await it.set_back(copy)
        await it.ask(10)
        async with coordinating(it.server, tmp_path / "2.db") as new, coordinating(it.server, tmp_path / "1.db"):
            await it.ended()
            await wait_until(lambda: new.fold.seq > end and not new.fold.pending, within_s=WITHIN_S)
            assert len([m async for m in it.log.history(f"{LOG_TRUNCATED}.*")]) == 1


async def test_without_any_projection(tmp_path: Path):
    async with scene(tmp_path) as it:
        async with coordinating(it.server, tmp_path / "1.db"):
            copy, _, _ = await a_tail_is_lost(it)
        await it.set_back(copy)
        await it.ask(3)
        async with coordinating(it.server, tmp_path / "new.db"):
            await it.ended()
