"""The terminal of a command: results go to standard output, everything else to standard error."""

import asyncio
import getpass
import os
import sys
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar, Final

from rich.console import Console, JustifyMethod, RenderableType
from rich.constrain import Constrain
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.text import Text
from rich.theme import Theme

from shared.contracts.visible import name_invisible

_THEME: Final = Theme(
    {
        "markdown.h1": "bold",
        "markdown.h2": "bold",
        "markdown.h3": "bold dim",
        "markdown.em": "dim",
        "markdown.item.number": "dim",
        "markdown.code": "cyan",
    }
)
READABLE: Final = 100
"""Largest width of text, in columns."""
_UNNAMED: Final = "cli"
_UNBOUNDED: Final = 10_000
_LONGEST_LINE: Final = 16 * 1024


def printable(text: str) -> str:
    """Return `text` with its invisible characters named, as `⟨U+001B⟩`: it can send no command to the terminal."""
    return name_invisible(text)


class _LeftHeading(Heading):
    """A heading at the left margin."""

    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Report(Markdown):
    """Markdown with headings at the left margin."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}


class Terminal:
    """Output and input of a command. Only results are written to `out`."""

    def __init__(self) -> None:
        self.out = Console(highlight=False, theme=_THEME)
        self.err = Console(stderr=True, highlight=False, theme=_THEME)

    @property
    def interactive(self) -> bool:
        """True if standard input and standard error are terminals."""
        return sys.stdin.isatty() and self.err.is_terminal

    def say(self, text: str | Text) -> None:
        """Print a line to standard error, without markup and with invisible characters named. Wrap it on a terminal."""
        self.err.print(text if isinstance(text, Text) else Text(printable(text)), soft_wrap=not self.err.is_terminal)

    def write(self, data: bytes) -> None:
        """Write bytes to standard output, and a newline if they do not end with one."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
        sys.stdout.buffer.flush()

    def print_table(self, table: RenderableType) -> None:
        """Print a table to standard output; its lines are not wrapped unless that is a terminal."""
        if not self.out.is_terminal:
            self.out.width = _UNBOUNDED
        self.out.print(table)

    def print_report(self, report: str) -> None:
        """Print a Markdown report to standard output: laid out on a terminal, else as it is."""
        if self.out.is_terminal:
            self.out.print(Constrain(_Report(printable(report)), READABLE))
        else:
            self.write(report.encode())

    async def ask(self, prompt: str) -> str | None:
        """Print the prompt and return the next line, stripped; `None` at the end of the input. Can be cancelled.

        Input typed before the prompt is dropped. Standard input must be a terminal.
        """
        self.err.print(Text(prompt), end="")
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        async with _next_line() as line:
            answer = await line
        return answer.strip() if answer else None


@asynccontextmanager
async def _next_line() -> "AsyncGenerator[asyncio.Future[str]]":
    """A future of the next line of standard input. It uses no thread, since a read in a thread cannot be cancelled."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not line.done():
            line.set_result(os.read(sys.stdin.fileno(), _LONGEST_LINE).decode(errors="replace"))

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        yield line
    finally:
        loop.remove_reader(sys.stdin.fileno())


def user_name() -> str:
    """The login name of this user; `cli` if the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return _UNNAMED
