"""Timeline of a run: attempts of each step with their waits and work, and the waits for decisions. Pure."""

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
from shared.domain.run import Round, Run
from shared.domain.steps import StepState, open_steps, round_steps

_WAIT_SHARE: Final = 0.14
"""What a wait for a person takes of the width, however long it was: else nothing else could be seen beside it."""

State = Literal["waits", "works", "done", "failed", "held"]


class Attempt(Struct, frozen=True):
    """One attempt of a step: when its task was issued, when it ended, and the work in it; None if not known."""

    number: int
    issued: datetime
    ended: datetime | None = None
    worked: timedelta | None = None
    error: Failure | None = None

    @property
    def began(self) -> datetime:
        """Begin of the work: its end minus the time worked; the time of issue if either is not known."""
        return max(self.issued, self.ended - self.worked) if self.ended and self.worked is not None else self.issued

    @property
    def queued(self) -> timedelta | None:
        """Time from issue to begin of the work; None if that is not known."""
        return self.began - self.issued if self.ended and self.worked is not None else None


class Line(Struct, frozen=True):
    """One line of the timeline. `key` names it within the run, as in `fetch.1.0`."""

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
    """A part of a line, from `x`, `width` wide, in per cent of the whole width. `open` is an attempt that has not
    ended.
    """

    kind: BarKind
    x: float
    width: float


def timeline_lines(run: Run) -> list[Line]:
    """Lines of every step that has begun and of each hold, in order of rounds."""
    return [line for number in sorted(run.rounds) for line in _lines_of(run, number)]


def timeline_bars(drawn: Sequence[Line], run: Run, now: datetime) -> dict[str, list[Bar]]:
    """Bars of each line by its key; what has not ended lasts until `now`."""
    scale = _Scale(run, drawn, now)
    return {line.key: list(_bars(line, scale, now)) for line in drawn}


def _lines_of(run: Run, number: int) -> Iterator[Line]:
    """Lines of one round: plan, fetches, hold, report."""
    round_ = run.in_round(number)
    plan, *fetches, report = round_steps(run, number)
    yield from _line(run, plan, "Plan")
    for state, query in zip(fetches, run.queries(number), strict=True):
        yield from _line(run, state, query)
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
    yield from _line(run, report, "Report")


_Outcome = PlanMade | PlanFailed | FetchFound | FetchFailed | SynthesisWritten | SynthesisFailed


def _line(run: Run, step: StepState, name: str) -> Iterator[Line]:
    """The line of a step; none if it has not begun."""
    attempts, outcome = tuple(_attempts(step)), step.outcome
    first = attempts[0].issued if attempts else outcome.at if outcome else None
    if first is None:
        return
    last = step.last_failure if step.state == "waits" else None
    is_open = any(each.step == step.step for each in open_steps(run))
    yield Line(
        key=step.step.outcome.path,
        name=name,
        state=step.state,
        begins=first,
        ends=outcome.at if outcome else None,
        attempts=attempts,
        brought=_brought(outcome.fact if outcome else None),
        error=step.error or (last.fact.error if last else None),
        next_try=step.due if last and is_open else None,
    )


def _attempts(step: StepState) -> Iterator[Attempt]:
    """Attempts of a step in order. `outcome` ends the one that did not fail."""
    for attempt in step.attempts:
        issued, failed, number = attempt.issued, attempt.failed, attempt.slot.attempt
        if issued and failed:
            worked = timedelta(seconds=failed.fact.duration_s)
            yield Attempt(number, issued.at, max(failed.at, issued.at), worked, failed.fact.error)
        elif issued:
            ended = max(step.outcome.at, issued.at) if step.outcome else None
            seconds = step.outcome.fact.duration_s if step.outcome else None
            yield Attempt(number, issued.at, ended, None if seconds is None else timedelta(seconds=seconds))


def _brought(fact: _Outcome | None) -> str:
    """Count of what the step brought; empty if it failed or has no outcome."""
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
    """The decision in words; empty if there is none."""
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
    """Maps times to the width. Every wait for a decision takes 14 % of it; the rest is shared in proportion to time."""

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
        """Position of a moment, 0 to 100."""
        at = 0.0
        for begin, length, width in zip(self._marks, self._lengths, self._widths, strict=False):
            passed = (moment - begin).total_seconds()
            at += width * min(1.0, max(0.0, passed / length if length else float(passed > 0)))
        return round(100 * at, 2)


def _bars(line: Line, scale: _Scale, now: datetime) -> Iterator[Bar]:
    """Bars of a line, in order of time."""
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
    """A bar of at least 0.4 % of the width."""
    x = scale.x(begin)
    return Bar(kind, x, max(0.4, round(scale.x(end) - x, 2)))
