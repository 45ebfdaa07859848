"""Run all checks of a deployment and print the results."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from services.cli.doctor import nats, work
from services.cli.doctor.target import Target
from services.cli.doctor.whoami import permissions, whoami
from services.cli.shell.connecting import connected
from services.cli.shell.refusal import Refusal
from services.cli.shell.terminal import Terminal, printable
from shared.runtime.settings import Settings
from shared.service.check import CheckResult, State

_STYLES: Final[dict[State, str]] = {"ok": "green", "warning": "yellow", "fault": "red"}

Check = Callable[[], Awaitable[Sequence[CheckResult]]]


async def examine(target: Target, settings: Settings) -> list[CheckResult]:
    """Results of all checks, those of NATS first. Raises nothing: a check that fails is a fault."""
    return [*await examine_nats(target, settings), *await examine_services(target, settings)]


async def examine_nats(target: Target, settings: Settings) -> list[CheckResult]:
    """Results of the checks of NATS, or one fault if no server accepts a connection."""
    try:
        link = await connected(target.servers, name="dossier-doctor", identity=target.identity)
    except Refusal as error:
        do = "Check that it runs there, and that DOSSIER_NATS_SEED and DOSSIER_NATS_CA belong to it."
        return [CheckResult("NATS", "fault", str(error), do)]
    try:
        me = await whoami(link)
        return await run_checks(
            {
                "server": partial(nats.server, link),
                "clock": partial(nats.clocks, me),
                "sync mode": partial(nats.sync, target),
                "streams": partial(nats.streams, link, me, settings.limits),
                "store": partial(nats.store, link, me),
                "permissions": partial(permissions, me),
            }
        )
    finally:
        await link.close()


async def examine_services(target: Target, settings: Settings) -> list[CheckResult]:
    """Results of the checks of files, folders, the model's endpoint and the fetcher."""
    return await run_checks(
        {
            "nkey": lambda: to_thread(work.seed, target.identity.seed),
            "data folder": lambda: to_thread(work.folder, target.folder.path),
            "model": partial(work.model, settings),
            "fetcher": work.fetcher,
            "webhooks": lambda: to_thread(work.webhooks, settings),
        }
    )


async def run_checks(checks: Mapping[str, Check]) -> list[CheckResult]:
    """Results of all checks, in order. A check that raises is a fault of its name, and the next ones still run."""
    results: list[CheckResult] = []
    for name, check in checks.items():
        try:
            results += await check()
        except Exception as error:  # the next check may show the reason
            text = f"The check failed: {type(error).__name__}: {error}"
            results.append(CheckResult(name, "fault", text, "See the other results."))
    return results


def show(results: Sequence[CheckResult], terminal: Terminal, *, as_json: bool) -> bool:
    """Print the results as a table or as JSON. Return False if one of them is a fault."""
    is_ok = all(result.state != "fault" for result in results)
    if as_json:
        terminal.write(msgspec.json.encode({"ok": is_ok, "findings": results}))
        return is_ok
    table = Table("state", "check", "found", box=None, show_header=False, pad_edge=False)
    for result in results:
        text = Text(printable(result.found), overflow="fold")
        if result.do:
            text.append(f"\n→ {printable(result.do)}", "dim")
        table.add_row(Text(result.state, _STYLES[result.state]), Text(result.check, no_wrap=True), text)
    terminal.print_table(table)
    return is_ok
