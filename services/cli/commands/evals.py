"""`dossier eval record`: write a run that has ended as a case for evaluations."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, get_args
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from services.cli.commands import case
from services.cli.commands.case import Case, RecordedCall, Recording
from services.cli.commands.upgrade import log_of
from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.folder import Folder
from services.cli.shell.options import Data, Nats, RunId
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.settings import CliSettings
from services.cli.shell.terminal import Terminal
from shared.api import local_token
from shared.contracts.evidence import Call
from shared.contracts.facts import PlanMade, SynthesisWritten
from shared.contracts.messages import Message
from shared.contracts.subjects import RUN, is_token, parse_slot
from shared.domain.decoding import decode_message
from shared.domain.replay import fold_facts
from shared.domain.run import Run
from shared.errors import ContractError, Refused, Unavailable
from shared.models import roles
from shared.models.context_window import Agent
from shared.runtime.dataref import load_text
from shared.runtime.log import Log
from shared.runtime.settings import Settings

CASES: Final = Path("cases")
_AT_ONCE: Final = 16
_SHORTEST_SECRET: Final = 12
"""Characters. A shorter value, such as `ollama`, is a placeholder and not a key."""


app = typer.Typer()
group = typer.Typer(name="eval", help="Runs as cases for evaluations.", no_args_is_help=True)
app.add_typer(group)


@command(group.command("record"))
async def record(
    terminal: Terminal,
    run: RunId,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the cases.")] = CASES,
    name: Annotated[str | None, typer.Option(help="Name of the case; by default the id of the run.")] = None,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Turn a run that has ended into a case: a folder with which prompts and code can be compared offline.

    A case has the whole text of every source, all prompts and replies, and the names of requesters and approvers.
    Review it before you share it. It has no keys or passwords.
    """
    if not is_token(name or run):
        raise Refusal(f"{name or run!r} cannot name a case: use A-Z, a-z, 0-9, _ and -.", code=MISUSED)
    known = settings.read()
    setup = settings.setup(known, data=data, nats=nats)
    folder = out / (name or run)
    try:
        async with log_of(setup) as log:
            recording = await recorded(log, run, known)
    except (Unavailable, Refused) as error:
        raise Refusal(f"The log cannot be read: {error}", code=MISUSED) from error
    write(recording, folder, secrets(known, setup.folder))
    _print_summary(recording, folder, terminal)


async def recorded(log: Log, run_id: str, settings: Settings) -> Recording:
    """The run with all texts that it refers to, and its model calls. Raises `Refusal` for a run that makes no case."""
    if not is_token(run_id):
        raise Refusal(f"{run_id!r} is not the id of a run.", code=MISUSED)
    messages = [await load_text(log, it) async for it in log.history(f"{RUN}.{run_id}.>") if parse_slot(it.subject)]
    run = _ended_run(run_id, messages)
    try:
        wanted, calls = list(dict.fromkeys(case.referenced_texts(messages))), list(case.model_calls(messages))
    except ContractError as error:
        raise Refusal(f"Run {run_id} has a fact that this release cannot read: {error}") from error
    texts = await _texts(log, wanted)
    if missing := [sha256 for sha256 in wanted if sha256 not in texts]:
        raise Refusal(f"Run {run_id} refers to the text {missing[0]}, which EVIDENCE does not have.")
    words = await _texts(log, {name for _, call in calls for name in (call.prompt_sha256, call.reply_sha256) if name})
    recorded_calls = tuple(_recorded_call(slot, call, words) for slot, call in calls)
    return Recording(_case(run, settings), tuple(messages), texts, recorded_calls)


def _ended_run(run_id: str, messages: list[Message]) -> Run:
    """The state of the run. Raises `Refusal` if it does not exist, has not ended, or was cancelled."""
    if not messages:
        raise Refusal(f"There is no run {run_id}.")
    facts = [decode_message(slot, it) for it in messages if (slot := parse_slot(it.subject))]
    run = fold_facts(run_id, facts)
    if run.completed is None or run.accepted is None:
        raise Refusal(f"Run {run_id} has not ended yet; it is {run.status}.")
    if run.status == "cancelled":
        raise Refusal(f"Run {run_id} was cancelled, so there is no outcome to compare with.")
    return run


def _case(run: Run, settings: Settings) -> Case:
    """The case of an ended run, with no expectations on its report yet."""
    assert run.accepted
    made = [entry.fact for _, each in sorted(run.rounds.items()) for entry in (each.plan, each.synthesis) if entry]
    degraded = any(
        fact.degraded if isinstance(fact, PlanMade) else fact.report.degraded
        for fact in made
        if isinstance(fact, PlanMade | SynthesisWritten)
    )
    return Case(
        run=run.id,
        question=run.accepted.fact.q,
        outcome=run.status,
        degraded=degraded,
        context={agent: roles.context_tokens(settings, agent) for agent in get_args(Agent)} if run.calls() else {},
    )


def _recorded_call(slot: str, call: Call, words: Mapping[str, str]) -> RecordedCall:
    """The call with its prompt, made readable, and its reply, from the texts by SHA-256."""
    prompt = words.get(call.prompt_sha256)
    readable = None if prompt is None else case.readable_prompt(prompt)
    return RecordedCall(call, slot, readable, words.get(call.reply_sha256))


async def _texts(log: Log, names: Iterable[str]) -> dict[str, str]:
    """The texts with these SHA-256, read 16 at a time. Those that `EVIDENCE` does not have are left out."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def read(name: str) -> tuple[str, str | None]:
        async with turns:
            return name, await log.get(name)

    found = await asyncio.gather(*map(read, names))
    return {name: text for name, text in found if text is not None}


def secrets(settings: CliSettings, folder: Folder) -> dict[str, str]:
    """All secrets by their origin: keys, passwords of NATS, and the folder's token. Shorter ones than 12 are out."""
    fields = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    known = {name: value.get_secret_value() for name, value in fields if isinstance(value, SecretStr)}
    known |= {f"nats_url {n}": urlsplit(url).password or "" for n, url in enumerate(settings.nats_url, 1)}
    known["token of the data folder"] = local_token.read_token(folder.path) or ""
    return {name: secret for name, secret in known.items() if len(secret) >= _SHORTEST_SECRET}


def write(recording: Recording, folder: Path, secrets: Mapping[str, str]) -> None:
    """Write the files of the case. Raises `Refusal`, and writes none, if the folder exists or a secret is in a file."""
    files = case.files(recording)
    for name, secret in secrets.items():
        if where := next((path for path, text in files.items() if secret in text), None):
            raise Refusal(f"{where} would have a secret in it, {name}, so nothing is written.")
    if folder.exists():
        raise Refusal(f"{folder} exists already; name another with --name, or remove it.", code=MISUSED)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


def _print_summary(recording: Recording, folder: Path, terminal: Terminal) -> None:
    """Print the number of facts, texts and calls, and the next step."""
    without = sum(call.prompt is None for call in recording.calls)
    of_these = f", {without} of them without their text" if without else ""
    terminal.say(
        f"{folder}: {len(recording.messages)} facts, {len(recording.texts)} texts, "
        f"{len(recording.calls)} model calls{of_these}. "
        f"Add to {folder / case.CASE} what its report should state."
    )
