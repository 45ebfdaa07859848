"""Review of a run on hold at the terminal: show the evidence, ask for a decision, send it."""

import asyncio
import math
from typing import Final

from msgspec import Struct

from services.cli.commands.decide import cost_limit
from services.cli.render import pages
from services.cli.render.progress import on_hold
from services.cli.shell.api import Api, Away, Refused, Verdict
from services.cli.shell.follow import Follower
from services.cli.shell.terminal import Terminal, user_name
from shared.contracts.facts import DecisionExpired
from shared.domain.budget import over_budget
from shared.domain.run import Run

_DECIDE: Final = "Approve this evidence, and have the report written, or send it back (r) for more? [y/n/r] "
_REASON: Final = "Why not? (optional) "
_FEEDBACK: Final = "What is missing, or too much? "
_LIMIT: Final = "What may the run cost in all, in US dollars? "
_RETRIED: Final = ("over_budget", "last_round", "invalid_field")
"""Codes of refusals after which another decision on the same hold can succeed."""
_RETRY_S: Final = 0.5


class Decision(Struct, frozen=True):
    """A decision on the evidence of a hold. A revision has `feedback`, the others a `comment`."""

    verdict: Verdict
    comment: str = ""
    feedback: str = ""
    max_cost_usd: float | None = None

    @property
    def fields(self) -> dict[str, object]:
        """Fields of the API's request besides the verdict."""
        words = {"feedback": self.feedback} if self.verdict == "revise" else {"comment": self.comment}
        return words | cost_limit(self.max_cost_usd)


class Reviewer:
    """Brings runs on hold to a decision: by a prompt, by `--yes`, or by waiting for a decision made elsewhere."""

    def __init__(self, api: Api, terminal: Terminal, *, yes: bool, approve_with: str) -> None:
        self._api = api
        self._terminal = terminal
        self._yes = yes
        self._approve_with = approve_with

    async def decide(self, follower: Follower) -> None:
        """Return when the present hold of the run is over. If nothing is decided here, print how to approve, and wait.

        After a refusal that another decision can avoid, the prompt is repeated.
        """
        run = follower.run
        while _is_same_hold(run, follower.run):
            decision = await self._decision(run, follower)
            if decision and await self._is_settled(run, decision):
                break
            if (decision is None or self._yes) and _is_same_hold(run, follower.run):
                self._terminal.say(f"To approve: {self._approve_with} {run.id}")
                break
        await follower.until(lambda now: not _is_same_hold(run, now))

    async def _decision(self, run: Run, follower: Follower) -> Decision | None:
        """The decision on the evidence of `run`; `None` without a terminal, or if the hold ends during the prompt."""
        if self._yes:
            return Decision("approve")
        if not self._terminal.interactive:
            return None
        self._terminal.err.print("", pages.evidence(run), "", sep="\n")
        prompting = asyncio.create_task(prompt(self._terminal, run))
        ending = asyncio.create_task(follower.until(lambda now: not _is_same_hold(run, now)))
        try:
            await asyncio.wait({prompting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if prompting.done():
                return prompting.result()
        finally:
            for task in (prompting, ending):
                task.cancel()
            await asyncio.wait({prompting, ending})
        self._terminal.say(f"\n{_end_of_hold(follower.run)}")
        return None

    async def _is_settled(self, run: Run, decision: Decision) -> bool:
        """Send the decision on the evidence of `run`, again every 0.5 s while the API fails. Print a refusal.

        Return False after a refusal that another decision can avoid.
        """
        digest = run.current.hold.fact.digest if run.current.hold else None
        while True:
            try:
                await self._api.decide(decision.verdict, run.id, by=user_name(), digest=digest, fields=decision.fields)
                return True
            except Away:
                await asyncio.sleep(_RETRY_S)
            except Refused as refused:
                if refused.problem.status < 500:
                    self._terminal.say(str(refused))
                    return refused.problem.code not in _RETRIED
                await asyncio.sleep(_RETRY_S)


async def prompt(terminal: Terminal, run: Run) -> Decision | None:
    """Ask for a decision until an answer is one. `None` at the end of the input.

    An approval over budget also asks for a new cost limit. An empty answer to a further question repeats the first.
    """
    while (answer := await terminal.ask(_DECIDE)) is not None:
        match answer.lower():
            case "y" | "yes" if over_budget(run):
                if usd := await _prompt_usd(terminal):
                    return Decision("approve", max_cost_usd=usd)
            case "y" | "yes":
                return Decision("approve")
            case "n" | "no":
                return Decision("reject", await terminal.ask(_REASON) or "")
            case "r" | "revise":
                if feedback := await terminal.ask(_FEEDBACK):
                    return Decision("revise", feedback=feedback)
            case _:
                pass
    terminal.say("")
    return None


async def _prompt_usd(terminal: Terminal) -> float | None:
    """Ask for an amount until it is finite and above 0, with or without `$`. `None` for an empty answer."""
    while answer := await terminal.ask(_LIMIT):
        try:
            usd = float(answer.lstrip("$"))
        except ValueError:
            usd = math.nan
        if math.isfinite(usd) and usd > 0:
            return usd
        terminal.say(f"{answer!r} is not an amount in US dollars above 0, such as 2.50.")
    return None


def _is_same_hold(run: Run, now: Run) -> bool:
    """Return True if the run is on hold now, in the round in which `run` shows it."""
    return on_hold(now) and now.round == run.round


def _end_of_hold(run: Run) -> str:
    """The reason, as a sentence, why the hold takes no decision any more."""
    if run.completed and run.current.decision is None:
        return "The run has ended."
    if run.current.decision and isinstance(run.current.decision.fact, DecisionExpired):
        return "The deadline of the hold has passed."
    return "The run was decided elsewhere."
