"""Time and randomness. No other module reads the clock or draws random bytes."""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def at(nanoseconds: int) -> datetime:
    """The time `nanoseconds` after 1970-01-01 UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1_000)


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562): later ids sort later, to the millisecond."""
    stamp = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10))
    value = stamp << 80 | 0x7 << 76 | (noise >> 62 & 0xFFF) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    return str(UUID(int=value))


def token() -> str:
    """A random unique name: 32 hex digits."""
    return os.urandom(16).hex()


def secret() -> str:
    """A random secret of 256 bits: 64 hex digits."""
    return os.urandom(32).hex()
