"""The commands about keys, as they are typed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from services.cli.commands import keyring
from services.cli.shell import settings
from services.cli.shell.folder import Folder
from services.cli.shell.options import Data, Json, Nats
from services.cli.shell.running import run
from services.cli.shell.terminal import Terminal

_DAYS: Final = "90d"

keys = typer.Typer(name="keys", help="Keys to the API: who may ask, decide, or only read.", no_args_is_help=True)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person; all keys of a name are one person.")],
    role: Annotated[str, typer.Option(help="viewer, requester, approver or operator; each includes those before it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Restrict it to read, ask, cancel, decide or operate."),
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it is valid, as in 12h or 90d; at most 366d.")] = _DAYS,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Create a key and print it, once: only its hash is stored."""
    wanted = keyring.Wanted(name, role, tuple(scope or ()), expires)
    _with_keys(lambda ring, terminal: keyring.create(ring, terminal, wanted), data, nats)


@keys.command("list")
def list_keys(as_json: Json = False, data: Data = None, nats: Nats = None) -> None:
    """List all keys, including expired and revoked ones."""
    _with_keys(lambda ring, terminal: keyring.show(ring, terminal, as_json=as_json), data, nats)


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `dossier keys list` shows it.")],
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Revoke a key, and every session that began with it, within a second."""
    _with_keys(lambda ring, terminal: keyring.revoke(ring, terminal, key), data, nats)


def _with_keys(
    work: Callable[[keyring.KeyStore, Terminal], Awaitable[None]], data: Path | None, nats: str | None
) -> None:
    """Work with the keys on the NATS that was named, else on that of the Dossier in the data folder."""

    async def working(terminal: Terminal) -> int:
        known = settings.read()
        running = None if nats else Folder(data or known.data).running()
        servers = tuple(nats.split(",")) if nats else running.nats if running else known.nats_url
        async with keyring.KeyStore.open(servers, known.limits, settings.identity(known, nats=nats)) as ring:
            await work(ring, terminal)
        return 0

    run(working)
