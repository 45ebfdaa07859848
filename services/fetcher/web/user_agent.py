"""The name under which pages are requested."""

from importlib.metadata import version
from typing import Final

NAME: Final = "Dossier"
"""Product name, by which robots.txt addresses Dossier."""


def user_agent(contact: str) -> str:
    """Return the `User-Agent`: name, version, and the contact URL if there is one."""
    about = f" (+{contact})" if contact else ""
    return f"{NAME}/{version('dossier')}{about}"
