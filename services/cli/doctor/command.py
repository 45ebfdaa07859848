"""`dossier doctor`, as it is typed."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.doctor.patient import Patient
from services.cli.shell import settings
from services.cli.shell.folder import Folder, Running
from services.cli.shell.refusal import FAILED
from services.cli.shell.running import run
from services.cli.shell.settings import CliSettings
from services.cli.shell.terminal import Terminal
from shared.runtime.identity import NO_IDENTITY


def doctor(
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder; by default $DOSSIER_DATA, else .dossier.")
    ] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")] = False,
) -> None:
    """Check NATS, the model, the tools and the folders with the present settings, and print remedies.

    Changes nothing, and costs one search with each tool. Exits with 1 if there is a fault.
    """

    async def work(terminal: Terminal) -> int:
        from services.cli.doctor.doctor import examine, tell  # takes a second, which no other command is to wait for

        known = settings.read()
        patient = _patient(known, Folder(data or known.data), nats=nats, monitor=monitor)
        return 0 if tell(await examine(patient, known), terminal, as_json=as_json) else FAILED

    run(work)


def _patient(known: CliSettings, folder: Folder, *, nats: str | None, monitor: str | None) -> Patient:
    running = None if nats else folder.running()
    servers = tuple(nats.split(",")) if nats else running.nats if running else known.nats_url
    embedded = _embedded(running, folder) if running else None
    identity = NO_IDENTITY if embedded else settings.identity(known, nats=nats)
    return Patient(servers, identity, folder, embedded, monitor)


def _embedded(running: Running, folder: Folder) -> str | None:
    """What the running NATS was started with, where that was by `dossier up` from this folder."""
    port = running.nats[0].removeprefix("nats://127.0.0.1:")
    text = folder.nats_config.read_text(encoding="utf-8") if folder.nats_config.exists() else ""
    return text if f"\nport: {port}\n" in text else None
