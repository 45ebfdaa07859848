"""`dossier up`: run NATS and all services on this machine until stopped."""

import asyncio
from pathlib import Path
from typing import Final

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.cli.render.screen import Screen
from services.cli.shell import settings
from services.cli.shell.api import Api
from services.cli.shell.command import command
from services.cli.shell.folder import Running
from services.cli.shell.options import ApiPort, Data, Docs, Nats, NatsPort
from services.cli.shell.refusal import Refusal
from services.cli.shell.setup import Setup
from services.cli.shell.terminal import Terminal, printable, user_name
from services.cli.supervisor.logs import Notice
from services.cli.supervisor.supervisor import supervised
from shared.api import local_token
from shared.nats.connection import mask_passwords
from shared.runtime.settings import Settings

_NAME_WIDTH: Final = 11


app = typer.Typer()


@command(app.command(), interrupted=0)
async def up(
    terminal: Terminal,
    nats: Nats = None,
    data: Data = None,
    docs: Docs = None,
    api_port: ApiPort = None,
    port: NatsPort = None,
) -> None:
    """Start NATS and the services on loopback, and keep them running until Ctrl-C."""
    known = settings.read()
    setup = settings.setup(known, data=data, nats=nats, docs=docs, nats_port=port, api_port=api_port)
    await _up(setup, known, terminal, options=settings.options(data=data))


async def _up(setup: Setup, known: Settings, terminal: Terminal, *, options: str) -> None:
    """Start everything, print the addresses, and keep it running until cancelled. Raises `Refusal`.

    Warnings and errors of the processes are printed from the moment that all are ready until the end.
    """
    is_ready = False

    def report(notice: Notice) -> None:
        if is_ready:
            terminal.say(notice_line(notice))

    try:
        async with supervised(setup, report) as supervisor:
            with Screen(terminal).busy(lambda: f"Starting, waiting for {supervisor.missing}"):
                await supervisor.start()
            is_ready = True
            terminal.err.print(panel(setup, known, supervisor.running, options=options))
            terminal.err.print(await _sign_in_text(setup, supervisor.running, options), soft_wrap=True)
            try:
                await asyncio.Event().wait()
            finally:
                is_ready = False
                terminal.say("Stopping. Ctrl-C again stops it at once.")
    except asyncio.CancelledError:
        terminal.say(f"Stopped. Every run is safe in {setup.folder.path}.")
        raise


def notice_line(notice: Notice) -> Text:
    """The name of the process, then the text of the notice."""
    style = "red" if notice.severity == "error" else "yellow"
    return Text.assemble((f"{notice.source:<{_NAME_WIDTH}} ", style), printable(notice.text))


async def _sign_in_text(setup: Setup, running: Running, options: str) -> Text:
    """A new sign-in link, or the command that prints one if the API does not give one."""
    try:
        async with Api.open(running.api, local_token.read_token(setup.folder.path)) as api:
            link = await api.sign_in_link(by=user_name())
    except Refusal:
        return Text(f"To sign a browser in: dossier sign-in{options}")
    return Text.assemble("To sign a browser in, once and within ten minutes:\n", (link, "cyan"))


def panel(setup: Setup, known: Settings, running: Running, *, options: str) -> Panel:
    """Addresses, folders and models of the deployment, and the command to ask with."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    elsewhere = "" if not setup.nats else "  (runs elsewhere)"
    table.add_row("API", running.api)
    table.add_row("NATS", Text.assemble(mask_passwords(running.nats), (elsewhere, "dim")))
    table.add_row("Data", Text.assemble(str(setup.folder.path), (f"  (logs in {setup.folder.logs})", "dim")))
    table.add_row("Model", model(known))
    table.add_row("Docs", docs(setup.docs or known.docs))
    table.add_row("")
    table.add_row("Next", Text(f'dossier ask{options} "What do you want to know?"', style="cyan"))
    return Panel(table, title="Dossier is ready", title_align="left", border_style="dim", expand=False, padding=(0, 1))


def model(known: Settings) -> str:
    """The models that plan and write, or the offline mode without a key and base URL."""
    if not known.openai_key and not known.openai_base_url:
        return "offline: reports are extracted verbatim, no key is needed"
    where = f" at {known.openai_base_url}" if known.openai_base_url else ""
    return f"{known.planner_model} plans, {known.writer_model} writes{where}"


def docs(folder: Path | None) -> str:
    """The folder of documents, or the default without one."""
    return str(folder) if folder else "the language reference of this Python installation"
