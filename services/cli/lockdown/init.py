"""`dossier nats init`: everything that a locked-down NATS is started with. What exists is kept, and said to be."""

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
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  whoever connects has to show an nkey
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_SIZE: Final = re.compile(r"[1-9][0-9]*(MB|GB|TB)")
_NAMES: Final = (*(user.name for user in USERS), OPERATOR, SYSTEM)


class Layout(Struct, frozen=True):
    """What to write, as it was typed. `at` is where the servers will find the folder."""

    folder: Path
    nodes: int = 1
    hosts: Sequence[str] = ()
    port: int = 4222
    at: PurePath | None = None
    store: str = "10GB"

    def servers(self) -> list[Node]:
        """The nodes. Raises `Refusal` for what cannot be set up."""
        if self.nodes not in NODES:
            raise Refusal("--nodes: one, or three; with two, the loss of either stops both.", code=MISUSED)
        if len(self.hosts) not in (0, self.nodes):
            raise Refusal(f"--host: name all {self.nodes} nodes, or none for this machine alone.", code=MISUSED)
        if bad := next((host for host in self.hosts if not _HOST.fullmatch(host)), None):
            raise Refusal(f"--host {bad}: it is no host name and no address.", code=MISUSED)
        if self.nodes > 1 and any(host.startswith("*") for host in self.hosts):
            raise Refusal("--host *.…: nodes find each other by name, so each needs one of its own.", code=MISUSED)
        if not _SIZE.fullmatch(self.store):
            raise Refusal(f"--store {self.store}: it is no size such as 500MB or 20GB.", code=MISUSED)
        names = [f"n{n}" for n in range(1, self.nodes + 1)] if self.nodes > 1 else ["node"]
        if self.hosts:
            return [Node(name, host, self.port, _EVERYWHERE) for name, host in zip(names, self.hosts, strict=True)]
        return [Node(name, _LOOPBACK, self.port + n, _LOOPBACK) for n, name in enumerate(names)]


class _Files:
    """Writes what is missing."""

    def __init__(self, folder: Path) -> None:
        self.made: list[str] = []
        self.kept: list[str] = []
        self._folder = folder

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / name).exists()

    def keep(self, name: str) -> bytes:
        """What is in a file that was there before; nothing where it is missing."""
        if not self.has(name):
            return b""
        self.kept.append(name)
        return (self._folder / name).read_bytes()

    def ensure(self, name: str, content: Callable[[], str], *, private: bool = False) -> str:
        """What is in this file, from now on if it is missing. Private files are their owner's alone from the first."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
        except FileExistsError:
            return self.keep(name).decode()
        with open(descriptor, "w", encoding="utf-8") as file:
            try:
                file.write(text := content())
            except BaseException:
                path.unlink()
                raise
        self.made.append(name)
        return text


def init(layout: Layout, terminal: Terminal) -> None:
    """Write keys, certificates and configuration, and say what to do with them. Raises `Refusal`."""
    nodes = layout.servers()
    files = _Files(layout.folder)
    try:
        for name, mode in (("nats", 0o755), ("keys", 0o700), ("tls", 0o755)):
            (layout.folder / name).mkdir(mode=mode, parents=True, exist_ok=True)
        keys = {name: _key(files, name) for name in _NAMES}
        _certified(files, nodes)
        _configured(files, layout, nodes, keys)
    except OSError as error:
        raise Refusal(f"{error.filename or layout.folder} cannot be written: {error.strerror}.") from error
    _tell(terminal, files, layout, nodes)


def _key(files: _Files, name: str) -> str:
    """The public key of a user."""
    try:
        return nkey.public(files.ensure(f"keys/{name}.nk", lambda: f"{nkey.made()}\n", private=True))
    except ValueError as error:
        raise Refusal(f"keys/{name}.nk exists and is no seed of an nkey; move it away to have one made.") from error


def _certified(files: _Files, nodes: Sequence[Node]) -> None:
    """See that there is an authority, and that each node has a certificate from it."""
    authority = _pair(files, "ca", lambda: certificates.authority(clock.now()))
    try:
        for node in nodes:
            _pair(files, node.name, lambda node=node: _signed(authority, node))
    except NoAuthority as error:
        raise Refusal("tls/ca.pem and tls/ca.key are no authority with its key; move both away.") from error


def _signed(authority: Pair, node: Node) -> Pair:
    """A certificate for a node. The authority's key may have been put away, and then nothing can be signed."""
    if not authority.key:
        raise Refusal(f"To sign a certificate for {node.name} takes tls/ca.key: bring it back, and put it away again.")
    return certificates.server(authority, node.name, [node.host], clock.now())


def _pair(files: _Files, name: str, make: Callable[[], Pair]) -> Pair:
    """A certificate with its key; made where there is neither. Where the key is missing, it is empty."""
    pem, key = f"tls/{name}.pem", f"tls/{name}.key"
    if files.has(pem) or files.has(key):
        return Pair(files.keep(pem), files.keep(key))
    pair = make()
    files.ensure(key, pair.key.decode, private=True)
    files.ensure(pem, pair.certificate.decode)
    return pair


def _configured(files: _Files, layout: Layout, nodes: Sequence[Node], keys: dict[str, str]) -> None:
    place = Place(layout.at or layout.folder.resolve(), layout.store)
    files.ensure(f"nats/{config.ACCOUNTS}", lambda: config.accounts(keys))
    for node in nodes:
        files.ensure(f"nats/{node.name}.conf", lambda node=node: config.node(node, nodes, place))


def _tell(terminal: Terminal, files: _Files, layout: Layout, nodes: Sequence[Node]) -> None:
    place = layout.at or layout.folder
    for name in files.made:
        terminal.say(f"wrote  {layout.folder / name}")
    for name in files.kept:
        terminal.say(f"kept   {layout.folder / name} (it was there; move it away to have it made anew)")
    urls = ",".join(f"tls://{node.host}:{node.port}" for node in nodes)
    terminal.say("\nNext. Start each server, where it has nats/, tls/ca.pem and its own two files of tls/:")
    for node in nodes:
        terminal.say(f"  nats-server --config {place / 'nats' / f'{node.name}.conf'}")
    terminal.say("Start each service as the user of its name, here the coordinator:")
    replicas = f" DOSSIER_REPLICAS={len(nodes)}" if len(nodes) > 1 else ""
    terminal.say(f"  export DOSSIER_NATS_URL={urls} DOSSIER_NATS_CA={place / 'tls' / 'ca.pem'}{replicas}")
    terminal.say(f"  DOSSIER_NATS_SEED={place / 'keys' / 'coordinator.nk'} python -m services.coordinator")
    terminal.say("Then see whether all is well:")
    terminal.say(f"  DOSSIER_NATS_SEED={place / 'keys' / 'operator.nk'} dossier doctor")
    terminal.say("Keep tls/ca.key, keys/operator.nk and keys/system.nk where no service can read them.")
    ends = (clock.now() + certificates.SERVER_LASTS).strftime("%Y-%m-%d")
    terminal.say(f"Certificates that were made now last until {ends}; before that, move them away and repeat this.")
