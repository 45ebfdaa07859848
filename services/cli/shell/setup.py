"""Settings of the processes that the supervisor starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from services.cli.shell.folder import Folder, Running
from shared.runtime.identity import NO_IDENTITY, Identity


class Setup(Struct, frozen=True):
    """Settings of one supervised deployment. `nats` are the URLs of a NATS elsewhere; empty for the embedded one."""

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
    """Format of the log files of the services."""
    identity: Identity = NO_IDENTITY
    """Identity of the services towards a NATS elsewhere; the embedded one requires none."""

    def environment(self, running: Running) -> Mapping[str, str]:
        """Variables that the services get in addition. `DOSSIER_API_KEY`, the caller's own key, is emptied."""
        host, _, port = running.api.removeprefix("http://").rpartition(":")
        environment = {
            "DOSSIER_NATS_URL": ",".join(running.nats),
            "DOSSIER_NATS_SEED": _absolute(self.identity.seed),
            "DOSSIER_NATS_CA": _absolute(self.identity.ca),
            "DOSSIER_DATA": _absolute(self.folder.path),
            "DOSSIER_API_HOST": host,
            "DOSSIER_API_PORT": port,
            "DOSSIER_HEALTH_PORT": "0",
            "DOSSIER_API_KEY": "",
            "DOSSIER_LOG_FORMAT": self.log_format,
        }
        if self.docs:
            environment["DOSSIER_DOCS"] = _absolute(self.docs)
        if self.webhooks:
            environment["DOSSIER_PUBLIC_URL"] = self.public_url or running.api
        return environment


def _absolute(path: Path | None) -> str:
    """The absolute path; empty for `None`."""
    return str(path.resolve()) if path else ""
