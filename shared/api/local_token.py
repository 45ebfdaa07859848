"""The token of a data folder: who can read the folder is the operator of a Dossier that only this machine reaches."""

import contextlib
import ipaddress
import os
from pathlib import Path
from typing import Final

from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.runtime import clock

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def token_path(folder: Path) -> Path:
    """Path of the token in a data folder."""
    return folder / "token"


def read_token(folder: Path) -> str | None:
    """The token; None if there is none or it cannot be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        token = token_path(folder).read_text(encoding="ascii").strip()
        return token if keys.key_id(token) == LOCAL else None
    return None


def ensure_token(folder: Path) -> str:
    """The token of a data folder. Creates it if there is none, with mode 0600; replaces one that other users could have
    read. Raises `OSError` if the folder cannot be written.
    """
    file = token_path(folder)
    if _is_private(file) and (token := read_token(folder)):
        return token
    token = keys.format_key(LOCAL, clock.secret())
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"token.{clock.token()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(f"{token}\n")
    draft.replace(file)
    return token


def _is_private(file: Path) -> bool:
    """Return True if the file belongs to this user and no other user can read or write it."""
    try:
        status = file.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def is_loopback(host: str) -> bool:
    """Return True if only this machine reaches a server that listens on this address."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
