"""`dossier runs`, `show`, `watch`, `cancel`, `why`, `failures` and `sign-in`."""

from typing import Annotated

import typer

from services.cli.render import diagnosis, pages
from services.cli.render.screen import Screen
from services.cli.shell.api import Api
from services.cli.shell.command import api_command
from services.cli.shell.filters import filters, start_of
from services.cli.shell.follow import Follower, fold
from services.cli.shell.options import CodeOption, Comment, Json, RunId, SinceOption
from services.cli.shell.terminal import Terminal, user_name
from shared.domain.failures import FAILURE_KINDS
from shared.runtime import clock

app = typer.Typer()


@api_command(app.command())
async def runs(
    api: Api,
    terminal: Terminal,
    status: Annotated[list[str] | None, typer.Option(help="Only runs of this status.")] = None,
    text: Annotated[str, typer.Option(help="Only runs with this text in the question or the id.")] = "",
    late: Annotated[bool, typer.Option("--late", help="Only runs that are late.")] = False,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    page, raw = await api.runs(statuses=status or [], text=text, late=late)
    if as_json:
        terminal.write(raw)
    else:
        width = terminal.out.width if terminal.out.is_terminal else None
        terminal.print_table(pages.runs_table(page, clock.now(), width=width))


@api_command(app.command())
async def show(api: Api, terminal: Terminal, run: RunId, as_json: Json = False) -> None:
    """Show a run: status, evidence, decision and report."""
    view, raw = await api.run(run)
    if as_json:
        terminal.write(raw)
        return
    folded = fold(run, await api.history(run))
    terminal.out.print(pages.run_page(folded))
    if view.late:
        terminal.out.print(pages.late_line(view.late, clock.now()))
    ended = folded.completed.fact if folded.completed else None
    if ended and (ended.report or ended.report_sha256):
        terminal.out.print()
        terminal.print_report(ended.report or await api.report(run))


@api_command(app.command())
async def watch(api: Api, terminal: Terminal, run: RunId) -> bool:
    """Follow a run until it ends. Exits with 0 if there is a report, with 1 if there is none."""
    screen = Screen(terminal)
    follower = Follower(api, run, changed=screen.changed)
    try:
        with screen.following(lambda: follower.run, lambda: follower.away):
            ended = await follower.until(lambda run: run.completed is not None)
    finally:
        await follower.close()
    return ended.completed is not None and ended.completed.fact.ok


@api_command(app.command())
async def cancel(api: Api, terminal: Terminal, run: RunId, comment: Comment = "") -> None:
    """End a run now."""
    view = await api.cancel(run, by=user_name(), comment=comment)
    terminal.say(f"Cancelled: {view.q}")


@api_command(app.command())
async def why(api: Api, terminal: Terminal, run: RunId, as_json: Json = False) -> None:
    """Show the reason why a run waits, and since when."""
    reasons, raw = await api.why(run)
    if as_json:
        terminal.write(raw)
    else:
        terminal.out.print(diagnosis.why_page(reasons))


@api_command(app.command())
async def failures(
    api: Api,
    terminal: Terminal,
    kind: Annotated[list[str] | None, typer.Option(help=f"Only {', '.join(FAILURE_KINDS)}.")] = None,
    code: CodeOption = "",
    run: Annotated[str, typer.Option(help="Only of this run.")] = "",
    text: Annotated[str, typer.Option(help="Only with this text in the question or the error.")] = "",
    since: SinceOption = None,
    as_json: Json = False,
) -> None:
    """List final failures, newest first: steps, parked runs, and refused messages."""
    page, raw = await api.failures(filters(kind=kind, code=code, run=run, text=text, since=start_of(since)))
    if as_json:
        terminal.write(raw)
    else:
        terminal.print_table(diagnosis.failures_table(page, clock.now()))


@api_command(app.command("sign-in"))
async def sign_in(api: Api, terminal: Terminal) -> None:
    """Print a link that signs a browser in as you: once, within ten minutes."""
    terminal.write((await api.sign_in_link(by=user_name())).encode())
