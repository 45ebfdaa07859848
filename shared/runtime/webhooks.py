"""Who is told what: the file that `DOSSIER_WEBHOOKS` names, read once and checked before anything is sent.

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
from shared.contracts.requests import duration_s
from shared.contracts.subjects import is_token
from shared.errors import DossierError, InvalidMessage
from shared.runtime import settings
from shared.runtime.endpoints import PREFIX, Endpoint, Kind, Network, Webhooks, key_of

_KEY_BYTES: Final = range(24, 65)
"""What Standard Webhooks asks of a secret."""


class Misconfigured(DossierError):
    """The file cannot be used; the text says what is wrong where, and shows no secret."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[str], BeforeValidator(_listed)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Endpoint(_Table):
    kind: Kind = "standard"
    url: str | None = None
    url_env: str | None = None
    url_file: Path | None = None
    secret_env: _Names = []
    secret_file: _Names = []
    events: list[EventType] = Field(default=list(EVENT_TYPES), min_length=1)


class _File(_Table):
    allow: list[str] = []
    deadline_near: str = "30m"
    endpoints: dict[str, _Endpoint] = Field(min_length=1)


def load(path: Path) -> Webhooks:
    """What the file says. Raises `Misconfigured` with a sentence for whoever wrote it."""
    with _about(path):
        file = _read_file(path)
        endpoints = tuple(_endpoint(name, table) for name, table in file.endpoints.items())
        return Webhooks(endpoints, tuple(map(_network, file.allow)), _near(file.deadline_near))


def names(path: Path) -> list[str]:
    """The endpoints in the file, for whoever has not their secrets. Raises `Misconfigured` like `load`."""
    with _about(path):
        return list(_read_file(path).endpoints)


def _read_file(path: Path) -> _File:
    file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    if bad := next((name for name in file.endpoints if not is_token(name)), None):
        raise Misconfigured(f"endpoints.{bad}: a name has 1 to 64 of A–Z, a–z, 0–9, _ and -.")
    return file


@contextmanager
def _about(path: Path) -> Generator[None]:
    """Say of everything that is wrong which file it is in."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"{path}: it cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path}: it is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Misconfigured(f"{path}: {place}: {first['msg']}.") from error
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}") from error


def _endpoint(name: str, table: _Endpoint) -> Endpoint:
    where = f"endpoints.{name}"
    keys = tuple(_secrets(where, table))
    if table.kind == "standard" and not keys:
        raise Misconfigured(f"{where}: name a secret with secret_env or secret_file, or receivers can trust nothing.")
    if table.kind == "slack" and keys:
        raise Misconfigured(f"{where}: Slack checks no signature; its URL is the secret. Leave out the secrets.")
    return Endpoint(name, table.kind, _url(where, table), frozenset(table.events), keys)


def _url(where: str, table: _Endpoint) -> SecretStr:
    given = [value for value in (table.url, table.url_env, table.url_file) if value is not None]
    if len(given) != 1:
        raise Misconfigured(f"{where}: give exactly one of url, url_env and url_file.")
    url = SecretStr(table.url) if table.url is not None else _read(where, table.url_env, table.url_file)
    try:
        parts = urlsplit(url.get_secret_value())
        fits = parts.scheme in ("https", "http") and parts.hostname and not parts.username and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(character.isspace() for character in url.get_secret_value()):
        raise Misconfigured(f"{where}: its URL must be https://… (or http://… to an allowed address), without a user.")
    return url


def _secrets(where: str, table: _Endpoint) -> Sequence[SecretStr]:
    keys = [_read(where, name, None) for name in table.secret_env]
    keys += [_read(where, None, Path(name)) for name in table.secret_file]
    for key in keys:
        try:
            size = len(key_of(key.get_secret_value()))
        except (binascii.Error, ValueError):
            size = 0
        if size not in _KEY_BYTES:
            raise Misconfigured(f"{where}: a secret is {PREFIX} and 24 to 64 bytes in base64; one of these is not.")
    return keys


def _read(where: str, variable: str | None, file: Path | None) -> SecretStr:
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{where}: {file} cannot be read.") from error
        return SecretStr(text)
    value = settings.secret(variable or "")
    if value is None:
        raise Misconfigured(f"{where}: the variable {variable} is not set.")
    return value


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Misconfigured(f"allow: {text!r} is no address or network such as 10.1.0.0/16.") from error


def _near(text: str) -> timedelta:
    try:
        return timedelta(seconds=duration_s(text))
    except InvalidMessage as error:
        raise Misconfigured(f"deadline_near: {text!r} is no duration such as 30m or 2h.") from error
