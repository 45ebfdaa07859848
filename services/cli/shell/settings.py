"""Settings of the command line: those of the services, and the API to connect to."""

from pathlib import Path
from shlex import quote

from pydantic import SecretStr, ValidationError

from services.cli.shell.folder import Folder, Running
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.setup import Setup
from shared.api import local_token
from shared.runtime.identity import NO_IDENTITY, Identity
from shared.runtime.settings import Settings


class CliSettings(Settings):
    """Settings of the services that are started here, and of the API that runs elsewhere."""

    api_url: str | None = None
    """URL of the API of a Dossier that runs elsewhere; `dossier` connects to it instead of the data folder."""
    api_key: SecretStr | None = None
    """API key that `dossier` sends. If unset, it sends the token of the data folder to the Dossier that runs there."""

    def key(self, running: Running, folder: Folder) -> str | None:
        """The key for this Dossier. Without `api_key`, the folder's token for the one that runs there, else `None`."""
        if self.api_key:
            return self.api_key.get_secret_value()
        return local_token.read_token(folder.path) if running.pid else None


def read() -> CliSettings:
    """Read the environment. Raises `Refusal` with the first variable that is not valid."""
    try:
        return CliSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"DOSSIER_{name.upper()}"
        raise Refusal(f"{variable}: {first['msg']}.", code=MISUSED) from error


def setup(
    settings: CliSettings,
    *,
    data: Path | None = None,
    nats: str | None = None,
    docs: Path | None = None,
    nats_port: int | None = None,
    api_port: int | None = None,
) -> Setup:
    """Settings of a deployment: from the options, else from the environment, else the defaults.

    `DOSSIER_NATS_URL` and `DOSSIER_PUBLIC_URL` count only if set: by default NATS is embedded.
    """
    elsewhere = settings.nats_url if "nats_url" in settings.model_fields_set else ()
    return Setup(
        folder=Folder(data or settings.data),
        nats=tuple(nats.split(",")) if nats else elsewhere,
        nats_port=nats_port,
        api_port=api_port,
        usual_api_port=settings.api_port,
        docs=docs,
        webhooks=settings.webhooks,
        public_url=settings.public_url if "public_url" in settings.model_fields_set else None,
        grace_s=settings.grace_s,
        log_format="json" if settings.log_format == "json" else "text",
        identity=identity(settings, nats=nats),
    )


def identity(settings: CliSettings, *, nats: str | None = None) -> Identity:
    """The identity for the NATS of an option or the environment; none for the embedded one, which requires none."""
    return settings.identity if nats or "nats_url" in settings.model_fields_set else NO_IDENTITY


def nats_servers(settings: CliSettings, *, data: Path | None, nats: str | None) -> tuple[str, ...]:
    """NATS URLs: those of the option, else of the Dossier that runs in the folder, else of the environment."""
    if nats:
        return tuple(nats.split(","))
    running = Folder(data or settings.data).running()
    return running.nats if running else settings.nats_url


def elsewhere(settings: CliSettings, *, data: Path | None, nats: str | None, api: str | None) -> Running | None:
    """The Dossier at the URL of the option, else of the environment unless `data` is given; `None` without a URL."""
    url = api or (None if data else settings.api_url)
    servers = tuple(nats.split(",")) if nats else settings.nats_url
    return Running(0, servers, url) if url else None


def options(*, data: Path | None = None, api: str | None = None) -> str:
    """The same options for a further command, quoted for a shell and with a leading space; empty without any."""
    named = (("--data", data), ("--api", api))
    return "".join(f" {name} {quote(str(value))}" for name, value in named if value)
