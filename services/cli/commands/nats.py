"""The commands about NATS itself, as they are typed."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.lockdown import consumers, init
from services.cli.shell import settings
from services.cli.shell.running import run
from services.cli.shell.terminal import Terminal

nats = typer.Typer(name="nats", help="A NATS of one's own: lock it down, set it up.", no_args_is_help=True)


@nats.command("init")
def init_nats(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is missing.", file_okay=False)],
    nodes: Annotated[int, typer.Option(help="1 or 3.")] = 1,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="By which a node is reached, once for each; without, this machine alone."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1024, max=61_000, help="For clients; nodes on one machine take those after it.")
    ] = 4222,
    at: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where the servers find the folder, if not where it is now.")
    ] = None,
    store: Annotated[str, typer.Option(metavar="SIZE", help="Of its disk each node may fill so much.")] = "10GB",
) -> None:
    """Write keys, certificates and configuration of a NATS that lets each service do its own work and nothing else.

    Overwrites nothing: what is there is kept, so it can be repeated.
    """

    async def work(terminal: Terminal) -> int:
        wanted = init.Wanted(folder, nodes=nodes, hosts=tuple(host or ()), port=port, at=at, store=store)
        init.init(wanted, terminal)
        return 0

    run(work)


@nats.command("consumers")
def make_consumers(
    webhooks: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The notifier's file; $DOSSIER_WEBHOOKS where none is named."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--nats", metavar="URL", help="Where NATS is, or $DOSSIER_NATS_URL.")
    ] = None,
) -> None:
    """As the operator of a locked-down NATS: make the consumers that subscribers and the notifier work off.

    They may not make their own. Makes what is missing, so it can be repeated: with each new endpoint.
    """

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        servers = tuple(url.split(",")) if url else known.nats_url
        await consumers.make(servers, settings.identity(known, nats=url), webhooks or known.webhooks, terminal)
        return 0

    run(work)
