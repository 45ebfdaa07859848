"""What we call ourselves."""

from importlib.metadata import version
from typing import Final

NAME: Final = "Dossier"
"""Also what a robots.txt calls us."""


def agent(contact: str) -> str:
    """The `User-Agent`: name, version, and where there is one the URL that says who asks."""
    about = f" (+{contact})" if contact else ""
    return f"{NAME}/{version('dossier')}{about}"
