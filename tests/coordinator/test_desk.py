"""A decision is judged on what is recorded, however far behind the coordinator is that takes it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Projection
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.messages import Fill, Message
from shared.contracts.requests import Revision, Ruling
from shared.contracts.subjects import REQUESTED
from shared.domain.inbound import Defaults
from shared.domain.roles import local_principal
from shared.domain.run import Run
from shared.errors import Unavailable
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from tests.coordinator.story import OTHER, RUN, Told, accepted, found, hold, planned, revised
from tests.coordinator.test_loop import WELL
from tests.dossier import coordinating, working
from tests.waiting import wait_until

FIRST = (accepted(), planned("cats"), found(0), hold(deadline=clock.now().replace(year=2999)))
SECOND = (
    *FIRST,
    revised(),
    planned("dogs", round_=2),
    found(0, OTHER, round_=2),
    hold(2, deadline=clock.now().replace(year=2999)),
)
THIRD = (
    *SECOND,
    revised(2),
    planned("birds", round_=3),
    found(0, round_=3),
    hold(3, deadline=clock.now().replace(year=2999)),
)


async def _nothing_to_set_up() -> None:
    pass


async def sent_back_while_behind(told: tuple[Told, ...], data: Path, revision: Revision) -> Run | None:
    """The run after a revision that was taken before the coordinator had folded anything."""
    log = MemoryLog()
    await log.publish(REQUESTED, b"{}")
    for slot, fact in told:
        await log.fill([Fill(slot.subject, envelope.encode(slot, Event(fact, "test", clock.now())))])
    projection = Projection(data / "projection.db")
    coordinator = Coordinator(log, projection, defaults=Defaults(), set_up=_nothing_to_set_up)
    ruling = asyncio.create_task(
        Approvals(log, coordinator, digest_required=False).submit("revise", revision, local_principal())
    )
    await asyncio.sleep(0)
    running = asyncio.create_task(coordinator.run())
    refusal, run = await ruling
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    projection.close()
    assert refusal is None, refusal
    return run


async def test_a_revision_waits_for_the_evidence_that_it_names_to_be_folded(tmp_path: Path):
    for number, told in enumerate((FIRST, SECOND, THIRD), 1):
        revision = Revision(
            run_id=RUN, by="ada", feedback="More.", queries_drop=("cats",), exclude=(told[2][1].sources[0].sha256,)
        )
        run = await sent_back_while_behind(told, tmp_path / str(number), revision)
        assert run
        assert run.round == number + 1


class Cut(MemoryLog):
    """A log that loses its tail just after a hold was read for a decision."""

    cuts = False

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        found = await super().last(subjects, leader=leader)
        if self.cuts and any(".hold." in subject for subject in found):
            self.cuts = False
            self.truncate(next(message.seq for message in self.messages if message.subject == REQUESTED))
        return found


async def test_a_decision_on_a_hold_that_was_lost_meanwhile_is_not_written(tmp_path: Path):
    log = Cut()
    async with coordinating(log, tmp_path) as it, working(log, WELL):
        await it.ask("What do cats do?", run_id="cats")
        await it.until("cats", "hold")
        log.cuts = True
        desk = Approvals(log, it.coordinator, digest_required=False)
        with pytest.raises(Unavailable):
            await desk.submit("approve", Ruling(run_id="cats", by="ada"), local_principal())
        await wait_until(lambda: "hold.1" in it.facts("cats"))
        assert not [path for path in it.facts("cats") if path.startswith("decision")]
