"""`dossier` as a person types it, and what becomes of the processes that it starts."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.harness import programs
from tests.harness.environment import inherited
from tests.harness.programs import Files
from tests.harness.waiting import PATIENCE_S, wait_until

COMMAND = (sys.executable, "-P", "-m", "services.cli")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_CHUNK = 65_536


class Dossier:
    """The commands, in one data folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self._environment = inherited({"DOSSIER_DATA": str(folder), "COLUMNS": "200", "TERM": "xterm", **settings})

    def command(self, *arguments: str) -> dict[str, Any]:
        """Arguments for `subprocess` that run a command without a terminal."""
        return {"args": (*COMMAND, *arguments), "env": self._environment, "stdin": subprocess.DEVNULL}

    def __call__(self, *arguments: str, timeout: float = PATIENCE_S) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, without a terminal."""
        return programs.run((*COMMAND, *arguments), env=self._environment, timeout=timeout)

    def json(self, *arguments: str) -> Any:
        """The one JSON document that a command puts out."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout)

    @contextmanager
    def running(self, *arguments: str) -> "Iterator[Typed]":
        """A command at a terminal of its own, ended at the end."""
        typed = Typed((*COMMAND, *arguments), self._environment)
        try:
            yield typed
        finally:
            typed.end()

    @property
    def state(self) -> dict[str, Any] | None:
        """Content of `up.json`; `None` if there is none."""
        with suppress(FileNotFoundError):
            return msgspec.json.decode((self.folder / "up.json").read_bytes())
        return None


class Typed:
    """A command at a terminal."""

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        os.set_blocking(self._master, False)
        self._process = programs.start(command, Files(slave, slave, slave), env=environment, own_session=True)
        os.close(slave)
        self._said = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        """Everything on the terminal so far, without colours."""
        with suppress(BlockingIOError, OSError):
            while chunk := os.read(self._master, _CHUNK):
                self._said += _ANSI.sub("", chunk.decode(errors="replace"))
        return self._said

    def wait_for(self, text: str, *, within_s: float = PATIENCE_S) -> None:
        """Return as soon as this is on the terminal."""
        try:
            wait_until(lambda: text in self.said() or self._process.poll() is not None, within_s)
        finally:
            assert text in self.said(), self._said

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._master, text.encode())

    def send(self, number: int) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def send_to(self, name: str, number: int) -> None:
        """Send a signal to one of the processes that it started."""
        os.kill(self.children()[name], number)

    def exit_code(self, *, within_s: float = PATIENCE_S) -> int:
        """The exit code, once it has ended. Raises `TimeoutError`."""
        wait_until(lambda: self.said() is not None and self._process.poll() is not None, within_s)
        return self._process.wait()

    def children(self) -> dict[str, int]:
        """The processes that it started: name and id."""
        return {name: pid for pid, parent, name in processes() if parent == self.pid}

    def end(self) -> None:
        """End it, whatever it does; what it started ends with it."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


def processes() -> Iterator[tuple[int, int, str]]:
    """Every process that has not ended: id, parent, and what it is called here."""
    listed = subprocess.run(("ps", "-Aww", "-o", "pid=,ppid=,stat=,args="), capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        pid, parent, state, command = line.split(None, 3)
        if not state.startswith("Z"):
            yield int(pid), int(parent), _name(command)


def _name(command: str) -> str:
    if "nats-server" in command:
        return "nats"
    return command.rpartition("services.")[2] if "services." in command else command.rpartition("/")[2]


def alive(pids: Mapping[str, int]) -> set[str]:
    """Which of these still run."""
    there = {pid for pid, _, _ in processes()}
    return {name for name, pid in pids.items() if pid in there}
