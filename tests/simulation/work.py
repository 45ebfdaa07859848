"""Planner, fetcher and synthesizer by a script: what each try brings follows from the seed and the task alone."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from random import Random  # noqa: TID251  seeded
from typing import Any, Final

from msgspec import Struct

from shared.contracts.evidence import Citation, CitedSource, Claim, Failure, Passage, Report, Section, Source
from shared.contracts.facts import FetchFailed, FetchFound, PlanMade, StepOutcome, SynthesisFailed, SynthesisWritten
from shared.contracts.subjects import Kind
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.errors import Terminal, Throttled, Transient
from shared.runtime import live_text
from tests.simulation.loop import Host
from tests.simulation.network import Connection
from tests.simulation.scenario import Temper

UNNAMED: Final = "(by its place in the log)"
"""In a question that has no name: asked again, it is another run, and nobody can tell the two apart by their work."""
LONG_FREEZE_S: Final = 3.0
_DURATIONS_S: Final = (0.0, 0.0, 0.02, 0.5)
_SLOW_S: Final = (2.0, 12.0, 45.0)


class Begun(Struct):
    """One task, as somebody began it."""

    kind: Kind
    about: str
    """The question, the query, or the digest that the report is on."""
    at: float
    known_at: float
    """As of when whoever began it knew that it was not done."""
    host: Host
    frozen_s: float
    excused: bool = False
    """Whether the server has forgotten that it gave this to somebody, or it was given to one that stood still."""
    ended: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether somebody is at it who cannot have missed that it is no longer theirs."""
        return not (self.ended or self.excused or self.host.still or self.host.frozen_s - self.frozen_s > LONG_FREEZE_S)


class Work:
    """Everything that all workers do, and a journal of it."""

    def __init__(self, seed: int, temper: Temper, limits: dict[Kind, int], kill: Callable[[Host], None]) -> None:
        self.begun: list[Begun] = []
        self.crowded: list[str] = []
        self._seed = seed
        self._temper = temper
        self._limits = limits
        self._kill = kill
        self._tries: dict[str, int] = {}
        self._forgotten: set[tuple[Kind, str]] = set()

    async def perform(self, task: Task, connection: Connection) -> StepOutcome:
        """Do what the script says."""
        kind, about = _described(task)
        time = asyncio.get_running_loop().time()
        step = live_text._step.get()
        assert step, "A worker says what it works on before it begins."
        known_at = connection.known_at[step.outcome.subject]
        begun = Begun(kind, about, time, known_at, connection.host, connection.host.frozen_s)
        begun.excused = time < connection.host.dazed_until or (kind, about) in self._forgotten
        self.begun.append(begun)
        self._count(begun)
        number = self._tries[about] = self._tries.get(about, 0) + 1
        try:
            return await self._done(task, Random(f"{self._seed} {kind} {about} {number}"), connection.host)
        finally:
            begun.ended = True

    def forget(self, task: Task) -> None:
        """The server does not know any more that somebody has this task."""
        self._forgotten.add(_described(task))
        for one in self.begun:
            one.excused |= (one.kind, one.about) in self._forgotten

    def _count(self, begun: Begun) -> None:
        if begun.excused:
            return
        kind, limit = begun.kind, self._limits[begun.kind]
        at_it = [one for one in self.begun if one.kind == kind and one.goes_on]
        if len(at_it) > limit:
            self.crowded.append(f"At {begun.at:.3f} s {len(at_it)} tasks of {kind} are in work; {limit} may be.")
        others = [one.host.name for one in at_it if one.about == begun.about and one is not begun]
        if others and UNNAMED not in begun.about:
            self.crowded.append(f"At {begun.at:.3f} s {begun.host.name} begins what {others[0]} is at: {begun.about}.")

    async def _done(self, task: Task, rng: Random, host: Host) -> StepOutcome:
        slow = rng.randrange(100) < self._temper.slow
        await asyncio.sleep(rng.choice(_SLOW_S if slow else _DURATIONS_S))
        if rng.randrange(100) >= self._temper.bad:
            return _well(task)
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                raise Transient("reset", "The connection was reset.")
            case 4:
                raise Terminal("bad_input", "This cannot be done.")
            case 5 | 6:
                raise Throttled("rate_limited", "Too much.", retry_after=rng.choice((0.0, 2.0, 20.0)))
            case 7:
                raise ValueError("a defect")
            case 8 if rng.random() < 0.3:
                self._kill(host)
                return await asyncio.get_running_loop().create_future()
            case _:
                return _garbage(task, rng)


def _described(task: Task) -> tuple[Kind, str]:
    match task:
        case PlanTask():
            return "plan", f"{task.q}|{len(task.feedback) + 1}"
        case FetchTask():
            return "fetch", task.query
        case SynthesizeTask():
            return "synthesize", task.digest


def _well(task: Task) -> StepOutcome:
    match task:
        case PlanTask(q=q, feedback=feedback):
            count = 1 + sha256(q.encode()).digest()[0] % 3
            return PlanMade(queries=tuple(f"{q}|{len(feedback) + 1}|{n}" for n in range(count)), planner="script")
        case FetchTask(query=query):
            return FetchFound(query=query, sources=(source("everywhere"), source(query)))
        case SynthesizeTask(digest=digest, findings=findings):
            sources = {each.sha256: each for finding in findings for each in finding.sources}
            if not sources:
                return SynthesisFailed(error=Failure("nothing", "There is nothing to write from."))
            return SynthesisWritten(digest=digest, report=report(*sources.values()))


def source(about: str) -> Source:
    """The document about this."""
    text = f"All about {about}."
    return Source(sha256(text.encode()).hexdigest(), about, f"docs/{about}", "docs", (Passage(text, 0),))


def report(*sources: Source) -> Report:
    """A report that quotes each of these."""
    claims = tuple(Claim(each.title, (Citation(each.sha256, each.passages[0].text, 0),)) for each in sources)
    cited = tuple(CitedSource(n, each.sha256, each.title, each.location) for n, each in enumerate(sources, 1))
    return Report((Section("", claims),), cited, "script")


def _garbage(task: Task, rng: Random) -> Any:
    """What no worker should return, and some day one does."""
    anything: list[object] = [None, "done", PlanMade(queries=("\ud800",), planner="script")]
    match task:
        case PlanTask(q=q):
            anything += [PlanMade(queries=(), planner="script"), FetchFailed(query=q, error=Failure("odd", "odd"))]
        case FetchTask(query=query):
            anything += [FetchFound(query=query, sources=()), FetchFound(query=query * 40_000, sources=())]
            anything += [PlanMade(queries=("odd",), planner="script")]
        case SynthesizeTask(digest=digest):
            anything += [SynthesisWritten(digest=digest, report=report(source("nobody's business")))]
            anything += [
                SynthesisWritten(digest=digest, report=Report((Section("", (Claim("So.", ()),)),), (), "script"))
            ]
            anything += [SynthesisWritten(digest="", report=report(source("everywhere")))]
    return rng.choice(anything)
