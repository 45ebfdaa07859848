"""Access keys as facts of the stream `ACCESS`: keys created and revoked, and the secret that signs sessions.

A key itself is not stored, only its hash.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

Role = Literal["viewer", "requester", "approver", "operator"]
"""Each may do what those before it may."""
Action = Literal["read", "ask", "cancel", "decide", "operate"]
"""The right that a route of the API needs; the scopes of a key narrow it to some of these."""


class _AccessFact(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of these facts. Sets the field of their tag."""


class KeyCreated(_AccessFact, frozen=True, kw_only=True, tag="key.created.v1"):
    """A key to the API. `name` is the person; two keys of one name are the same person.

    `sha256` (hex) is of the whole key. `scopes` restrict the role; without any, the role is not restricted.
    """

    id: str
    name: str
    role: Role
    sha256: str
    expires_at: Annotated[datetime, Meta(tz=True)]
    scopes: tuple[Action, ...] = ()
    created_by: str = ""


class KeyRevoked(_AccessFact, frozen=True, kw_only=True, tag="key.revoked.v1"):
    """The key is no longer valid. `by` is the name that the revoker gave."""

    by: str = ""


class SecretSet(_AccessFact, frozen=True, kw_only=True, tag="secret.set.v1"):
    """The secret with which all coordinators sign sessions (hex)."""

    secret: str


AccessFact = KeyCreated | KeyRevoked | SecretSet
