"""The data folder of one Dossier: its paths, the process that runs there, and the lock that makes it the only one."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

_POLL_S: Final = 0.1


class Running(Struct, frozen=True):
    """A running Dossier: process id of its supervisor (0 if elsewhere), and URLs, which may have passwords."""

    pid: int
    nats: tuple[str, ...]
    api: str

    @property
    def is_alive(self) -> bool:
        """Return True if a process with this id exists, also one of another user."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class Folder(Struct, frozen=True):
    """A data folder, which may not exist yet."""

    path: Path

    @property
    def state(self) -> Path:
        """File with the `Running` of the Dossier that runs here."""
        return self.path / "up.json"

    @property
    def logs(self) -> Path:
        """Folder with a log file for each process."""
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        """Store of the embedded NATS: the log of all runs and the evidence."""
        return self.path / "nats"

    @property
    def nats_config(self) -> Path:
        """Configuration of the embedded NATS."""
        return self.path / "nats.conf"

    def create(self) -> None:
        """Create the folder and the folder of logs, if they are missing. Raises `OSError`."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def running(self) -> Running | None:
        """The Dossier that runs here; `None` if there is none.

        A state file that a killed process left is ignored: the process must exist, and the lock must be held.
        """
        try:
            running = msgspec.json.decode(self.state.read_bytes(), type=Running)
        except (OSError, msgspec.MsgspecError):
            return None
        return running if running.is_alive and self._is_locked else None

    def announce(self, running: Running) -> None:
        """Write the state file atomically, readable by this user only."""
        draft = self.state.with_suffix(".json.new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(running) + b"\n")
        draft.replace(self.state)

    def withdraw(self) -> None:
        """Remove the state file, if there is one."""
        self.state.unlink(missing_ok=True)

    @property
    def _is_locked(self) -> bool:
        """Return True if another process holds the lock."""
        try:
            lock = Lock.take(self.path / "up.lock")
        except FileNotFoundError:
            return False
        if lock:
            lock.release()
        return lock is None

    async def lock(self, *, within_s: float) -> "Lock | None":
        """Create the folder and take its lock; `None` if other processes hold it for `within_s`. Raises `OSError`."""
        self.create()
        for _ in range(max(1, round(within_s / _POLL_S))):
            if lock := Lock.take(self.path / "up.lock"):
                return lock
            await asyncio.sleep(_POLL_S)
        return None


class Lock:
    """An exclusive lock on a file. It ends when every process that has the descriptor has closed it or died."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Lock | None":
        """Take the lock, and create the file if it is missing; `None` if it is held. Raises `OSError`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Close the descriptor of this process."""
        os.close(self.descriptor)
