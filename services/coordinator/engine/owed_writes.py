"""Collects the writes of the leading coordinator: answers to contract messages, and facts that runs are owed."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Final

from services.coordinator.engine.fold import Fold
from services.coordinator.engine.frontier import Frontier
from services.coordinator.engine.pending import PendingMessage
from shared.contracts.facts import RequestRefused
from shared.domain.decisions import Accept, Duplicate, Reject
from shared.domain.encoding import PendingWrite, encode_fact, encode_refusal
from shared.domain.fork import copy_fact
from shared.domain.inbound import Defaults, Inbound, decide_inbound, refusal_fact
from shared.domain.owed import Owed, owed
from shared.domain.run import Run
from shared.runtime import clock

BATCH: Final = 1_000
"""Runs, and contract messages, that are looked at in one turn."""
_MESSAGE_FIRST_S: Final = 0.5
"""When to look again at a run whose decision by rule waits for a contract message about it."""


class OwedWrites:
    """Decides by the fold, at the frontier's proven time. Takes runs from `fold.touched` and drops settled messages."""

    def __init__(self, fold: Fold, frontier: Frontier, defaults: Defaults) -> None:
        self._fold = fold
        self._frontier = frontier
        self._defaults = defaults

    def collect(self) -> list[PendingWrite]:
        """The next writes: answers to at most `BATCH` messages, then the facts owed to at most `BATCH` touched runs.

        Runs that are owed nothing yet are scheduled in the fold. A run with a message to be answered is left out.
        """
        answering: set[str] = set()
        return [*self._answers(answering), *self._owed_facts(answering)]

    def _answers(self, answering: set[str]) -> Iterator[PendingWrite]:
        """An answer to the first pending contract message of each run; adds the runs to `answering`.

        Later messages of a run, and forks of it, wait until that answer is recorded. Drops duplicates.
        """
        for waiting in self._oldest():
            message, inbound = waiting.message, waiting.content
            if isinstance(inbound, RequestRefused):
                yield encode_refusal(inbound, time=clock.now())
                continue
            is_blocked = inbound.run in answering or inbound.forks in answering
            answering.add(inbound.run)
            if is_blocked:
                continue
            source = self._fold.run(inbound.forks) if inbound.forks else None
            match decide_inbound(inbound, self._fold.run(inbound.run), self._defaults, source=source):
                case Duplicate():
                    self._fold.pending.drop(message.seq)
                case Reject() as why:
                    yield encode_refusal(refusal_fact(message.subject, message.seq, inbound.run, why), time=clock.now())
                case Accept(slot=slot, fact=fact):
                    yield encode_fact(slot, fact, self._trace(inbound), time=clock.now(), answers=message.seq)

    def _oldest(self) -> list[PendingMessage]:
        """The oldest pending messages; saves first if those at hand are used up, so that more are loaded."""
        inbox = self._fold.pending
        if inbox and not inbox.oldest(1):
            self._fold.save()
        return inbox.oldest(BATCH)

    def _trace(self, inbound: Inbound) -> str | None:
        """Trace of a request's publisher; for a decision, that of its run."""
        if not inbound.verb:
            return inbound.trace
        return run.traceparent if (run := self._fold.run(inbound.run)) else None

    def _owed_facts(self, answering: set[str]) -> Iterator[PendingWrite]:
        """Facts owed to touched runs, except for those in `answering`: a recorded answer may change it."""
        looked = list(islice((run_id for run_id in self._fold.touched if run_id not in answering), BATCH))
        for run_id in looked:
            del self._fold.touched[run_id]
            if run := self._fold.run(run_id):
                yield from self._owed_to(run)

    def _owed_to(self, run: Run) -> Iterator[PendingWrite]:
        """Facts owed to one run now; schedules the run in the fold if there are none."""
        due = self._due(run)
        if not due:
            self._fold.schedule(run.id, due.wake_at)
        for slot, fact in due.facts:
            yield encode_fact(slot, fact, run.traceparent, time=clock.now(), run=run)
        for copy in due.copies:
            fact = copy_fact(copy, self._fold.run(copy.origin.run))
            yield encode_fact(copy.slot, fact, run.traceparent, time=clock.now(), run=run)

    def _due(self, run: Run) -> Owed:
        """Facts owed to the run; a decision by rule is put off while a contract message about the run is pending."""
        proven = self._frontier.proven
        due = owed(run, proven, self._defaults.writer, self._defaults.rules)
        if not self._fold.pending.may_concern(run.id) or all(slot.name != "decision" for slot, _ in due.facts):
            return due
        return Owed(wake_at=proven + timedelta(seconds=_MESSAGE_FIRST_S))
