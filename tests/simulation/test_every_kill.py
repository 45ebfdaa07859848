"""One small story, and each process killed at each of its writes and acknowledgements, before and after."""

from collections.abc import Iterator
from functools import cache

import pytest
from msgspec.structs import replace

from tests.simulation.faults import Hit, OnMessage
from tests.simulation.scenario import COORDINATORS, Ask, Say, Scenario, Temper
from tests.simulation.telling import account
from tests.simulation.world import Told, tell

STORY = Scenario(
    seed=3,
    asks=(Ask(0.1, "asked"), Ask(0.2, "auto", approval="auto")),
    words=(Say("asked", "approve", "hold", 0.5, "ada"), Say("asked", "reject", "hold", 0.9, "bob")),
    temper=Temper(),
    trouble_s=4.0,
)
_TELLING = ("fill", "ack", "nak")


@cache
def untroubled() -> Told:
    """The story with nothing going wrong."""
    return tell(STORY)


def kills() -> Iterator[OnMessage]:
    """Every write and every acknowledgement of every process, before and after; coordinators with each memory."""
    for process, sent in untroubled().sent.items():
        memories = ("saved", "old", "none") if process in COORDINATORS else ("saved",)
        for number, what in enumerate(sent, 1):
            if what.startswith(_TELLING) and process not in ("ann", "bob"):
                for hit in (Hit.KILL_BEFORE, Hit.KILL_AFTER):
                    yield from (OnMessage(process, number, hit, 0.3, memory) for memory in memories)


def test_the_story_itself_goes_well_and_is_worth_killing():
    told = untroubled()
    assert told.wrong == []
    written = [what for sent in told.sent.values() for what in sent if what.startswith(_TELLING)]
    assert len(written) > 30


@pytest.mark.parametrize("process", ["coordinator-1", "coordinator-2", "planner", "fetcher", "synthesizer"])
def test_a_process_killed_at_any_write_or_acknowledgement_costs_nothing(process: str):
    tried = 0
    for kill in kills():
        if kill.process.startswith(process):
            tried += 1
            told = tell(replace(STORY, faults=(kill,)))
            assert not told.wrong, "\n".join(account(told, [0]))
            assert any("dies" in what for _, _, what in told.account), kill
    assert tried
