"""A run on hold before a person: the evidence, the question, the decision."""

import asyncio
from typing import Final, Literal

from msgspec import Struct

from services.cli import pages
from services.cli.api import Api, Away, Refused
from services.cli.following import Follower
from services.cli.progress import on_hold
from services.cli.terminal import Terminal, user_name
from services.coordinator.run import Run
from shared.contracts.facts import DecisionExpired

_DECIDE: Final = "Approve this evidence, and have the report written? [y/n] "
_WHY: Final = "Why not? (optional) "
_AGAIN_S: Final = 0.5


class Ruling(Struct, frozen=True):
    """What a person says to the evidence, and why."""

    verb: Literal["approve", "reject"]
    comment: str = ""


class Reviewer:
    """Brings a run on hold to its decision: by asking, by `--yes`, or by waiting for somebody else's."""

    def __init__(self, api: Api, terminal: Terminal, *, yes: bool, approve_with: str) -> None:
        self._api = api
        self._terminal = terminal
        self._yes = yes
        self._approve_with = approve_with

    async def decide(self, follower: Follower) -> None:
        """Return when the run is decided, by whomever."""
        run = follower.run
        if ruling := await self._ruling(follower):
            await self._rule(run, ruling)
        elif on_hold(follower.run):
            self._terminal.say(f"To approve: {self._approve_with} {run.id}")
        await follower.until(lambda run: not on_hold(run))

    async def _ruling(self, follower: Follower) -> Ruling | None:
        """What is decided here; `None` for nothing."""
        if self._yes:
            return Ruling("approve")
        if not self._terminal.interactive:
            return None
        self._terminal.err.print("", pages.evidence(follower.run), "", sep="\n")
        answering = asyncio.create_task(self._answer())
        elsewhere = asyncio.create_task(follower.until(lambda run: not on_hold(run)))
        try:
            await asyncio.wait({answering, elsewhere}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
        finally:
            for task in (answering, elsewhere):
                task.cancel()
            await asyncio.wait({answering, elsewhere})
        self._terminal.say(f"\n{_overtaken(follower.run)}")
        return None

    async def _answer(self) -> Ruling | None:
        while (answer := await self._terminal.ask(_DECIDE)) is not None:
            match answer.lower():
                case "y" | "yes":
                    return Ruling("approve")
                case "n" | "no":
                    return Ruling("reject", await self._terminal.ask(_WHY) or "")
                case _:
                    pass
        self._terminal.say("")
        return None

    async def _rule(self, run: Run, ruling: Ruling) -> None:
        """Send the decision on what was shown. Somebody else's that was first is told, not an error."""
        digest = run.current.hold.fact.digest if run.current.hold else None
        while True:
            try:
                await self._api.rule(ruling.verb, run.id, by=user_name(), comment=ruling.comment, digest=digest)
                return
            except Away:
                await asyncio.sleep(_AGAIN_S)
            except Refused as refused:
                if refused.problem.status < 500:
                    self._terminal.say(str(refused))
                    return
                await asyncio.sleep(_AGAIN_S)


def _overtaken(run: Run) -> str:
    """Why there is nothing to answer any more."""
    if run.completed and run.current.decision is None:
        return "The run has ended."
    if run.current.decision and isinstance(run.current.decision.fact, DecisionExpired):
        return "The time to decide is over."
    return "The run was decided elsewhere."
