"""All of Dossier on this machine: NATS, a coordinator and workers, each its own process."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import http
from tests.harness.children import Child
from tests.harness.client import Client
from tests.harness.ports import free_port
from tests.harness.server import NatsServer

STUB_WORKERS = ("plan", "fetch", "synthesize")
REAL_WORKERS = ("planner", "fetcher", "synthesizer")


class Service(Child):
    """One service process. A name of `STUB_WORKERS` is a stub, any other a package of `services`."""

    def __init__(self, role: str, name: str, *, folder: Path, settings: dict[str, str]) -> None:
        self.port = free_port()
        self.data = Path(settings["DOSSIER_DATA"])
        module = ["tests.harness.stub", role] if role in STUB_WORKERS else [f"services.{role}"]
        super().__init__(
            name,
            [sys.executable, "-m", *module],
            log=folder / f"{name}.log",
            settings=settings | {"DOSSIER_API_PORT": str(self.port), "DOSSIER_HEALTH_PORT": str(self.port)},
        )

    def ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self.probe("readyz") == 200

    def probe(self, name: str) -> int | None:
        """The status that `/livez` or `/readyz` answers with; `None` where nobody answers."""
        return http.status(self.port, f"/{name}")


def _named(*roles: str) -> Iterator[tuple[str, str]]:
    """Each role with a name; the second of a role is `fetch-2`."""
    seen: Counter[str] = Counter()
    for role in roles:
        seen[role] += 1
        yield role, role if seen[role] == 1 else f"{role}-{seen[role]}"


class Deployment:
    """NATS and services in one folder, with `settings` (`DOSSIER_…`, `STUB_…`) for all of them.

    A role that is named more than once gets as many processes, the later ones with data folders of their own. Nothing
    runs before `start`. As a context it ends, without mercy, whatever still runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: Sequence[str] = STUB_WORKERS,
        sync_interval: str = "always",
        max_file_store: str = "",
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.server = NatsServer(folder, sync_interval=sync_interval, max_file_store=max_file_store)
        defaults = {"DOSSIER_NATS_URL": self.server.url}
        self._clients: list[Client] = []
        self.services: dict[str, Service] = {}
        for role, name in _named("coordinator", *workers):
            data = folder / ("data" if name == role else f"data-{name}")
            data.mkdir(exist_ok=True)
            own = defaults | {"DOSSIER_DATA": str(data)} | (settings or {})
            self.services[name] = Service(role, name, folder=folder, settings=own)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()
        self.kill()

    @property
    def children(self) -> tuple[Child, ...]:
        """Every process, the server first."""
        return self.server, *self.services.values()

    @property
    def coordinator(self) -> Service:
        """The one that serves the API."""
        return self.services["coordinator"]

    def start(self) -> None:
        """Start everything that does not run, and wait until all are ready."""
        self.server.start()
        self.start_services()
        self.wait_until_ready()

    def start_services(self) -> None:
        """Start the services alone, and wait for nothing."""
        for service in self.services.values():
            service.start()

    def wait_until_ready(self) -> None:
        """Return as soon as every service can work."""
        for service in self.services.values():
            service.wait_until_ready()

    def kill(self) -> None:
        """End every process at once, as `kill -9` does."""
        for child in reversed(self.children):
            child.kill()

    def stop_services(self, *, within_s: float) -> dict[str, int]:
        """Ask every service to stop, all at once; the exit code of each. Raises `subprocess.TimeoutExpired`."""
        for service in self.services.values():
            service.ask_to_stop()
        return {name: service.exit_code(within_s=within_s) for name, service in self.services.items()}

    def client(self) -> Client:
        """A new client; closed with everything else."""
        client = Client(self.server.url, self.coordinator.port, data=self.coordinator.data)
        self._clients.append(client)
        return client

    def said(self) -> str:
        """What every process wrote, for whoever reads about a failed test."""
        return "\n".join(f"=== {child.name}\n{child.said()}" for child in self.children if child.log.exists())
