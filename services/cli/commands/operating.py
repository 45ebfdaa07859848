"""The commands for whoever wonders what went wrong and does it over."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from services.cli.render import diagnosis
from services.cli.render.progress import count
from services.cli.shell.api import Api, Filters
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal, user_name
from shared.api.schemas import RunView
from shared.api.views import ForkPage
from shared.contracts.requests import parse_duration_s
from shared.errors import InvalidMessage
from shared.runtime import clock


class Edits(Struct, frozen=True):
    """What a fork is to do otherwise, as it was typed. Sub-queries are named by their text or, from 1, their number."""

    step: str | None = None
    all: bool = False
    q: str | None = None
    replace: Sequence[str] = ()
    add: Sequence[str] = ()
    drop: Sequence[str] = ()
    approval: str | None = None
    approval_timeout: str | None = None
    max_cost_usd: float | None = None
    tools: Sequence[str] = ()

    @property
    def of_one(self) -> bool:
        """Whether any of these makes sense for one run alone."""
        return bool(self.q or self.replace or self.add or self.drop)

    def body(self) -> dict[str, object]:
        """Those that the API takes for one run as for many."""
        said = {
            "from": self.step,
            "all": self.all or None,
            "approval": self.approval,
            "approval_timeout": self.approval_timeout,
            "max_cost_usd": self.max_cost_usd,
            "tools": list(self.tools) or None,
            "requested_by": user_name(),
        }
        return {name: value for name, value in said.items() if value is not None}


async def failures(api: Api, terminal: Terminal, wanted: Filters, *, as_json: bool) -> None:
    """List what failed."""
    page, raw = await api.failures(wanted)
    if as_json:
        terminal.write(raw)
        return
    terminal.show(diagnosis.failures_table(page, clock.now()))


async def why(api: Api, terminal: Terminal, run_id: str, *, as_json: bool) -> None:
    """Say what a run waits for."""
    said, raw = await api.why(run_id)
    if as_json:
        terminal.write(raw)
    else:
        terminal.out.print(diagnosis.why_page(said))


async def fork_these(
    api: Api,
    terminal: Terminal,
    run_id: str | None,
    wanted: Filters,
    edits: Edits,
    *,
    dry_run: bool,
    key: str | None,
    as_json: bool,
) -> bool | None:
    """Do over the run that is named, or all that fit; whether all of these could be."""
    if bool(run_id) == bool(wanted) or (run_id and dry_run):
        text = "Name one run, or say which by --status, --code, --text or --since; --dry-run goes with these."
        raise Refusal(text, code=MISUSED)
    if run_id:
        return await fork(api, terminal, run_id, edits, key=key, as_json=as_json)
    return await fork_all(api, terminal, wanted, edits, dry_run=dry_run, key=key, as_json=as_json)


async def fork(api: Api, terminal: Terminal, run_id: str, edits: Edits, *, key: str | None, as_json: bool) -> None:
    """Do one run over."""
    body = edits.body()
    if edits.of_one:
        run, _ = await api.run(run_id)
        body |= _of_one(edits, run)
    made, raw = await api.fork(run_id, body, key=key or clock.uuid7())
    if as_json:
        terminal.write(raw)
        return
    terminal.say(f"Forked, from {made.step} on; {count(made.reused, 'recorded fact')} reused.")
    terminal.say(f"To follow it: dossier watch {made.run_id}")


async def fork_all(
    api: Api,
    terminal: Terminal,
    wanted: Filters,
    edits: Edits,
    *,
    dry_run: bool,
    key: str | None,
    as_json: bool,
) -> bool:
    """Do over all runs that fit; whether all of them could be."""
    if edits.of_one:
        raise Refusal("--q, --replace, --add and --drop are for one run; name it.", code=MISUSED)
    key = key or clock.token()
    if not dry_run:
        terminal.say(f"Should this be interrupted, repeat it with --key {key}: no run is forked twice.")
    body = {**wanted, **edits.body(), "dry_run": dry_run}
    page = await api.forks(body, key=key)
    rows = list(page.forks)
    while page.next:
        page = await api.forks({**body, "cursor": page.next}, key=key)
        rows += page.forks
    if as_json:
        terminal.write(ForkPage(forks=rows, next=None).model_dump_json(by_alias=True).encode())
    else:
        terminal.show(diagnosis.forks_table(rows))
        terminal.say(diagnosis.forks_summary(rows))
    return all(row.result != "refused" for row in rows)


def since(text: str | None) -> str | None:
    """So long ago, as the API takes it."""
    if text is None:
        return None
    try:
        then = clock.now() - timedelta(seconds=parse_duration_s(text, "--since"))
    except InvalidMessage as error:
        raise Refusal(error.message, code=MISUSED) from error
    return then.isoformat().replace("+00:00", "Z")


def _of_one(edits: Edits, run: RunView) -> dict[str, object]:
    pairs = [each.partition("=") for each in edits.replace]
    if wrong := next((old for old, equals, new in pairs if not (old and equals and new)), None):
        raise Refusal(f"--replace {wrong}: write it as in --replace '2=another sub-query'.", code=MISUSED)
    replaced = {_sub_query(run, old): new for old, _, new in pairs}
    dropped = [_sub_query(run, each) for each in edits.drop]
    said = {"q": edits.q, "replace": replaced, "add": list(edits.add), "drop": dropped}
    return {name: value for name, value in said.items() if value}


def _sub_query(run: RunView, named: str) -> str:
    """The sub-query with this number, else the one that says so."""
    if not named.isdecimal():
        return named
    if not 1 <= int(named) <= len(run.plan):
        raise Refusal(f"Run {run.run_id} has {len(run.plan)} sub-queries, and no number {named}.", code=FAILED)
    return run.plan[int(named) - 1]


def filters(**said: str | Sequence[str] | None) -> Filters:
    """Those that were said."""
    return {name: value if isinstance(value, str) else list(value) for name, value in said.items() if value}
