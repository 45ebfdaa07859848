"""`dossier doctor`: check a deployment and print remedies."""

from typing import Annotated

import typer

from services.cli.doctor.target import target
from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.options import Data, Json
from services.cli.shell.terminal import Terminal

app = typer.Typer()


@command(app.command())
async def doctor(
    terminal: Terminal,
    data: Data = None,
    nats: Annotated[
        str | None,
        typer.Option(
            "--nats",
            metavar="URL",
            help="NATS servers; by default those of the Dossier in the folder, else $DOSSIER_NATS_URL.",
        ),
    ] = None,
    monitor: Annotated[
        str | None, typer.Option(metavar="URL", help="Monitoring URL of the NATS server, if it is not the usual one.")
    ] = None,
    as_json: Json = False,
) -> bool:
    """Check NATS, the model, the tools and the folders with the present settings, and print remedies.

    Changes nothing, and costs one search with each tool. Exits with 1 if there is a fault.
    """
    from services.cli.doctor.doctor import examine, show  # imports the model's SDK, which takes a second

    known = settings.read()
    results = await examine(target(known, data=data, nats=nats, monitor=monitor), known)
    return show(results, terminal, as_json=as_json)
