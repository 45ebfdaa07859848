"""Every order in which what decides a run can happen: exactly one wins, by the log's order and time; all learn which.

Seven things happen, in each of their 5,040 orders: the evidence is complete, so that the hold opens; an approval, the
same approval again, a rejection and a cancel are said; the deadline passes; and the coordinator goes away, to be back
only after the next thing has happened. Runs share nothing, so all orders in which it goes away at the same place are
runs of one log, and take each step together, in virtual time.

And six, in each of their 720 orders, where the hold may be extended: the deadline passes, and later the one that it is
extended to.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest

from services.coordinator.engine import owed_writes
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import Fact, FetchFound, PlanMade, RunAccepted, RunCompleted
from shared.contracts.messages import Fill
from shared.contracts.requests import Extension, Ruling
from shared.contracts.subjects import Slot, invalid
from shared.domain import owed as coordinator_owed
from shared.domain.decisions import Duplicate, Judgement, Verb
from shared.domain.inbound import Defaults, Inbound, decide_inbound
from shared.domain.judgement import describe_winner
from shared.domain.owed import Owed
from shared.domain.roles import local_principal
from shared.domain.run import Round, Run
from shared.runtime.memory import MemoryLog
from tests.coordinator.story import SOURCE
from tests.dossier import SUBJECTS, nothing_to_set_up
from tests.simulation.loop import BEGAN, moment, virtual

Happening = Literal["hold", "approve", "again", "reject", "cancel", "extend", "deadline", "later", "away"]
Order = tuple[Happening, ...]
HAPPENINGS: Final[Order] = ("hold", "approve", "again", "reject", "cancel", "deadline", "away")
ORDERS: Final = tuple(permutations(HAPPENINGS))
EXTENDING: Final[Order] = ("hold", "approve", "extend", "deadline", "later", "away")
EXTENDED_ORDERS: Final = tuple(permutations(EXTENDING))
SAID: Final[Mapping[str, tuple[Verb, str]]] = {
    "approve": ("approve", "ann"),
    "again": ("approve", "ann"),
    "reject": ("reject", "rob"),
    "cancel": ("cancel", "carl"),
}
_STEP_S: Final = 10.0
_LATER_S: Final = 1_000.0
"""The deadline where it would pass before there is a hold: it does not."""


class Way(msgspec.Struct, frozen=True):
    """How it is done: which words go through a coordinator's `Approvals`, and what the coordinator remembers."""

    over_desk: tuple[str, ...] = ()
    remembers: bool = True
    coordinators: int = 1


WAYS: Final = {
    "over NATS": Way(),
    "over NATS, with no projection left": Way(remembers=False),
    "over NATS and the API, of two coordinators": Way(over_desk=("approve", "cancel"), coordinators=2),
}


class Expected(msgspec.Struct, frozen=True):
    """Who wins, and for each word what its speaker is told: nothing where it is taken, else who won before, or why."""

    decided: str
    outcome: str
    told: dict[str, str]


def expected(order: Order, way: Way) -> Expected:
    """What must come of an order: read from the order alone."""
    decided, outcome, held, extended = "", "", False, False
    told: dict[str, str] = {}
    for what in order:
        before = "cancelled by carl" if outcome == "cancelled" else decided
        if what == "hold":
            held = True
        elif not decided and (
            (what == "deadline" and held and not extended and not outcome) or (what == "later" and extended)
        ):
            decided, outcome = "expired by deadline", "expired"
        elif what == "extend":
            told[what] = before or ("not on hold" if not held else "" if _is_longer(order) else "not longer")
            extended = not told[what]
        elif what == "cancel":
            told[what] = decided if outcome else ""
            outcome = outcome or "cancelled"
        elif what in SAID:
            early = what in way.over_desk and not held and not before
            told[what] = "not on hold" if early else before
            if not told[what]:
                verb, by = SAID[what]
                decided = f"{'approved' if verb == 'approve' else 'rejected'} by {by}"
                outcome = "rejected" if verb == "reject" else outcome
    return Expected(decided, outcome, told)


def _is_longer(order: Order) -> bool:
    """Whether what the hold is to be extended to is later than its deadline."""
    place = order.index
    return place("hold") < place("deadline") < place("later")


class Trial:
    """All orders in which the coordinator goes away at the same place, each as a run of one log."""

    def __init__(self, orders: Sequence[Order], way: Way, folder: Path) -> None:
        self.runs = {f"run-{number}": order for number, order in enumerate(orders)}
        self.told: dict[tuple[str, Happening], str] = {}
        self._away = orders[0].index("away")
        self._steps = len(orders[0])
        self._way = way
        self._folder = folder
        self._desk: Approvals | None = None

    async def tell(self) -> None:
        """Let everything happen, each step ten seconds after the one before."""
        loop = asyncio.get_running_loop()
        self.log = MemoryLog(now=lambda: moment(loop.time()))
        await self._accept()
        async with AsyncExitStack() as leader, AsyncExitStack() as others:
            await leader.enter_async_context(self._coordinating("first"))
            for number in range(1, self._way.coordinators):
                await others.enter_async_context(self._coordinating(f"other-{number}"))
            for step in range(self._steps):
                await self._at(step)
                if step == self._away:
                    await leader.aclose()
                await self._step(step)
                if step in (self._away + 1, self._steps - 1) and self._away < step:
                    await self._at(step, 2.0)
                    if step == self._away + 1:
                        await leader.enter_async_context(self._coordinating(self._name_of_the_second))
            if self._away == self._steps - 1:
                await leader.enter_async_context(self._coordinating(self._name_of_the_second))
            await self._at(self._steps)

    @property
    def _name_of_the_second(self) -> str:
        return "first" if self._way.remembers else "again"

    async def _at(self, step: int, later_s: float = 0.0) -> None:
        """Sleep until it is time for a step."""
        time = asyncio.get_running_loop().time()
        await asyncio.sleep((step + 1) * _STEP_S + later_s - time)

    @asynccontextmanager
    async def _coordinating(self, name: str) -> AsyncGenerator[None]:
        projection = Projection(self._folder / f"{self._away}-{name}.db")
        coordinator = Coordinator(self.log, projection, defaults=Defaults(), set_up=nothing_to_set_up)
        self._desk = Approvals(self.log, coordinator, digest_required=False)
        running = asyncio.create_task(coordinator.run())
        await asyncio.sleep(0.1)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            projection.close()

    async def _step(self, step: int) -> None:
        calls: list[Awaitable[None]] = []
        for run, order in self.runs.items():
            if order[step] in self._way.over_desk:
                calls.append(self._call(run, order[step]))
            else:
                await self._happen(run, order[step])
        await asyncio.gather(*calls)

    async def _happen(self, run: str, what: Happening) -> None:
        if what == "hold":
            await self._fill(Slot(run, "plan", 1), PlanMade(queries=("cats",), planner="test"))
            await self._fill(Slot(run, "fetch", 1), FetchFound(query="cats", sources=(SOURCE,)))
        elif what in SAID:
            verb, by = SAID[what]
            seq = await self.log.publish(SUBJECTS[verb], msgspec.json.encode({"run_id": run, "by": by}))
            self.told[run, what] = invalid(seq)

    async def _call(self, run: str, what: Happening) -> None:
        """Say it over the API. The answer is nothing where the word is taken, else the winner, or why not."""
        assert self._desk
        if what == "extend":
            until = BEGAN + timedelta(seconds=(self.runs[run].index("later") + 0.5) * _STEP_S)
            refusal, known = await self._desk.extend(Extension(run_id=run, by="ed", deadline=until), local_principal())
        else:
            verb, by = SAID[what]
            refusal, known = await self._desk.submit(verb, Ruling(run_id=run, by=by), local_principal())
        decided = known and (known.current.decision or known.completed)
        reason = describe_winner(known) if known and decided else refusal.message if refusal else ""
        self.told[run, what] = reason if refusal else ""

    async def _accept(self) -> None:
        for run, order in self.runs.items():
            steps = order.index("deadline") - order.index("hold")
            timeout = (steps - 0.5) * _STEP_S if steps > 0 else _LATER_S
            fact = RunAccepted(
                q="?", request_seq=1, request_sha256="0", approval="required", approval_timeout_s=timeout
            )
            await self._fill(Slot(run, "accepted"), fact)

    async def _fill(self, slot: Slot, fact: Fact) -> None:
        await self.log.fill([Fill(slot.subject, envelope.encode(slot, Event(fact, "test", BEGAN)))])

    def wrong(self, way: Way) -> Iterable[str]:
        """Where it came otherwise than it must."""
        stored = {message.subject: message.data for message in self.log.messages}
        for run, order in self.runs.items():
            came = self._came(run, order, stored)
            if came != (must := expected(order, way)):
                yield f"{', '.join(order)}:\n  must be {must}\n  and is  {came}"

    def _came(self, run: str, order: Order, stored: Mapping[str, bytes]) -> Expected:
        told = {what: self._heard(self.told[run, what], stored) for what in order if (run, what) in self.told}
        decided, ended = stored.get(Slot(run, "decision", 1).subject), stored.get(Slot(run, "completed").subject)
        outcome = str(msgspec.json.decode(ended)["data"]["outcome"]) if ended else ""
        return Expected(_words(msgspec.json.decode(decided)) if decided else "", outcome, told)

    def _heard(self, told: str, stored: Mapping[str, bytes]) -> str:
        """What somebody learned, without when."""
        if told.startswith("research.invalid."):
            refused = stored.get(told)
            told = msgspec.json.decode(refused)["data"]["error"]["message"].partition(": ")[2] if refused else ""
        told = "not longer" if "it can wait longer, not shorter" in told else told
        return "not on hold" if "is not on hold yet" in told else told.partition(" at ")[0]


def _words(event: Mapping[str, Any]) -> str:
    return f"{event['type'].split('.')[1]} by {event['data']['by']}"


def tried(
    way: Way, folder: Path, *, away: Iterable[int] = range(len(HAPPENINGS)), orders: Sequence[Order] = ORDERS
) -> list[str]:
    """Every order in which the coordinator goes away at one of these places: what came otherwise than it must."""
    wrong: list[str] = []
    for place in away:
        trial = Trial([order for order in orders if order.index("away") == place], way, folder)
        with virtual("orders") as loop:
            loop.run_until_complete(trial.tell())
        wrong += trial.wrong(way)
    return wrong


def test_all_orders_are_tried():
    assert len(ORDERS) == 5_040


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_in_every_order_exactly_one_wins_and_all_learn_which(tmp_path: Path, way: Way):
    wrong = tried(way, tmp_path)
    assert not wrong, f"{len(wrong)} of {len(ORDERS)} orders, as in\n" + "\n".join(wrong[:3])


EXTENDING_WAY: Final = Way(over_desk=("extend",), coordinators=2)


def test_in_every_order_a_hold_that_was_extended_in_time_does_not_expire_before(tmp_path: Path):
    wrong = tried(EXTENDING_WAY, tmp_path, away=range(len(EXTENDING)), orders=EXTENDED_ORDERS)
    assert not wrong, f"{len(wrong)} of {len(EXTENDED_ORDERS)} orders, as in\n" + "\n".join(wrong[:3])


def test_a_hold_that_expires_although_it_was_extended_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hold = coordinator_owed._hold

    def as_it_opened(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
        return hold(run, request, number, msgspec.structs.replace(round_, extensions={}), now)

    monkeypatch.setattr(coordinator_owed, "_hold", as_it_opened)
    assert tried(EXTENDING_WAY, tmp_path, away=[3], orders=EXTENDED_ORDERS)


def test_a_late_word_that_hears_nothing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def silent(inbound: Inbound, run: Run | None, defaults: Defaults, *, source: Run | None) -> Judgement:
        return (
            Duplicate()
            if run and run.current.decision and not run.completed
            else decide_inbound(inbound, run, defaults, source=source)
        )

    monkeypatch.setattr(owed_writes, "decide_inbound", silent)
    assert tried(WAYS["over NATS"], tmp_path, away=[3])


def test_a_deadline_that_wins_over_a_word_in_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coordinator_owed, "_hold", _expiring(coordinator_owed._hold))
    assert tried(WAYS["over NATS"], tmp_path, away=[3])


def _expiring(hold: Callable[..., Owed]) -> Callable[..., Owed]:
    """Hold a run as long as its deadline has not passed, decided or not."""

    def expiring(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
        due = hold(run, request, number, round_, now)
        if round_.hold and now >= round_.hold.fact.deadline:
            ended = RunCompleted(run_id=run.id, ok=False, outcome="expired")
            return Owed(((Slot(run.id, "completed"), ended),))
        return due

    return expiring
