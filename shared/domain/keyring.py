"""The keys there are, folded from `ACCESS`. Pure.

Order does not matter, and nothing opens by being unreadable: a key that cannot be read does not exist, and one with
anything at all in its box `revoked` is revoked.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.access import AccessFact, KeyCreated, SecretSet
from shared.contracts.messages import Message
from shared.contracts.subjects import ACCESS_SECRET
from shared.errors import Unreadable


class Made(Struct, frozen=True):
    """A key and when it was stored."""

    fact: KeyCreated
    at: datetime


class Keyring(Struct, frozen=True):
    """All keys by id, when those were revoked that were, and the secret that signs sessions (empty: none yet)."""

    keys: dict[str, Made] = {}
    revoked: dict[str, datetime] = {}
    secret: str = ""

    def usable(self, key: str, now: datetime) -> KeyCreated | None:
        """The key with this id, if it opens anything at `now`."""
        made = self.keys.get(key)
        return made.fact if made and key not in self.revoked and now < made.fact.expires_at else None

    def any_usable(self, now: datetime) -> bool:
        """Whether anybody gets in at `now`."""
        return any(self.usable(key, now) for key in self.keys)


def turned(ring: Keyring, message: Message) -> Keyring:
    """The keyring with what this message of `ACCESS` says. Never raises."""
    fact = _fact(message)
    match message.subject.split("."):
        case ["access", "key", id_, "revoked"]:
            return replace(ring, revoked={id_: message.time} | ring.revoked)
        case ["access", "key", id_, "created"] if isinstance(fact, KeyCreated) and fact.id == id_:
            return replace(ring, keys={id_: Made(fact, message.time)} | ring.keys)
        case _ if message.subject == ACCESS_SECRET and isinstance(fact, SecretSet):
            return replace(ring, secret=ring.secret or fact.secret)
        case _:
            return ring


def _fact(message: Message) -> AccessFact | None:
    try:
        return envelope.decode_access(message.data)
    except Unreadable:
        return None
