"""State of a run: write-once slots, and `evolve`, which fills them from facts. Pure.

Folding is commutative and idempotent: a full slot changes only if a fact with a lower sequence turns up, for that one
was first. So the same facts in any order, any number of times, give the same run.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, TypeVar, assert_never, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.evidence import Call, Finding, Usage, usage_of
from shared.contracts.facts import (
    AttemptFailed,
    Decision,
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
    FetchFailed,
    FetchFound,
    FetchOutcome,
    HoldExtended,
    HoldFact,
    HoldOpened,
    Outcome,
    PlanFailed,
    PlanMade,
    PlanOutcome,
    RunAccepted,
    RunCompleted,
    StepOutcome,
    SynthesisFailed,
    SynthesisOutcome,
    SynthesisWritten,
    TaskIssued,
    VoteCast,
    calls_of,
    finding_of,
)
from shared.contracts.subjects import Slot, Step

FOLD_VERSION: Final = 7
"""Raised with every change to the data that `evolve` or the projection keeps, also for a new slot: facts that parked
runs before are then read anew. Projections of another version are rebuilt from the log."""

Stage = str
F = TypeVar("F")


class UnknownFact(Struct, frozen=True, tag="unknown"):
    """A fact that this release does not know. It parks its run until a release that knows it takes over."""

    reason: str


class Recorded(Struct, frozen=True):
    """One stored fact: its place, its time, and the SHA-256 of its bytes if it is part of the digest, else empty.

    `stored_at` is the server's time; for a fact that this process has just written, the time that it assumes.
    """

    slot: Slot
    seq: int
    stored_at: datetime
    sha256: str
    fact: Fact | UnknownFact
    time: datetime
    traceparent: str | None = None


class Entry(Struct, Generic[F], frozen=True):
    """A full slot: its sequence in the log, when it was written, the SHA-256 of its bytes or empty, and the fact."""

    seq: int
    at: datetime
    sha256: str
    fact: F


class Round(Struct, frozen=True):
    """Slots of one round.

    `fetches` by sub-query, `extensions` by number, `votes` by voter, `issued` and `attempts` by the path of the task.
    """

    plan: Entry[PlanOutcome] | None = None
    fetches: dict[int, Entry[FetchOutcome]] = {}
    hold: Entry[HoldOpened] | None = None
    extensions: dict[int, Entry[HoldExtended]] = {}
    votes: dict[str, Entry[VoteCast]] = {}
    decision: Entry[Decision] | None = None
    synthesis: Entry[SynthesisOutcome] | None = None
    issued: dict[str, Entry[None]] = {}
    attempts: dict[str, Entry[AttemptFailed]] = {}

    def valid_extensions(self) -> list[Entry[HoldExtended]]:
        """Extensions that moved the deadline, by sequence.

        One stored at or after the deadline before it is left out.
        """
        until = self.hold.fact.deadline if self.hold else None
        counted: list[Entry[HoldExtended]] = []
        for box in sorted(self.extensions.values(), key=lambda box: box.seq):
            if until and box.at < until < box.fact.deadline:
                counted.append(box)
                until = box.fact.deadline
        return counted

    @property
    def deadline(self) -> datetime | None:
        """Deadline of the hold, valid extensions included; `None` without a hold."""
        if self.extensions and (extended := self.valid_extensions()):
            return extended[-1].fact.deadline
        return self.hold.fact.deadline if self.hold else None


EMPTY_ROUND: Final = Round()


class Run(Struct, frozen=True):
    """State of one run. `seq` is the sequence of its newest fact."""

    id: str
    seq: int = 0
    accepted: Entry[RunAccepted] | None = None
    rounds: dict[int, Round] = {}
    completed: Entry[RunCompleted] | None = None
    unknown: Entry[str] | None = None
    traceparent: str | None = None

    @property
    def round(self) -> int:
        """Number of the current round: 1, and one more for each consecutive revision."""
        number, rounds = 1, self.rounds
        while (at := rounds.get(number)) and (decision := at.decision) and isinstance(decision.fact, DecisionRevised):
            number += 1
        return number

    def in_round(self, number: int) -> Round:
        """Slots of a round; all empty if it has not begun."""
        return self.rounds.get(number, EMPTY_ROUND)

    @property
    def current(self) -> Round:
        """Slots of the current round."""
        return self.in_round(self.round)

    def findings(self) -> tuple[Finding, ...]:
        """Findings of all rounds, by round and sub-query."""
        return tuple(each for _, each in self.findings_by_round())

    def findings_by_round(self) -> Iterator[tuple[int, Finding]]:
        """Findings of all rounds with the number of their round, by round and sub-query.

        A finding without a query, as of an unreadable fetch, gets that of its sub-query.
        """
        for number in sorted(self.rounds):
            queries, fetches = self.queries(number), self.rounds[number].fetches
            for index in sorted(fetches):
                each = finding_of(fetches[index].fact)
                yield number, replace(each, query=queries[index]) if not each.query and index < len(queries) else each

    def queries(self, number: int) -> tuple[str, ...]:
        """Sub-queries of a round: the planned ones, then those that the reviewer before it added.

        Empty before its plan.
        """
        round_ = self.in_round(number)
        if round_.plan is None:
            return ()
        planned = round_.plan.fact.queries if isinstance(round_.plan.fact, PlanMade) else ()
        return (*planned, *(query for query in self.added(number) if query not in planned))

    def added(self, number: int) -> tuple[str, ...]:
        """Sub-queries that the revision of the round before added to this one."""
        decision = self.in_round(number - 1).decision
        return decision.fact.queries_add if decision and isinstance(decision.fact, DecisionRevised) else ()

    def dropped(self, number: int) -> set[str]:
        """Sub-queries that a revision of this round or of a later one dropped."""
        return {
            query
            for later, round_ in self.rounds.items()
            if later >= number and round_.decision and isinstance(round_.decision.fact, DecisionRevised)
            for query in round_.decision.fact.queries_drop
        }

    def calls(self) -> tuple[Call, ...]:
        """All recorded model calls, also those of failed attempts."""
        return tuple(call for fact in self._priced_facts() for call in calls_of(fact))

    def usage(self) -> Usage:
        """Usage and cost of the run so far."""
        total = Usage()
        for fact in self._priced_facts():
            total = total.plus(
                fact.usage if isinstance(fact, PlanMade | SynthesisWritten) else usage_of(calls_of(fact))
            )
        return total

    def usage_by(self, key: Callable[[Call], str]) -> dict[str, Usage]:
        """Usage so far by `key` of the calls (agent, model, …), sorted by that key."""
        calls: dict[str, list[Call]] = {}
        for call in self.calls():
            calls.setdefault(key(call), []).append(call)
        return {name: usage_of(calls[name]) for name in sorted(calls)}

    def _priced_facts(self) -> Iterator[PlanOutcome | SynthesisOutcome | AttemptFailed]:
        """Facts that carry model calls: failed attempts, plan and report of each round."""
        for _, round_ in sorted(self.rounds.items()):
            yield from (round_.attempts[path].fact for path in sorted(round_.attempts))
            yield from (box.fact for box in (round_.plan, round_.synthesis) if box)

    @property
    def status(self) -> Stage | Outcome:
        """Stage that the run is in (one of `OPEN`), or the outcome that it ended with."""
        if self.completed:
            return self.completed.fact.outcome
        if self.unknown:
            return "parked"
        round_ = self.current
        if round_.decision:
            return "writing"
        if round_.hold:
            return "hold"
        return "fetching" if round_.plan else "planning"


OPEN: Final = ("planning", "fetching", "hold", "writing", "parked")
"""Where a run stands that has not ended."""
STATUSES: Final = (*OPEN, *get_args(Outcome))


def evolve(run: Run, it: Recorded) -> Run:
    """Return the run with the fact in its slot; a full slot keeps the fact with the lower sequence. Never raises."""
    seq = max(run.seq, it.seq)
    fact = it.fact
    match fact:
        case RunAccepted():
            box = _earlier_entry(run.accepted, it, fact)
            trace = it.traceparent if box.seq == it.seq else run.traceparent
            return replace(run, seq=seq, accepted=box, traceparent=trace)
        case RunCompleted():
            return replace(run, seq=seq, completed=_earlier_entry(run.completed, it, fact))
        case UnknownFact(reason=reason):
            return replace(run, seq=seq, unknown=_earlier_entry(run.unknown, it, reason))
        case _:
            number = it.slot.round
            rounds = {**run.rounds, number: _evolve_round(run.in_round(number), it, fact)}
            return replace(run, seq=seq, rounds=rounds)


_InRound = TaskIssued | AttemptFailed | StepOutcome | HoldFact | Decision


def _evolve_round(round_: Round, it: Recorded, fact: _InRound) -> Round:
    """Return the round with the fact in its slot."""
    slot = it.slot
    match fact:
        case TaskIssued():
            return replace(round_, issued=_with_entry(round_.issued, slot.path, it, None))
        case AttemptFailed():
            path = Step(slot.run, slot.kind or "plan", slot.round, slot.index).task(slot.attempt).path
            return replace(round_, attempts=_with_entry(round_.attempts, path, _at_storage_time(it), fact))
        case PlanMade() | PlanFailed():
            return replace(round_, plan=_earlier_entry(round_.plan, it, fact))
        case FetchFound() | FetchFailed():
            return replace(round_, fetches=_with_entry(round_.fetches, slot.index, it, fact))
        case HoldOpened():
            return replace(round_, hold=_earlier_entry(round_.hold, it, fact))
        case HoldExtended():
            return replace(round_, extensions=_with_entry(round_.extensions, slot.index, _at_storage_time(it), fact))
        case VoteCast():
            return replace(round_, votes=_with_entry(round_.votes, slot.voter, it, fact))
        case DecisionApproved() | DecisionRejected() | DecisionRevised() | DecisionExpired():
            return replace(round_, decision=_earlier_entry(round_.decision, it, fact))
        case SynthesisWritten() | SynthesisFailed():
            return replace(round_, synthesis=_earlier_entry(round_.synthesis, it, fact))
        case _:
            assert_never(fact)


def _earlier_entry(box: Entry[F] | None, it: Recorded, fact: F) -> Entry[F]:
    """The entry, or a new one for the fact if there is none or its sequence is higher."""
    return box if box and box.seq <= it.seq else Entry(it.seq, it.time, it.sha256, fact)


K = TypeVar("K", int, str)


def _with_entry(boxes: dict[K, Entry[F]], key: K, it: Recorded, fact: F) -> dict[K, Entry[F]]:
    """Copy of the entries with the fact under `key`, unless an earlier one is there."""
    return {**boxes, key: _earlier_entry(boxes.get(key), it, fact)}


def _at_storage_time(it: Recorded) -> Recorded:
    """The fact with the time when the server stored it.

    Retries and extensions are judged by this time only, so that clocks of workers and coordinators do not matter.
    """
    return replace(it, time=it.stored_at)


def digest(run: Run) -> str:
    """SHA-256 in hex of the evidence of a decision: subjects and hashes of the request, all plans and all findings."""
    boxes = [(Slot(run.id, "accepted").subject, run.accepted.sha256)] if run.accepted else []
    for number, round_ in run.rounds.items():
        if round_.plan:
            boxes.append((Slot(run.id, "plan", number).subject, round_.plan.sha256))
        for index, box in round_.fetches.items():
            boxes.append((Slot(run.id, "fetch", number, index).subject, box.sha256))
    lines = "".join(f"{subject} {hash_}\n" for subject, hash_ in sorted(boxes))
    return sha256(lines.encode()).hexdigest()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Run)


def pack(run: Run) -> bytes:
    """The run as the projection stores it."""
    return _encoder.encode(run)


def unpack(data: bytes) -> Run:
    """The run that `pack` stored. Raises `msgspec.MsgspecError` for bytes of another form."""
    return _decoder.decode(data)
