"""Commands in processes of their own, as `subprocess` starts them, and Python's modules at a fraction of the cost.

After `fork_modules`, a command such as `python -m services.cli` is forked from an interpreter that has imported that
module already (`tests.harness.fork_server`). The suite does so (`tests/conftest.py`); what measures does not.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, NamedTuple, Protocol

from tests.harness.environment import ROOT, inherited
from tests.harness.fork_server import REQUEST_BYTES, Start


class Files(NamedTuple):
    """The standard files of a process."""

    stdin: IO[bytes] | int
    stdout: IO[bytes] | int
    stderr: IO[bytes] | int


class Process(Protocol):
    """What `subprocess.Popen` and a fork have in common."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


def start(
    command: Sequence[str], files: Files, *, env: Mapping[str, str], cwd: Path = ROOT, own_session: bool = False
) -> Process:
    """Start a command."""
    match command:
        case [sys.executable, "-P", "-m", module, *arguments] if _forking:
            isolated = True
        case [sys.executable, "-m", module, *arguments] if _forking:
            isolated = False
        case _:
            return subprocess.Popen(command, cwd=cwd, env=env, start_new_session=own_session, **files._asdict())
    asked = Start(arguments, dict(env), str(cwd), isolated, own_session)
    return _fork_server(module).start(command, asked, files)


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path = ROOT, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, without a terminal. Raises `subprocess.TimeoutExpired`, and kills it then."""
    with open(os.devnull, "rb") as nothing, TemporaryFile() as stdout, TemporaryFile() as stderr:
        process = start(command, Files(nothing, stdout, stderr), env=env, cwd=cwd)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(command, code, _written(stdout), _written(stderr))


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class Forked:
    """A process that a fork server has forked."""

    def __init__(self, command: Sequence[str], pid: int, status: int) -> None:
        self.pid = pid
        self._command = command
        self._status = status
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or `None` while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(list(self._command), timeout or 0.0)
        return code

    def _ended_within(self, seconds: float | None) -> int | None:
        if self._code is None and select.select([self._status], [], [], seconds)[0]:
            [status] = array("i", os.read(self._status, array("i").itemsize))
            os.close(self._status)
            self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL; nothing once it has ended."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The client of the fork server for one module, which ends with this process."""

    def __init__(self, module: str) -> None:
        self._one_at_a_time = Lock()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.harness.fork_server", str(theirs.fileno()), module]
        with theirs:
            self._server = subprocess.Popen(command, cwd=ROOT, env=inherited({}), pass_fds=(theirs.fileno(),))
        atexit.register(self._close)

    def start(self, command: Sequence[str], asked: Start, files: Files) -> Forked:
        """Fork a process."""
        status, theirs = os.pipe()
        descriptors = [file if isinstance(file, int) else file.fileno() for file in files]
        with self._one_at_a_time:
            try:
                socket.send_fds(self._requests, [json.dumps(asked._asdict()).encode()], [*descriptors, theirs])
            finally:
                os.close(theirs)
            pid = self._requests.recv(REQUEST_BYTES)
        assert pid, f"The fork server for {command} ended with {self._server.wait()}."
        return Forked(command, int(pid), status)

    def _close(self) -> None:
        self._requests.close()
        self._server.wait()


_fork_server = cache(ForkServer)
_forking = False


def fork_modules() -> None:
    """From now on, fork a Python module instead of starting an interpreter for it."""
    global _forking
    _forking = True
