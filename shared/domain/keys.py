"""Format of API keys: `dsr_<id>_<secret><checksum>`. Pure; callers bring the randomness.

A secret has 256 random bits, so a plain SHA-256 is safe to store. Prefix and checksum let scanners find a published
key.
"""

import re
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = "dsr"
ID_LENGTH: Final = 12
_KEY: Final = re.compile(rf"{PREFIX}_([a-z0-9]{{1,16}})_([0-9a-f]{{64}})([0-9a-f]{{8}})")


def format_key(id_: str, secret: str) -> str:
    """The key with this id and secret of 64 hex digits."""
    body = f"{PREFIX}_{id_}_{secret}"
    return f"{body}{_checksum(body)}"


def key_id(key: str) -> str | None:
    """Id in a key; `None` if it is malformed or its checksum is wrong."""
    match = _KEY.fullmatch(key)
    return match[1] if match and _checksum(key[:-8]) == match[3] else None


def key_hash(key: str) -> str:
    """SHA-256 in hex of a key: the form in which it is stored."""
    return sha256(key.encode()).hexdigest()


def _checksum(text: str) -> str:
    """CRC-32 of a text as 8 hex digits."""
    return f"{crc32(text.encode()):08x}"
