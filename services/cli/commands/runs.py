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
    """Show the reason why a run waits, and since when."""
    with_api(lambda there, terminal: operating.why(there, terminal, run, as_json=as_json), data, api)


def failures(
    kind: Annotated[list[str] | None, typer.Option(help=f"Only {', '.join(FAILURE_KINDS)}.")] = None,
    code: CodeOption = "",
    run: Annotated[str, typer.Option(help="Only of this run.")] = "",
    text: Annotated[str, typer.Option(help="Only with this text in the question or the error.")] = "",
    since: SinceOption = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List final failures, newest first: steps, parked runs, and refused messages."""

    async def work(there: Api, terminal: Terminal) -> None:
        then = operating.since(since)
        wanted = operating.filters(kind=kind, code=code, run=run, text=text, since=then)
        await operating.failures(there, terminal, wanted, as_json=as_json)

    with_api(work, data, api)


def fork(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id of the run; without it, all matching runs.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="plan, fetch or synthesize; by default the earliest that failed."),
    ] = None,
    repeat_all: Annotated[
        bool, typer.Option("--all", help="From fetch: also repeat fetches that found sources.")
    ] = False,
    q: Annotated[str | None, typer.Option("--q", help="Another question; from plan only.")] = None,
    replace: Annotated[
        list[str] | None, typer.Option(metavar="N=TEXT", help="Other text for sub-query N; from fetch only.")
    ] = None,
    add: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Further sub-query; from fetch only.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="N", help="Leave out sub-query N; from fetch only.")] = None,
    approval: Annotated[str | None, typer.Option(help="required or auto.")] = None,
    approval_timeout: Annotated[str | None, typer.Option(help="How long to wait for a decision, as in 2h.")] = None,
    max_cost_usd: Annotated[float | None, typer.Option(help="Most that the run may cost, in US dollars.")] = None,
    tool: Annotated[list[str] | None, typer.Option(help="Search tool to use.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Fork runs of this status.")] = None,
    code: CodeOption = "",
    text: Annotated[str, typer.Option(help="Fork runs with this text in the question or the id.")] = "",
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs that would be forked.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key: repeated with it, nothing is forked twice.")] = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Repeat a run, or all matching runs, from one of its steps, and reuse the facts before it.

    The old run does not change. Exits with 1 if a matching run could not be forked.
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
    """Compare, before a new release is deployed, how it would treat the open runs.

    Run it with the new release. It replays the history of every open run from the log, and writes nothing.
    Exits with 0 if no run differs, with 1 if some do, with 2 if it could not check.
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
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the cases.")] = recording.CASES,
    name: Annotated[str | None, typer.Option(help="Name of the case; by default the id of the run.")] = None,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Turn a run that has ended into a case: a folder with which prompts and code can be compared offline.

    A case has the whole text of every source, all prompts and replies, and the names of requesters and approvers.
    Review it before you share it. It has no keys or passwords.
    """

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        setup = settings.setup(known, data=data, nats=nats)
        await recording.record(setup, known, terminal, run, folder=out / recording.named(name or run))
        return 0

    run_command(work)


told = typer.Typer(name="deliveries", help="Deliveries to webhook endpoints, and their results.")


@told.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    endpoint: Annotated[
        str | None, typer.Option(help="Only to this endpoint, as named in the file of webhooks.")
    ] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only hold.opened, deadline.near or run.ended.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only waiting, retrying, delivered, gave_up, moot or disabled.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only of this run.")] = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List deliveries to webhook endpoints, newest first, with the reason of each failure."""
    if context.invoked_subcommand is None:
        wanted = {"endpoint": endpoint, "event": event, "state": state, "run_id": run}
        with_api(lambda there, terminal: telling.shown(there, terminal, wanted, as_json=as_json), data, api)


@told.command()
def resend(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Send a delivery again, under the same webhook-id. Receivers drop it if they have seen it."""
    with_api(lambda there, terminal: telling.resent(there, terminal, delivery), data, api)
