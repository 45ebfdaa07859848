"""The deployment that the doctor checks."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from services.cli.shell import settings
from services.cli.shell.folder import Folder
from services.cli.shell.settings import CliSettings
from shared.runtime.identity import NO_IDENTITY, Identity


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
    servers = settings.nats_servers(known, data=data, nats=nats)
    config = folder.nats_config.read_text(encoding="utf-8") if folder.nats_config.exists() else ""
    is_embedded = not nats and f"\nport: {servers[0].removeprefix('nats://127.0.0.1:')}\n" in config
    identity = NO_IDENTITY if is_embedded else settings.identity(known, nats=nats)
    return Target(servers, identity, folder, config if is_embedded else None, monitor)
