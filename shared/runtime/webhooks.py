"""The webhooks file that `DOSSIER_WEBHOOKS` names, read once and checked before anything is sent.

```toml
allow = ["10.1.0.0/16"]        # addresses inside your network that may be sent to; none without it
deadline_near = "30m"          # how long before its deadline a hold is called near

[endpoints.ops]
kind = "standard"              # Standard Webhooks 1.0; the other kind is "slack"
url = "https://example.com/hooks/dossier"
secret_env = "OPS_SECRET"      # a variable with whsec_…, or several while you rotate; or secret_file
events = ["hold.opened", "run.ended"]

[endpoints.team]
kind = "slack"
url_file = "/run/secrets/slack"   # the URL of an incoming webhook is itself a secret: url_env, or url_file
```
"""

import binascii
import tomllib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from shared.contracts.deliveries import EVENT_TYPES, EventType
from shared.contracts.requests import parse_duration_s
from shared.contracts.subjects import is_token
from shared.errors import DossierError, InvalidMessage
from shared.runtime import settings
from shared.runtime.endpoints import SECRET_PREFIX, EndpointKind, Network, WebhookEndpoint, Webhooks, decode_secret

_KEY_BYTES: Final = range(24, 65)
"""Sizes that Standard Webhooks allows for a secret."""


class InvalidWebhooks(DossierError):
    """The file of webhooks cannot be used. The text names the place and the fault, and shows no secret."""


def _as_list(value: object) -> object:
    """Return a single text as a list of one; other values pass unchanged."""
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[str], BeforeValidator(_as_list)]


class _Table(BaseModel):
    """Base of the file's tables: unknown keys are errors, and errors show no values."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Endpoint(_Table):
    """The table `[endpoints.<name>]`."""

    kind: EndpointKind = "standard"
    url: str | None = None
    url_env: str | None = None
    url_file: Path | None = None
    secret_env: _Names = []
    secret_file: _Names = []
    events: list[EventType] = Field(default=list(EVENT_TYPES), min_length=1)


class _File(_Table):
    """The whole file."""

    allow: list[str] = []
    deadline_near: str = "30m"
    endpoints: dict[str, _Endpoint] = Field(min_length=1)


def load_webhooks(path: Path) -> Webhooks:
    """Read and check the file, with its secrets. Raises `InvalidWebhooks`."""
    with _naming_file(path):
        file = _read_file(path)
        endpoints = tuple(_parse_endpoint(name, table) for name, table in file.endpoints.items())
        return Webhooks(endpoints, tuple(map(_parse_network, file.allow)), _parse_near(file.deadline_near))


def endpoint_names(path: Path) -> list[str]:
    """Return the names of the endpoints without reading secrets. Raises `InvalidWebhooks`."""
    with _naming_file(path):
        return list(_read_file(path).endpoints)


def _read_file(path: Path) -> _File:
    """Parse the file and check the endpoints' names. Raises `InvalidWebhooks`, or the error of file, TOML or
    validation.
    """
    file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    if bad := next((name for name in file.endpoints if not is_token(name)), None):
        raise InvalidWebhooks(f"endpoints.{bad}: a name has 1 to 64 of A–Z, a–z, 0–9, _ and -.")
    return file


@contextmanager
def _naming_file(path: Path) -> Generator[None]:
    """Turn errors of the block into `InvalidWebhooks` whose text begins with `path`."""
    try:
        yield
    except OSError as error:
        raise InvalidWebhooks(f"{path}: it cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidWebhooks(f"{path}: it is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidWebhooks(f"{path}: {place}: {first['msg']}.") from error
    except InvalidWebhooks as error:
        raise InvalidWebhooks(f"{path}: {error}") from error


def _parse_endpoint(name: str, table: _Endpoint) -> WebhookEndpoint:
    """Return the endpoint of a table. Raises `InvalidWebhooks` if secrets are missing (standard) or present (slack)."""
    where = f"endpoints.{name}"
    keys = tuple(_read_secrets(where, table))
    if table.kind == "standard" and not keys:
        raise InvalidWebhooks(f"{where}: name a secret with secret_env or secret_file, or receivers can trust nothing.")
    if table.kind == "slack" and keys:
        raise InvalidWebhooks(f"{where}: Slack checks no signature; its URL is the secret. Leave out the secrets.")
    return WebhookEndpoint(name, table.kind, _parse_url(where, table), frozenset(table.events), keys)


def _parse_url(where: str, table: _Endpoint) -> SecretStr:
    """Return the endpoint's URL from the one key that names it. Raises `InvalidWebhooks` if it is no http(s) URL."""
    given = [value for value in (table.url, table.url_env, table.url_file) if value is not None]
    if len(given) != 1:
        raise InvalidWebhooks(f"{where}: give exactly one of url, url_env and url_file.")
    url = SecretStr(table.url) if table.url is not None else _read_secret(where, table.url_env, table.url_file)
    try:
        parts = urlsplit(url.get_secret_value())
        fits = parts.scheme in ("https", "http") and parts.hostname and not parts.username and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(character.isspace() for character in url.get_secret_value()):
        raise InvalidWebhooks(
            f"{where}: its URL must be https://… (or http://… to an allowed address), without a user."
        )
    return url


def _read_secrets(where: str, table: _Endpoint) -> Sequence[SecretStr]:
    """Return the endpoint's secrets in order. Raises `InvalidWebhooks` for one that is not `whsec_` and 24
    to 64 bytes.
    """
    keys = [_read_secret(where, name, None) for name in table.secret_env]
    keys += [_read_secret(where, None, Path(name)) for name in table.secret_file]
    for key in keys:
        try:
            size = len(decode_secret(key.get_secret_value()))
        except (binascii.Error, ValueError):
            size = 0
        if size not in _KEY_BYTES:
            raise InvalidWebhooks(
                f"{where}: a secret is {SECRET_PREFIX} and 24 to 64 bytes in base64; one of these is not."
            )
    return keys


def _read_secret(where: str, variable: str | None, file: Path | None) -> SecretStr:
    """Return the secret in `file`, stripped, else in the environment `variable`. Raises `InvalidWebhooks` if it is
    missing.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidWebhooks(f"{where}: {file} cannot be read.") from error
        return SecretStr(text)
    value = settings.read_secret(variable or "")
    if value is None:
        raise InvalidWebhooks(f"{where}: the variable {variable} is not set.")
    return value


def _parse_network(text: str) -> Network:
    """Return an address or network. Raises `InvalidWebhooks`."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidWebhooks(f"allow: {text!r} is no address or network such as 10.1.0.0/16.") from error


def _parse_near(text: str) -> timedelta:
    """Return the duration of `deadline_near`. Raises `InvalidWebhooks`."""
    try:
        return timedelta(seconds=parse_duration_s(text))
    except InvalidMessage as error:
        raise InvalidWebhooks(f"deadline_near: {text!r} is no duration such as 30m or 2h.") from error
