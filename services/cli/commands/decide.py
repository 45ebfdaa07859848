"""`dossier approve`, `reject`, `revise` and `extend`: decisions on runs that are on hold."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

import typer

from services.cli.render import pages
from services.cli.render.progress import moment, short
from services.cli.shell.api import Api, Verdict
from services.cli.shell.command import api_command
from services.cli.shell.options import Comment, Exclude, MaxCost, RunId
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal, user_name
from shared.api.schemas import RunView
from shared.contracts.requests import parse_duration_s
from shared.errors import InvalidMessage

app = typer.Typer()
_RESULTS: Final[dict[Verdict, str]] = {"approve": "Approved", "reject": "Rejected", "revise": "Sent back"}


@api_command(app.command())
async def approve(
    api: Api, terminal: Terminal, run: RunId, comment: Comment = "", exclude: Exclude = None, max_cost: MaxCost = None
) -> None:
    """Approve the evidence of a run on hold: the report is then written from it."""
    fields = {"comment": comment} | cost_limit(max_cost)
    await _decide(api, terminal, "approve", await _run_on_hold(api, run), exclude or (), fields)


@api_command(app.command())
async def revise(
    api: Api,
    terminal: Terminal,
    run: RunId,
    feedback: Annotated[str, typer.Argument(metavar="FEEDBACK", help="What the next round should find.")],
    add: Annotated[
        list[str] | None, typer.Option(metavar="QUERY", help="Further sub-query for the next round.")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="QUERY", help="Leave out the findings of this sub-query; number or text."),
    ] = None,
    exclude: Exclude = None,
    max_cost: MaxCost = None,
) -> None:
    """Send the evidence of a run on hold back for another round, with feedback. Findings are kept."""
    view = await _run_on_hold(api, run)
    dropped = [_dropped_query(view, query) for query in drop or ()]
    fields = {"feedback": feedback, "queries_add": add or [], "queries_drop": dropped} | cost_limit(max_cost)
    await _decide(api, terminal, "revise", view, exclude or (), fields)
    terminal.say(f"Round {view.round + 1} keeps the findings. To follow it: dossier watch {run}")


@api_command(app.command())
async def reject(api: Api, terminal: Terminal, run: RunId, comment: Comment = "") -> None:
    """Reject the evidence of a run on hold: it ends without a report."""
    await _decide(api, terminal, "reject", await _run_on_hold(api, run), (), {"comment": comment})


@api_command(app.command())
async def extend(
    api: Api,
    terminal: Terminal,
    run: RunId,
    more: Annotated[str, typer.Argument(metavar="DURATION", help="Time to add to the deadline, as in 2h or 3d.")],
    comment: Comment = "",
) -> None:
    """Extend the deadline of a run on hold."""
    view = await _run_on_hold(api, run)
    assert view.deadline
    try:
        deadline = view.deadline + timedelta(seconds=parse_duration_s(more, "DURATION"))
    except (InvalidMessage, OverflowError) as error:
        raise Refusal(str(error), code=MISUSED) from error
    extended = await api.extend(run, deadline, by=user_name(), comment=comment)
    terminal.say(f"Extended: {view.q}\nThe deadline is {moment(extended.deadline or deadline)}.")


def cost_limit(usd: float | None) -> dict[str, object]:
    """The field of a decision that limits the cost of the run; no field for `None`."""
    return {} if usd is None else {"max_cost_usd": usd}


async def _run_on_hold(api: Api, run_id: str) -> RunView:
    """The run, with the digest of its evidence. Raises `Refusal` if it is not on hold."""
    run, _ = await api.run(run_id)
    if run.digest is None:
        raise Refusal(f"Run {run_id} is not on hold; it is {run.status}.", code=FAILED)
    return run


async def _decide(
    api: Api, terminal: Terminal, verdict: Verdict, run: RunView, exclude: Sequence[str], fields: Mapping[str, object]
) -> None:
    """Send the decision on the evidence that `run` shows, and print it. `exclude` are prefixes of source hashes."""
    hashes = [_source_hash(run, prefix) for prefix in exclude]
    decided = await api.decide(
        verdict, run.run_id, by=user_name(), digest=run.digest, fields={"exclude": hashes, **fields}
    )
    excluded = f", {len(hashes)} excluded" if hashes else ""
    size = pages.evidence_size(run.sources, run.queries, origins=run.origins)
    terminal.say(f"{_result(verdict, decided)}: {run.q}\n{size}{excluded}, digest {short(run.digest)}")


def _result(verdict: Verdict, run: RunView) -> str:
    """The decision in a word, or for an approval short of the quorum the number of approvals so far."""
    if verdict == "approve" and run.decision is None and run.votes:
        return f"Approved ({len(run.votes)} of {run.quorum} approvals)"
    return _RESULTS[verdict]


def _dropped_query(run: RunView, query: str) -> str:
    """The text of the sub-query with this number in the evidence, from 1, or with this text. Raises `Refusal`."""
    if query.isascii() and query.isdigit() and 1 <= int(query) <= len(run.findings):
        return run.findings[int(query) - 1].query
    if query in run.plan:
        return query
    raise Refusal(f"--drop {query}: run {run.run_id} has no sub-query with this number or text.", code=MISUSED)


def _source_hash(run: RunView, prefix: str) -> str:
    """The hash of the one source of the run that begins with `prefix`. Raises `Refusal` for none or several."""
    known = {source.sha256 for finding in run.findings for source in finding.sources}
    found = [sha256 for sha256 in known if sha256.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    number = "more than one source" if found else "no source"
    raise Refusal(f"--exclude {prefix}: run {run.run_id} has {number} whose hash begins with it.", code=MISUSED)
