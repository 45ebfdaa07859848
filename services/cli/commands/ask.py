"""`dossier ask`: from a question to its report, before one's eyes."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Final

import msgspec
import typer
from msgspec import Struct

from services.cli.commands.review import Reviewer
from services.cli.render.progress import on_hold
from services.cli.render.screen import Screen
from services.cli.shell import settings
from services.cli.shell.api import Api
from services.cli.shell.command import command
from services.cli.shell.folder import Folder, Running
from services.cli.shell.follow import Follower
from services.cli.shell.options import ApiUrl, Data, Docs, Json, MaxCost, Nats
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.request import Inquiry
from services.cli.shell.setup import Setup
from services.cli.shell.terminal import Terminal, user_name
from services.cli.supervisor.supervisor import found, supervised
from shared.contracts import envelope
from shared.contracts.facts import RunCompleted
from shared.contracts.requests import Request, check_request
from shared.domain.run import Run
from shared.errors import InvalidMessage
from shared.runtime import clock

_HEARD_WITHIN_S: Final = 2.0
"""After the API has said that a run ended: how long its message may take before it is read from the log."""


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
    return await Asking(asked, terminal).ask()


class Question(Struct, frozen=True):
    """What to ask, and how: of the Dossier `elsewhere`, else of the one in the folder of `setup`, running or not.

    `options` are what the next command needs to mean the same Dossier.
    """

    q: str
    setup: Setup
    approval_timeout: str | None = None
    max_cost_usd: float | None = None
    yes: bool = False
    as_json: bool = False
    elsewhere: Running | None = None
    options: str = ""
    key: Callable[[Running], str | None] = lambda _: None
    """What to show to the API of that Dossier."""

    def request(self, run_id: str) -> Request:
        """The contract message. Raises `Refusal` for what cannot be asked."""
        request = Request(
            q=self.q,
            run_id=run_id,
            approval_timeout=self.approval_timeout,
            max_cost_usd=self.max_cost_usd,
            requested_by=user_name(),
        )
        try:
            check_request(request)
        except InvalidMessage as error:
            raise Refusal(str(error), code=MISUSED) from error
        return request


class Asking:
    """One question on its way."""

    def __init__(self, question: Question, terminal: Terminal) -> None:
        self._question = question
        self._terminal = terminal
        self._screen = Screen(terminal)
        self._own = False

    async def ask(self) -> bool:
        """Ask, follow, have it decided, and give the report; whether there is one."""
        request = self._question.request(clock.uuid7())
        async with AsyncExitStack() as stack:
            running = await self._somewhere(stack)
            api = await stack.enter_async_context(Api.open(running.api, self._question.key(running)))
            inquiry = await stack.enter_async_context(
                Inquiry.open(running.nats, request, self._question.setup.identity)
            )
            seq = await self._publish(api, inquiry, request)
            self._terminal.say(self._heading(request))
            follower = Follower(api, inquiry.run_id, since=seq, changed=self._screen.changed)
            stack.push_async_callback(follower.close)
            try:
                message = await self._completion(inquiry, follower, api)
            except asyncio.CancelledError:
                self._leave(follower.run)
                raise
            return await self._give(message, api, told=follower.run.completed is not None)

    async def _publish(self, api: Api, inquiry: Inquiry, request: Request) -> int:
        """Ask; the request's place in the log. With a key over HTTP, so that it is known who asks."""
        if not api.has_own_key:
            return await inquiry.publish()
        seq = await api.ask(request)
        inquiry.published(seq)
        return seq

    async def _somewhere(self, stack: AsyncExitStack) -> Running:
        """A Dossier that answers: the one that was named, the one that runs here, or one of our own."""
        question = self._question
        if question.elsewhere:
            return question.elsewhere
        if running := await found(question.setup.folder):
            if question.setup.docs:
                raise Refusal(
                    f"Dossier runs in {question.setup.folder.path} already and searches its own documents; "
                    "leave out --docs, or stop it first.",
                    code=MISUSED,
                )
            return running
        self._own = True
        supervisor = await stack.enter_async_context(supervised(question.setup, lambda _: None))
        with self._screen.busy(lambda: f"Starting Dossier, waiting for {supervisor.missing}"):
            await supervisor.start()
        return supervisor.running

    async def _completion(self, inquiry: Inquiry, follower: Follower, api: Api) -> bytes:
        """The message that ends the run, however it is heard of: from NATS, or from the API and then the log."""
        reviewer = Reviewer(
            api,
            self._terminal,
            yes=self._question.yes,
            approve_with=f"dossier approve{self._question.options}",
        )
        seeing = asyncio.create_task(self._see(follower, reviewer))
        try:
            await asyncio.wait({seeing, inquiry.completion, inquiry.refusal}, return_when=asyncio.FIRST_COMPLETED)
            if inquiry.refusal.done():
                raise Refusal(inquiry.refusal.result())
            await asyncio.wait({seeing}, timeout=_HEARD_WITHIN_S)
        finally:
            seeing.cancel()
            await asyncio.wait({seeing})
        if not seeing.cancelled():
            seeing.result()
        await asyncio.wait({inquiry.completion}, timeout=_HEARD_WITHIN_S)
        return inquiry.completion.result() if inquiry.completion.done() else await inquiry.stored_completion()

    async def _see(self, follower: Follower, reviewer: Reviewer) -> None:
        """Show the run until it ends, with a stop at each hold."""
        while not follower.run.completed:
            with self._screen.following(lambda: follower.run, lambda: follower.away):
                run = await follower.until(on_hold)
            if on_hold(run):
                await reviewer.decide(follower)

    async def _give(self, message: bytes, api: Api, *, told: bool) -> bool:
        """Put out what was asked for; whether the run ended well."""
        inbound = envelope.unwrap(envelope.HEADERS, message)
        ended = msgspec.json.decode(inbound.data, type=RunCompleted)
        if self._question.as_json:
            self._terminal.write(message)
        elif ended.report or ended.report_sha256:
            self._terminal.say("")
            self._terminal.give(ended.report or await api.report(ended.run_id))
        if not ended.ok and not told:
            self._terminal.say(f"The run ended without a report, {ended.outcome}: {ended.reason}")
        return ended.ok

    def _leave(self, run: Run) -> None:
        """Say where the run is, to somebody who leaves before its end."""
        options = self._question.options
        what = "is safe on hold" if on_hold(run) else "is safe"
        if not self._own:
            self._terminal.say(f"\nThe run goes on without this terminal. To see it: dossier watch{options} {run.id}")
            return
        then = "approve" if on_hold(run) else "watch"
        self._terminal.say(f"\nRun {run.id} {what} in {self._question.setup.folder.path}.")
        self._terminal.say(f"To go on: dossier up{options}, then: dossier {then}{options} {run.id}")

    def _heading(self, request: Request) -> str:
        return f"{request.q.strip()}\n{request.run_id}"
