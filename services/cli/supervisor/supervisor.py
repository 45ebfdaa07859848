"""Supervision of NATS and the services: start, restart, and stop, the services first and NATS last."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

import httpx2

from services.cli.shell.folder import Folder, Lock, Running
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.setup import Setup
from services.cli.supervisor import nats_server, ports
from services.cli.supervisor.children import Child, Group, Program
from services.cli.supervisor.logs import LogFile, OnNotice
from shared.contracts.deliveries import NOTICES_CONSUMER
from shared.contracts.subjects import RESEARCH
from shared.errors import Refused, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection, mask_passwords
from shared.runtime import webhooks as configuration

_Result = TypeVar("_Result")

NATS_PORT: Final = 4222
NATS: Final = "nats"
SERVICES: Final = ("coordinator", "planner", "fetcher", "synthesizer")
NOTIFIER: Final = "notifier"
"""Runs only with a file of webhooks."""
_CONSUMERS: Final = {"plan": "planner", "fetch": "fetcher", "synthesize": "synthesizer"}
"""The service of each consumer."""

_FALLS: Final = 3
"""Early ends in a row, before all is ready, after which the start is given up."""
_STOP_S: Final = 5.0
"""Time to stop; services that are ready have their grace in addition."""
_LOCK_S: Final = 10.0
_POLL_S: Final = 0.1
_POLLS: Final = 100


class Supervisor:
    """The processes of one Dossier. Calls `on_notice` with their warnings and errors."""

    def __init__(self, setup: Setup, running: Running, group: Group, on_notice: OnNotice) -> None:
        self.running = running
        self.missing = f"NATS at {mask_passwords(setup.nats)}" if setup.nats else "NATS"
        """Name of the first process that is not ready yet; empty when all are."""
        self._setup = setup
        self._group = group
        self._on_notice = on_notice
        self._nats: Child | None = None
        self._services: list[Child] = []

    async def start(self) -> None:
        """Start all processes and write the state file when a question can be asked.

        Raises `Refusal` if a process ends three times in a row before that.
        """
        self._start_embedded_nats()
        self._services = [self._child(program) for program in self._service_programs()]
        link = await self._connect()
        try:
            await self._unless_failing(asyncio.create_task(self._until_ready(link)))
        finally:
            await link.close()
        self._setup.folder.announce(self.running)

    async def start_nats(self) -> None:
        """Start the embedded NATS alone and return when it accepts connections. Raises `Refusal` as `start` does."""
        self._start_embedded_nats()
        await (await self._connect()).close()

    def _start_embedded_nats(self) -> None:
        """Start the embedded NATS unless `setup` names another one."""
        if not self._setup.nats:
            self._nats = self._child(self._nats_program())

    async def _connect(self) -> Connection:
        """Connect to NATS as soon as it answers. Raises `Refusal` as `start` does."""
        opening = Connection.open(self.running.nats, name="dossier-up", identity=self._setup.identity)
        return await self._unless_failing(asyncio.create_task(opening))

    async def stop(self) -> None:
        """Remove the state file and stop all processes; kill them if this is cancelled, and raise the cancellation."""
        self._setup.folder.withdraw()
        try:
            await self._stop()
        except asyncio.CancelledError:
            for child in self._children():
                child.kill()
            await self._stop()
            raise

    async def _stop(self) -> None:
        """Stop the services, then NATS; kill those that take longer than their time."""
        grace_s = _STOP_S if self.missing else _STOP_S + self._setup.grace_s
        await asyncio.gather(*(child.stop(within_s=grace_s) for child in self._services))
        if self._nats:
            await self._nats.stop(within_s=_STOP_S)

    def _children(self) -> list[Child]:
        """All processes, NATS last."""
        return [*self._services, *([self._nats] if self._nats else [])]

    def _child(self, program: Program) -> Child:
        """Start the program, with a log file in the folder."""
        log = LogFile(self._setup.folder.logs / f"{program.name}.log")
        return Child(program, self._group, log, self._on_notice)

    def _nats_program(self) -> Program:
        """Write the configuration of the embedded NATS and return the program."""
        folder = self._setup.folder
        port = int(self.running.nats[0].rpartition(":")[2])
        text = nats_server.configuration(port=port, store=folder.nats.resolve())
        folder.nats_config.write_text(text, encoding="utf-8")
        return Program(NATS, (str(nats_server.program()), "--config", str(folder.nats_config)))

    def _service_programs(self) -> list[Program]:
        """The services, with the notifier if there is a file of webhooks."""
        environment = self._setup.environment(self.running)
        names = (*SERVICES, NOTIFIER) if self._setup.webhooks else SERVICES
        return [Program(name, (sys.executable, "-P", "-m", f"services.{name}"), environment) for name in names]

    async def _until_ready(self, link: Connection) -> None:
        """Return when all services are ready; keep `missing` up to date until then."""
        has_notifier = self._setup.webhooks is not None
        async with httpx2.AsyncClient(base_url=self.running.api, trust_env=False) as http:
            while missing := await _missing(link, http, has_notifier=has_notifier):
                self.missing = missing
                await asyncio.sleep(_POLL_S)
        self.missing = ""

    async def _unless_failing(self, task: "asyncio.Task[_Result]") -> _Result:
        """The task's result. Raises `Refusal`, and cancels it, if a process ends three times in a row meanwhile."""
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_POLL_S)
                for child in self._children():
                    if child.falls >= _FALLS:
                        raise Refusal(f"{child.name} does not start: {child.log.last} (whole log: {child.log.path})")
        finally:
            task.cancel()
        return task.result()


async def _missing(link: Connection, http: httpx2.AsyncClient, *, has_notifier: bool) -> str:
    """Name of the first process that is not ready; empty if all are. A service is ready when it pulls tasks."""
    try:
        if not (await http.get("/readyz")).is_success:
            return "the coordinator"
        for consumer, service in {**_CONSUMERS, **({NOTICES_CONSUMER: NOTIFIER} if has_notifier else {})}.items():
            info = await topology.request_api(link, f"CONSUMER.INFO.{RESEARCH}.{consumer}")
            if not (info["num_waiting"] or info["num_ack_pending"]):
                return f"the {service}"
    except httpx2.TransportError:
        return "the coordinator"
    except (Unavailable, Refused):
        return "JetStream"
    return ""


async def running_in(folder: Folder) -> Running | None:
    """The Dossier that runs in this folder, once its API is ready; `None` if none runs, or not within about 10 s."""
    for _ in range(_POLLS):
        running = folder.running()
        if running is None:
            return None
        if await _is_ready(running.api):
            return running
        await asyncio.sleep(_POLL_S)
    return None


async def _is_ready(api: str) -> bool:
    """Return True if the API at this URL is ready; False also without an answer within 2 s."""
    try:
        async with httpx2.AsyncClient(base_url=api, trust_env=False, timeout=2) as http:
            return (await http.get("/readyz")).is_success
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False


@asynccontextmanager
async def supervised(setup: Setup, on_notice: OnNotice) -> AsyncGenerator[Supervisor]:
    """A supervisor that holds the folder's lock, not started yet; its processes are stopped on exit.

    Raises `Refusal` if another Dossier has the folder, or the file of webhooks or the ports cannot be used.
    """
    _check_webhooks(setup)
    if running := await running_in(setup.folder):
        text = f"Dossier runs in {setup.folder.path} already: process {running.pid}, {running.api}."
        raise Refusal(text, code=MISUSED)
    lock = await _lock(setup.folder)
    async with AsyncExitStack() as stack:
        stack.callback(lock.release)
        running = _with_ports(setup)
        group = Group(lock)
        await group.open()
        stack.push_async_callback(group.close)
        supervisor = Supervisor(setup, running, group, on_notice)
        stack.push_async_callback(supervisor.stop)
        yield supervisor


def _check_webhooks(setup: Setup) -> None:
    """Raise `Refusal` if the file of webhooks is not valid; the notifier would only fail a few times."""
    try:
        if setup.webhooks:
            configuration.load_webhooks(setup.webhooks)
    except configuration.InvalidWebhooks as error:
        raise Refusal(str(error), code=MISUSED) from error


async def _lock(folder: Folder) -> Lock:
    """Take the lock of the folder. Raises `Refusal` if it is held for 10 s, or the folder cannot be used."""
    try:
        lock = await folder.lock(within_s=_LOCK_S)
    except OSError as error:
        raise Refusal(f"{folder.path} cannot be used: {error.strerror}.", code=MISUSED) from error
    if lock is None:
        text = f"Another process starts or stops Dossier in {folder.path}; try again in a moment."
        raise Refusal(text, code=MISUSED)
    return lock


def _with_ports(setup: Setup) -> Running:
    """The addresses of this deployment, with free ports. Raises `Refusal` if a port of the options is taken."""
    nats = setup.nats
    if not nats:
        nats = (f"nats://127.0.0.1:{ports.choose(setup.nats_port, usual=NATS_PORT, user='NATS')}",)
    api = ports.choose(setup.api_port, usual=setup.usual_api_port, user="the API")
    return Running(os.getpid(), nats, f"http://127.0.0.1:{api}")
