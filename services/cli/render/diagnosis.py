"""What is shown of failures, of waits, and of runs that are done over."""

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
    """What failed, newest first: when, what, its code, and below the run what was asked and what came of it."""
    if not page.failures:
        return Text("No failures.", style="dim")
    table = _table("when", "what", "code", "run")
    for failure in page.failures:
        lines = Text("\n").join(_said_of(failure, now))
        when = Text(f"{ago(now - failure.at)} ago", style="dim")
        table.add_row(when, _what(failure), Text(printable(failure.error.code), style="red"), lines)
    more = [Text("There are older ones; --kind, --code, --run, --text and --since narrow the list.", style="dim")]
    return Group(table, *(more if page.next else []))


def _what(failure: FailureView) -> str:
    name = _NAMES.get(failure.kind, failure.kind)
    if failure.kind == "fetch" and failure.index is not None:
        name += f" {failure.index + 1}"
    return f"{name} of round {failure.round}" if failure.round and failure.round > 1 else name


def _said_of(failure: FailureView, now: datetime) -> Iterator[Text]:
    yield Text(failure.run_id or f"{failure.subject} at {failure.refused}")
    asked = (failure.input or {}).get("query") or (failure.input or {}).get("q") or ""
    if asked:
        yield Text(printable(shortened(str(asked), _ABOUT)), style="dim")
    yield Text(printable(shortened(failure.error.message, _ERROR)))
    for one in failure.attempts[:-1]:
        why = printable(shortened(one.error.message, _ABOUT))
        yield Text(f"attempt {one.attempt}, {ago(now - one.at)} ago: {one.error.code}: {why}", style="dim")
    if failure.content is not None:
        yield Text(printable(shortened(failure.content, _CONTENT)), style="dim italic")


def why_page(said: WhyView) -> RenderableType:
    """What a run waits for; of several fetches that wait alike, the first in full."""
    late = f"  late: due to move {ago(said.at - said.late.since)} ago" if said.late else ""
    head = Text.assemble((said.run_id, "bold"), f"  {said.status}", (late, "red"))
    lines: list[Text] = []
    waits = [said, *said.others]
    while waits:
        first, alike = waits[0], [wait for wait in waits if _alike(wait, waits[0])]
        lines.append(Text(printable(first.text), style=_STYLES.get(first.code, "")))
        if len(alike) > 1:
            numbers = ", ".join(str((wait.index or 0) + 1) for wait in alike[1:])
            lines.append(Text(f"Likewise fetch {numbers} of {first.of}.", style="dim"))
        waits = [wait for wait in waits if wait not in alike]
    return Constrain(Group(head, *(Padding(line, (0, 0, 0, 2)) for line in lines)), READABLE)


def _alike(wait: WaitView, other: WaitView) -> bool:
    """Whether two waits differ in nothing but which fetch it is."""
    return (wait.code, wait.attempt, wait.error) == (other.code, other.attempt, other.error)


def forks_table(rows: Sequence[ForkedRow]) -> RenderableType:
    """What became of each run: below it the run that it is forked into, or why it is not."""
    if not rows:
        return Text("No run fits.", style="dim")
    table = _table("result", "from", "reused", "run")
    for row in rows:
        text, style = _RESULTS[row.result]
        below = (
            row.error.message if row.error else f"→ {row.fork_id}" if row.fork_id and row.result != "would_fork" else ""
        )
        lines = Text("\n").join(
            [Text(row.run_id), Text(printable(below), style="dim")] if below else [Text(row.run_id)]
        )
        table.add_row(Text(text, style=style), row.step or "", str(row.reused or ""), lines)
    return table


def forks_summary(rows: Sequence[ForkedRow]) -> str:
    """`20 runs: 18 forked, 2 refused.`"""
    results = Counter(_RESULTS[row.result][0] for row in rows)
    return f"{count(len(rows), 'run')}: {', '.join(f'{number} {name}' for name, number in results.items())}."


def _table(*names: str) -> Table:
    """As many columns; the last takes what is left, in as many lines as it needs."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names[:-1]:
        table.add_column(name, no_wrap=True, min_width=len(name))
    table.add_column(names[-1], overflow="fold")
    return table
