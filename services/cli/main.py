"""The commands, as they are typed."""

from typing import Annotated

import typer

from services.cli.commands import review
from services.cli.commands.ask import Asking, Question
from services.cli.commands.keys import keys
from services.cli.commands.nats import nats as nats_app
from services.cli.commands.runs import check_upgrade, evals, failures, fork, told, why
from services.cli.doctor.command import doctor
from services.cli.shell import settings
from services.cli.shell.folder import Folder
from services.cli.shell.options import (
    ApiPort,
    ApiUrl,
    Comment,
    Data,
    Docs,
    Exclude,
    Json,
    MaxCost,
    Nats,
    NatsPort,
    RunId,
    with_api,
)
from services.cli.shell.refusal import FAILED
from services.cli.shell.running import run as run_command
from services.cli.shell.terminal import Terminal
from services.cli.supervisor import starting

app = typer.Typer(
    name="dossier",
    help="Durable research: ask, review the evidence, get a report in which every sentence is cited.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(nats_app)
app.command()(doctor)


@app.command()
def up(
    nats: Nats = None, data: Data = None, docs: Docs = None, api_port: ApiPort = None, port: NatsPort = None
) -> None:
    """Start NATS and the services on loopback, and keep them running until Ctrl-C."""

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        setup = settings.setup(known, data=data, nats=nats, docs=docs, nats_port=port, api_port=api_port)
        await starting.up(setup, known, terminal, options=settings.options(data=data))
        return 0

    run_command(work, interrupted=0)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False, help="The question.")],
    docs: Docs = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve the evidence without asking.")] = False,
    as_json: Json = False,
    approval_timeout: Annotated[str | None, typer.Option(help="How long to wait for a decision, as in 2h.")] = None,
    max_cost: MaxCost = None,
    data: Data = None,
    nats: Nats = None,
    api: ApiUrl = None,
) -> None:
    """Ask a question, review the evidence, print the report. Starts Dossier for this time if none runs.

    Exits with 0 if there is a report, with 1 if there is none.
    """

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        asked = Question(
            question,
            settings.setup(known, data=data, nats=nats, docs=docs),
            approval_timeout=approval_timeout,
            max_cost_usd=max_cost,
            yes=yes,
            as_json=as_json,
            elsewhere=settings.elsewhere(known, data=data, nats=nats, api=api),
            options=settings.options(data=data, api=api),
            key=lambda running: known.key(running, Folder(data or known.data)),
        )
        return 0 if await Asking(asked, terminal).ask() else FAILED

    run_command(work)


@app.command()
def runs(
    status: Annotated[list[str] | None, typer.Option(help="Only runs of this status.")] = None,
    text: Annotated[str, typer.Option(help="Only runs with this text in the question or the id.")] = "",
    late: Annotated[bool, typer.Option("--late", help="Only runs that are late.")] = False,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List runs, newest first."""
    with_api(
        lambda there, terminal: review.runs(
            there, terminal, statuses=status or [], text=text, late=late, as_json=as_json
        ),
        data,
        api,
    )


@app.command()
def show(run: RunId, as_json: Json = False, data: Data = None, api: ApiUrl = None) -> None:
    """Show a run: status, evidence, decision and report."""
    with_api(lambda there, terminal: review.show(there, terminal, run, as_json=as_json), data, api)


@app.command()
def watch(run: RunId, data: Data = None, api: ApiUrl = None) -> None:
    """Follow a run until it ends. Exits with 0 if there is a report, with 1 if there is none."""
    with_api(lambda there, terminal: review.watch(there, terminal, run), data, api)


@app.command()
def approve(
    run: RunId,
    comment: Comment = "",
    exclude: Exclude = None,
    max_cost: MaxCost = None,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Approve the evidence of a run on hold: the report is then written from it."""
    with_api(
        lambda there, terminal: review.rule(
            there, terminal, "approve", run, comment=comment, exclude=exclude or [], max_cost=max_cost
        ),
        data,
        api,
    )


@app.command()
def revise(
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
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Send the evidence of a run on hold back for another round, with feedback. Findings are kept."""
    with_api(
        lambda there, terminal: review.revise(
            there,
            terminal,
            run,
            feedback,
            add=add or [],
            drop=drop or [],
            exclude=exclude or [],
            max_cost=max_cost,
        ),
        data,
        api,
    )


@app.command()
def reject(run: RunId, comment: Comment = "", data: Data = None, api: ApiUrl = None) -> None:
    """Reject the evidence of a run on hold: it ends without a report."""
    with_api(lambda there, terminal: review.rule(there, terminal, "reject", run, comment=comment), data, api)


@app.command()
def extend(
    run: RunId,
    more: Annotated[str, typer.Argument(metavar="DURATION", help="Time to add to the deadline, as in 2h or 3d.")],
    comment: Comment = "",
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Extend the deadline of a run on hold."""
    with_api(lambda there, terminal: review.extend(there, terminal, run, more, comment=comment), data, api)


@app.command()
def cancel(run: RunId, comment: Comment = "", data: Data = None, api: ApiUrl = None) -> None:
    """End a run now."""
    with_api(lambda there, terminal: review.cancel(there, terminal, run, comment=comment), data, api)


for command in (why, failures, fork, check_upgrade):
    app.command()(command)
app.add_typer(evals)
app.add_typer(told)


@app.command("sign-in")
def sign_in(data: Data = None, api: ApiUrl = None) -> None:
    """Print a link that signs a browser in as you: once, within ten minutes."""
    with_api(review.sign_in, data, api)


app.add_typer(keys)


def main() -> None:
    """The command `dossier`."""
    app(prog_name="dossier")
