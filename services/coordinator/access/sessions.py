"""Sessions of browsers: a signed cookie that names a key, and the token that a form has to bring along. Pure.

Nothing is stored. A session is worth what its key is worth: it names the key and is void when the key is.
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
    """`key` is the id of the key that was shown, `of` the beginning of its hash, `name` who signed in with it."""

    key: str
    of: str
    name: str
    until: int
    id: str


_decode: Final = msgspec.json.Decoder(Session).decode


def begun(key: str, key_hash: str, name: str, *, now: datetime, until: datetime | None, id_: str) -> Session:
    """A session from now on, for as long as sessions last, but not beyond its key's end."""
    end = min(now + LIFE, until) if until else now + LIFE
    return Session(key, key_hash[:_OF], name, int(end.timestamp()), id_)


def sealed(session: Session, secret: str) -> str:
    """The session as a cookie carries it."""
    body = msgspec.json.encode(session)
    return f"{_text(body)}.{_text(_mac(secret, b'session', body))}"


def opened(cookie: str, secret: str, now: datetime) -> Session | None:
    """The session in a cookie that was sealed with this secret and is not over."""
    body, _, mac = cookie.partition(".")
    try:
        data = _bytes(body)
        if not secret or not hmac.compare_digest(_bytes(mac), _mac(secret, b"session", data)):
            return None
        session = _decode(data)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        return None
    return session if now.timestamp() < session.until else None


def is_of(session: Session, key_hash: str) -> bool:
    """Whether the session was begun with the key of this hash."""
    return hmac.compare_digest(session.of.encode(), key_hash[:_OF].encode())


def csrf(session: Session, secret: str) -> str:
    """What every unsafe request in this session has to bring, in a header or a field: no other site can know it."""
    return _mac(secret, b"csrf", session.id.encode()).hex()


def _mac(secret: str, purpose: bytes, data: bytes) -> bytes:
    return hmac.digest(secret.encode(), purpose + b"\0" + data, sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
