"""Looks at everything, and prints a line for each."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from services.cli.doctor import server, store, work
from services.cli.doctor.finding import Check, Finding, State, fault, findings
from services.cli.doctor.patient import Patient
from services.cli.doctor.permissions import permissions
from services.cli.doctor.whoami import whoami
from services.cli.shell.connecting import connected
from services.cli.shell.refusal import Refusal
from services.cli.shell.terminal import Terminal, printable
from shared.nats.connection import Link
from shared.runtime.settings import Settings

_STYLES: Final[dict[State, str]] = {"ok": "green", "warning": "yellow", "fault": "red"}


async def examine(patient: Patient, settings: Settings) -> list[Finding]:
    """Everything, in the order in which one thing needs another."""
    return [*await _nats(patient, settings), *await _others(patient, settings)]


async def _nats(patient: Patient, settings: Settings) -> list[Finding]:
    try:
        link = await connected(patient.servers, name="dossier-doctor", identity=patient.identity)
    except Refusal as error:
        do = "See that it runs there, and that DOSSIER_NATS_SEED and DOSSIER_NATS_CA are of its folder."
        return [fault("NATS", str(error), do)]
    try:
        return await _connected(link, patient, settings)
    finally:
        await link.close()


async def _connected(link: Link, patient: Patient, settings: Settings) -> list[Finding]:
    me = await whoami(link)
    checks: list[tuple[str, Check]] = [
        ("server version", partial(server.version, link)),
        ("max_payload", partial(server.payload, link)),
        ("clock", partial(server.skew, link)),
        (
            "sync mode",
            partial(server.sync, patient.servers, patient.monitor, embedded=patient.embedded),
        ),
        ("streams", partial(store.streams, link, me, settings.limits)),
        ("store", partial(store.room, link, me)),
        ("permissions", partial(permissions, link, me)),
    ]
    return await findings(checks)


async def _others(patient: Patient, settings: Settings) -> list[Finding]:
    return await findings(
        [
            ("nkey", lambda: asyncio.to_thread(work.seed, patient.identity.seed)),
            ("data folder", lambda: asyncio.to_thread(work.folder, patient.folder.path)),
            ("model", partial(work.model, settings)),
            ("tools", partial(work.tools, settings)),
            ("pages' guard", lambda: asyncio.to_thread(work.guard, settings)),
            ("webhooks", lambda: asyncio.to_thread(work.webhooks, settings)),
        ]
    )


def tell(found: Sequence[Finding], terminal: Terminal, *, as_json: bool) -> bool:
    """Print it; whether nothing is at fault."""
    well = all(one.state != "fault" for one in found)
    if as_json:
        terminal.write(msgspec.json.encode({"ok": well, "findings": found}))
        return well
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("state", "check"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    for one in found:
        text = Text(printable(one.found))
        if one.do:
            text.append(f"\n→ {printable(one.do)}", "dim")
        table.add_row(Text(one.state, _STYLES[one.state]), one.check, text)
    terminal.show(table)
    return well
