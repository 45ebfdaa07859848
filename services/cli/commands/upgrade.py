"""`dossier check-upgrade`: compare what this release would have written in each open run with what is recorded."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import typer
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.connecting import connected
from services.cli.shell.options import Data, Json, Nats
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.setup import Setup
from services.cli.shell.terminal import Terminal, printable
from services.cli.supervisor.supervisor import supervised
from shared.contracts.subjects import RUN, Slot, parse_slot
from shared.domain.decoding import decode_message
from shared.domain.replay import Difference, fold_facts, replay
from shared.errors import Refused, Unavailable
from shared.nats.jetstream import JetStreamLog
from shared.runtime.dataref import load_text
from shared.runtime.identity import Identity
from shared.runtime.log import Log

_BATCH: Final = 16
"""Runs that are read concurrently, and so the number of runs in memory."""


class Checked(Struct, frozen=True):
    """Result of a check. `open`, `same` and `different` count runs; one run may have several differences."""

    open: int
    same: int
    different: int
    differences: list[Difference]


app = typer.Typer()


@command(app.command())
async def check_upgrade(terminal: Terminal, as_json: Json = False, data: Data = None, nats: Nats = None) -> bool:
    """Compare, before a new release is deployed, how it would treat the open runs.

    Run it with the new release. It replays the history of every open run from the log, and writes nothing.
    Exits with 0 if no run differs, with 1 if some do, with 2 if it could not check.
    """
    try:
        return await check(settings.setup(settings.read(), data=data, nats=nats), terminal, as_json=as_json)
    except Refusal as refusal:
        raise Refusal(str(refusal), code=MISUSED) from refusal


async def check(setup: Setup, terminal: Terminal, *, as_json: bool) -> bool:
    """Print the differences, as a table or as JSON. Return True if there are none. Raises `Refusal` if NATS fails."""
    async with log_of(setup) as log:
        try:
            checked = await check_open_runs(log)
        except (Unavailable, Refused) as error:
            raise Refusal(f"The log cannot be read: {error}", code=MISUSED) from error
    if as_json:
        terminal.write(msgspec.json.encode(checked))
    else:
        _print(checked, terminal)
    return not checked.different


async def check_open_runs(log: Log) -> Checked:
    """Replay every open run of the log with this code. Raises `Unavailable` or `Refused` if the log cannot be read."""
    differences: list[Difference] = []
    runs, different = await _open_runs(log), 0
    for start in range(0, len(runs), _BATCH):
        for found in await asyncio.gather(*(_differences(log, run) for run in runs[start : start + _BATCH])):
            different += bool(found)
            differences += found
    return Checked(len(runs), len(runs) - different, different, differences)


async def _open_runs(log: Log) -> list[str]:
    """Ids of the runs that are accepted and not completed, oldest first."""
    accepted = [run async for run in _runs_with(log, "accepted")]
    completed = {run async for run in _runs_with(log, "completed")}
    return [run for run in accepted if run not in completed]


async def _runs_with(log: Log, name: Literal["accepted", "completed"]) -> AsyncGenerator[str]:
    """Ids of the runs whose slot of this name is filled, in the order of the log."""
    async for message in log.history(Slot("*", name).subject):
        if slot := parse_slot(message.subject):
            yield slot.run


async def _differences(log: Log, run: str) -> list[Difference]:
    """Replay one run. An exception that this code raises on it, and a fact that would park it, are differences."""
    facts = [
        decode_message(slot, await load_text(log, message))
        async for message in log.history(f"{RUN}.{run}.>")
        if (slot := parse_slot(message.subject))
    ]
    try:
        unknown = fold_facts(run, facts).unknown
        parked = [Difference(run, "", f"this release parks the run: {unknown.fact}")] if unknown else []
        return [*parked, *replay(run, facts)]
    except Exception as error:  # any failure here would stop a coordinator of this release
        return [Difference(run, "", f"this release fails on the run, {type(error).__name__}: {error}")]


@asynccontextmanager
async def log_of(setup: Setup) -> AsyncGenerator[Log]:
    """Open the log in the NATS that `setup` names, else in that of the Dossier that runs in the folder.

    If there is neither, start the folder's own NATS and stop it on exit. Raises `Refusal` if no server answers.
    """
    running = setup.folder.running()
    servers = setup.nats or (running.nats if running else ())
    if servers:
        async with _opened(servers, setup.identity) as log:
            yield log
        return
    async with supervised(setup, lambda _: None) as supervisor:
        await supervisor.start_nats()
        async with _opened(supervisor.running.nats, setup.identity) as log:
            yield log


@asynccontextmanager
async def _opened(servers: tuple[str, ...], identity: Identity) -> AsyncGenerator[Log]:
    """Connect and yield the log; close it on exit. Raises `Refusal` if no server answers."""
    log = JetStreamLog(await connected(servers, name="dossier-check", identity=identity, code=MISUSED))
    try:
        yield log
    finally:
        await log.close()


def _print(checked: Checked, terminal: Terminal) -> None:
    """Print the table of differences to stdout, if there are any, and one line of counts to stderr."""
    if checked.differences:
        terminal.out.print(_table(checked.differences))
    terminal.say(f"{checked.open} open runs checked: {checked.same} the same, {checked.different} different.")


def _table(differences: list[Difference]) -> Table:
    """One row for each difference, in order: run, slot, text."""
    table = Table("run", "slot", "what differs", box=None, pad_edge=False)
    for one in differences:
        table.add_row(Text(one.run), Text(one.slot), Text(printable(one.what)))
    return table
