"""The commands, as they are typed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from services.cli import deliveries as telling
from services.cli import keyring, operating, recording, review, settings, starting, upgrade
from services.cli.api import Api
from services.cli.asking import Asking, Question
from services.cli.doctor.command import doctor
from services.cli.folder import Folder, Running
from services.cli.nats_commands import nats as nats_app
from services.cli.refusal import FAILED, MISUSED, Refusal
from services.cli.running import run as _run
from services.cli.terminal import Terminal
from services.coordinator.failures import FAILURE_KINDS

_DAYS: Final = "90d"

app = typer.Typer(
    name="dossier",
    help="Durable research: ask, review the evidence, get a report in which every sentence is cited.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(nats_app)
app.command()(doctor)

Data = Annotated[
    Path | None, typer.Option("--data", help="Data folder; .dossier or $DOSSIER_DATA where none is named.")
]
Nats = Annotated[
    str | None, typer.Option("--nats", metavar="URL", help="A NATS that runs elsewhere, instead of the embedded one.")
]
Docs = Annotated[
    Path | None,
    typer.Option("--docs", exists=True, file_okay=False, help="Folder of documents to search; Python's own without."),
]
ApiUrl = Annotated[
    str | None, typer.Option("--api", metavar="URL", help="API of a Dossier that runs elsewhere, or $DOSSIER_API_URL.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; kept with the run.")]
CodeOption = Annotated[str, typer.Option(help="With this error code.")]
SinceOption = Annotated[str | None, typer.Option(metavar="DURATION", help="Not longer ago, as in 2h.")]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="SHA", help="Leave out this source; the first digits will do.")
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", metavar="USD", help="What the run may cost in all, in US dollars.")
]
NatsPort = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65_535, help="Of the embedded NATS; 4222 if it is free, else another."),
]
ApiPort = Annotated[int | None, typer.Option(min=1, max=65_535, help="8400 if it is free, else another.")]


@app.command()
def up(
    nats: Nats = None, data: Data = None, docs: Docs = None, api_port: ApiPort = None, port: NatsPort = None
) -> None:
    """Start NATS and the four services on this machine, for this machine alone, and keep them running."""

    async def work(terminal: Terminal) -> int:
        known = settings.read()
        setup = settings.setup(known, data=data, nats=nats, docs=docs, nats_port=port, api_port=api_port)
        await starting.up(setup, known, terminal, options=settings.options(data=data))
        return 0

    _run(work, interrupted=0)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False)],
    docs: Docs = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve the evidence without asking.")] = False,
    as_json: Json = False,
    approval_timeout: Annotated[str | None, typer.Option(help="How long to wait for a decision, as in 2h.")] = None,
    max_cost: MaxCost = None,
    data: Data = None,
    nats: Nats = None,
    api: ApiUrl = None,
) -> None:
    """Ask a question, review the evidence, read the report. Starts everything for its own time where nothing runs.

    Ends with 0 when there is a report, 1 when the run ended otherwise.
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

    _run(work)


@app.command()
def runs(
    status: Annotated[list[str] | None, typer.Option(help="May be given more than once.")] = None,
    text: Annotated[str, typer.Option(help="Looked for in the question and the id.")] = "",
    late: Annotated[bool, typer.Option("--late", help="Only runs that should have moved and did not.")] = False,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List runs, newest first."""
    _with_api(
        lambda there, terminal: review.runs(
            there, terminal, statuses=status or [], text=text, late=late, as_json=as_json
        ),
        data,
        api,
    )


@app.command()
def show(run: RunId, as_json: Json = False, data: Data = None, api: ApiUrl = None) -> None:
    """Show a run: how it stands, its evidence, the decision, the report."""
    _with_api(lambda there, terminal: review.show(there, terminal, run, as_json=as_json), data, api)


@app.command()
def watch(run: RunId, data: Data = None, api: ApiUrl = None) -> None:
    """Follow a run until it ends. Ends with 0 when there is a report, else with 1."""
    _with_api(lambda there, terminal: review.watch(there, terminal, run), data, api)


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
    _with_api(
        lambda there, terminal: review.rule(
            there, terminal, "approve", run, comment=comment, exclude=exclude or [], max_cost=max_cost
        ),
        data,
        api,
    )


@app.command()
def revise(
    run: RunId,
    feedback: Annotated[str, typer.Argument(metavar="FEEDBACK", help="What the next round is for.")],
    add: Annotated[
        list[str] | None, typer.Option(metavar="QUERY", help="A sub-query of the next round, beside what is planned.")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="QUERY", help="Leave out what this sub-query found; its number, or its words."),
    ] = None,
    exclude: Exclude = None,
    max_cost: MaxCost = None,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Send the evidence of a run on hold back for another round, with words; what was found is kept."""
    _with_api(
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
    _with_api(lambda there, terminal: review.rule(there, terminal, "reject", run, comment=comment), data, api)


@app.command()
def extend(
    run: RunId,
    more: Annotated[str, typer.Argument(metavar="DURATION", help="How much longer than now, as in 2h or 3d.")],
    comment: Comment = "",
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """Give whoever decides on a run more time: its deadline is later by so much."""
    _with_api(lambda there, terminal: review.extend(there, terminal, run, more, comment=comment), data, api)


@app.command()
def cancel(run: RunId, comment: Comment = "", data: Data = None, api: ApiUrl = None) -> None:
    """End a run now, wherever it is."""
    _with_api(lambda there, terminal: review.cancel(there, terminal, run, comment=comment), data, api)


@app.command()
def why(run: RunId, as_json: Json = False, data: Data = None, api: ApiUrl = None) -> None:
    """Say what a run waits for, for whom, and since when."""
    _with_api(lambda there, terminal: operating.why(there, terminal, run, as_json=as_json), data, api)


@app.command()
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

    _with_api(work, data, api)


@app.command()
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
        if bool(run) == bool(wanted) or (run and dry_run):
            text_ = "Name one run, or say which by --status, --code, --text or --since; --dry-run goes with these."
            raise Refusal(text_, code=MISUSED)
        if run:
            return await operating.fork(there, terminal, run, edits, key=key, as_json=as_json)
        return await operating.fork_all(there, terminal, wanted, edits, dry_run=dry_run, key=key, as_json=as_json)

    _with_api(work, data, api)


@app.command()
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

    _run(work)


evals = typer.Typer(name="eval", help="Runs as cases for evaluations.", no_args_is_help=True)
app.add_typer(evals)


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

    _run(work)


told = typer.Typer(help="What others were told of holds, deadlines and ends, and how that went.")
app.add_typer(told, name="deliveries")


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
        _with_api(lambda there, terminal: telling.shown(there, terminal, wanted, as_json=as_json), data, api)


@told.command()
def resend(delivery: Annotated[str, typer.Argument(metavar="DELIVERY")], data: Data = None, api: ApiUrl = None) -> None:
    """Send one again, now, under the same webhook-id. Receivers that have seen it drop it."""
    _with_api(lambda there, terminal: telling.resent(there, terminal, delivery), data, api)


@app.command("sign-in")
def sign_in(data: Data = None, api: ApiUrl = None) -> None:
    """Print a link that signs a browser in: once, within ten minutes, as you."""
    _with_api(review.sign_in, data, api)


def _with_api(work: Callable[[Api, Terminal], Awaitable[bool | None]], data: Path | None, api: str | None) -> None:
    """Work with the API that was named, else with that of the Dossier that runs in the data folder."""

    async def working(terminal: Terminal) -> int:
        known = settings.read()
        running = settings.elsewhere(known, data=data, nats=None, api=api) or _here(Folder(data or known.data), data)
        async with Api.open(running.api, known.key(running, Folder(data or known.data))) as there:
            return FAILED if await work(there, terminal) is False else 0

    _run(working)


keys = typer.Typer(name="keys", help="Keys to the API: who may ask, decide, or only read.", no_args_is_help=True)
app.add_typer(keys)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who acts with it; all keys of a name are one person.")],
    role: Annotated[
        str, typer.Option(help="viewer, requester, approver or operator; each may do what those before may.")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Narrow it to read, ask, cancel, decide or operate; may be given more than once."),
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it opens anything, as in 12h or 90d; at most 366d.")] = _DAYS,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Make a key, and print it: this once, for only its hash is kept."""
    wanted = keyring.Wanted(name, role, tuple(scope or ()), expires)
    _with_keys(lambda ring, terminal: keyring.create(ring, terminal, wanted), data, nats)


@keys.command("list")
def list_keys(as_json: Json = False, data: Data = None, nats: Nats = None) -> None:
    """List all keys, those that open nothing any more included."""
    _with_keys(lambda ring, terminal: keyring.show(ring, terminal, as_json=as_json), data, nats)


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `dossier keys list` shows it.")],
    data: Data = None,
    nats: Nats = None,
) -> None:
    """End a key, and every session that began with it: within a second, at every coordinator."""
    _with_keys(lambda ring, terminal: keyring.revoke(ring, terminal, key), data, nats)


def _with_keys(
    work: Callable[[keyring.KeyStore, Terminal], Awaitable[None]], data: Path | None, nats: str | None
) -> None:
    """Work with the keys on the NATS that was named, else on that of the Dossier in the data folder."""

    async def working(terminal: Terminal) -> int:
        known = settings.read()
        running = None if nats else Folder(data or known.data).running()
        servers = tuple(nats.split(",")) if nats else running.nats if running else known.nats_url
        async with keyring.KeyStore.open(servers, known.limits, settings.identity(known, nats=nats)) as ring:
            await work(ring, terminal)
        return 0

    _run(working)


def _here(folder: Folder, data: Path | None) -> Running:
    running = folder.running()
    if running is None:
        raise Refusal(f"Nothing runs in {folder.path}. To start it: dossier up{settings.options(data=data)}")
    return running


def main() -> None:
    """The command `dossier`."""
    app(prog_name="dossier")
