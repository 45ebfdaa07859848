"""The data folder of one Dossier: where things are in it, who runs there, and the right to be the one that does."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

_LOOK_AGAIN_S: Final = 0.1


class Running(Struct, frozen=True):
    """A Dossier that runs: its supervisor's process id and how to reach it. NATS URLs may have a password in them."""

    pid: int
    nats: tuple[str, ...]
    api: str

    @property
    def alive(self) -> bool:
        """Whether a process with this id exists."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class Folder(Struct, frozen=True):
    """A data folder. Nothing is created before `create`."""

    path: Path

    @property
    def state(self) -> Path:
        """Where the running Dossier says how to reach it."""
        return self.path / "up.json"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.path / "logs"

    @property
    def nats(self) -> Path:
        """What the embedded NATS stores: the log of all runs and the evidence."""
        return self.path / "nats"

    @property
    def nats_config(self) -> Path:
        """What the embedded NATS is started with."""
        return self.path / "nats.conf"

    def create(self) -> None:
        """Make the folder and those in it."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def running(self) -> Running | None:
        """Who says to be running here; `None` for nobody.

        What a process left behind that was killed is nobody's: the process has to exist, and somebody to have the lock.
        """
        try:
            running = msgspec.json.decode(self.state.read_bytes(), type=Running)
        except (OSError, msgspec.MsgspecError):
            return None
        return running if running.alive and self._in_use else None

    def announce(self, running: Running) -> None:
        """Say how to reach it, all at once and to this user only."""
        draft = self.state.with_suffix(".json.new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(running) + b"\n")
        draft.replace(self.state)

    def withdraw(self) -> None:
        """Say no more that anything runs here."""
        self.state.unlink(missing_ok=True)

    @property
    def _in_use(self) -> bool:
        try:
            lock = Lock.take(self.path / "up.lock")
        except FileNotFoundError:
            return False
        if lock:
            lock.release()
        return lock is None

    async def lock(self, *, within_s: float) -> "Lock | None":
        """The right to run here; `None` where another process keeps it for so long."""
        self.create()
        looks = max(1, round(within_s / _LOOK_AGAIN_S))
        for _ in range(looks):
            if lock := Lock.take(self.path / "up.lock"):
                return lock
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None


class Lock:
    """The right to run in a folder. It ends when every process that has the descriptor has closed it or died."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Lock | None":
        """The lock, if nobody has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)
