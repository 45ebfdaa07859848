"""Who this process is to NATS, and whom it believes to be NATS: paths of files, never their content."""

import ssl
from pathlib import Path

from msgspec import Struct

_SEED_OF_A_USER = "SU"


class Identity(Struct, frozen=True):
    """`seed` proves who we are (an nkey), `ca` proves who they are. With a `ca`, nothing is ever said in the clear."""

    seed: Path | None = None
    ca: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """What the server's certificate is checked with; `None` for the system's authorities."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


NO_IDENTITY = Identity()
"""What suffices for a NATS that asks nobody who they are."""


def check_seed(path: Path) -> Path:
    """The path of a file with the seed of a user. Raises `ValueError` for any other, silent on what is in it."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {_reason(error)}.") from None
    if not text.startswith(_SEED_OF_A_USER) or len(text) != 58:
        raise ValueError(f"{path} is no file with the seed of an nkey user, which begins with {_SEED_OF_A_USER}.")
    return path


def check_ca(path: Path) -> Path:
    """The path of a file with certificates. Raises `ValueError` for any other."""
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{path} is no file with the certificate of an authority: {_reason(error)}.") from None
    return path


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
