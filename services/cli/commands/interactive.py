"""A run on hold before a person: the evidence, the question, the decision."""

import asyncio
from typing import Final, Literal

from msgspec import Struct

from services.cli.commands.decide import cost_limit
from services.cli.render import pages
from services.cli.render.progress import on_hold
from services.cli.shell.api import Api, Away, Refused
from services.cli.shell.follow import Follower
from services.cli.shell.terminal import Terminal, user_name
from shared.contracts.facts import DecisionExpired
from shared.domain.budget import over_budget
from shared.domain.run import Run

_DECIDE: Final = "Approve this evidence, and have the report written, or send it back (r) for more? [y/n/r] "
_WHY: Final = "Why not? (optional) "
_MORE: Final = "What is missing, or too much? "
_LIMIT: Final = "What may the run cost in all, in US dollars? "
_ASK_AGAIN: Final = ("over_budget", "last_round", "invalid_field")
"""Codes of refusals after which the person can still say something else."""
_AGAIN_S: Final = 0.5


class Ruling(Struct, frozen=True):
    """What a person says to the evidence, and why; of what is sent back, `feedback` says what for."""

    verb: Literal["approve", "reject", "revise"]
    comment: str = ""
    feedback: str = ""
    max_cost_usd: float | None = None

    @property
    def fields(self) -> dict[str, object]:
        """The fields of the API's request besides the verdict."""
        words = {"feedback": self.feedback} if self.verb == "revise" else {"comment": self.comment}
        return words | cost_limit(self.max_cost_usd)


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
        while _on_the_same_hold(run, follower.run):
            ruling = await self._ruling(run, follower)
            if ruling and await self._taken(run, ruling):
                break
            if (ruling is None or self._yes) and _on_the_same_hold(run, follower.run):
                self._terminal.say(f"To approve: {self._approve_with} {run.id}")
                break
        await follower.until(lambda now: not _on_the_same_hold(run, now))

    async def _ruling(self, run: Run, follower: Follower) -> Ruling | None:
        """What is decided here on `run` as it is shown; `None` for nothing."""
        if self._yes:
            return Ruling("approve")
        if not self._terminal.interactive:
            return None
        self._terminal.err.print("", pages.evidence(run), "", sep="\n")
        answering = asyncio.create_task(self._answer(run))
        elsewhere = asyncio.create_task(follower.until(lambda now: not _on_the_same_hold(run, now)))
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

    async def _answer(self, run: Run) -> Ruling | None:
        while (answer := await self._terminal.ask(_DECIDE)) is not None:
            match answer.lower():
                case "y" | "yes" if over_budget(run):
                    if most := _dollars(await self._terminal.ask(_LIMIT)):
                        return Ruling("approve", max_cost_usd=most)
                case "y" | "yes":
                    return Ruling("approve")
                case "n" | "no":
                    return Ruling("reject", await self._terminal.ask(_WHY) or "")
                case "r" | "revise":
                    if feedback := await self._terminal.ask(_MORE):
                        return Ruling("revise", feedback=feedback)
                case _:
                    pass
        self._terminal.say("")
        return None

    async def _taken(self, run: Run, ruling: Ruling) -> bool:
        """Send the decision on what was shown; whether there is one now. Somebody else's that was first is told."""
        digest = run.current.hold.fact.digest if run.current.hold else None
        while True:
            try:
                await self._api.decide(ruling.verb, run.id, by=user_name(), digest=digest, fields=ruling.fields)
                return True
            except Away:
                await asyncio.sleep(_AGAIN_S)
            except Refused as refused:
                if refused.problem.status < 500:
                    self._terminal.say(str(refused))
                    return refused.problem.code not in _ASK_AGAIN
                await asyncio.sleep(_AGAIN_S)


def _on_the_same_hold(run: Run, now: Run) -> bool:
    """Whether `run`, on hold when it was shown, still is, and in no later round."""
    return on_hold(now) and now.round == run.round


def _dollars(answer: str | None) -> float | None:
    try:
        return float((answer or "").lstrip("$"))
    except ValueError:
        return None


def _overtaken(run: Run) -> str:
    """Why there is nothing to answer any more."""
    if run.completed and run.current.decision is None:
        return "The run has ended."
    if run.current.decision and isinstance(run.current.decision.fact, DecisionExpired):
        return "The time to decide is over."
    return "The run was decided elsewhere."
