"""The person's terminal: what is shown goes to standard error, what was asked for to standard output."""

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
"""Columns that text takes at most, so that lines read well."""
_UNNAMED: Final = "cli"
_UNBOUNDED: Final = 10_000
_LONGEST_LINE: Final = 16 * 1024


def printable(text: str) -> str:
    """Return `text` with its invisible characters named, as `⟨U+001B⟩`: it can send no command to the terminal."""
    return name_invisible(text)


class _LeftHeading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Report(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}


class Terminal:
    """Where a command speaks and listens. Only a result is written to `out`."""

    def __init__(self) -> None:
        self.out = Console(highlight=False, theme=_THEME)
        self.err = Console(stderr=True, highlight=False, theme=_THEME)

    @property
    def interactive(self) -> bool:
        """Whether a person can see a question and answer it."""
        return sys.stdin.isatty() and self.err.is_terminal

    def say(self, text: str | Text) -> None:
        """Show a line. What is in square brackets is not taken for markup."""
        self.err.print(text if isinstance(text, Text) else Text(printable(text)), soft_wrap=not self.err.is_terminal)

    def write(self, data: bytes) -> None:
        """Put a result on standard output as it is, ended by a newline."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
        sys.stdout.buffer.flush()

    def show(self, table: RenderableType) -> None:
        """Put a table on standard output; for a program, with lines as long as they are."""
        if not self.out.is_terminal:
            self.out.width = _UNBOUNDED
        self.out.print(table)

    def give(self, report: str) -> None:
        """Put a report on standard output: laid out for a person, as Markdown for a program."""
        if self.out.is_terminal:
            self.out.print(Constrain(_Report(printable(report)), READABLE))
        else:
            self.write(report.encode())

    async def ask(self, prompt: str) -> str | None:
        """The line that a person answers; `None` at the end of the input. Can be cancelled while it waits.

        What was typed before the question was there is no answer to it.
        """
        self.err.print(Text(prompt), end="")
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        async with _lines() as line:
            answer = await line
        return answer.strip() if answer else None


@asynccontextmanager
async def _lines() -> "AsyncGenerator[asyncio.Future[str]]":
    """The next line of standard input, read when it is there: a thread that reads could not be called back."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def readable() -> None:
        if not line.done():
            line.set_result(os.read(sys.stdin.fileno(), _LONGEST_LINE).decode(errors="replace"))

    loop.add_reader(sys.stdin.fileno(), readable)
    try:
        yield line
    finally:
        loop.remove_reader(sys.stdin.fileno())


def user_name() -> str:
    """The login name of whoever sits here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return _UNNAMED
