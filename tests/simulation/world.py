"""One story told: processes over one log, people who ask and decide, and the faults that befall them."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from typing import Final

from msgspec import Struct

from services.coordinator.engine import fold, owed_writes, pending
from shared.contracts.envelope import decode
from shared.contracts.facts import TaskIssued
from shared.contracts.messages import Message
from shared.contracts.subjects import Kind, parse_slot
from shared.contracts.topology import Limits
from shared.domain.decoding import decode_message
from shared.domain.owed import owed
from shared.domain.run import Recorded, Run, evolve
from shared.runtime.dataref import load_text
from tests.simulation import faults
from tests.simulation.book import Book
from tests.simulation.faults import Fault, OnMessage
from tests.simulation.loop import Host, Stuck, VirtualLoop, moment, virtual
from tests.simulation.network import Connection, Network
from tests.simulation.people import People
from tests.simulation.processes import CoordinatorProcess, Process, WorkerProcess
from tests.simulation.promises import broken
from tests.simulation.scenario import COORDINATORS, WORKERS, Scenario
from tests.simulation.work import LONG_FREEZE_S, Work

LIMITS: Final = Limits(models=2, fetches=3)
IN_FLIGHT: Final[dict[Kind, int]] = {"plan": 2, "fetch": 3, "synthesize": 2}
_DRAINED_WITHIN_S: Final = 900.0
_LOOK_EVERY_S: Final = 1.0
_SNAPSHOTS_AT: Final = (0.5, 2.0, 5.0, 12.0)
_DAZED_S: Final = 2.0
_BOUNDS: Final = {(pending, "IN_MEMORY"): 6, (fold, "_CACHED_RUNS"): 3, (owed_writes, "BATCH"): 2}


class Told(Struct):
    """A story that was told: the log it left, what happened in order, and which promises it broke."""

    scenario: Scenario
    messages: Sequence[Message]
    account: Sequence[tuple[float, str, str]]
    sent: dict[str, list[str]]
    wrong: list[str]


def tell(scenario: Scenario) -> Told:
    """Tell this story, from the first request until everything is drained, and see what it did to the promises."""
    with _quiet(), _bounded(small=scenario.small), virtual(scenario.seed) as virtual_loop:
        world = World(scenario, virtual_loop)
        try:
            wrong = virtual_loop.run_until_complete(world.tell())
        except Stuck:
            wrong = ["Everything waits, and nothing will ever come.", *world.waits()]
        messages = tuple(world.network.log.messages)
        return Told(scenario, messages, tuple(world.network.account), dict(world.network.sent), wrong)


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _bounded(*, small: bool) -> Iterator[None]:
    """Whatever the coordinator keeps at hand, it keeps very few of, if `small`."""
    before = [(module, name, getattr(module, name)) for module, name in _BOUNDS]
    for (module, name), few in _BOUNDS.items():
        if small:
            setattr(module, name, few)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class World:
    """Everything there is in one story."""

    def __init__(self, scenario: Scenario, virtual_loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.loop = virtual_loop
        self.crashes: list[str] = []
        hits = [fault for fault in scenario.faults if isinstance(fault, OnMessage)]
        self.network = Network(virtual_loop, LIMITS, hits=hits, pace_s=scenario.pace_s, seed=scenario.seed)
        self.network.kill = lambda host, hit: self._kill(host.name, hit.seconds, hit.memory)
        self.work = Work(scenario.seed, scenario.temper, IN_FLIGHT, lambda host: self._kill(host.name, 1.0, "saved"))
        self._coordinators = {name: CoordinatorProcess(self, name) for name in COORDINATORS}
        workers = {name: WorkerProcess(self, name, kind) for name, kind in WORKERS.items()}
        self._processes: dict[str, Process] = {**self._coordinators, **workers}
        self.people = People(scenario, virtual_loop, self.network, list(self._coordinators.values()))
        self._book = Book()
        virtual_loop.set_exception_handler(lambda _, context: self.crashes.append(f"Nobody caught {context!r}."))

    def later(self, seconds: float, call: "partial[None] | object", *args: object) -> None:
        """Call this after so long, in no process."""
        self.network.later(self.loop.time() + seconds, call, *args)  # type: ignore[arg-type]

    async def tell(self) -> list[str]:
        """Let it all happen; the promises that were broken."""
        for process in self._processes.values():
            process.begin()
        self.people.begin()
        for fault in self.scenario.faults:
            self._plan(fault)
        for at in _SNAPSHOTS_AT:
            self.later(at, self._remember)
        await asyncio.sleep(self.scenario.trouble_s)
        self.people.conclude()
        drained = await self._drained()
        wrong = [] if drained else [*self.waits(), *self._unfinished()]
        wrong += broken(self.network.log, self.people.journal, self.work.begun)
        return (
            wrong + self.work.crowded + self.crashes + self.people.faults() + (await self._folded() if drained else [])
        )

    def waits(self) -> list[str]:
        """What is still to come."""
        self._book.read(self.network.log.messages)
        return self._book.waits()

    def _unfinished(self) -> list[str]:
        """Who still has something to say, or is not back."""
        absent = [f"{each.name} is not back." for each in self._processes.values() if not each.alive]
        return absent + ([] if self.people.done else ["Somebody has not been heard yet."])

    async def _drained(self) -> bool:
        until = self.loop.time() + _DRAINED_WITHIN_S
        while self.waits() or self._unfinished():
            if self.loop.time() > until:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return True

    # Faults

    def _plan(self, fault: Fault) -> None:
        match fault:
            case faults.Kill(process=name, at=at, seconds=seconds, memory=memory):
                self.later(at, self._kill, name, seconds, memory)
            case faults.Stop(process=name, at=at, seconds=seconds):
                self.later(at, self._stop, name, seconds)
            case faults.Freeze(process=name, at=at, seconds=seconds):
                self.later(at, self._freeze, name, seconds)
            case faults.Away(process=name, at=at, seconds=seconds, noticed_s=noticed_s):
                self.later(at, self._cut, name, seconds, noticed_s)
            case faults.Lag(process=name, at=at, seconds=seconds):
                self.later(at, self._hold_up, name, seconds)
            case faults.Restart(at=at, seconds=seconds, forget_s=forget_s):
                self.later(at, self._restart, seconds, forget_s)
            case OnMessage():
                pass

    def _kill(self, name: str, seconds: float, memory: str) -> None:
        process = self._processes.get(name)
        if process and process.alive:
            self.network.say(name, "dies")
            process.kill()
            self.later(seconds, process.begin, memory)

    def _stop(self, name: str, seconds: float) -> None:
        process = self._processes.get(name)
        if process and process.alive:
            self.network.say(name, "is told to stop")
            process.stop()
            self.later(seconds, self._begin_when_stopped, process)

    def _begin_when_stopped(self, process: Process) -> None:
        if process.alive:
            self.later(1.0, self._begin_when_stopped, process)
        else:
            process.begin()

    def _freeze(self, name: str, seconds: float) -> None:
        host = self._host(name)
        if host and not host.still:
            self.network.say(name, f"freezes for {seconds} s")
            host.still = True
            self.later(seconds, self._thaw, host, seconds)

    def _thaw(self, host: Host, seconds: float) -> None:
        if not host.dead:
            self.network.say(host.name, "goes on")
            host.frozen_s += seconds
            if seconds > LONG_FREEZE_S:
                host.dazed_until = self.loop.time() + _DAZED_S
            self.loop.wake(host)

    def _cut(self, name: str, seconds: float, noticed_s: float) -> None:
        connection = self._connection(name)
        if connection and connection.up:
            self.network.say(name, f"loses its connection for {seconds} s")
            connection.cut(noticed_s=noticed_s)
            self.later(seconds, self._mend, connection)

    def _mend(self, connection: Connection) -> None:
        if not connection.host.dead and self.network.serves:
            self.network.say(connection.host.name, "has a connection again")
            connection.mend()

    def _hold_up(self, name: str, seconds: float) -> None:
        if connection := self._connection(name):
            self.network.say(name, f"reads nothing new for {seconds} s")
            connection.reads_from = self.loop.time() + seconds

    def _restart(self, seconds: float, forget_s: float) -> None:
        if self.network.serves:
            self.network.say("the server", f"is gone for {seconds} s")
            for subject in sorted(self.network.restart(forget_s=forget_s)):
                if (stored := self.network.stored(subject)) and isinstance(
                    fact := decode(stored.data).fact, TaskIssued
                ):
                    self.work.forget(fact.task)
            self.later(seconds, self.network.serve)

    def _host(self, name: str) -> Host | None:
        process = self._processes.get(name)
        if process:
            return process.host if process.alive else None
        return next(host for host in self.people.hosts if host.name == name)

    def _connection(self, name: str) -> Connection | None:
        process = self._processes.get(name)
        if process:
            return process.connection if process.alive else None
        host = self._host(name)
        return self.people.connection(host) if host else None

    def _remember(self) -> None:
        """Copy the projections of now, to come back with later."""
        for coordinator in self._coordinators.values():
            if coordinator.alive:
                coordinator.leave()

    # The end

    async def _folded(self) -> list[str]:
        """What is wrong with what the coordinators made of the log."""
        messages = self.network.log.messages
        until = self.loop.time() + _DRAINED_WITHIN_S
        while any(each.coordinator.fold.seq < len(messages) or each.host.still for each in self._coordinators.values()):
            if self.loop.time() > until:
                return ["A coordinator does not read the log to its end."]
            await asyncio.sleep(_LOOK_EVERY_S)
        facts = _facts([await load_text(self.network.log, message) for message in messages])
        runs = _fold(facts)
        wrong = [] if _fold(facts[::-1]) == runs else ["The facts in another order give other runs."]
        for run in runs.values():
            if owed(run, moment(self.loop.time() + 1e9)).facts:
                wrong.append(f"Run {run.id} is still owed something.")
        return wrong + [text for each in self._coordinators.values() for text in _compared(each, runs)]


def _compared(process: CoordinatorProcess, runs: dict[str, Run]) -> list[str]:
    wrong = []
    for _ in range(len(runs) + 2):  # of what waits beyond memory, a save brings some back, and drops what is answered
        process.coordinator.fold.save()
    for run in runs.values():
        if process.projection.load(run.id) != run:
            wrong.append(f"{process.name} has folded {run.id} into something else than its log.")
    if process.projection.unanswered(limit=1) or process.coordinator.fold.pending:
        wrong.append(f"{process.name} still has messages to answer.")
    return wrong


def _facts(messages: Sequence[Message]) -> list[Recorded]:
    return [decode_message(slot, message) for message in messages if (slot := parse_slot(message.subject))]


def _fold(facts: Sequence[Recorded]) -> dict[str, Run]:
    def folded(runs: dict[str, Run], it: Recorded) -> dict[str, Run]:
        runs[it.slot.run] = evolve(runs.get(it.slot.run) or Run(it.slot.run), it)
        return runs

    return reduce(folded, facts, {})
