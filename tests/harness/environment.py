"""What child processes inherit; the one place in the tests that reads the environment."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""

_OURS = ("DOSSIER_", "OPENAI_", "OTEL_", "STUB_")


def inherited(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `settings`, and with nothing else that a service would read."""
    everything = os.environ.items()  # noqa: TID251
    return {name: value for name, value in everything if not name.startswith(_OURS)} | dict(settings)


def number(name: str, default: int) -> int:
    """A number that whoever runs the tests may set."""
    return int(os.environ.get(name, default))  # noqa: TID251


def nats_server() -> str:
    """The nats-server beside this Python, else the one on PATH. Raises `FileNotFoundError`: no test goes without."""
    beside = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("There is no nats-server beside this Python or on PATH; `make setup` brings one.")
    return found
