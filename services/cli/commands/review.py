"""The commands that look at runs and decide on them, wherever Dossier runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

from services.cli.commands.follow import Follower, fold
from services.cli.render import pages
from services.cli.render.progress import moment, short
from services.cli.render.screen import Screen
from services.cli.shell.api import Api, Verb
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal, user_name
from shared.api.schemas import RunView
from shared.contracts.requests import parse_duration_s
from shared.errors import InvalidMessage
from shared.runtime import clock

_RULED: Final[dict[Verb, str]] = {
    "approve": "Approved",
    "reject": "Rejected",
    "revise": "Sent back",
    "cancel": "Cancelled",
}


async def runs(
    api: Api, terminal: Terminal, *, statuses: Sequence[str], text: str, as_json: bool, late: bool = False
) -> None:
    """List runs."""
    page, raw = await api.runs(statuses=statuses, text=text, late=late)
    if as_json:
        terminal.write(raw)
    else:
        width = terminal.out.width if terminal.out.is_terminal else None
        terminal.show(pages.runs_table(page, clock.now(), width=width))


async def show(api: Api, terminal: Terminal, run_id: str, *, as_json: bool) -> None:
    """Show everything about a run."""
    known, raw = await api.run(run_id)
    if as_json:
        terminal.write(raw)
        return
    run = fold(run_id, await api.history(run_id))
    terminal.out.print(pages.run_page(run))
    if known.late:
        terminal.out.print(pages.late_line(known.late, clock.now()))
    ended = run.completed.fact if run.completed else None
    if ended and (ended.report or ended.report_sha256):
        terminal.out.print()
        terminal.give(ended.report or await api.report(run_id))


async def watch(api: Api, terminal: Terminal, run_id: str) -> bool:
    """Follow a run to its end; whether that was a report."""
    screen = Screen(terminal)
    follower = Follower(api, run_id, changed=screen.changed)
    try:
        with screen.following(lambda: follower.run, lambda: follower.away):
            run = await follower.until(lambda run: run.completed is not None)
    finally:
        await follower.close()
    return run.completed is not None and run.completed.fact.ok


async def rule(
    api: Api,
    terminal: Terminal,
    verb: Literal["approve", "reject"],
    run_id: str,
    *,
    comment: str,
    exclude: Sequence[str] = (),
    max_cost: float | None = None,
) -> None:
    """Decide on the evidence as it is now, and on no other."""
    run = await _held(api, run_id)
    hashes = [_resolved(run, prefix) for prefix in exclude]
    ruled = await api.rule(
        verb, run_id, by=user_name(), comment=comment, digest=run.digest, exclude=hashes, more=costing(max_cost)
    )
    _say_ruled(terminal, verb, run, ruled, less=hashes)


async def revise(
    api: Api,
    terminal: Terminal,
    run_id: str,
    feedback: str,
    *,
    add: Sequence[str] = (),
    drop: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_cost: float | None = None,
) -> None:
    """Send the evidence as it is now back for another round."""
    run = await _held(api, run_id)
    hashes = [_resolved(run, prefix) for prefix in exclude]
    queries = [_named(run, query) for query in drop]
    more = {"feedback": feedback, "queries_add": list(add), "queries_drop": queries} | costing(max_cost)
    ruled = await api.rule("revise", run_id, by=user_name(), digest=run.digest, exclude=hashes, more=more)
    _say_ruled(terminal, "revise", run, ruled, less=hashes)
    terminal.say(f"Round {run.round + 1} keeps what was found. To follow it: dossier watch {run_id}")


async def extend(api: Api, terminal: Terminal, run_id: str, more: str, *, comment: str) -> None:
    """Give a run on hold so much more time than it has."""
    run = await _held(api, run_id)
    assert run.deadline
    try:
        deadline = run.deadline + timedelta(seconds=parse_duration_s(more, "DURATION"))
    except (InvalidMessage, OverflowError) as error:
        raise Refusal(str(error), code=MISUSED) from error
    extended = await api.extend(run_id, deadline, by=user_name(), comment=comment)
    terminal.say(f"Extended: {run.q}\nIt waits until {moment(extended.deadline or deadline)}.")


def costing(max_cost: float | None) -> dict[str, object]:
    """The field of a decision that says what the run may cost, where somebody said so."""
    return {} if max_cost is None else {"max_cost_usd": max_cost}


async def _held(api: Api, run_id: str) -> RunView:
    run, _ = await api.run(run_id)
    if run.digest is None:
        raise Refusal(f"Run {run_id} is not on hold; it is {run.status}.", code=FAILED)
    return run


def _say_ruled(terminal: Terminal, verb: Verb, run: RunView, ruled: RunView, *, less: Sequence[str]) -> None:
    without = f", less {len(less)} excluded" if less else ""
    of = f"{pages.extent(run.sources, run.queries, origins=run.origins)}{without}, digest {short(run.digest)}"
    terminal.say(f"{_ruling(verb, ruled)}: {run.q}\n{of}")


async def sign_in(api: Api, terminal: Terminal) -> None:
    """Give a link that signs a browser in."""
    terminal.write((await api.sign_in_link(by=user_name())).encode())


def _named(run: RunView, query: str) -> str:
    """The sub-query of this number, as the evidence shows it, or of these words."""
    if query.isascii() and query.isdigit() and 1 <= int(query) <= len(run.findings):
        return run.findings[int(query) - 1].query
    if query in run.plan:
        return query
    raise Refusal(f"--drop {query}: run {run.run_id} has no sub-query of that number or name.", code=MISUSED)


async def cancel(api: Api, terminal: Terminal, run_id: str, *, comment: str) -> None:
    """End a run now."""
    run = await api.rule("cancel", run_id, by=user_name(), comment=comment, digest=None)
    terminal.say(f"{_RULED['cancel']}: {run.q}")


def _ruling(verb: Verb, run: RunView) -> str:
    """What was done: decided, or one vote cast of those that it takes."""
    if verb == "approve" and run.decision is None and run.votes:
        return f"Approved, as {len(run.votes)} of {run.quorum} who have to"
    return _RULED[verb]


def _resolved(run: RunView, prefix: str) -> str:
    """The one source whose SHA-256 begins so."""
    known = {source.sha256 for finding in run.findings for source in finding.sources}
    match [sha256 for sha256 in known if sha256.startswith(prefix.lower())]:
        case [sha256]:
            return sha256
        case []:
            raise Refusal(f"--exclude {prefix}: no source of run {run.run_id} has a hash that begins so.", code=MISUSED)
        case _:
            raise Refusal(f"--exclude {prefix}: more than one source has a hash that begins so.", code=MISUSED)
