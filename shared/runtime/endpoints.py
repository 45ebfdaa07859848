"""Endpoints of webhooks, as values."""

import base64
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from msgspec import Struct
from pydantic import SecretStr

from shared.contracts.deliveries import EventType

EndpointKind = Literal["standard", "slack"]
Network = IPv4Network | IPv6Network

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the prefix of every secret


class WebhookEndpoint(Struct, frozen=True):
    """One receiver. `keys` sign messages to one of kind `standard`, the newest first."""

    name: str
    kind: EndpointKind
    url: SecretStr
    events: frozenset[EventType]
    keys: tuple[SecretStr, ...] = ()

    def secrets(self) -> list[bytes]:
        """The decoded keys, in order. Raises `ValueError` for a malformed one."""
        return [decode_secret(key.get_secret_value()) for key in self.keys]


class Webhooks(Struct, frozen=True):
    """All endpoints, the private networks that may be sent to, and the time before a deadline at which it is near."""

    endpoints: tuple[WebhookEndpoint, ...]
    allow: tuple[Network, ...] = ()
    near: timedelta = timedelta(minutes=30)


def decode_secret(secret: str) -> bytes:
    """Return the bytes of a `whsec_…` secret. Raises `ValueError` for another form."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError("It has no prefix.")
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
