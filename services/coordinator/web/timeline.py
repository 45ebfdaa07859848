"""A run as a waterfall: each step's attempts, how long they waited and worked, and the wait for the person. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

from msgspec import Struct

from services.coordinator.web.wording import count
from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    DecisionApproved,
    FetchFailed,
    FetchFound,
    PlanFailed,
    PlanMade,
    SynthesisFailed,
    SynthesisWritten,
)
from shared.contracts.subjects import Step
from shared.domain.owed import attempt_of
from shared.domain.run import Box, Round, Run
from shared.domain.steps import open_steps

_WAIT_SHARE: Final = 0.14
"""What a wait for a person takes of the width, however long it was: else nothing else could be seen beside it."""

State = Literal["waits", "works", "done", "failed", "held"]


class Attempt(Struct, frozen=True):
    """One attempt of a step: asked for at `issued`, ended at `ended` where it has, after `worked` of work if known."""

    number: int
    issued: datetime
    ended: datetime | None = None
    worked: timedelta | None = None
    error: Failure | None = None

    @property
    def began(self) -> datetime:
        """When work on it began, as far as is known; else when it was asked for."""
        return max(self.issued, self.ended - self.worked) if self.ended and self.worked is not None else self.issued

    @property
    def queued(self) -> timedelta | None:
        """How long it waited for a worker: from when it was asked for until work on what filled its box began."""
        return self.began - self.issued if self.ended and self.worked is not None else None


class Line(Struct, frozen=True):
    """One line of the waterfall. `key` names it within the run, as in `fetch.1.0`."""

    key: str
    name: str
    state: State
    begins: datetime
    ends: datetime | None
    attempts: tuple[Attempt, ...] = ()
    text: str = ""
    """What was asked for, in short."""
    brought: str = ""
    """What came of it, in short."""
    error: Failure | None = None
    next_try: datetime | None = None
    """When the step's own next attempt may begin, where it waits for that."""


BarKind = Literal["queue", "work", "failed", "wait", "open"]


class Bar(Struct, frozen=True):
    """A piece of a line as it is drawn, from `x` on, `width` wide; both of 100.

    `open` is an attempt without an end, of which nobody knows yet how much of it is work.
    """

    kind: BarKind
    x: float
    width: float


def lines(run: Run) -> list[Line]:
    """Every step that has begun, and each wait for a decision, in order."""
    return [line for number in sorted(run.rounds) for line in _lines_of(run, number)]


def bars(drawn: Sequence[Line], run: Run, now: datetime) -> dict[str, list[Bar]]:
    """Where to draw each line, by its key."""
    scale = _Scale(run, drawn, now)
    return {line.key: list(_bars(line, scale, now)) for line in drawn}


def _lines_of(run: Run, number: int) -> Iterator[Line]:
    round_ = run.in_round(number)
    yield from _line(run, Step(run.id, "plan", number), "Plan", round_.plan)
    for index, query in enumerate(run.queries(number)):
        yield from _line(run, Step(run.id, "fetch", number, index), query, round_.fetches.get(index))
    if round_.hold:
        ended = round_.decision or run.completed
        yield Line(
            key=f"hold.{number}",
            name="Decision",
            state="done" if round_.decision else "held" if not run.completed else "failed",
            begins=round_.hold.at,
            ends=max(ended.at, round_.hold.at) if ended else None,
            text=f"Round {number}" if run.round > 1 else "",
            brought=_decided(round_),
        )
    yield from _line(run, Step(run.id, "synthesize", number), "Report", round_.synthesis)


_Outcome = PlanMade | PlanFailed | FetchFound | FetchFailed | SynthesisWritten | SynthesisFailed


def _line(
    run: Run,
    step: Step,
    name: str,
    outcome: Box[PlanMade | PlanFailed]
    | Box[FetchFound | FetchFailed]
    | Box[SynthesisWritten | SynthesisFailed]
    | None,
) -> Iterator[Line]:
    """The line of a step, where it has begun."""
    round_ = run.in_round(step.round)
    attempts = tuple(_attempts(round_, step, outcome))
    if not attempts and outcome is None:
        return
    fact = outcome.fact if outcome else None
    error = fact.error if isinstance(fact, PlanFailed | FetchFailed | SynthesisFailed) else None
    waits = bool(attempts) and attempts[-1].error is not None and outcome is None
    first = attempts[0].issued if attempts else outcome.at if outcome else None
    assert first
    yield Line(
        key=step.outcome.path,
        name=name,
        state="failed" if error else "done" if outcome else "waits" if waits else "works",
        begins=first,
        ends=outcome.at if outcome else None,
        attempts=attempts,
        brought=_brought(fact),
        error=error or (attempts[-1].error if waits else None),
        next_try=attempt_of(round_, step).due if waits and step in open_steps(run) else None,
    )


def _attempts(
    round_: Round,
    step: Step,
    outcome: Box[PlanMade | PlanFailed]
    | Box[FetchFound | FetchFailed]
    | Box[SynthesisWritten | SynthesisFailed]
    | None,
) -> Iterator[Attempt]:
    number = 1
    while issued := round_.issued.get(step.task(number).path):
        failed = round_.attempts.get(step.task(number).path)
        if failed:
            worked = timedelta(seconds=failed.fact.duration_s)
            yield Attempt(number, issued.at, max(failed.at, issued.at), worked, failed.fact.error)
        else:
            ended = max(outcome.at, issued.at) if outcome else None
            seconds = outcome.fact.duration_s if outcome else None
            yield Attempt(number, issued.at, ended, None if seconds is None else timedelta(seconds=seconds))
        number += 1


def _brought(fact: _Outcome | None) -> str:
    match fact:
        case PlanMade(queries=queries):
            return count(len(queries), "sub-query", "sub-queries")
        case FetchFound(sources=sources):
            return count(len(sources), "source")
        case SynthesisWritten(report=report):
            return count(sum(len(section.claims) for section in report.sections), "claim")
        case _:
            return ""


def _decided(round_: Round) -> str:
    if round_.decision is None:
        return ""
    fact = round_.decision.fact
    word = type(fact).__struct_config__.tag
    assert isinstance(word, str)
    verb = word.split(".")[1]
    if verb == "revised":
        verb = "sent back"
    return f"{verb} by {fact.by}" if isinstance(fact, DecisionApproved) or verb != "expired" else "expired"


class _Scale:
    """Time to width. Every wait for a person has the same width; what is left is shared by the time of the rest."""

    def __init__(self, run: Run, drawn: Iterable[Line], now: datetime) -> None:
        begins = [line.begins for line in drawn] + ([run.accepted.at] if run.accepted else [])
        ends = [line.ends or now for line in drawn] + ([run.completed.at] if run.completed else [])
        start, end = min(begins, default=now), max(ends, default=now)
        waits = sorted((line.begins, line.ends or now) for line in drawn if line.key.startswith("hold."))
        marks = [start, *(mark for wait in waits for mark in wait), max(end, start)]
        self._marks = [max(mark, marks[0]) for mark in marks]
        lengths = [max(0.0, (after - before).total_seconds()) for before, after in pairwise(marks)]
        work = sum(lengths[::2]) or 1.0
        left = 1 - _WAIT_SHARE * len(waits)
        self._widths = [left * length / work if n % 2 == 0 else _WAIT_SHARE for n, length in enumerate(lengths)]
        self._lengths = lengths

    def x(self, moment: datetime) -> float:
        """Where a moment is, of 100."""
        at = 0.0
        for begin, length, width in zip(self._marks, self._lengths, self._widths, strict=False):
            passed = (moment - begin).total_seconds()
            at += width * min(1.0, max(0.0, passed / length if length else float(passed > 0)))
        return round(100 * at, 2)


def _bars(line: Line, scale: _Scale, now: datetime) -> Iterator[Bar]:
    if not line.attempts:
        kind = "wait" if line.key.startswith("hold.") else "work"
        yield _bar(kind, line.begins, line.ends or now, scale)
    for attempt in line.attempts:
        if attempt.began > attempt.issued:
            yield _bar("queue", attempt.issued, attempt.began, scale)
        failed = attempt.error is not None or (line.error is not None and attempt is line.attempts[-1])
        kind = "failed" if failed else "work" if attempt.ended else "open"
        yield _bar(kind, attempt.began, attempt.ended or now, scale)


def _bar(kind: BarKind, begin: datetime, end: datetime, scale: _Scale) -> Bar:
    x = scale.x(begin)
    return Bar(kind, x, max(0.4, round(scale.x(end) - x, 2)))
