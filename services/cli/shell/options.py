"""Options that several commands have, and the API client that `--data` and `--api` select."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.cli.shell import settings
from services.cli.shell.api import Api
from services.cli.shell.folder import Folder
from services.cli.shell.refusal import Refusal

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; by default $DOSSIER_DATA, else .dossier.")]
Nats = Annotated[
    str | None, typer.Option("--nats", metavar="URL", help="NATS servers to use instead of the embedded one.")
]
Docs = Annotated[
    Path | None,
    typer.Option("--docs", exists=True, file_okay=False, help="Folder of documents to search; by default Python's."),
]
ApiUrl = Annotated[
    str | None, typer.Option("--api", metavar="URL", help="API of a Dossier elsewhere; by default $DOSSIER_API_URL.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
Comment = Annotated[str, typer.Option("--comment", help="Reason; kept with the run.")]
CodeOption = Annotated[str, typer.Option(help="Only with this error code.")]
SinceOption = Annotated[str | None, typer.Option(metavar="DURATION", help="Only within this time, as in 2h.")]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="SHA", help="Leave out this source; the first digits suffice.")
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", metavar="USD", help="Most that the run may cost, in US dollars.")
]
NatsPort = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65_535, help="Port of the embedded NATS; by default 4222 if it is free."),
]
ApiPort = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the API; by default 8400 if it is free.")]


@asynccontextmanager
async def open_api(data: Path | None, api: str | None) -> AsyncGenerator[Api]:
    """Client of the API at `api`, else of the Dossier that runs in the folder `data`, with the key for it.

    Raises `Refusal` if neither is given and no Dossier runs in the folder of the settings. Sends no request.
    """
    known = settings.read()
    folder = Folder(data or known.data)
    running = settings.elsewhere(known, data=data, nats=None, api=api) or folder.running()
    if running is None:
        raise Refusal(f"No Dossier runs in {folder.path}. To start it: dossier up{settings.options(data=data)}")
    async with Api.open(running.api, known.key(running, folder)) as client:
        yield client
