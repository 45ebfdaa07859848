"""What is looked at."""

from collections.abc import Sequence

from msgspec import Struct

from services.cli.shell.folder import Folder
from shared.runtime.identity import Identity


class Patient(Struct, frozen=True):
    """A NATS, who we are to it, and a data folder."""

    servers: Sequence[str]
    identity: Identity
    folder: Folder
    embedded: str | None = None
    """What the NATS was started with, where `dossier up` has started it from the folder."""
    monitor: str | None = None
