"""Programs that are restarted when they end, and that never outlive this process."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from msgspec import Struct

from services.cli.shell.folder import Lock
from services.cli.supervisor import guard
from services.cli.supervisor.logs import LogFile, Notice, OnNotice, parse_notice

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
_STEADY_S: Final = 10.0
_LONGEST_LINE: Final = 1024 * 1024


def pause_s(falls: int) -> float:
    """Seconds before the restart of a program after so many early ends in a row: doubled each time, up to 5."""
    return min(FIRST_PAUSE_S * 2 ** (falls - 1), LONGEST_PAUSE_S)


class Program(Struct, frozen=True):
    """A program to run: its name, the command, and variables that are added to the environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Membership(TypedDict):
    """Arguments of `create_subprocess_exec` for a process of a group."""

    process_group: int
    pass_fds: tuple[int, ...]


class Group:
    """A process group that ends when this process does; see `guard`.

    Each of its processes inherits the lock of the data folder, so the folder is locked until the last one has ended.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._id = 0
        self._keeping: asyncio.Task[None] | None = None
        self._guard: Process | None = None

    async def open(self) -> None:
        """Start the guard, which leads the group, and restart it whenever it ends."""
        self._guard = await self._start()
        self._id = self._guard.pid
        self._keeping = asyncio.create_task(self._keep(self._guard))

    async def close(self) -> None:
        """Kill the guard and every process that is still in the group."""
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        if self._guard:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._id, signal.SIGKILL)
            await self._guard.wait()

    async def _keep(self, guarding: Process) -> None:
        """Restart the guard whenever it ends, in a new group if the old one is gone."""
        while True:
            await guarding.wait()
            await asyncio.sleep(FIRST_PAUSE_S)
            try:
                self._guard = guarding = await self._start()
            except PermissionError:
                self._id = 0
                self._guard = guarding = await self._start()
                self._id = guarding.pid

    async def _start(self) -> Process:
        """Start a guard in the group; the first one makes it."""
        command = (sys.executable, "-I", "-S", str(Path(guard.__file__)))
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, **self.membership
        )

    @property
    def membership(self) -> "Membership":
        """Arguments that start a process in the group, with the lock."""
        return {"process_group": self._id, "pass_fds": (self._lock.descriptor,)}


class Child:
    """One program, restarted each time that it ends, until `stop`. Calls `on_notice` with its warnings and errors."""

    def __init__(self, program: Program, group: Group, log: LogFile, on_notice: OnNotice) -> None:
        self.name = program.name
        self.log = log
        self.falls = 0
        """Number of ends in a row within 10 s of a start."""
        self._program = program
        self._group = group
        self._on_notice = on_notice
        self._process: Process | None = None
        self._stop = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self, *, within_s: float) -> None:
        """Send SIGTERM, and SIGKILL after `within_s`; return when it has ended. Close the log."""
        self._stop.set()
        self._send(signal.SIGTERM)
        _, late = await asyncio.wait({self._keeping}, timeout=within_s)
        if late:
            self.kill()
            await asyncio.wait(late)
        self.log.close()

    def kill(self) -> None:
        """Send SIGKILL; it is not restarted."""
        self._stop.set()
        self._send(signal.SIGKILL)

    async def _keep(self) -> None:
        """Run the program again and again until `stop`, with a pause and a notice after each end."""
        now = asyncio.get_running_loop().time
        while not self._stop.is_set():
            began = now()
            ending = await self._run()
            if self._stop.is_set():
                return
            self.falls = 1 if now() - began > _STEADY_S else self.falls + 1
            pause = pause_s(self.falls)
            self._on_notice(Notice(self.name, "error", f"{ending}; starting it again in {pause:g} s"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()

    async def _run(self) -> str:
        """Run the program once. Return how it ended, as a phrase."""
        try:
            process = await self._start()
        except OSError as error:
            return f"could not be started: {error}"
        self._process = process
        if self._stop.is_set():
            self._send(signal.SIGTERM)
        assert process.stdout
        await self._log(process.stdout)
        code = await process.wait()
        self._process = None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _start(self) -> Process:
        """Start the program in the group, its output piped. Raises `OSError`."""
        return await asyncio.create_subprocess_exec(
            *self._program.command,
            env={**os.environ, **self._program.environment},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            **self._group.membership,
        )

    async def _log(self, output: asyncio.StreamReader) -> None:
        """Log each line, and report warnings and errors, until the output ends. A line over 1 MiB is dropped."""
        while True:
            try:
                line = await output.readline()
            except ValueError:
                line = b"(a line longer than 1 MiB)\n"
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.log.write(text)
            if notice := parse_notice(self.name, text):
                self._on_notice(notice)

    def _send(self, number: signal.Signals) -> None:
        """Send the signal if the program runs."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
