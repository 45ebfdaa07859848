"""A real nats-server with JetStream."""

import socket
from pathlib import Path

from tests.harness.children import Child
from tests.harness.environment import nats_server
from tests.harness.ports import free_port


class NatsServer(Child):
    """A server on a loopback port, whose streams are in `folder`. Port and folder stay over kills and restarts."""

    def __init__(self, folder: Path, *, sync_interval: str = "always") -> None:
        self.port = free_port()
        conf = folder / "nats.conf"
        conf.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{\n  store_dir: "{folder / "jetstream"}"\n  sync_interval: {sync_interval}\n}}\n'
        )
        super().__init__("nats", [nats_server(), "-c", str(conf)], log=folder / "nats.log", settings={})

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
