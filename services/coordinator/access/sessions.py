"""Sessions of browsers as signed cookies, and their CSRF tokens. Pure.

Nothing is stored. A session names the key that it was started with, and is void when that key is.
"""

import base64
import binascii
import hmac
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

LIFE: Final = timedelta(hours=12)
_OF: Final = 16


class Session(Struct, frozen=True):
    """A session: id of its key (`key`), first 16 hex digits of the key's hash (`of`), name of the person, end as a Unix
    time in seconds (`until`), and a random `id`.
    """

    key: str
    of: str
    name: str
    until: int
    id: str


_decode: Final = msgspec.json.Decoder(Session).decode


def new_session(key: str, key_hash: str, name: str, *, now: datetime, until: datetime | None, id_: str) -> Session:
    """A session that starts now, and ends after 12 hours or at `until`, the end of its key, whichever is earlier."""
    end = min(now + LIFE, until) if until else now + LIFE
    return Session(key, key_hash[:_OF], name, int(end.timestamp()), id_)


def encode_cookie(session: Session, secret: str) -> str:
    """Value of a session's cookie: the session as JSON and its HMAC-SHA256, both in base64url."""
    body = msgspec.json.encode(session)
    return f"{_text(body)}.{_text(_mac(secret, b'session', body))}"


def decode_cookie(cookie: str, secret: str, now: datetime) -> Session | None:
    """The session of a cookie; None if it is malformed, signed with another secret, or over."""
    body, _, mac = cookie.partition(".")
    try:
        data = _bytes(body)
        if not secret or not hmac.compare_digest(_bytes(mac), _mac(secret, b"session", data)):
            return None
        session = _decode(data)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return None
    return session if now.timestamp() < session.until else None


def is_of_key(session: Session, key_hash: str) -> bool:
    """Return True if the session was started with the key of this hash (hex)."""
    return hmac.compare_digest(session.of.encode(), key_hash[:_OF].encode())


def csrf_token(session: Session, secret: str) -> str:
    """CSRF token of a session, in hex: the HMAC of its id. Unsafe requests of the session have to send it."""
    return _mac(secret, b"csrf", session.id.encode()).hex()


def _mac(secret: str, purpose: bytes, data: bytes) -> bytes:
    return hmac.digest(secret.encode(), purpose + b"\0" + data, sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
