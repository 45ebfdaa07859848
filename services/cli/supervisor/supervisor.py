"""Starts NATS and the four services, keeps them running, and stops them: the services first, NATS last."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx2

from services.cli.shell.folder import Folder, Lock, Running
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.setup import Setup
from services.cli.supervisor import nats_server, ports
from services.cli.supervisor.children import Child, Group, Program
from services.cli.supervisor.logs import LogFile, Tell
from shared.contracts.deliveries import NOTICES_CONSUMER
from shared.contracts.subjects import RESEARCH
from shared.errors import Refused, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection, mask_passwords
from shared.runtime import webhooks as configuration

NATS_PORT: Final = 4222
NATS: Final = "nats"
SERVICES: Final = ("coordinator", "planner", "fetcher", "synthesizer")
NOTIFIER: Final = "notifier"
"""Runs only where somebody is to be told of something."""
_WORKERS: Final = {"plan": "planner", "fetch": "fetcher", "synthesize": "synthesizer"}
"""The consumer that a service serves."""

_FALLS: Final = 3
"""A program that ends so often in a row before all is ready will not start at all."""
_STOP_S: Final = 5.0
"""For what has nothing in hand; a service that is ready has its grace besides."""
_LOCKED_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.1
_PATIENCE: Final = 100


class Supervisor:
    """The processes of one Dossier."""

    def __init__(self, setup: Setup, running: Running, group: Group, tell: Tell) -> None:
        self.running = running
        self.missing = f"NATS at {mask_passwords(setup.nats)}" if setup.nats else "NATS"
        """What is not ready yet, for a person who waits."""
        self._setup = setup
        self._group = group
        self._tell = tell
        self._nats: Child | None = None
        self._services: list[Child] = []

    async def start(self) -> None:
        """Start everything, and announce it when a question can be asked. Raises `Refusal` for what does not start."""
        self._start_embedded_nats()
        self._services = [self._child(program) for program in self._service_programs()]
        link = await self._unless_fallen(asyncio.create_task(self._linked()))
        try:
            await self._unless_fallen(asyncio.create_task(self._ready(link)))
        finally:
            await link.close()
        self._setup.folder.announce(self.running)

    async def start_nats(self) -> None:
        """Start the embedded NATS alone, and return when it takes connections. Raises `Refusal` where it does not."""
        self._start_embedded_nats()
        link = await self._unless_fallen(asyncio.create_task(self._linked()))
        await link.close()

    async def _linked(self) -> Connection:
        return await Connection.open(self.running.nats, name="dossier-up", identity=self._setup.identity)

    def _start_embedded_nats(self) -> None:
        if not self._setup.nats:
            self._nats = self._child(self._nats_program())

    async def stop(self) -> None:
        """Withdraw, and stop everything gracefully; at once where the wait for that is cancelled."""
        self._setup.folder.withdraw()
        try:
            await self._stop()
        except asyncio.CancelledError:
            for child in self._children():
                child.kill()
            await self._stop()
            raise

    async def _stop(self) -> None:
        grace_s = _STOP_S if self.missing else _STOP_S + self._setup.grace_s
        await asyncio.gather(*(child.stop(within_s=grace_s) for child in self._services))
        if self._nats:
            await self._nats.stop(within_s=_STOP_S)

    def _children(self) -> list[Child]:
        return [*self._services, *([self._nats] if self._nats else [])]

    def _child(self, program: Program) -> Child:
        log = LogFile(self._setup.folder.logs / f"{program.name}.log")
        return Child(program, self._group, log, self._tell)

    def _nats_program(self) -> Program:
        folder = self._setup.folder
        port = int(self.running.nats[0].rpartition(":")[2])
        text = nats_server.configuration(port=port, store=folder.nats.resolve())
        folder.nats_config.write_text(text, encoding="utf-8")
        return Program(NATS, (str(nats_server.program()), "--config", str(folder.nats_config)))

    def _service_programs(self) -> list[Program]:
        environment = self._setup.environment(self.running)
        names = (*SERVICES, NOTIFIER) if self._setup.webhooks else SERVICES
        return [Program(name, (sys.executable, "-P", "-m", f"services.{name}"), environment) for name in names]

    async def _ready(self, link: Connection) -> None:
        async with httpx2.AsyncClient(base_url=self.running.api, trust_env=False) as http:
            while missing := await _missing(link, http, self._setup.webhooks is not None):
                self.missing = missing
                await asyncio.sleep(_LOOK_AGAIN_S)
        self.missing = ""

    async def _unless_fallen(self, task: "asyncio.Task[Any]") -> Any:
        """The task's result. Raises `Refusal` when a program ends again and again meanwhile."""
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_AGAIN_S)
                for child in self._children():
                    if child.falls >= _FALLS:
                        raise Refusal(f"{child.name} does not start: {child.log.last} (all it said: {child.log.path})")
        finally:
            task.cancel()
        return task.result()


async def _missing(link: Connection, http: httpx2.AsyncClient, tells: bool) -> str:
    """What cannot work yet; empty where all can."""
    try:
        if not (await http.get("/readyz")).is_success:
            return "the coordinator"
        for consumer, service in {**_WORKERS, **({NOTICES_CONSUMER: NOTIFIER} if tells else {})}.items():
            info = await topology.request_api(link, f"CONSUMER.INFO.{RESEARCH}.{consumer}")
            if not (info["num_waiting"] or info["num_ack_pending"]):
                return f"the {service}"
    except httpx2.TransportError:
        return "the coordinator"
    except (Unavailable, Refused):
        return "JetStream"
    return ""


async def found(folder: Folder) -> Running | None:
    """The Dossier that runs in this folder, as soon as it answers; `None` where none does."""
    for _ in range(_PATIENCE):
        running = folder.running()
        if running is None:
            return None
        if await _answers(running.api):
            return running
        await asyncio.sleep(_LOOK_AGAIN_S)
    return None


async def _answers(api: str) -> bool:
    try:
        async with httpx2.AsyncClient(base_url=api, trust_env=False, timeout=2) as http:
            return (await http.get("/readyz")).is_success
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False


@asynccontextmanager
async def supervised(setup: Setup, tell: Tell) -> AsyncGenerator[Supervisor]:
    """A Dossier of one's own, not yet started; stopped at the end. Raises `Refusal` where another has the folder."""
    _check_webhooks(setup)
    if running := await found(setup.folder):
        raise Refusal(
            f"Dossier runs in {setup.folder.path} already: process {running.pid}, {running.api}.", code=MISUSED
        )
    lock = await _lock(setup.folder)
    async with AsyncExitStack() as stack:
        stack.callback(lock.release)
        running = _chosen(setup)
        group = Group(lock)
        await group.open()
        stack.push_async_callback(group.close)
        supervisor = Supervisor(setup, running, group, tell)
        stack.push_async_callback(supervisor.stop)
        yield supervisor


def _check_webhooks(setup: Setup) -> None:
    """Say what is wrong with the file now, and not after the notifier has failed to start a few times."""
    try:
        if setup.webhooks:
            configuration.load_webhooks(setup.webhooks)
    except configuration.InvalidWebhooks as error:
        raise Refusal(str(error), code=MISUSED) from error


async def _lock(folder: Folder) -> Lock:
    try:
        lock = await folder.lock(within_s=_LOCKED_S)
    except OSError as error:
        raise Refusal(f"{folder.path} cannot be used: {error.strerror}.", code=MISUSED) from error
    if lock is None:
        text = f"Another process starts or stops Dossier in {folder.path}; try again in a moment."
        raise Refusal(text, code=MISUSED)
    return lock


def _chosen(setup: Setup) -> Running:
    nats = setup.nats
    if not nats:
        nats = (f"nats://127.0.0.1:{ports.choose(setup.nats_port, usual=NATS_PORT, what='NATS')}",)
    api = ports.choose(setup.api_port, usual=setup.usual_api_port, what="the API")
    return Running(os.getpid(), nats, f"http://127.0.0.1:{api}")
