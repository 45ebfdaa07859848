"""Runs as pages: lists, evidence, and one run whole."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from services.cli.render.progress import SHORT, count, progress, short
from services.cli.render.screen import progress_table
from services.cli.shell.terminal import READABLE, printable
from shared.api.schemas import LateView, RunPage, RunSummary
from shared.contracts.evidence import Finding, Source
from shared.domain.origins import count_origins
from shared.domain.owed import decided_findings
from shared.domain.run import Run

_PASSAGE: Final = 150
_WIDE: Final = 100
_SHORTEST: Final = 10
_STATUS: Final[Mapping[str, str]] = {
    "hold": "yellow",
    "reported": "green",
    "failed": "red",
    "parked": "red",
    "rejected": "dim",
    "expired": "dim",
    "cancelled": "dim",
}


def evidence(run: Run) -> RenderableType:
    """The evidence to decide on: its size and digest, then each sub-query with its sources or its error.

    Excluded sources and dropped sub-queries are marked.
    """
    findings = run.findings()
    kept = {source.sha256 for finding in decided_findings(run) for source in finding.sources}
    sources = [source for finding in findings for source in finding.sources]
    size = evidence_size(len({source.sha256 for source in sources}), len(findings), origins=count_origins(sources))
    digest = f"  digest {short(run.current.hold.fact.digest)}" if run.current.hold else ""
    seen: set[str] = set()
    parts = [
        _finding(number, finding, seen, kept, is_dropped=finding.query in run.dropped(round_))
        for number, (round_, finding) in enumerate(run.findings_by_round(), 1)
    ]
    head = Text.assemble(("Evidence", "bold"), f"  {size}", (digest, "dim"))
    return Constrain(Group(head, *(Padding(part, (1, 0, 0, 0)) for part in parts)), READABLE)


def evidence_size(sources: int, queries: int, *, origins: int) -> str:
    """`8 sources for 4 sub-queries`, or `8 sources of 3 origins for …` if several sources have one origin."""
    of = f" of {count(origins, 'origin')}" if origins < sources else ""
    return f"{count(sources, 'source')}{of} for {count(queries, 'sub-query', 'sub-queries')}"


def _finding(number: int, finding: Finding, seen: set[str], kept: set[str], *, is_dropped: bool) -> RenderableType:
    """A sub-query with its sources; those in `seen` by location only. Adds the sources to `seen`.

    Sources that are not in `kept` are marked as excluded.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=2)
    table.add_column(width=SHORT)
    table.add_column(overflow="fold")
    for source in finding.sources:
        if source.sha256 not in seen:
            text = _source(source, is_excluded=source.sha256 not in kept)
            table.add_row("", Text(short(source.sha256), style="dim"), text)
    if above := [source.location for source in finding.sources if source.sha256 in seen]:
        table.add_row("", Text("as above", style="dim"), Text("  ".join(above), style="dim"))
    seen.update(source.sha256 for source in finding.sources)
    dropped = ("  dropped" if is_dropped else "", "yellow")
    head = Text.assemble((f"{number:>2}  ", "dim"), (finding.query, "bold"), dropped)
    skipped = [Padding(line, (0, 0, 0, 4)) for line in _skipped(finding)]
    if finding.failure:
        return Group(head, Padding(Text(f"✗ {finding.failure.message}", style="red"), (0, 0, 0, 4)), *skipped)
    return Group(head, table, *skipped)


def _skipped(finding: Finding) -> Iterable[Text]:
    """A line for each page or tool that failed, with its location, unless the finding's own error says the same."""
    shown = finding.failure.message if finding.failure else ""
    for one in finding.skipped:
        if one.failure.message != shown:
            where = "" if one.location in one.failure.message else f"{one.location}: "
            yield Text(printable(f"– skipped: {where}{one.failure.message}"), style="dim")


def _source(source: Source, *, is_excluded: bool) -> Text:
    """Title and location, dates, removed parts, and the first passage, each on a line."""
    where = "" if source.location == source.title else f"  {source.location}"
    text = Text.assemble(source.title, (where, "dim"), ("  excluded" if is_excluded else "", "yellow"))
    if about := "  ".join(_about(source)):
        text.append(f"\n{printable(about)}", style="dim")
    for part in source.stripped:
        text.append(f"\n! left out: {printable(part)}", style="yellow")
    if source.passages:
        text.append(f"\n“{shortened(source.passages[0].text, _PASSAGE)}”", style="dim italic")
    return text


def _about(source: Source) -> Iterable[str]:
    """The date of publication, `undated` for a page without one, and other locations of the same text."""
    if source.published:
        yield f"published {source.published}"
    elif source.url:
        yield "undated"
    if source.also:
        yield f"also {', '.join(source.also)}"


def shortened(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters, cut after a whole word if it has one, and then with ` …`."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return f"{line[: limit - 1].rpartition(' ')[0] or line[: limit - 2]} …"


def run_page(run: Run) -> RenderableType:
    """Question, request, progress and evidence of a run; not its report."""
    request = run.accepted.fact if run.accepted else None
    asked = f", asked by {request.requested_by}" if request and request.requested_by else ""
    if request and request.fork:
        asked += f", forked from {request.fork.run_id} at {request.fork.step}"
    when = f"{run.accepted.at.astimezone():%d %B %Y %H:%M}" if run.accepted else ""
    head = Text.assemble((request.q if request else "", "bold"), (f"\n{run.id}  {when}{asked}", "dim"))
    parts: list[RenderableType] = [head, "", progress_table(progress(run))]
    if run.findings():
        parts += ["", evidence(run)]
    return Group(*parts)


def runs_table(page: RunPage, now: datetime, *, width: int | None = None) -> RenderableType:
    """Runs in the given order. With a `width` in columns, questions are cut to fit, and a narrow table has no sources.

    If there are older runs, a last line names the options that narrow the list.
    """
    if not page.runs:
        return Text("No runs.", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    left = width or 0
    columns = [column for column in _columns(page.runs, now) if column[0] != "sources" or not 0 < left < _WIDE]
    for name, cells in columns[:-1]:
        table.add_column(name, no_wrap=True, justify="right" if name == "sources" else "left")
        left -= max(len(name), *(cell.cell_len for cell in cells)) + 2
    table.add_column(
        columns[-1][0], no_wrap=True, overflow="ellipsis", max_width=max(_SHORTEST, left) if width else None
    )
    for cells in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*cells)
    older = [Text("Older runs are left out; --status and --text narrow the list.", style="dim")] if page.next else []
    return Group(table, *older)


def _columns(runs: Sequence[RunSummary], now: datetime) -> Iterator[tuple[str, list[Text]]]:
    """Name and cells of each column, the question last; the column `late` only if a run is late."""
    yield "run", [Text(run.run_id) for run in runs]
    yield "status", [Text(run.status, style=_STATUS.get(run.status, "")) for run in runs]
    if any(run.late for run in runs):
        yield "late", [Text(ago(now - run.late.since) if run.late else "", style="red") for run in runs]
    yield "asked", [Text(f"{ago(now - run.created_at)} ago" if run.created_at else "", style="dim") for run in runs]
    yield "sources", [Text(str(run.sources or "")) for run in runs]
    yield "question", [Text(printable(" ".join(run.q.split()))) for run in runs]


def late_line(late: LateView, now: datetime) -> RenderableType:
    """The time since which a run is late, and the reason."""
    return Text.assemble(("\nlate  ", "red"), f"It has been due for {ago(now - late.since)}. {printable(late.reason)}")


def ago(age: timedelta) -> str:
    """An age in whole days, hours, minutes or seconds: the largest unit that fits. Negative ages are `0s`."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
