"""`dossier check-upgrade`: what this release would do otherwise with the runs that are open, before it is deployed."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from itertools import islice
from typing import Final

import msgspec
import typer
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.connecting import connected
from services.cli.shell.folder import Folder
from services.cli.shell.options import Data, Json, Nats
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.setup import Setup
from services.cli.shell.terminal import Terminal, printable
from services.cli.supervisor.supervisor import supervised
from services.coordinator.upgrade.projected import Standing, Standings, compared
from shared.contracts.subjects import RUN, parse_slot
from shared.domain.decoding import decode_message
from shared.domain.replay import Difference, fold_facts, replay
from shared.domain.run import FOLD_VERSION, Recorded
from shared.errors import Refused, Unavailable
from shared.nats.jetstream import JetStreamLog
from shared.runtime.dataref import load_text
from shared.runtime.identity import Identity
from shared.runtime.log import Log

_AT_ONCE: Final = 16
"""Runs that are read side by side; no more are in memory."""


class Checked(Struct, frozen=True):
    """What came of it. `same` and `different` count runs; a run may differ in several places."""

    open: int
    same: int
    different: int
    recorded_fold: int
    this_fold: int
    differences: list[Difference]


app = typer.Typer()


@command(app.command())
async def check_upgrade(terminal: Terminal, as_json: Json = False, data: Data = None, nats: Nats = None) -> bool:
    """Compare, before a new release is deployed, how it would treat the open runs.

    Run it with the new release. It reads the projection and the log of the old one, and writes nothing.
    Exits with 0 if no run differs, with 1 if some do, with 2 if it could not check.
    """
    try:
        return await check(settings.setup(settings.read(), data=data, nats=nats), terminal, as_json=as_json)
    except Refusal as refusal:
        raise Refusal(str(refusal), code=MISUSED) from refusal


async def check(setup: Setup, terminal: Terminal, *, as_json: bool) -> bool:
    """Print how this release and the recorded state differ; whether they do not. Raises `Refusal` if it cannot say."""
    with closing(_standings(setup.folder)) as standings:
        async with log_of(setup) as log:
            try:
                checked = await against(log, standings)
            except (Unavailable, Refused) as error:
                raise Refusal(f"The log cannot be read: {error}", code=MISUSED) from error
    if as_json:
        terminal.write(msgspec.json.encode(checked))
    else:
        _tell(checked, terminal)
    return not checked.different


async def against(log: Log, standings: Standings) -> Checked:
    """Every open run of the projection, folded and replayed from the log by this code."""
    if standings.seq and standings.created != (await log.end()).created.isoformat():
        raise Refusal("This projection is of another log than the one that NATS has.", code=MISUSED)
    differences: list[Difference] = []
    count = different = 0
    runs = iter(standings)
    while some := list(islice(runs, _AT_ONCE)):
        for found in await asyncio.gather(*(_differences(log, one, standings) for one in some)):
            count += 1
            different += bool(found)
            differences += found
    return Checked(count, count - different, different, standings.fold_version, FOLD_VERSION, differences)


async def _differences(log: Log, standing: Standing, standings: Standings) -> list[Difference]:
    facts = [it async for it in _facts(log, standing.id) if _is_recorded(it, standing, standings.seq)]
    try:
        run = fold_facts(standing.id, facts)
        return [*compared(run, standing, answered=standings.answered), *replay(standing.id, facts)]
    except Exception as error:  # whatever this release cannot bear, it would not bear in production
        return [Difference(standing.id, "", f"this release fails on it, {type(error).__name__}: {error}")]


async def _facts(log: Log, run: str) -> AsyncGenerator[Recorded]:
    async for message in log.history(f"{RUN}.{run}.>"):
        if slot := parse_slot(message.subject):
            yield decode_message(slot, await load_text(log, message))


def _is_recorded(it: Recorded, standing: Standing, seq: int) -> bool:
    """Whether the projection knows of this fact. What its coordinator wrote itself it knows ahead of the checkpoint."""
    return it.seq <= seq or (standing.filled is not None and it.slot.path in standing.filled)


def _standings(folder: Folder) -> Standings:
    path = folder.path / "projection.db"
    if not path.exists():
        raise Refusal(f"There is no {path}; name the coordinator's data folder with --data.", code=MISUSED)
    try:
        return Standings(path)
    except sqlite3.Error as error:
        raise Refusal(f"{path} is no projection that this release can read: {error}.", code=MISUSED) from error


@asynccontextmanager
async def log_of(setup: Setup) -> AsyncGenerator[Log]:
    """The log: of the NATS that was named, of the Dossier that runs in the folder, else of the folder's own NATS."""
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
    log = JetStreamLog(await connected(servers, name="dossier-check", identity=identity, code=MISUSED))
    try:
        yield log
    finally:
        await log.close()


def _tell(checked: Checked, terminal: Terminal) -> None:
    if checked.differences:
        terminal.out.print(_table(checked.differences))
    terminal.say(
        f"{checked.open} open runs checked: {checked.same} the same, {checked.different} different. "
        f"Fold {checked.recorded_fold} is recorded, this release has {checked.this_fold}."
    )


def _table(differences: list[Difference]) -> Table:
    table = Table("run", "slot", "what differs", box=None, pad_edge=False)
    for row in _rows(differences):
        table.add_row(*row)
    return table


def _rows(differences: list[Difference]) -> Iterator[tuple[Text, Text, Text]]:
    for one in differences:
        yield Text(one.run), Text(one.slot), Text(printable(one.what))
