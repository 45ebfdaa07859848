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


def path(folder: Path) -> Path:
    """Where the token of a data folder is."""
    return folder / "token"


def read(folder: Path) -> str | None:
    """The token; `None` where there is none that can be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        token = path(folder).read_text(encoding="ascii").strip()
        return token if keys.id_of(token) == LOCAL else None
    return None


def ensured(folder: Path) -> str:
    """The token, made where there is none yet; one that others could have read is replaced."""
    file = path(folder)
    if _is_private(file) and (token := read(folder)):
        return token
    token = keys.made(LOCAL, clock.secret())
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"token.{clock.token()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(f"{token}\n")
    draft.replace(file)
    return token


def _is_private(file: Path) -> bool:
    try:
        status = file.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & 0o077


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on this address."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
