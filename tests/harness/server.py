"""A real nats-server with JetStream, alone or as one of a cluster."""

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.harness.children import Child
from tests.harness.environment import nats_server
from tests.harness.ports import free_port


class NatsServer(Child):
    """A server on a loopback port, whose streams are in `folder`. Port and folder stay over kills and restarts."""

    def __init__(
        self,
        folder: Path,
        *,
        sync_interval: str = "always",
        name: str = "nats",
        route: int = 0,
        routes: Sequence[int] = (),
        max_file_store: str = "",
    ) -> None:
        self.port = free_port()
        self.store = folder / f"{name}-jetstream"
        conf = folder / f"{name}.conf"
        conf.write_text(
            f'server_name: "{name}"\n'
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{\n  store_dir: "{self.store}"\n  sync_interval: {sync_interval}\n'
            + (f"  max_file_store: {max_file_store}\n" if max_file_store else "")
            + "}\n"
            + (_cluster(route, routes) if routes else "")
        )
        super().__init__(name, [nats_server(), "-c", str(conf)], log=folder / f"{name}.log", settings={})

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        super().start()
        self.wait_until_ready()

    def ready(self) -> bool:
        """Whether it greets those who connect; its streams are recovered before that."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                return link.recv(4) == b"INFO"
        except OSError:
            return False


def cluster(folder: Path, nodes: int) -> list[NatsServer]:
    """So many servers that form a cluster, named `n1` and so on; one alone where it is one."""
    if nodes == 1:
        return [NatsServer(folder)]
    routes = [free_port() for _ in range(nodes)]
    return [NatsServer(folder, name=f"n{n}", route=route, routes=routes) for n, route in enumerate(routes, 1)]


def _cluster(route: int, routes: Sequence[int]) -> str:
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    return f'cluster {{\n  name: dossier\n  listen: "127.0.0.1:{route}"\n  routes: [{urls}]\n}}\n'
