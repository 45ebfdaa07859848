"""Keys to the API: `dsr_<id>_<secret><checksum>`. Pure; whoever makes one brings the randomness.

The secret has 256 bits, so a plain hash is as good as a slow one: there is nothing to guess. The prefix and the
checksum let scanners find a key that was published by mistake, and tell it from anything else.
"""

import re
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = "dsr"
ID_LENGTH: Final = 12
_KEY: Final = re.compile(rf"{PREFIX}_([a-z0-9]{{1,16}})_([0-9a-f]{{64}})([0-9a-f]{{8}})")


def made(id_: str, secret: str) -> str:
    """The key with this id and secret (64 hex digits)."""
    body = f"{PREFIX}_{id_}_{secret}"
    return f"{body}{_checksum(body)}"


def id_of(key: str) -> str | None:
    """The id in a key; `None` for what is no key, or a mistyped one."""
    match = _KEY.fullmatch(key)
    return match[1] if match and _checksum(key[:-8]) == match[3] else None


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return sha256(key.encode()).hexdigest()


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"
