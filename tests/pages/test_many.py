"""Many runs and many open pages: what they cost the coordinator."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
import msgspec
import pytest

from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.projection import Projection, RunFilter
from services.coordinator.engine.summary import run_row
from services.coordinator.web import hub
from services.coordinator.web.lists import ListQuery, Lists, RenderedList
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import RunCompleted
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import REQUESTED, Slot, live_writing
from shared.domain.run import Run
from shared.runtime import clock
from shared.runtime.log import LogCheck
from shared.runtime.memory import MemoryLog
from shared.service.app import serve_http
from tests.access.entry import SHOWN
from tests.coordinator.story import START, accepted, fold, found, hold, planned, stored
from tests.harness.ports import free_port
from tests.harness.waiting import PATIENCE_S
from tests.pages.visitor import Stage, staged
from tests.waiting import wait_until

PAGES = 200
RUNS = 1_000
WITHIN_S = 0.2


def held_runs(count: int) -> list[Run]:
    """So many runs that wait for a decision, each with its evidence."""
    told = (accepted(), planned("cats"), found(0), hold(deadline=START + timedelta(days=3_650)))
    one = fold(*(stored(each, seq) for seq, each in enumerate(told, 1)))
    return [msgspec.structs.replace(one, id=f"run-{n}") for n in range(count)]


async def test_an_inbox_of_a_thousand_runs_is_made_in_a_fifth_of_a_second(tmp_path: Path):
    async with staged(tmp_path) as stage:
        runs = [(each, None) for each in held_runs(RUNS)]
        stage.dossier.coordinator.saved.save(runs, Checkpoint("", 0, ""), unanswered=(), answered=())
        ada = await stage.visitor()
        took: list[float] = []
        for _ in range(5):
            seq = await stage.log.publish(REQUESTED, b"{}")
            await stage.dossier.coordinator.folded(seq, within_s=PATIENCE_S)
            began = time.process_time()
            page = await ada.http.get("/", params={"at": seq})
            took.append(time.process_time() - began)
            assert page.text.count('<li class="row') == RUNS
        assert min(took) < WITHIN_S, took


class Counting(MemoryLog):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        self.reads["last"] += 1
        return await super().last(subjects, leader=leader)

    async def newest(self, pattern: str) -> Message | None:
        self.reads["newest"] += 1
        return await super().newest(pattern)

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        self.reads["history"] += 1
        async for message in super().history(pattern, after=after):
            yield message

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        self.reads["follow"] += 1
        async for chunk in super().follow(after, check=check):
            yield chunk

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        self.reads["at"] += 1
        return await super().at(seq, leader=leader)

    async def get(self, sha256: str) -> str | None:
        self.reads["get"] += 1
        return await super().get(sha256)


class OpenPage:
    """A page that somebody looks at: it listens, and asks for the list anew whenever there is something new."""

    def __init__(self, http: httpx2.AsyncClient, live: str, looks: str) -> None:
        self._http = http
        self._live = live
        self._looks = looks
        self.listens = asyncio.Event()
        self.changes = 0
        self.shown = ""
        self.heard: list[object] = []

    async def stay(self) -> None:
        async with self._http.stream("GET", self._live, headers=SHOWN, timeout=None) as answer:
            async for line in answer.aiter_lines():
                self.listens.set()
                if line.startswith('data: {"text"'):
                    self.heard.append(msgspec.json.decode(line.removeprefix("data: ")))
                if line == "event: changed":
                    self.changes += 1
                    self.shown = (await self._http.get(self._looks, headers=SHOWN, timeout=20)).text


@asynccontextmanager
async def looked_at(stage: Stage, pages: int, live: str, looks: str) -> AsyncGenerator[list[OpenPage]]:
    """The coordinator's pages over real HTTP, with so many of one kind open."""
    port, stop = free_port(), asyncio.Event()
    async with AsyncExitStack() as stack:
        serving = asyncio.create_task(serve_http(stage.app, host="127.0.0.1", port=port, stop=stop))
        stack.push_async_callback(asyncio.wait, {serving})
        stack.callback(stop.set)
        limits = httpx2.Limits(max_connections=None)
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, trust_env=False)
        )
        while not serving.done():
            try:
                await http.get("/livez")
                break
            except httpx2.ConnectError:
                await asyncio.sleep(0.01)
        opened = [OpenPage(http, live, looks) for _ in range(pages)]
        staying = [asyncio.create_task(page.stay()) for page in opened]
        stack.push_async_callback(asyncio.gather, *staying, return_exceptions=True)
        for each in staying:
            stack.callback(each.cancel)
        await asyncio.gather(*(page.listens.wait() for page in opened))
        yield opened


async def ended(stage: Stage, run_id: str) -> None:
    """A run that is there all at once, and that no worker has to look at."""
    slot, fact = Slot(run_id, "completed"), RunCompleted(run_id=run_id, ok=False, outcome="failed", reason="So.")
    await stage.log.fill([Fill(slot.subject, envelope.encode(slot, Event(fact, "test", clock.now())))])


async def test_two_hundred_open_pages_cost_one_read_of_the_log_and_no_more_lists_than_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log, made, make = Counting(), list[ListQuery](), Lists._make

    def counted(self: Lists, want: ListQuery) -> RenderedList:
        made.append(want)
        return make(self, want)

    monkeypatch.setattr(Lists, "_make", counted)

    async with (
        staged(tmp_path, log=log) as stage,
        looked_at(stage, PAGES, "/inbox/live?seen=100000", "/inbox/rows?show=all") as pages,
    ):
        before, began = log.reads.copy(), time.monotonic()
        for n in range(20):
            await ended(stage, f"run-{n}")
        await wait_until(lambda: all("run-19" in page.shown for page in pages))
        await ended(stage, "run-20")
        await wait_until(lambda: all("run-20" in page.shown for page in pages))
        assert log.reads == before
        assert log.reads["follow"] == 1
        assert 1 <= len(made) <= time.monotonic() - began + 1


async def test_a_page_hears_of_its_own_run_alone_and_at_once_where_it_is_behind(tmp_path: Path):
    async with staged(tmp_path) as stage:
        mine, other = await stage.held("Mine?"), await stage.held("Other?")
        seen = len(stage.log.messages)
        async with (
            looked_at(stage, 1, f"/runs/{mine}/live?seen={seen}", f"/runs/{mine}") as [page],
            looked_at(stage, 1, f"/runs/{mine}/live?seen=1", f"/runs/{mine}") as [behind],
        ):
            await wait_until(lambda: behind.changes == 1)
            await stage.dossier.say("reject", other)
            await stage.dossier.until(other, "rejected")
            await asyncio.sleep(2 * hub.GATHER_S)
            assert (page.changes, behind.changes) == (0, 1)
            await stage.dossier.say("reject", mine)
            await wait_until(lambda: page.changes and behind.changes > 1 and "rejected" in page.shown)


async def test_what_is_being_written_is_told_to_the_pages_of_that_run_with_nothing_hidden_in_it(tmp_path: Path):
    async with staged(tmp_path) as stage:
        mine, other = await stage.held("Mine?"), await stage.held("Other?")
        async with (
            looked_at(stage, 1, f"/runs/{mine}/live?seen=1000", "/") as [page],
            looked_at(stage, 1, f"/runs/{other}/live?seen=1000", "/") as [another],
        ):
            await stage.log.hint(live_writing(mine), b"{")
            await stage.log.hint(live_writing(mine), msgspec.json.encode({"text": "The Moon\u202e <b>"}))
            await wait_until(lambda: page.heard)
            assert page.heard == [{"text": "The Moon⟨U+202E⟩ <b>"}]
            assert not another.heard


async def test_a_hub_that_nobody_listens_to_listens_to_nothing(tmp_path: Path):
    async with staged(tmp_path) as stage:
        fold = stage.dossier.coordinator.fold
        assert not fold.listeners
        async with looked_at(stage, 3, "/inbox/live", "/inbox/rows"):
            assert len(fold.listeners) == 1
        await wait_until(lambda: not fold.listeners)


def test_what_is_in_brief_is_what_the_run_says(tmp_path: Path):
    [run] = held_runs(1)
    brief = run_row(run)
    assert (brief.q, brief.status, brief.queries, brief.answered, brief.failed) == ("What do cats do?", "hold", 1, 1, 0)
    assert (brief.sources, brief.origins, brief.deadline) == (1, 1, START + timedelta(days=3_650))
    projection = Projection(tmp_path / "projection.db")
    projection.save([(run, None)], Checkpoint("", 0, ""), unanswered=(), answered=())
    assert projection.rows(RunFilter(), limit=10) == [brief]
    assert (projection.count(("hold",)), projection.count(("failed",))) == (1, 0)
    projection.close()
