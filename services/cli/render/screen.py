"""A run on the terminal while it happens: redrawn in place where that is possible, else a line for each thing done."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.render.progress import State, Step, steps
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
    """Shows runs as they become."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._spinner = Spinner("dots")
        self._said: list[Step] = []
        self._above = 0

    @contextmanager
    def busy(self, text: Callable[[], str]) -> Generator[None]:
        """Show that something is under way, and what, until it is over; then nothing of it stays."""

        def draw() -> RenderableType:
            self._spinner.update(text=Text(f" {text()}", style="dim"))
            return self._spinner

        if not self._terminal.err.is_terminal:
            self._terminal.say(text())
            yield
            return
        with Live(
            get_renderable=draw, console=self._terminal.err, transient=True, refresh_per_second=_REDRAWS_A_SECOND
        ):
            yield

    @contextmanager
    def following(self, run: Callable[[], Run], away: Callable[[], bool]) -> Generator[None]:
        """Show the steps of the run that were not shown before, and keep them up to date."""
        if not self._terminal.err.is_terminal:
            yield
            return

        def draw() -> RenderableType:
            return self._drawn(steps(run())[self._above :], away=away())

        live = Live(
            get_renderable=draw,
            console=self._terminal.err,
            refresh_per_second=_REDRAWS_A_SECOND,
            vertical_overflow="visible",
        )
        with live:
            yield
        self._above = sum(step.state in ("done", "failed") for step in steps(run()))

    def changed(self, run: Run) -> None:
        """Where nothing can be redrawn: a line for each step that has come to something."""
        if self._terminal.err.is_terminal:
            return
        for step in steps(run):
            if step.state in _SETTLED and step not in self._said:
                self._said.append(step)
                self._terminal.say(" ".join(filter(None, (_MARKS[step.state][0], step.name, step.text, _aside(step)))))

    def _drawn(self, lines: Sequence[Step], *, away: bool) -> RenderableType:
        table = table_of(lines, self._spinner)
        if not lines and not away:
            self._spinner.update(text=Text(" waiting for the coordinator to take the question", style="dim"))
            return self._spinner
        return Group(table, Text("  The API does not answer; trying again.", style="yellow")) if away else table


def table_of(lines: Sequence[Step], spinner: Spinner | None = None) -> Table:
    """Steps below each other: mark, name, what it is about, what came of it."""
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(width=2, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for step in lines:
        mark, style = _MARKS[step.state]
        moving = spinner if spinner and step.state == "works" else None
        if moving:
            moving.text = ""
        text = Text(step.text, style="dim" if step.state == "waits" else "")
        if step.detail:
            text.append("  " if step.text else "").append(step.detail, style="red" if step.state == "failed" else "dim")
        table.add_row(moving or Text(mark, style=style), Text(step.name, style="dim"), text)
    return table


def _aside(step: Step) -> str:
    return f"({step.detail})" if step.detail else ""
