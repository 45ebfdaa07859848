"""Tables of failures, reasons why a run waits, and forks."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli.render.pages import ago, shortened
from services.cli.render.progress import count
from services.cli.shell.terminal import READABLE, printable
from shared.api.views import FailurePage, FailureView, ForkedRow, WaitView, WhyView

_ABOUT: Final = 150
_ERROR: Final = 400
_CONTENT: Final = 200
_NAMES: Final[Mapping[str, str]] = {"synthesize": "report"}
_RESULTS: Final[Mapping[str, tuple[str, str]]] = {
    "forked": ("forked", "green"),
    "would_fork": ("would fork", "yellow"),
    "already": ("already", "dim"),
    "refused": ("refused", "red"),
}
_STYLES: Final[Mapping[str, str]] = {"ended": "dim", "person": "yellow", "parked": "red", "coordinator": "red"}


def failures_table(page: FailurePage, now: datetime) -> RenderableType:
    """A row for each failure in the given order: age, step, error code, and the run with input, error and attempts.

    If there are older failures, a last line names the options that narrow the list.
    """
    if not page.failures:
        return Text("No failures.", style="dim")
    table = _table("when", "what", "code", "run")
    for failure in page.failures:
        when = Text(f"{ago(now - failure.at)} ago", style="dim")
        code = Text(printable(failure.error.code), style="red")
        table.add_row(when, _step_name(failure), code, Text("\n").join(_failure_lines(failure, now)))
    more = "Older failures are left out; --kind, --code, --run, --text and --since narrow the list."
    return Group(table, *([Text(more, style="dim")] if page.next else []))


def _step_name(failure: FailureView) -> str:
    """The kind of step, the number of a fetch from 1, and the round from the second one on."""
    name = _NAMES.get(failure.kind, failure.kind)
    if failure.kind == "fetch" and failure.index is not None:
        name += f" {failure.index + 1}"
    return f"{name} of round {failure.round}" if failure.round and failure.round > 1 else name


def _failure_lines(failure: FailureView, now: datetime) -> Iterator[Text]:
    """The run (or subject and sequence of a refused message), input, error, earlier attempts, and refused content."""
    yield Text(failure.run_id or f"{failure.subject} at {failure.refused}")
    asked = (failure.input or {}).get("query") or (failure.input or {}).get("q") or ""
    if asked:
        yield Text(printable(shortened(str(asked), _ABOUT)), style="dim")
    yield Text(printable(shortened(failure.error.message, _ERROR)))
    for one in failure.attempts[:-1]:
        reason = printable(shortened(one.error.message, _ABOUT))
        yield Text(f"attempt {one.attempt}, {ago(now - one.at)} ago: {one.error.code}: {reason}", style="dim")
    if failure.content is not None:
        yield Text(printable(shortened(failure.content, _CONTENT)), style="dim italic")


def why_page(view: WhyView) -> RenderableType:
    """The run's status, and each reason why it waits; fetches that wait for the same reason share one entry."""
    late = f"  late: due for {ago(view.at - view.late.since)}" if view.late else ""
    head = Text.assemble((view.run_id, "bold"), f"  {view.status}", (late, "red"))
    lines: list[Text] = []
    waits = [view, *view.others]
    while waits:
        first, alike = waits[0], [wait for wait in waits if _is_alike(wait, waits[0])]
        lines.append(Text(printable(first.text), style=_STYLES.get(first.code, "")))
        if len(alike) > 1:
            numbers = ", ".join(str((wait.index or 0) + 1) for wait in alike[1:])
            lines.append(Text(f"Likewise fetch {numbers} of {first.of}.", style="dim"))
        waits = [wait for wait in waits if wait not in alike]
    return Constrain(Group(head, *(Padding(line, (0, 0, 0, 2)) for line in lines)), READABLE)


def _is_alike(wait: WaitView, other: WaitView) -> bool:
    """Return True if two waits have the same code, attempt and error."""
    return (wait.code, wait.attempt, wait.error) == (other.code, other.attempt, other.error)


def forks_table(rows: Sequence[ForkedRow]) -> RenderableType:
    """A row for each run: result, step, number of reused facts, and the id, with the fork's id or the error below."""
    if not rows:
        return Text("No run matches.", style="dim")
    table = _table("result", "from", "reused", "run")
    for row in rows:
        text, style = _RESULTS[row.result]
        fork = f"→ {row.fork_id}" if row.fork_id and row.result != "would_fork" else ""
        below = row.error.message if row.error else fork
        run = Text(row.run_id).append(f"\n{printable(below)}" if below else "", style="dim")
        table.add_row(Text(text, style=style), row.step or "", str(row.reused or ""), run)
    return table


def forks_summary(rows: Sequence[ForkedRow]) -> str:
    """The number of runs by result: `20 runs: 18 forked, 2 refused.`"""
    results = Counter(_RESULTS[row.result][0] for row in rows)
    return f"{count(len(rows), 'run')}: {', '.join(f'{number} {name}' for name, number in results.items())}."


def _table(*names: str) -> Table:
    """A table with these columns. The last one takes the remaining width and wraps; the others never wrap."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names[:-1]:
        table.add_column(name, no_wrap=True, min_width=len(name))
    table.add_column(names[-1], overflow="fold")
    return table
