"""Child processes that end with the test that started them."""

import atexit
import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import programs
from tests.harness.environment import inherited
from tests.harness.programs import Files, Process
from tests.harness.waiting import PATIENCE_S, wait_until


class Child:
    """A process that can be started, killed and started again. What it says is appended to one file."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, settings: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._settings = settings
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process, f"{self.name} does not run."
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended, by itself or otherwise."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; not again where it runs already."""
        if self.running:
            return
        with self.log.open("ab") as log, open(os.devnull, "rb") as nothing:
            self._process = programs.start(self._command, Files(nothing, log, log), env=inherited(self._settings))
        _started.add(self)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None
        _started.discard(self)

    def freeze(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        assert self._process, f"{self.name} does not run."
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on as if no time had passed. Nothing where it was killed meanwhile."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        assert self._process, f"{self.name} does not run."
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self, *, within_s: float) -> int:
        """How it ended. Raises `subprocess.TimeoutExpired` where it goes on."""
        assert self._process, f"{self.name} does not run."
        return self._process.wait(within_s)

    def wait_until_ready(self, within_s: float = PATIENCE_S) -> None:
        """Return as soon as it can work. Raises with what it said where it ends instead, or takes too long."""
        try:
            wait_until(lambda: self.ready() or not self.running, within_s)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name} is not ready: {self.said()}") from error
        if not self.running:
            raise RuntimeError(f"{self.name} ended: {self.said()}")

    def ready(self) -> bool:
        """Whether it can work."""
        return self.running

    def can_be_asked_to_stop(self) -> bool:
        """Whether it is so far that it deals with SIGTERM itself instead of just being ended by it."""
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text())
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    def said(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace")


_started: set[Child] = set()


@atexit.register
def _end_all() -> None:
    for child in list(_started):
        with contextlib.suppress(OSError):
            child.kill()
