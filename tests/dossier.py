"""All of Dossier in one process, over the log in memory: what the tour and the coordinator's tests run."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.projection import Projection
from services.fetcher.perform import Fetcher
from services.fetcher.tools.docs import Docs
from services.planner.perform import Planner
from services.synthesizer.perform import Synthesizer
from shared.contracts import envelope
from shared.contracts.facts import Fact
from shared.contracts.requests import Revision
from shared.contracts.subjects import APPROVED, CANCELLED, REJECTED, REQUESTED, RUN, Kind, parse_slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask
from shared.domain.inbound import Defaults
from shared.domain.roles import local_principal
from shared.domain.run import Run
from shared.models.offline import OfflineModel
from shared.runtime.memory import MemoryLog
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Perform, Worker, require_task_type
from tests.harness.waiting import PATIENCE_S

SUBJECTS = {"approve": APPROVED, "reject": REJECTED, "cancel": CANCELLED}


class Dossier:
    """A running system, and what a user does with it."""

    def __init__(self, log: MemoryLog, coordinator: Coordinator) -> None:
        self.log = log
        self.coordinator = coordinator

    async def ask(self, q: str, **more: object) -> str:
        """Publish `research.requested`; the run's id."""
        request = {"q": q, **more}
        seq = await self.log.publish(REQUESTED, msgspec.json.encode(request))
        return str(more.get("run_id", f"r{seq}"))

    async def say(self, verb: str, run: str, **more: object) -> int:
        """Publish a decision."""
        return await self.log.publish(SUBJECTS[verb], msgspec.json.encode({"run_id": run, "by": "ada", **more}))

    async def send_back(self, run: str, feedback: str, **more: object) -> None:
        """Decide that there is to be another round, over the coordinator's desk."""
        revision = Revision(run_id=run, by="ada", feedback=feedback, **more)  # type: ignore[arg-type]
        refusal, _ = await Approvals(self.log, self.coordinator, digest_required=False).submit(
            "revise", revision, local_principal()
        )
        assert refusal is None, refusal

    async def until(self, run: str, status: str, *, round_: int = 1) -> Run:
        """Wait until the run stands there, in this round or a later one."""
        known = await self.coordinator.wait_until(
            run, 0, lambda it: it.status == status and it.round >= round_, within_s=PATIENCE_S
        )
        assert known, f"no run {run}"
        assert (known.status, known.round >= round_) == (status, True)
        return known

    def facts(self, run: str) -> dict[str, Fact]:
        """What is stored of a run, by slot."""
        return {
            slot.path: envelope.decode(message.data).fact
            for message in self.log.messages
            if (slot := parse_slot(message.subject)) and message.subject.startswith(f"{RUN}.{run}.")
        }

    def stored(self, prefix: str) -> list[bytes]:
        """The messages under a subject prefix."""
        return [message.data for message in self.log.messages if message.subject.startswith(prefix)]


def performers(log: MemoryLog, docs: Path | None, cache: Path) -> dict[Kind, Perform]:
    """The real planner, fetcher and synthesizer, without a language model."""
    tool = Docs(docs, cache)
    model = OfflineModel()
    return {
        "plan": require_task_type(PlanTask, Planner(model).perform),
        "fetch": require_task_type(FetchTask, Fetcher({tool.name: tool}, log).perform),
        "synthesize": require_task_type(SynthesizeTask, Synthesizer(model).perform),
    }


async def nothing_to_set_up() -> None:
    """The log in memory is as it should be."""


@asynccontextmanager
async def coordinating(
    log: MemoryLog,
    data: Path,
    *,
    defaults: Defaults | None = None,
    name: str = "projection",
    observe: Observe = unobserved,
) -> AsyncGenerator[Dossier]:
    """A coordinator over `log`, with its projection in `data`."""
    projection = Projection(data / f"{name}.db")
    coordinator = Coordinator(
        log, projection, defaults=defaults or Defaults(), set_up=nothing_to_set_up, observe=observe
    )
    running = asyncio.create_task(coordinator.run())
    try:
        yield Dossier(log, coordinator)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        projection.close()


@asynccontextmanager
async def working(
    log: MemoryLog, performs: dict[Kind, Perform], *, policy: RetryPolicy | None = None
) -> AsyncGenerator[None]:
    """One worker of each kind over `log`."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        for kind, perform in performs.items():
            worker = Worker(log, kind, perform, at_most=5, policy=policy or RetryPolicy(), grace_s=1)
            running = asyncio.create_task(worker.run(stop))
            stack.push_async_callback(_finished, running)
        try:
            yield
        finally:
            stop.set()


async def _finished(running: "asyncio.Task[None]") -> None:
    await running


def run(story: Callable[[], Awaitable[None]], *, within_s: float = PATIENCE_S) -> None:
    """Run a coroutine function to its end, within this time."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await story()

    asyncio.run(bounded())
