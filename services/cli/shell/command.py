"""Commands as async functions: the options follow from their signature, the exit code from their result."""

import asyncio
import inspect
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, ParamSpec

import typer
from rich.text import Text

from services.cli.shell.api import Api
from services.cli.shell.options import ApiUrl, Data, open_api
from services.cli.shell.refusal import FAILED, Refusal
from services.cli.shell.terminal import Terminal, printable
from shared.errors import DossierError

_INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_API_OPTIONS: Final = (
    Parameter("data", Parameter.KEYWORD_ONLY, default=None, annotation=Data),
    Parameter("api_url", Parameter.KEYWORD_ONLY, default=None, annotation=ApiUrl),
)

_P = ParamSpec("_P")
Register = Callable[[Callable[..., None]], object]
"""A decorator of typer, as `app.command()` returns it."""
Command = Callable[Concatenate[Terminal, _P], Awaitable[bool | None]]
ApiCommand = Callable[Concatenate[Api, Terminal, _P], Awaitable[bool | None]]


def command(register: Register, *, interrupted: int = _INTERRUPTED) -> Callable[[Command[_P]], Command[_P]]:
    """Register an async function `(terminal, *options)` as a command. Return a decorator that leaves it unchanged.

    The command exits with 1 if the function returns `False`, with `interrupted` after a signal, else with 0. A
    `DossierError` is printed; the command then exits with the code of the `Refusal`, or 1.
    """

    def add(work: Command[_P]) -> Command[_P]:
        @wraps(work)
        def command(**options: Any) -> None:
            run(lambda terminal: work(terminal, **options), interrupted=interrupted)  # pyright: ignore[reportCallIssue]

        _set_options(command, _options(work, given=1))
        register(command)
        return work

    return add


def api_command(register: Register) -> Callable[[ApiCommand[_P]], ApiCommand[_P]]:
    """Register an async function `(api, terminal, *options)` as `command` does, with `--data` and `--api` added."""

    def add(work: ApiCommand[_P]) -> ApiCommand[_P]:
        @wraps(work)
        async def with_api(terminal: Terminal, *, data: Data, api_url: ApiUrl, **options: Any) -> bool | None:
            async with open_api(data, api_url) as api:
                return await work(api, terminal, **options)  # pyright: ignore[reportCallIssue]

        terminal = Parameter("terminal", Parameter.POSITIONAL_ONLY)
        _set_options(with_api, (terminal, *_options(work, given=2), *_API_OPTIONS))
        command(register)(with_api)
        return work

    return add


def run_with_api(
    work: Callable[[Api, Terminal], Awaitable[bool | None]], data: Path | None, api_url: str | None
) -> NoReturn:
    """Run `work` with a client of the API that `open_api` selects, and exit as `run` does."""

    async def with_api(terminal: Terminal) -> bool | None:
        async with open_api(data, api_url) as api:
            return await work(api, terminal)

    run(with_api)


def _options(work: Callable[..., object], *, given: int) -> Sequence[Parameter]:
    """The parameters of `work` after the first `given`, as keyword-only parameters."""
    parameters = list(inspect.signature(work).parameters.values())[given:]
    return [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]


def _set_options(work: Any, parameters: Sequence[Parameter]) -> None:
    """Give `work` the signature that typer reads."""
    work.__signature__ = inspect.Signature(parameters)


def run(work: Callable[[Terminal], Awaitable[bool | None]], *, interrupted: int = _INTERRUPTED) -> NoReturn:
    """Run `work` and raise `typer.Exit` with the exit code that `command` describes.

    Each SIGINT, SIGTERM or SIGHUP cancels `work` once more: it can clean up after the first, and a second interrupts
    the cleanup.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    terminal = Terminal()
    try:
        code = FAILED if asyncio.run(_cancelled_by_signals(work, terminal)) is False else 0
    except asyncio.CancelledError:
        code = interrupted
    except DossierError as error:
        terminal.say(Text.assemble(("dossier: ", "red"), printable(str(error))))
        code = error.code if isinstance(error, Refusal) else FAILED
    raise typer.Exit(code)


async def _cancelled_by_signals(work: Callable[[Terminal], Awaitable[bool | None]], terminal: Terminal) -> bool | None:
    """Await `work` in a task that each of `_SIGNALS` cancels. Return its result."""
    task = asyncio.current_task()
    assert task
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work(terminal)
