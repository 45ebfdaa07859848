"""Progress of a run on standard error: redrawn in place on a terminal, else a line for each step that is over."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.render.progress import Line, State, progress
from services.cli.shell.terminal import Terminal
from shared.domain.run import Run

_MARKS: Final[dict[State, tuple[str, str]]] = {
    "waits": ("·", "dim"),
    "works": ("…", ""),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "held": ("●", "yellow"),
}
_SETTLED: Final = ("done", "failed", "held")
_REDRAWS_A_SECOND: Final = 10


class Screen:
    """Shows one run at a time. On a terminal, finished steps stay above those that are redrawn."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._spinner = Spinner("dots")
        self._printed: list[Line] = []
        self._above = 0

    @contextmanager
    def busy(self, text: Callable[[], str]) -> Generator[None]:
        """Show a spinner with the present `text()` and remove it on exit; without a terminal, print the text once."""

        def draw() -> RenderableType:
            self._spinner.update(text=Text(f" {text()}", style="dim"))
            return self._spinner

        if not self._terminal.err.is_terminal:
            self._terminal.say(text())
            yield
            return
        with self._live(draw, transient=True):
            yield

    @contextmanager
    def following(self, run: Callable[[], Run], away: Callable[[], bool]) -> Generator[None]:
        """Redraw the lines of the present `run()` that are not above yet; do nothing without a terminal.

        If `away()` is true, a line below them reports that the API does not answer.
        """
        if not self._terminal.err.is_terminal:
            yield
            return
        with self._live(lambda: self._drawn(progress(run())[self._above :], away=away())):
            yield
        self._above = sum(line.state in ("done", "failed") for line in progress(run()))

    def changed(self, run: Run) -> None:
        """Print each settled line once; do nothing on a terminal, where `following` redraws them."""
        if self._terminal.err.is_terminal:
            return
        for line in progress(run):
            if line.state in _SETTLED and line not in self._printed:
                self._printed.append(line)
                detail = f"({line.detail})" if line.detail else ""
                self._terminal.say(" ".join(filter(None, (_MARKS[line.state][0], line.name, line.text, detail))))

    def _live(self, draw: Callable[[], RenderableType], *, transient: bool = False) -> Live:
        """A display on standard error that is redrawn ten times a second; a transient one is removed on exit."""
        return Live(
            get_renderable=draw,
            console=self._terminal.err,
            transient=transient,
            refresh_per_second=_REDRAWS_A_SECOND,
            vertical_overflow="visible",
        )

    def _drawn(self, lines: Sequence[Line], *, away: bool) -> RenderableType:
        """The table of lines, or a spinner before the first one."""
        if not lines and not away:
            self._spinner.update(text=Text(" waiting for the coordinator to accept the question", style="dim"))
            return self._spinner
        table = progress_table(lines, self._spinner)
        return Group(table, Text("  The API does not answer; trying again.", style="yellow")) if away else table


def progress_table(lines: Sequence[Line], spinner: Spinner | None = None) -> Table:
    """A row for each line: mark, name, text and detail. A `spinner` replaces the mark of steps that work."""
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(width=2, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        mark, style = _MARKS[line.state]
        moving = spinner if spinner and line.state == "works" else None
        if moving:
            moving.text = ""
        text = Text(line.text, style="dim" if line.state == "waits" else "")
        if line.detail:
            text.append("  " if line.text else "").append(line.detail, style="red" if line.state == "failed" else "dim")
        table.add_row(moving or Text(mark, style=style), Text(line.name, style="dim"), text)
    return table
