"""A command from its start to its exit code."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import typer
from rich.text import Text

from services.cli.shell.refusal import FAILED, Refusal
from services.cli.shell.terminal import Terminal, printable
from shared.errors import DossierError

_INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Callable[[Terminal], Awaitable[int]], *, interrupted: int = _INTERRUPTED) -> NoReturn:
    """Run a command to its end. Each signal cancels it once more: the first ends it well, the second at once."""
    logging.getLogger().addHandler(logging.NullHandler())
    terminal = Terminal()
    try:
        code = asyncio.run(_until_cancelled(work, terminal))
    except asyncio.CancelledError:
        code = interrupted
    except DossierError as error:
        terminal.say(Text.assemble(("dossier: ", "red"), printable(str(error))))
        code = error.code if isinstance(error, Refusal) else FAILED
    raise typer.Exit(code)


async def _until_cancelled(work: Callable[[Terminal], Awaitable[int]], terminal: Terminal) -> int:
    task = asyncio.current_task()
    assert task
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work(terminal)
