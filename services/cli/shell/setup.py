"""Settings of one supervised deployment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from services.cli.shell.folder import Folder, Running
from shared.runtime.identity import NO_IDENTITY, Identity


class Setup(Struct, frozen=True):
    """What to start, and with what. `nats` are the URLs of a NATS that runs elsewhere; empty for the embedded one."""

    folder: Folder
    nats: tuple[str, ...] = ()
    nats_port: int | None = None
    api_port: int | None = None
    usual_api_port: int = 8400
    docs: Path | None = None
    webhooks: Path | None = None
    public_url: str | None = None
    grace_s: float = 20.0
    log_format: Literal["text", "json"] = "text"
    """Of what the services write to their files: lines for people, unless machines are to read them."""
    identity: Identity = NO_IDENTITY
    """Who the services are to that NATS; the embedded one asks nobody."""

    def environment(self, running: Running) -> Mapping[str, str]:
        """What the services get to know; not the key of whoever starts them."""
        host, _, port = running.api.removeprefix("http://").rpartition(":")
        docs = {"DOSSIER_DOCS": str(self.docs.resolve())} if self.docs else {}
        links = {"DOSSIER_PUBLIC_URL": self.public_url or running.api} if self.webhooks else {}
        return (
            docs
            | links
            | {
                "DOSSIER_NATS_URL": ",".join(running.nats),
                "DOSSIER_NATS_SEED": _path(self.identity.seed),
                "DOSSIER_NATS_CA": _path(self.identity.ca),
                "DOSSIER_DATA": str(self.folder.path.resolve()),
                "DOSSIER_API_HOST": host,
                "DOSSIER_API_PORT": port,
                "DOSSIER_HEALTH_PORT": "0",
                "DOSSIER_API_KEY": "",
                "DOSSIER_LOG_FORMAT": self.log_format,
            }
        )


def _path(file: Path | None) -> str:
    return str(file.resolve()) if file else ""
