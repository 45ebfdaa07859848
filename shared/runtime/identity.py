"""Credentials of this process for NATS: paths of files, never their content."""

import ssl
from pathlib import Path

from msgspec import Struct

_SEED_OF_A_USER = "SU"


class Identity(Struct, frozen=True):
    """`seed` is the file with this process's nkey, `ca` the file with the authority of the servers. A `ca` requires
    TLS.
    """

    seed: Path | None = None
    ca: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context that trusts `ca` alone, or `None` without one. Raises `OSError` or `ssl.SSLError`."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


NO_IDENTITY = Identity()
"""Credentials for a NATS that requires none."""


def check_seed(path: Path) -> Path:
    """Return `path` if the file has the seed of an nkey user. Raises `ValueError`, whose text shows nothing of the
    content.
    """
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}.") from None
    if not text.startswith(_SEED_OF_A_USER) or len(text) != 58:
        raise ValueError(f"{path} is no file with the seed of an nkey user, which begins with {_SEED_OF_A_USER}.")
    return path


def check_ca(path: Path) -> Path:
    """Return `path` if the file has certificates. Raises `ValueError`."""
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{path} is no file with the certificate of an authority: {_reason(error)}.") from None
    return path


def _reason(error: Exception) -> str:
    """The system's error text, else the class of the error."""
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
