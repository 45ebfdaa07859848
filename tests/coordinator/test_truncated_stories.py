"""Logs that lose their tail at moments that a seed draws, in memory; and bugs that are planted, and have to be seen."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from random import Random  # noqa: TID251  seeded

import msgspec
import pytest

from services.coordinator.engine import log_check
from services.coordinator.engine.divergence import Checkpoint, divergence
from services.coordinator.engine.leader import Leader
from shared.contracts import envelope
from shared.contracts.facts import RunAccepted
from shared.contracts.messages import Message
from shared.contracts.subjects import REQUESTED, parse_slot
from shared.domain import inbound
from shared.runtime.log import End
from shared.runtime.memory import MemoryLog
from tests.coordinator.test_loop import WELL
from tests.dossier import Dossier, coordinating, run, working
from tests.waiting import wait_until

SEEDS = range(12)
Plant = Callable[[pytest.MonkeyPatch], None]
_SAME = msgspec.json.encode({"q": "What do cats do?", "approval": "auto"})


class Story:
    """Requests, coordinators that come and go, and a log that is truncated under those that are there."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._rng = Random(seed)
        self._folder = folder
        self._log = MemoryLog()
        self._up: dict[str, tuple[AsyncExitStack, Dossier]] = {}
        self._asked: set[int] = set()
        self._given: dict[str, datetime] = {}
        """When the request was stored that each id was given to, whatever became of it since."""

    async def tell(self) -> None:
        """Let it all happen, with a loss at the end. Raises `AssertionError` where a promise is broken."""
        async with working(self._log, WELL):
            await self._start("first")
            for _ in range(self._rng.randrange(2, 5)):
                await self._rng.choice((self._come_and_go, self._ask_some, self._lose))()
                await self._rest()
            await self._ask_some()
            await self._lose()
            await self._rest()
            await self._ids_are_sequences_again()
            for name in list(self._up):
                await self._stop(name)

    async def _start(self, name: str) -> None:
        stack = AsyncExitStack()
        self._up[name] = stack, await stack.enter_async_context(coordinating(self._log, self._folder, name=name))

    async def _stop(self, name: str) -> None:
        await self._up.pop(name)[0].aclose()

    async def _come_and_go(self) -> None:
        names = {"first", "second"}
        if len(self._up) == len(names):
            await self._stop(self._rng.choice(sorted(names)))
        else:
            [name] = names - self._up.keys()
            await self._start(name)

    async def _ask_some(self) -> None:
        await self._ask(self._rng.randrange(1, 6))
        await self._rest()

    async def _ask(self, count: int) -> None:
        """All requests have the same bytes, so that only their time tells one from another."""
        self._asked |= {await self._log.publish(REQUESTED, _SAME) for _ in range(count)}

    async def _lose(self) -> None:
        """Lose a tail; the log may have grown past its old end before any coordinator looks."""
        self._no_id_recurs()
        end = len(self._log.messages)
        kept = self._rng.randrange(end + 1)
        self._asked.clear()
        self._log.truncate(kept)
        await self._ask(self._rng.choice((0, 1, 3, end - kept + 3)))

    async def _rest(self) -> None:
        """Wait until every request has run and every coordinator is ready."""
        await wait_until(self._is_at_rest, every_s=0.01)
        self._no_id_recurs()

    def _no_id_recurs(self) -> None:
        for seq, name in self._runs().items():
            asked_at = self._log.messages[seq - 1].time
            assert self._given.setdefault(name, asked_at) == asked_at, f"{name} was given before."

    def _is_at_rest(self) -> bool:
        runs = self._runs()
        slots = [parse_slot(message.subject) for message in self._log.messages]
        ended = {slot.run for slot in slots if slot and slot.path == "completed"}
        coordinators = [it.coordinator for _, it in self._up.values()]
        end = len(self._log.messages)
        ready = all(each.trouble is None and max(end, each.fold.used) == each.fold.seq for each in coordinators)
        return ready and self._asked <= runs.keys() and {runs[seq] for seq in self._asked} <= ended

    def _runs(self) -> Mapping[int, str]:
        """The run of each request that was accepted."""
        accepted = [
            (slot.run, envelope.decode(message.data).fact)
            for message in self._log.messages
            if (slot := parse_slot(message.subject)) and slot.path == "accepted"
        ]
        facts = [(name, fact) for name, fact in accepted if isinstance(fact, RunAccepted)]
        assert max(Counter(fact.request_seq for _, fact in facts).values(), default=0) <= 1
        return {fact.request_seq: name for name, fact in facts}

    async def _ids_are_sequences_again(self) -> None:
        self._asked.clear()
        await self._ask(2)
        await self._rest()
        runs = self._runs()
        assert all(runs[seq] == f"r{seq}" for seq in self._asked)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log in memory answers at once and is never behind."""
    monkeypatch.setattr(log_check, "_CONFIRM_S", 0.0)
    monkeypatch.setattr("services.coordinator.engine.divergence.MARGIN", 50)


def told(seed: int, folder: Path) -> None:
    folder.mkdir()
    story = Story(seed, folder)
    run(story.tell)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_is_lost_and_no_id_recurs(seed: int, tmp_path: Path):
    told(seed, tmp_path / "story")


def never_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_check, "divergence", lambda folded, end, message: None)


def look_at_the_end_alone(patch: pytest.MonkeyPatch) -> None:
    def careless(folded: Checkpoint, end: End, message: Message | None) -> object:
        return divergence(folded, end, message) if end.last < folded.seq else None

    patch.setattr(log_check, "divergence", careless)


def record_nothing(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Leader) -> None:
        self._fold.owed = 0

    patch.setattr(Leader, "record_truncation", nothing)


def give_ids_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbound, "_unique_run_id", lambda name, message: name)


def pad_nothing(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: MemoryLog, up_to: int, *, session: int) -> None:
        pass

    patch.setattr(MemoryLog, "pad", nothing)


PLANTS = (never_look, look_at_the_end_alone, record_nothing, give_ids_again, pad_nothing)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_seen(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, TimeoutError)):  # noqa: PT012  which story sees it does not matter
        for seed in SEEDS:
            told(seed, tmp_path / str(seed))
