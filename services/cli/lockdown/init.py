"""Keys, certificates and configuration of a locked-down NATS. Existing files are kept."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Final

from msgspec import Struct

from services.cli.lockdown import certificates, config, nkey
from services.cli.lockdown.certificates import NoAuthority, Pair
from services.cli.lockdown.config import Node, Place
from services.cli.lockdown.permissions import OPERATOR, SYSTEM, USERS
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.terminal import Terminal
from shared.runtime import clock

NODES: Final = (1, 3)
_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  clients authenticate by nkey
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_SIZE: Final = re.compile(r"[1-9][0-9]*(MB|GB|TB)")
_NAMES: Final = (*(user.name for user in USERS), OPERATOR, SYSTEM)


class Layout(Struct, frozen=True):
    """The deployment to write, as typed. `at` is the path of the folder on the servers."""

    folder: Path
    nodes: int = 1
    hosts: Sequence[str] = ()
    port: int = 4222
    at: PurePath | None = None
    store: str = "10GB"

    def servers(self) -> list[Node]:
        """The nodes. Without hosts they listen on loopback, on consecutive ports. Raises `Refusal`."""
        if self.nodes not in NODES:
            raise Refusal("--nodes: 1 or 3; with two nodes, the loss of either stops both.", code=MISUSED)
        if len(self.hosts) not in (0, self.nodes):
            raise Refusal(f"--host: name all {self.nodes} nodes, or none for this machine alone.", code=MISUSED)
        if bad := next((host for host in self.hosts if not _HOST.fullmatch(host)), None):
            raise Refusal(f"--host {bad}: this is not a host name or an address.", code=MISUSED)
        if self.nodes > 1 and any(host.startswith("*") for host in self.hosts):
            raise Refusal("--host *.…: nodes find each other by name, so each needs one of its own.", code=MISUSED)
        if not _SIZE.fullmatch(self.store):
            raise Refusal(f"--store {self.store}: this is not a size such as 500MB or 20GB.", code=MISUSED)
        names = [f"n{n}" for n in range(1, self.nodes + 1)] if self.nodes > 1 else ["node"]
        if self.hosts:
            return [Node(name, host, self.port, _EVERYWHERE) for name, host in zip(names, self.hosts, strict=True)]
        return [Node(name, _LOOPBACK, self.port + n, _LOOPBACK) for n, name in enumerate(names)]


class _Files:
    """Writes missing files in a folder, and records the names of written and of kept files."""

    def __init__(self, folder: Path) -> None:
        self.written: list[str] = []
        self.kept: list[str] = []
        self._folder = folder

    def exists(self, name: str) -> bool:
        """Return True if there is a file of this name."""
        return (self._folder / name).exists()

    def read(self, name: str) -> bytes:
        """The content of an existing file, recorded as kept; empty if it is missing. Raises `OSError`."""
        if not self.exists(name):
            return b""
        self.kept.append(name)
        return (self._folder / name).read_bytes()

    def ensure(self, name: str, content: Callable[[], str], *, private: bool = False) -> str:
        """The content of the file, which is written from `content()` if it is missing. Raises `OSError`.

        A private file is created with mode 0600. If `content()` raises, there is no file.
        """
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
        except FileExistsError:
            return self.read(name).decode()
        with open(descriptor, "w", encoding="utf-8") as file:
            try:
                file.write(text := content())
            except BaseException:
                path.unlink()
                raise
        self.written.append(name)
        return text


def init(layout: Layout, terminal: Terminal) -> None:
    """Write missing keys, certificates and configuration, and print the next steps. Raises `Refusal`."""
    nodes = layout.servers()
    files = _Files(layout.folder)
    place = Place(layout.at or layout.folder.resolve(), layout.store)
    try:
        for name, mode in (("nats", 0o755), ("keys", 0o700), ("tls", 0o755)):
            (layout.folder / name).mkdir(mode=mode, parents=True, exist_ok=True)
        keys = {name: _public_key(files, name) for name in _NAMES}
        _ensure_certificates(files, nodes)
        files.ensure(f"nats/{config.ACCOUNTS}", lambda: config.accounts(keys))
        for node in nodes:
            files.ensure(f"nats/{node.name}.conf", lambda node=node: config.node(node, nodes, place))
    except OSError as error:
        raise Refusal(f"{error.filename or layout.folder} cannot be written: {error.strerror}.") from error
    _print_next_steps(terminal, files, layout, nodes)


def _public_key(files: _Files, name: str) -> str:
    """The public key of a user, whose seed is created if it is missing. Raises `Refusal` for a file without a seed."""
    try:
        return nkey.public_key(files.ensure(f"keys/{name}.nk", lambda: f"{nkey.new_seed()}\n", private=True))
    except ValueError as error:
        raise Refusal(f"keys/{name}.nk is not the seed of an nkey; move it away to have one created.") from error


def _ensure_certificates(files: _Files, nodes: Sequence[Node]) -> None:
    """Create the authority and a certificate for each node, unless they exist. Raises `Refusal`."""
    authority = _ensure_pair(files, "ca", lambda: certificates.authority(clock.now()))
    try:
        for node in nodes:
            _ensure_pair(files, node.name, lambda node=node: _signed(authority, node))
    except NoAuthority as error:
        raise Refusal("tls/ca.pem and tls/ca.key are not an authority and its key; move both away.") from error


def _signed(authority: Pair, node: Node) -> Pair:
    """A new certificate for a node. Raises `Refusal` if the key of the authority was put away, and `NoAuthority`."""
    if not authority.key:
        raise Refusal(f"To sign a certificate for {node.name} takes tls/ca.key: bring it back, and put it away again.")
    return certificates.server(authority, node.name, [node.host], clock.now())


def _ensure_pair(files: _Files, name: str, make: Callable[[], Pair]) -> Pair:
    """The certificate and key in the files, which are written if both are missing. One that is missing is empty."""
    pem, key = f"tls/{name}.pem", f"tls/{name}.key"
    if files.exists(pem) or files.exists(key):
        return Pair(files.read(pem), files.read(key))
    pair = make()
    files.ensure(key, pair.key.decode, private=True)
    files.ensure(pem, pair.certificate.decode)
    return pair


def _print_next_steps(terminal: Terminal, files: _Files, layout: Layout, nodes: Sequence[Node]) -> None:
    """Print the files, the commands that start servers and services, and the files to protect."""
    place = layout.at or layout.folder
    urls = ",".join(f"tls://{node.host}:{node.port}" for node in nodes)
    replicas = f" DOSSIER_REPLICAS={len(nodes)}" if len(nodes) > 1 else ""
    ends = (clock.now() + certificates.SERVER_LASTS).strftime("%Y-%m-%d")
    lines = (
        *(f"wrote  {layout.folder / name}" for name in files.written),
        *(f"kept   {layout.folder / name} (it existed; move it away to have it written anew)" for name in files.kept),
        "\nNext: start each server, where it has nats/, tls/ca.pem and its own two files of tls/:",
        *(f"  nats-server --config {place / 'nats' / f'{node.name}.conf'}" for node in nodes),
        "Start each service as the user of its name, here the coordinator:",
        f"  export DOSSIER_NATS_URL={urls} DOSSIER_NATS_CA={place / 'tls' / 'ca.pem'}{replicas}",
        f"  DOSSIER_NATS_SEED={place / 'keys' / 'coordinator.nk'} python -m services.coordinator",
        "Then check the deployment:",
        f"  DOSSIER_NATS_SEED={place / 'keys' / 'operator.nk'} dossier doctor",
        "Keep tls/ca.key, keys/operator.nk and keys/system.nk where no service can read them.",
        f"Certificates written now are valid until {ends}; before that, move them away and repeat this command.",
    )
    for line in lines:
        terminal.say(line)
