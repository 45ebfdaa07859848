"""Workers with a stub for model and tools, in the product's own runtime: `python -m tests.harness.stub plan`.

The other kinds are `fetch` and `synthesize`. Every plan has the same four queries, every fetch freezes about 500
bytes of evidence, every report has about 1,000 bytes with a citation in each sentence.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from itertools import count
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contracts.evidence import Citation, CitedSource, Claim, Passage, Report, Section, Source
from shared.contracts.facts import FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.subjects import KINDS, Kind
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.errors import Terminal, Transient
from shared.nats.jetstream import JetStreamLog
from shared.runtime import clock
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.service.app import run_worker
from shared.service.worker import Perform

QUERIES = ("what", "how", "when", "who")
QUOTE = "The quick brown fox jumps over the lazy dog."


class Knobs(BaseSettings):
    """What a test may ask of the stubs."""

    model_config = SettingsConfigDict(env_prefix="STUB_", frozen=True)

    delay_ms: float = Field(default=0, ge=0)
    """How long every task takes."""
    fails_every: int = Field(default=0, ge=0)
    """Each so-manieth task fails and has to be tried again; none if 0."""
    journal: str = ""
    """File to which a line is added as each task begins; none if empty. Then a query names its question as well,
    so that the line tells which task it was."""
    trouble: str = ""
    """File that may say, at any time, `{"dies": […], "fails": […]}`: the kinds of tasks on which the worker dies, and
    those that fail for good. Without one all is well."""
    finding_bytes: int = Field(default=0, ge=0)
    """What every finding weighs beyond the usual."""
    report_bytes: int = Field(default=0, ge=0)
    """What every report weighs beyond the usual."""
    in_flight: str = ""
    """Subject of core NATS below which each kind says `+` as a task begins and `-` as it ends; none if empty."""


class Stub:
    """Performs every kind of task, and always succeeds."""

    def __init__(self, log: Log, knobs: Knobs, kind: Kind) -> None:
        self._log = log
        self._delay_s = knobs.delay_ms / 1_000
        self._ear = f"{knobs.in_flight}.{kind}" if knobs.in_flight else ""
        self._knobs = knobs
        self._tasks = count(1)

    async def perform(self, task: Task) -> StepOutcome:
        """The outcome of a task, after the delay that was asked for."""
        async with self._told() if self._ear else nullcontext():
            self._note(task)
            self._get_into_trouble(task)
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            if self._knobs.fails_every and next(self._tasks) % self._knobs.fails_every == 0:
                raise Transient("stub", "This stub fails now and then.")
            return await self._outcome(task)

    def _note(self, task: Task) -> None:
        if self._knobs.journal:
            about = task.query if isinstance(task, FetchTask) else task.q
            line = {"kind": task.__struct_config__.tag, "about": about, "at": clock.now().isoformat()}
            with open(self._knobs.journal, "ab") as journal:
                journal.write(json.dumps(line).encode() + b"\n")

    def _get_into_trouble(self, task: Task) -> None:
        if self._knobs.trouble and (file := Path(self._knobs.trouble)).exists():
            trouble, kind = json.loads(file.read_text()), task.__struct_config__.tag
            if kind in trouble.get("dies", ()):
                os._exit(1)
            if kind in trouble.get("fails", ()):
                raise Terminal("stub", "This stub was told to fail.")

    @asynccontextmanager
    async def _told(self) -> AsyncGenerator[None]:
        await self._log.hint(self._ear, b"+")
        try:
            yield
        finally:
            await self._log.hint(self._ear, b"-")

    async def _outcome(self, task: Task) -> StepOutcome:
        match task:
            case PlanTask(q=q):
                queries = [f"{query}: {q}" for query in QUERIES] if self._knobs.journal else QUERIES
                return PlanMade(queries=tuple(queries), planner="stub")
            case FetchTask(query=query):
                return FetchFound(query=query, sources=(await self._found(query),))
            case SynthesizeTask(digest=digest):
                return SynthesisWritten(digest=digest, report=_report(task, "y" * self._knobs.report_bytes))

    async def _found(self, query: str) -> Source:
        text = f"Of {query}: {f'{QUOTE} ' * 11}{'x' * self._knobs.finding_bytes}"
        return Source(await self._log.put(text), f"Foxes: {query}", f"stub:{query}", "stub", (Passage(text, 0),))


def _report(task: SynthesizeTask, more: str) -> Report:
    sources = [source for finding in task.findings for source in finding.sources]
    claims = [Claim(f"{QUOTE} So says {source.title}.", (_citation(source),)) for source in sources]
    claims[-1] = Claim(f"{claims[-1].text}{more}", claims[-1].citations)
    cited = [CitedSource(n, source.sha256, source.title, source.location) for n, source in enumerate(sources, 1)]
    return Report((Section("Foxes", tuple(claims)),), tuple(cited), "stub")


def _citation(source: Source) -> Citation:
    return Citation(source.sha256, QUOTE, source.passages[0].text.index(QUOTE))


def main(kind: Kind) -> None:
    """Perform the tasks of a kind until told to stop."""

    async def compose(_settings: Settings, log: JetStreamLog, _stack: AsyncExitStack) -> Perform:
        return Stub(log, Knobs(), kind).perform

    run_worker(kind, Settings(), compose)


if __name__ == "__main__":
    assert sys.argv[1] in KINDS, f"{sys.argv[1]} is none of {', '.join(KINDS)}."
    main(sys.argv[1])
