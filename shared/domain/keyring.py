"""API keys, folded from the stream `ACCESS` in any order. Pure.

Errors never grant access: an unreadable key does not exist, and any message in the slot `revoked` revokes.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.access import AccessFact, KeyCreated, SecretSet
from shared.contracts.messages import Message
from shared.contracts.subjects import ACCESS_SECRET
from shared.errors import Unreadable


class StoredKey(Struct, frozen=True):
    """A key and the time when it was stored."""

    fact: KeyCreated
    at: datetime


class Keyring(Struct, frozen=True):
    """Keys by id, times of revocation by id, and the secret that signs sessions (empty if there is none yet)."""

    keys: dict[str, StoredKey] = {}
    revoked: dict[str, datetime] = {}
    secret: str = ""

    def usable(self, key: str, now: datetime) -> KeyCreated | None:
        """The key with this id if it exists, is not revoked, and is not expired at `now`; else `None`."""
        made = self.keys.get(key)
        return made.fact if made and key not in self.revoked and now < made.fact.expires_at else None

    def any_usable(self, now: datetime) -> bool:
        """Return True if any key is usable at `now`."""
        return any(self.usable(key, now) for key in self.keys)


def apply_key_fact(ring: Keyring, message: Message) -> Keyring:
    """The keyring with one message of `ACCESS` applied. Never raises; ignores other and unreadable messages.

    The first creation and the first secret count; an id may be revoked before it is created.
    """
    fact = _fact(message)
    match message.subject.split("."):
        case ["access", "key", id_, "revoked"]:
            return replace(ring, revoked={id_: message.time} | ring.revoked)
        case ["access", "key", id_, "created"] if isinstance(fact, KeyCreated) and fact.id == id_:
            return replace(ring, keys={id_: StoredKey(fact, message.time)} | ring.keys)
        case _ if message.subject == ACCESS_SECRET and isinstance(fact, SecretSet):
            return replace(ring, secret=ring.secret or fact.secret)
        case _:
            return ring


def _fact(message: Message) -> AccessFact | None:
    """The fact in a message, or `None` if it cannot be read."""
    try:
        return envelope.decode_access(message.data)
    except Unreadable:
        return None
