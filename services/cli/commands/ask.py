"""`dossier ask`: ask a question, follow its run, review the evidence, print the report."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated, Final

import msgspec
import typer

from services.cli.commands.review import Reviewer
from services.cli.render.progress import on_hold
from services.cli.render.screen import Screen
from services.cli.shell import settings
from services.cli.shell.api import Api
from services.cli.shell.command import command
from services.cli.shell.folder import Running
from services.cli.shell.follow import Follower
from services.cli.shell.options import ApiUrl, Data, Docs, Json, MaxCost, Nats
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.request import Submission
from services.cli.shell.setup import Setup
from services.cli.shell.terminal import Terminal, user_name
from services.cli.supervisor.supervisor import running_in, supervised
from shared.contracts import envelope
from shared.contracts.facts import RunCompleted
from shared.contracts.requests import Request, check_request
from shared.domain.run import Run
from shared.errors import InvalidMessage
from shared.runtime import clock

_OTHER_SOURCE_S: Final = 2.0
"""Wait for the end of a run over NATS once the API has reported it, and the other way round."""

app = typer.Typer()


@command(app.command())
async def ask(
    terminal: Terminal,
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False, help="The question.")],
    docs: Docs = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve the evidence without asking.")] = False,
    as_json: Json = False,
    approval_timeout: Annotated[str | None, typer.Option(help="How long to wait for a decision, as in 2h.")] = None,
    max_cost: MaxCost = None,
    data: Data = None,
    nats: Nats = None,
    api: ApiUrl = None,
) -> bool:
    """Ask a question, review the evidence, print the report. Starts Dossier for this time if none runs.

    Exits with 0 if there is a report, with 1 if there is none.
    """
    known = settings.read()
    setup = settings.setup(known, data=data, nats=nats, docs=docs)
    session = _Session(terminal, setup, options=settings.options(data=data, api=api))
    request = _request(question, approval_timeout, max_cost)
    async with AsyncExitStack() as stack:
        running = settings.elsewhere(known, data=data, nats=nats, api=api) or await session.running(stack)
        client = await stack.enter_async_context(Api.open(running.api, known.key(running, setup.folder)))
        submission = await stack.enter_async_context(Submission.open(running.nats, request, setup.identity))
        message = await session.completion(client, submission, request, yes=yes)
        return await session.print_result(message, client, as_json=as_json)


def _request(question: str, approval_timeout: str | None, max_cost: float | None) -> Request:
    """The request, with a new run id. Raises `Refusal` for a value that the contract does not allow."""
    request = Request(
        q=question,
        run_id=clock.uuid7(),
        approval_timeout=approval_timeout,
        max_cost_usd=max_cost,
        requested_by=user_name(),
    )
    try:
        check_request(request)
    except InvalidMessage as error:
        raise Refusal(str(error), code=MISUSED) from error
    return request


class _Session:
    """One `dossier ask` at the terminal. `options` select the same Dossier in further commands."""

    def __init__(self, terminal: Terminal, setup: Setup, *, options: str) -> None:
        self._terminal = terminal
        self._screen = Screen(terminal)
        self._setup = setup
        self._options = options
        self._is_own = False
        self._is_end_shown = False

    async def running(self, stack: AsyncExitStack) -> Running:
        """The Dossier that runs in the folder, else one that is started now and stopped with the stack.

        Raises `Refusal` if one runs and `--docs` is given, and if none can be started.
        """
        folder = self._setup.folder
        if running := await running_in(folder):
            if self._setup.docs:
                text = f"Dossier runs in {folder.path} already and searches its own documents; leave out --docs."
                raise Refusal(text, code=MISUSED)
            return running
        self._is_own = True
        supervisor = await stack.enter_async_context(supervised(self._setup, lambda _: None))
        with self._screen.busy(lambda: f"Starting Dossier, waiting for {supervisor.missing}"):
            await supervisor.start()
        return supervisor.running

    async def completion(self, api: Api, submission: Submission, request: Request, *, yes: bool) -> bytes:
        """Publish the request, show the run, and have each hold decided. Return the message on `research.completed`.

        On cancellation the way back to the run is printed. Raises `Refusal` if the request is refused.
        """
        seq = await self._publish(api, submission, request)
        self._terminal.say(f"{request.q.strip()}\n{submission.run_id}")
        follower = Follower(api, submission.run_id, since=seq, changed=self._screen.changed)
        reviewer = Reviewer(api, self._terminal, yes=yes, approve_with=f"dossier approve{self._options}")
        try:
            message = await self._until_completed(submission, follower, reviewer)
        except asyncio.CancelledError:
            self._print_way_back(follower.run)
            raise
        finally:
            await follower.close()
        self._is_end_shown = follower.run.completed is not None
        return message

    async def _publish(self, api: Api, submission: Submission, request: Request) -> int:
        """Publish the request and return its sequence. A key of its own takes HTTP, which records its name."""
        if not api.has_own_key:
            return await submission.publish()
        seq = await api.ask(request)
        submission.set_sequence(seq)
        return seq

    async def _until_completed(self, submission: Submission, follower: Follower, reviewer: Reviewer) -> bytes:
        """The message on `research.completed`: from NATS, or from the log after the API has reported the end."""
        showing = asyncio.create_task(self._show(follower, reviewer))
        try:
            ends = {showing, submission.completion, submission.refusal}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if submission.refusal.done():
                raise Refusal(submission.refusal.result())
            await asyncio.wait({showing}, timeout=_OTHER_SOURCE_S)
        finally:
            showing.cancel()
            await asyncio.wait({showing})
        if not showing.cancelled():
            showing.result()
        await asyncio.wait({submission.completion}, timeout=_OTHER_SOURCE_S)
        return submission.completion.result() if submission.completion.done() else await submission.stored_completion()

    async def _show(self, follower: Follower, reviewer: Reviewer) -> None:
        """Show the run until it has ended, and have each hold decided. Raises `Refused` if the API refuses."""
        while not follower.run.completed:
            with self._screen.following(lambda: follower.run, lambda: follower.away):
                run = await follower.until(on_hold)
            if on_hold(run):
                await reviewer.decide(follower)

    async def print_result(self, message: bytes, api: Api, *, as_json: bool) -> bool:
        """Print the completion as JSON, or the report. Return False if the run ended without a report."""
        ended = msgspec.json.decode(envelope.unwrap(envelope.HEADERS, message).data, type=RunCompleted)
        if as_json:
            self._terminal.write(message)
        elif ended.report or ended.report_sha256:
            self._terminal.say("")
            self._terminal.print_report(ended.report or await api.report(ended.run_id))
        if not ended.ok and not self._is_end_shown:
            self._terminal.say(f"The run ended without a report, {ended.outcome}: {ended.reason}")
        return ended.ok

    def _print_way_back(self, run: Run) -> None:
        """Print where the unfinished run is, and the commands that show it or decide on it."""
        if not self._is_own:
            text = f"The run goes on without this terminal. To see it: dossier watch{self._options} {run.id}"
            self._terminal.say(f"\n{text}")
            return
        state, then = ("is safe on hold", "approve") if on_hold(run) else ("is safe", "watch")
        self._terminal.say(f"\nRun {run.id} {state} in {self._setup.folder.path}.")
        self._terminal.say(f"To go on: dossier up{self._options}, then: dossier {then}{self._options} {run.id}")
