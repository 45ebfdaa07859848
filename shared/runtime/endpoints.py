"""Who is told, as values."""

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
    """One receiver. `keys` sign what is sent to one of kind `standard`, the newest first."""

    name: str
    kind: EndpointKind
    url: SecretStr
    events: frozenset[EventType]
    keys: tuple[SecretStr, ...] = ()

    def secrets(self) -> list[bytes]:
        """The keys themselves, for whoever signs."""
        return [decode_secret(key.get_secret_value()) for key in self.keys]


class Webhooks(Struct, frozen=True):
    """All of them, the addresses inside that may be sent to, and how long before its deadline a hold is called near."""

    endpoints: tuple[WebhookEndpoint, ...]
    allow: tuple[Network, ...] = ()
    near: timedelta = timedelta(minutes=30)


def decode_secret(secret: str) -> bytes:
    """The key in `whsec_…`. Raises `ValueError` where there is none."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError("It has no prefix.")
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
