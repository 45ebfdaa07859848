"""A locked-down NATS, from the very files that `dossier nats init` writes, and Dossier's services in it."""

import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from services.cli.lockdown.config import MONITOR_OFFSET
from services.cli.lockdown.init import Layout, init
from services.cli.shell.terminal import Terminal
from shared.runtime.identity import Identity
from tests.harness import programs
from tests.harness.children import Child
from tests.harness.deployment import Service
from tests.harness.environment import inherited, nats_server
from tests.harness.http import ask
from tests.harness.ports import free_row

ROLES = ("coordinator", "planner", "fetcher", "synthesizer")


class Node(Child):
    """One server, started as the command says that it is to be."""

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.monitor = port + MONITOR_OFFSET
        conf = folder / "nats" / f"{name}.conf"
        super().__init__(name, [nats_server(), "--config", str(conf)], log=folder / f"{name}.log", settings={})

    def ready(self) -> bool:
        """Whether it takes connections, and its streams have leaders."""
        try:
            return ask(self.monitor, "GET", "/healthz").status == 200
        except OSError:
            return False


class Locked:
    """Keys, certificates, configuration and servers in one folder. As a context it runs."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder / "locked"
        base = free_row(nodes)
        self.said = initialized(Layout(self.folder, nodes=nodes, port=base))
        names = [f"n{n}" for n in range(1, nodes + 1)] if nodes > 1 else ["node"]
        self.nodes = [Node(self.folder, name, base + n) for n, name in enumerate(names)]
        self.urls = [f"tls://127.0.0.1:{base + n}" for n in range(nodes)]
        self.services: dict[str, Service] = {}

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in (*self.services.values(), *self.nodes):
            child.kill()

    def seed(self, user: str) -> Path:
        """The file that proves to be this user."""
        return self.folder / "keys" / f"{user}.nk"

    @property
    def ca(self) -> Path:
        """The authority that the servers' certificates are from."""
        return self.folder / "tls" / "ca.pem"

    def identity(self, user: str) -> Identity:
        """What our own connections show."""
        return Identity(self.seed(user), self.ca)

    def options(self, user: str) -> dict[str, Any]:
        """What a plain nats-py connects with, as anybody would write it."""
        tls = ssl.create_default_context(cafile=self.ca)
        return {"servers": self.urls, "nkeys_seed": str(self.seed(user)), "tls": tls}

    def settings(self, user: str) -> dict[str, str]:
        """The environment of a process that is this user."""
        return {
            "DOSSIER_NATS_URL": ",".join(self.urls),
            "DOSSIER_NATS_SEED": str(self.seed(user)),
            "DOSSIER_NATS_CA": str(self.ca),
            "DOSSIER_REPLICAS": str(len(self.nodes)),
        }

    def start(self, roles: Sequence[str] = ROLES, settings: Mapping[str, str] | None = None) -> None:
        """Start services, each as the user of its name, and wait until they can work."""
        for role in roles:
            data = self.folder / f"data-{role}"
            data.mkdir()
            own = self.settings(role) | {"DOSSIER_DATA": str(data)} | dict(settings or {})
            self.services[role] = Service(role, role, folder=self.folder, settings=own)
            self.services[role].start()
        for role in roles:
            self.services[role].wait_until_ready()

    def told(self) -> str:
        """What every process wrote, for whoever reads about a failed test."""
        children = (*self.nodes, *self.services.values())
        return "\n".join(f"=== {child.name}\n{child.said()[-6_000:]}" for child in children if child.log.exists())


def initialized(wanted: Layout) -> str:
    """What `dossier nats init` says, done in this process."""
    terminal = Terminal()
    terminal.err = Console(file=StringIO(), width=200)
    init(wanted, terminal)
    assert isinstance(terminal.err.file, StringIO)
    return terminal.err.file.getvalue()


def dossier(*arguments: str, settings: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command line. Raises with what it said where it ends badly."""
    done = run_dossier(*arguments, settings=settings)
    assert done.returncode == 0, done.stderr
    return done


def run_dossier(*arguments: str, settings: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the command line, however it ends."""
    command = [sys.executable, "-m", "services.cli", *arguments]
    return programs.run(command, env=inherited(settings or {}), timeout=60)
