"""The commands of those who keep Dossier running, as they are typed: what waits, what failed, what was told."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.commands import deliveries as telling
from services.cli.commands import evals as recording
from services.cli.commands import operating, upgrade
from services.cli.shell import settings
from services.cli.shell.api import Api
from services.cli.shell.options import ApiUrl, CodeOption, Data, Json, Nats, RunId, SinceOption, with_api
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.running import run as run_command
from services.cli.shell.terminal import Terminal
from shared.domain.failures import FAILURE_KINDS


def why(run: RunId, as_json: Json = False, data: Data = None, api: ApiUrl = None) -> None:
    """Say what a run waits for, for whom, and since when."""
    with_api(lambda there, terminal: operating.why(there, terminal, run, as_json=as_json), data, api)


def failures(
    kind: Annotated[list[str] | None, typer.Option(help=f"{', '.join(FAILURE_KINDS)}; more than once.")] = None,
    code: CodeOption = "",
    run: Annotated[str, typer.Option(help="Of this run.")] = "",
    text: Annotated[str, typer.Option(help="Looked for in what was asked and what went wrong.")] = "",
    since: SinceOption = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List what failed for good, newest first: steps, parked runs, and messages that were refused."""

    async def work(there: Api, terminal: Terminal) -> None:
        then = operating.since(since)
        wanted = operating.filters(kind=kind, code=code, run=run, text=text, since=then)
        await operating.failures(there, terminal, wanted, as_json=as_json)

    with_api(work, data, api)


def fork(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run; without, those that fit.")] = None,
    step: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="plan, fetch or synthesize; without it the earliest that failed."),
    ] = None,
    repeat_all: Annotated[bool, typer.Option("--all", help="From fetch: also those that brought something.")] = False,
    q: Annotated[str | None, typer.Option("--q", help="Another question; from plan.")] = None,
    replace: Annotated[
        list[str] | None, typer.Option(metavar="N=TEXT", help="Another text for sub-query N; from fetch.")
    ] = None,
    add: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="One more sub-query; from fetch.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="N", help="Leave out sub-query N; from fetch.")] = None,
    approval: Annotated[str | None, typer.Option(help="required or auto.")] = None,
    approval_timeout: Annotated[str | None, typer.Option(help="How long to wait for a decision, as in 2h.")] = None,
    max_cost_usd: Annotated[float | None, typer.Option(help="What it may cost at most.")] = None,
    tool: Annotated[list[str] | None, typer.Option(help="May be given more than once.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Fork the runs of this status.")] = None,
    code: CodeOption = "",
    text: Annotated[str, typer.Option(help="Fork the runs with this in the question or the id.")] = "",
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be forked.")] = False,
    key: Annotated[str | None, typer.Option(help="Repeated with the same key, it forks nothing twice.")] = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Do a run over from one of its steps, reusing what was recorded before it; or all runs that fit.

    The old run is left as it is. Ends with 1 when a run that fits could not be forked.
    """
    edits = operating.Edits(
        step, repeat_all, q, replace or (), add or (), drop or (), approval, approval_timeout, max_cost_usd, tool or ()
    )

    async def work(there: Api, terminal: Terminal) -> bool | None:
        wanted = operating.filters(status=status, code=code, text=text, since=operating.since(since))
        return await operating.fork_these(
            there, terminal, run, wanted, edits, dry_run=dry_run, key=key, as_json=as_json
        )

    with_api(work, data, api)


def check_upgrade(as_json: Json = False, data: Data = None, nats: Nats = None) -> None:
    """Run with a new release before it is deployed: what would it do otherwise with the runs that are open?

    Reads the projection of the release that runs (or ran), and its log; writes nothing.
    Ends with 0 when no run differs, with 1 when some do, with 2 when it could not be checked.
    """

    async def work(terminal: Terminal) -> int:
        setup = settings.setup(settings.read(), data=data, nats=nats)
        try:
            return 0 if await upgrade.check(setup, terminal, as_json=as_json) else FAILED
        except Refusal as refusal:
            raise Refusal(str(refusal), code=MISUSED) from refusal

    run_command(work)


evals = typer.Typer(name="eval", help="Runs as cases for evaluations.", no_args_is_help=True)


@evals.command("record")
def record_case(
    run: RunId,
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder that cases are in.")] = recording.CASES,
    name: Annotated[str | None, typer.Option(help="What the case is called; as the run without.")] = None,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Turn a run that has ended into a case: a folder that today's prompts and code can be held against, offline.

    A case has the whole text of every source that was found, all that was said to models and that they replied, and
    the names of those who asked and decided. Look at it before you give it to anybody. No key or password is in it.
    """

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        setup = settings.setup(known, data=data, nats=nats)
        await recording.record(setup, known, terminal, run, folder=out / recording.named(name or run))
        return 0

    run_command(work)


told = typer.Typer(name="deliveries", help="What others were told of holds, deadlines and ends, and how that went.")


@told.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    endpoint: Annotated[str | None, typer.Option(help="As it is named in the file of webhooks.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="hold.opened, deadline.near or run.ended.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="waiting, retrying, delivered, gave_up, moot or disabled.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN")] = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List what others were told, newest first, and why some of it did not arrive."""
    if context.invoked_subcommand is None:
        wanted = {"endpoint": endpoint, "event": event, "state": state, "run_id": run}
        with_api(lambda there, terminal: telling.shown(there, terminal, wanted, as_json=as_json), data, api)


@told.command()
def resend(delivery: Annotated[str, typer.Argument(metavar="DELIVERY")], data: Data = None, api: ApiUrl = None) -> None:
    """Send one again, now, under the same webhook-id. Receivers that have seen it drop it."""
    with_api(lambda there, terminal: telling.resent(there, terminal, delivery), data, api)
