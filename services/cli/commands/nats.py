"""`dossier nats`: configuration and consumers of a locked-down NATS."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.lockdown import consumers, init
from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.terminal import Terminal

nats = typer.Typer(name="nats", help="Configuration and consumers of a locked-down NATS.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(nats)


@command(nats.command("init"))
async def init_nats(
    terminal: Terminal,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write; created if it is missing.", file_okay=False)
    ],
    nodes: Annotated[int, typer.Option(help="Number of servers: 1 or 3.")] = 1,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host name of a node, once for each; by default this machine."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=1024, max=61_000, help="Port for clients; further nodes on one machine take the next ones."),
    ] = 4222,
    at: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Path of the folder on the servers; by default its present path."),
    ] = None,
    store: Annotated[str, typer.Option(metavar="SIZE", help="Disk space that each node may use.")] = "10GB",
) -> None:
    """Write keys, certificates and configuration of a NATS in which each service has only the rights that it needs.

    Existing files are kept, so it can be repeated.
    """
    init.init(init.Layout(folder, nodes, tuple(host or ()), port, at, store), terminal)


@command(nats.command("consumers"))
async def make_consumers(
    terminal: Terminal,
    webhooks: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File of webhooks; by default $DOSSIER_WEBHOOKS."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--nats", metavar="URL", help="NATS servers; by default $DOSSIER_NATS_URL.")
    ] = None,
) -> None:
    """Create the consumers of subscribers and of the notifier in a locked-down NATS, as its operator.

    Only the operator may. Existing consumers are kept; repeat it with each new webhook endpoint.
    """
    known = settings.read()
    servers = tuple(url.split(",")) if url else known.nats_url
    await consumers.ensure(servers, settings.identity(known, nats=url), webhooks or known.webhooks, terminal)
