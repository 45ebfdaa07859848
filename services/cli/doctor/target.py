"""The deployment that the doctor checks."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from services.cli.shell import settings
from services.cli.shell.folder import Folder, Running
from services.cli.shell.settings import CliSettings
from shared.runtime.identity import NOBODY, Identity


class Target(Struct, frozen=True):
    """NATS servers, the identity to connect with, and the data folder.

    `embedded` is the configuration of the NATS that `dossier up` started from the folder, `None` for any other NATS.
    `monitor` is the URL of a monitoring port, if given.
    """

    servers: Sequence[str]
    identity: Identity
    folder: Folder
    embedded: str | None = None
    monitor: str | None = None


def target(known: CliSettings, *, data: Path | None, nats: str | None, monitor: str | None) -> Target:
    """The deployment that the options select, else the one that runs in the folder, else that of the settings."""
    folder = Folder(data or known.data)
    running = None if nats else folder.running()
    embedded = _embedded(running, folder) if running else None
    identity = NOBODY if embedded else settings.identity(known, nats=nats)
    return Target(settings.nats_servers(known, data=data, nats=nats), identity, folder, embedded, monitor)


def _embedded(running: Running, folder: Folder) -> str | None:
    """The configuration in the folder, if it has the port of the NATS that runs; else `None`."""
    port = running.nats[0].removeprefix("nats://127.0.0.1:")
    text = folder.nats_config.read_text(encoding="utf-8") if folder.nats_config.exists() else ""
    return text if f"\nport: {port}\n" in text else None
