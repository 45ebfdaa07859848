"""Download of reports as Markdown, HTML, PDF and JSON."""

from datetime import datetime
from typing import Any, Final, Literal, cast

import msgspec
from fastapi.responses import Response

from services.coordinator.engine.loop import Coordinator
from services.coordinator.http.params import RunId
from services.coordinator.http.problems import unknown_run
from services.coordinator.http.reports import PublishedReport, read_report
from services.coordinator.http.routes import Routes
from services.coordinator.web import render, wording
from services.coordinator.web.pdf import pdf
from services.coordinator.web.presenters import report_context
from shared.contracts.evidence import Claim, Report
from shared.contracts.visible import name_invisible
from shared.domain.run import Run
from shared.runtime.log import Evidence

Form = Literal["md", "html", "pdf", "json"]
_TYPES: Final[dict[Form, str]] = {
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "json": "application/json",
}


class Downloads:
    """Route of report downloads."""

    def __init__(self, coordinator: Coordinator, evidence: Evidence) -> None:
        self._coordinator = coordinator
        self._evidence = evidence

    def add_to(self, routes: Routes) -> None:
        """Register the route."""
        routes.add("GET", "/runs/{run_id}/report.{form}", self.report, "read")

    async def report(self, run_id: RunId, form: Form) -> Response:
        """The report of a run as an attachment in this format. Raises `ProblemError`: `unknown_run`, `no_report` or
        `report_missing`.
        """
        run = self._coordinator.fold.peek(run_id)
        if run is None:
            raise unknown_run(run_id)
        written = await read_report(run, self._evidence)
        data = await _render(form, run, written, self._coordinator.now())
        name = {"Content-Disposition": f'attachment; filename="report-{run_id}.{form}"'}
        return Response(data, media_type=_TYPES[form], headers=name)


async def _render(form: Form, run: Run, written: PublishedReport, now: datetime) -> bytes | str:
    """The report in this format: bytes, or text to be encoded as UTF-8."""
    match form:
        case "md":
            return written.markdown
        case "json":
            return msgspec.json.encode(written)
        case "html":
            return render.page(
                "report_file.html", now=now, run_id=run.id, question=_question(run), **report_context(written.report)
            )
        case "pdf":
            return await pdf(typeset(run, written.report))


def _question(run: Run) -> str:
    return run.accepted.fact.q if run.accepted else run.id


def typeset(run: Run, report: Report) -> dict[str, Any]:
    """The report as input of `report.typ`; invisible characters in texts are named."""
    context = report_context(report)
    numbers = context["numbers"]
    return _inert(
        {
            "title": _question(run),
            "byline": context["byline"],
            "footer": f"Dossier · run {run.id}",
            "sections": [
                {"heading": section.heading, "claims": [_claim(claim, numbers) for claim in section.claims]}
                for section in report.sections
            ],
            "parts": [{"heading": heading, "lines": lines} for heading, lines in _closing_sections(report) if lines],
            "sources": [
                {
                    "n": source.n,
                    "title": source.title,
                    "where": source.url or source.location,
                    "sha256": source.sha256,
                }
                for source in report.sources
            ],
        }
    )


def _claim(claim: Claim, numbers: dict[str, int]) -> dict[str, Any]:
    """A claim with the numbers of its sources, and its doubt if it is not fully supported."""
    marks = list(dict.fromkeys(numbers[it.sha256] for it in claim.citations if it.sha256 in numbers))
    is_doubted = claim.support in ("partial", "unsupported")
    word = "in part" if claim.support == "partial" else "not borne out"
    doubt = f"{word}: {claim.doubt}" if claim.doubt else word
    return {"text": claim.text, "marks": marks, "doubt": doubt if is_doubted else ""}


def _closing_sections(report: Report) -> list[tuple[str, list[str]]]:
    """Sections below those of the report, each with its lines; some have none."""
    searched = [f"{it.query}: {wording.count(it.sources, 'source')}" for it in report.searched]
    return [
        ("The evidence does not answer the question. What was searched", searched if report.insufficient else []),
        ("Sources disagree", [f"{it.about}: “{it.one.quote}” – “{it.other.quote}”" for it in report.conflicts]),
        (
            "Not borne out",
            [f"{claim.text} ({claim.doubt or 'its quotes do not say so'})" for claim in report.unsupported],
        ),
        ("Not answered", list(report.gaps)),
        ("Not read", [f"{it.location}: {it.failure.message}" for it in report.skipped]),
    ]


def _inert(value: object) -> Any:
    """The value with invisible characters in its texts named, at any depth."""
    match value:
        case str():
            return name_invisible(value)
        case list():
            return [_inert(each) for each in cast("list[object]", value)]
        case dict():
            return {name: _inert(each) for name, each in cast("dict[str, object]", value).items()}
        case _:
            return value
