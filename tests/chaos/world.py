"""All that can be killed: one server or a cluster of three, two coordinators, two of each worker."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.harness.children import Child
from tests.harness.deployment import Service
from tests.harness.server import NatsServer, cluster

_WORKERS: Final = ("plan", "fetch", "synthesize")
_EACH: Final = 2
_READY_S: Final = 60.0


class World:
    """Servers and services in one folder. `nodes` is 1 or, for a cluster whose streams are on each, 3.

    `settings` take precedence over those that suit a world in which everything dies.
    """

    def __init__(self, folder: Path, *, nodes: int, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = settings or {}
        self.journal = folder / "journal.jsonl"
        self.servers: list[NatsServer] = cluster(folder, nodes)
        self.urls = [server.url for server in self.servers]
        self.coordinators = [self._service("coordinator", n, nodes) for n in range(_EACH)]
        workers = [self._service(role, n, nodes) for role in _WORKERS for n in range(_EACH)]
        self.services: list[Service] = [*self.coordinators, *workers]
        self.frozen: set[Child] = set()

    def _service(self, role: str, number: int, nodes: int) -> Service:
        name = f"{role}-{number + 1}"
        settings = {
            "DOSSIER_NATS_URL": ",".join(self.urls),
            "DOSSIER_DATA": str(self.folder / name),
            "DOSSIER_REPLICAS": str(nodes),
            "DOSSIER_LOG_LEVEL": "WARNING",
            "DOSSIER_MODEL_LIMIT": "50",
            "DOSSIER_FETCH_LIMIT": "100",
            "DOSSIER_GRACE_S": "1",
            "STUB_JOURNAL": str(self.journal),
            "STUB_DELAY_MS": "40",
            "STUB_FAILS_EVERY": "97",
        } | dict(self._settings)
        return Service(role, name, folder=self.folder, settings=settings)

    @property
    def children(self) -> Sequence[Child]:
        """Every process, servers first."""
        return [*self.servers, *self.services]

    @property
    def apis(self) -> list[tuple[int, Path]]:
        """Where the coordinators answer, and the folders with their tokens."""
        return [(coordinator.port, coordinator.data) for coordinator in self.coordinators]

    def data(self, service: Child) -> Path:
        """Where a service keeps what it can make again."""
        return self.folder / service.name

    def start(self, child: Child) -> None:
        """Start it where it does not run, without waiting until it is ready."""
        Child.start(child)

    def start_all(self) -> None:
        """Start everything, and wait until all are ready."""
        for child in self.children:
            self.start(child)
        for child in self.children:
            child.wait_until_ready(_READY_S)

    def end(self, *, keep: bool) -> None:
        """Kill everything; the folder stays where it is to be looked at."""
        for child in reversed(self.children):
            child.thaw()
            child.kill()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
