"""`dossier fork`: repeat one run, or all runs that match, from one of their steps."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from msgspec import Struct

from services.cli.render import diagnosis
from services.cli.render.progress import count
from services.cli.shell.api import Api
from services.cli.shell.command import api_command
from services.cli.shell.filters import Filters, filters, start_of
from services.cli.shell.options import CodeOption, Json, SinceOption
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal, user_name
from shared.api.schemas import RunView
from shared.api.views import ForkPage
from shared.runtime import clock

_Run = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Id of the run; without it, all matching runs.")]
_Step = Annotated[
    str | None,
    typer.Option("--from", metavar="STEP", help="plan, fetch or synthesize; by default the earliest that failed."),
]
_RepeatAll = Annotated[bool, typer.Option("--all", help="From fetch: also repeat fetches that found sources.")]
_Replace = Annotated[
    list[str] | None, typer.Option(metavar="N=TEXT", help="Other text for sub-query N; from fetch only.")
]

app = typer.Typer()


class Edits(Struct, frozen=True):
    """Changes of one forked run, as typed. A sub-query is named by its text or, from 1, by its number."""

    q: str | None = None
    replace: Sequence[str] = ()
    add: Sequence[str] = ()
    drop: Sequence[str] = ()

    def __bool__(self) -> bool:
        """Return True if anything changes."""
        return bool(self.q or self.replace or self.add or self.drop)

    def fields(self, run: RunView) -> dict[str, object]:
        """Fields of the API's request. Raises `Refusal` for a sub-query that the plan of `run` does not have."""
        pairs = [each.partition("=") for each in self.replace]
        if wrong := next((old for old, equals, new in pairs if not (old and equals and new)), None):
            raise Refusal(f"--replace {wrong}: write it as in --replace '2=another sub-query'.", code=MISUSED)
        replaced = {_query(run, old): new for old, _, new in pairs}
        dropped = [_query(run, each) for each in self.drop]
        return _given(q=self.q or None, replace=replaced, add=list(self.add), drop=dropped)


@api_command(app.command())
async def fork(
    api: Api,
    terminal: Terminal,
    run: _Run = None,
    step: _Step = None,
    repeat_all: _RepeatAll = False,
    q: Annotated[str | None, typer.Option("--q", help="Another question; from plan only.")] = None,
    replace: _Replace = None,
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
) -> bool:
    """Repeat a run, or all matching runs, from one of its steps, and reuse the facts before it.

    The old run does not change. Exits with 1 if a matching run could not be forked.
    """
    matching = filters(status=status, code=code, text=text, since=start_of(since))
    edits = Edits(q, replace or (), add or (), drop or ())
    fields = _given(
        **{"from": step, "all": repeat_all or None},
        approval=approval,
        approval_timeout=approval_timeout,
        max_cost_usd=max_cost_usd,
        tools=tool,
        requested_by=user_name(),
    )
    if bool(run) == bool(matching) or (run and dry_run):
        text = "Name one run, or select runs by --status, --code, --text or --since; --dry-run needs a selection."
        raise Refusal(text, code=MISUSED)
    if edits and not run:
        raise Refusal("--q, --replace, --add and --drop are for one run; name it.", code=MISUSED)
    if run:
        return await fork_one(api, terminal, run, fields, edits, key=key, as_json=as_json)
    return await fork_matching(api, terminal, matching, fields, dry_run=dry_run, key=key, as_json=as_json)


async def fork_one(
    api: Api,
    terminal: Terminal,
    run_id: str,
    fields: Mapping[str, object],
    edits: Edits,
    *,
    key: str | None,
    as_json: bool,
) -> bool:
    """Fork one run, print the new one, and return True. Raises `Refusal` for an edit that does not fit its plan."""
    changes = edits.fields((await api.run(run_id))[0]) if edits else {}
    forked, raw = await api.fork(run_id, {**fields, **changes}, key=key or clock.uuid7())
    if as_json:
        terminal.write(raw)
    else:
        terminal.say(f"Forked from {forked.step}; {count(forked.reused, 'recorded fact')} reused.")
        terminal.say(f"To follow it: dossier watch {forked.run_id}")
    return True


async def fork_matching(
    api: Api,
    terminal: Terminal,
    matching: Filters,
    fields: Mapping[str, object],
    *,
    dry_run: bool,
    key: str | None,
    as_json: bool,
) -> bool:
    """Fork all matching runs, page by page, and print the result of each. Return False if one was refused."""
    key = key or clock.token()
    if not dry_run:
        terminal.say(f"If this is interrupted, repeat it with --key {key}: no run is forked twice.")
    body = {**matching, **fields, "dry_run": dry_run}
    page = await api.forks(body, key=key)
    rows = list(page.forks)
    while page.next:
        page = await api.forks({**body, "cursor": page.next}, key=key)
        rows += page.forks
    if as_json:
        terminal.write(ForkPage(forks=rows, next=None).model_dump_json(by_alias=True).encode())
    else:
        terminal.print_table(diagnosis.forks_table(rows))
        terminal.say(diagnosis.forks_summary(rows))
    return all(row.result != "refused" for row in rows)


def _given(**fields: object) -> dict[str, object]:
    """The fields that have a value: not `None`, nor an empty list or mapping."""
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def _query(run: RunView, named: str) -> str:
    """The sub-query of the plan with this number, from 1; any other text unchanged. Raises `Refusal` for a number."""
    if not named.isdecimal():
        return named
    if not 1 <= int(named) <= len(run.plan):
        raise Refusal(f"Run {run.run_id} has {len(run.plan)} sub-queries, and no number {named}.", code=FAILED)
    return run.plan[int(named) - 1]
