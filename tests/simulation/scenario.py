"""What is asked, decided and performed in one story: drawn from its seed, before it begins."""

from random import Random  # noqa: TID251  seeded
from typing import Final, Literal

from msgspec import Struct

from shared.contracts.subjects import KINDS, Kind
from tests.simulation.faults import Fault, drawn

COORDINATORS: Final = ("coordinator-1", "coordinator-2")
WORKERS: Final[dict[str, Kind]] = {
    f"{name}-{number}": kind for kind, name in zip(KINDS, ("planner", "fetcher", "synthesizer"), strict=True)
    for number in (1, 2)
}  # fmt: skip
PEOPLE: Final = ("ann", "bob")
TROUBLE_ENDS: Final = 30.0
"""Seconds into the story after which no fault begins any more."""

How = Literal["request", "again", "other", "malformed"]
Verb = Literal["approve", "reject", "cancel", "revise", "extend"]


class Ask(Struct, frozen=True):
    """Publish a request: a new one, the same again, another under the same name, or one that nobody can take."""

    at: float
    run: str
    how: How = "request"
    named: Literal["run_id", "msg_id", "seq"] = "run_id"
    approval: Literal["required", "auto"] = "required"
    timeout: str = "2h"
    fault: int = 0
    """Which of the malformed messages."""


class Say(Struct, frozen=True):
    """A person's word on a run: so long after the beginning, after the hold opened, or around the deadline."""

    run: str
    verb: Verb
    after: Literal["begin", "hold", "deadline"]
    seconds: float
    by: str
    over: Literal["nats", "desk"] = "nats"
    digest: Literal["none", "right", "stale"] = "none"
    exclude: Literal["none", "one", "stranger"] = "none"
    desk: int = 0
    """Which coordinator is asked first."""
    more: float = 0.0
    """To extend the hold: to so many seconds after its first deadline."""


class Temper(Struct, frozen=True):
    """How the work goes: of a hundred tries so many that go wrong, in which ways, and how long each takes."""

    bad: int = 0
    slow: int = 0


class Scenario(Struct, frozen=True):
    """One story before it is told."""

    seed: int
    asks: tuple[Ask, ...]
    words: tuple[Say, ...]
    temper: Temper
    faults: tuple[Fault, ...] = ()
    pace_s: float = 0.01
    """How long a message is under way, about."""
    skews: dict[str, float] = {}
    """Seconds by which clocks are wrong."""
    small: bool = False
    """Whether everything that is bounded in the coordinator is bounded at very few."""
    trouble_s: float = TROUBLE_ENDS
    intruder: bool = False
    """Whether somebody writes a second time to boxes that are full, without the guard."""


def scenario(seed: int) -> Scenario:
    """The story of a seed."""
    rng = Random(seed)
    asks, words = _asked(rng)
    words += _extensions(Random(f"{seed} extends"), asks)
    processes = (*COORDINATORS, *COORDINATORS, *WORKERS)
    return Scenario(
        seed=seed,
        asks=asks,
        words=words,
        temper=Temper(bad=rng.choice((0, 10, 40)), slow=rng.choice((0, 5, 30))),
        faults=drawn(rng, processes, PEOPLE, until=TROUBLE_ENDS),
        pace_s=rng.choice((0.001, 0.01, 0.05, 0.3)),
        skews={name: round(rng.uniform(-4.0, 4.0), 3) for name in (*COORDINATORS, *WORKERS) if rng.random() < 0.2},
        small=rng.random() < 0.4,
        intruder=rng.random() < 0.1,
    )


_MORE: Final[tuple[tuple[How, ...], ...]] = ((), (), ("again",), ("other",), ("again", "other"))


def _asked(rng: Random) -> tuple[tuple[Ask, ...], tuple[Say, ...]]:
    asks: list[Ask] = []
    words: list[Say] = []
    for number in range(rng.choice((1, 2, 3, 4, 8))):
        ask = Ask(
            at=round(rng.uniform(0.0, 8.0), 3),
            run=f"run-{number}",
            named=rng.choice(("run_id", "run_id", "msg_id", "seq")),
            approval=rng.choice(("required", "required", "required", "auto")),
            timeout=rng.choice(("1s", "3s", "3s", "10s", "2h")),
        )
        asks.append(ask)
        for how in () if ask.named == "seq" else rng.choice(_MORE):
            asks.append(Ask(round(rng.uniform(0.0, 25.0), 3), ask.run, how, ask.named, ask.approval, ask.timeout))
        words += [_word(rng, ask.run, f"p{number}{place}") for place in range(rng.choice((0, 1, 1, 2, 3)))]
    for number in range(rng.choice((0, 0, 1, 2))):
        asks.append(Ask(round(rng.uniform(0.0, 10.0), 3), f"bad-{number}", "malformed", fault=rng.randrange(100)))
    return tuple(asks), tuple(words)


def _extensions(rng: Random, asks: tuple[Ask, ...]) -> tuple[Say, ...]:
    """Who wants more time for a hold, drawn apart from all else: a story is the same but for that."""
    held = [ask.run for ask in asks if ask.how == "request"]
    return tuple(
        Say(
            run=run,
            verb="extend",
            after=(after := rng.choice(("hold", "deadline", "deadline"))),
            seconds=round(rng.uniform(0.0, 4.0) if after == "hold" else rng.uniform(-0.4, 0.1), 3),
            by=f"x{number}{place}",
            over="desk",
            desk=rng.randrange(2),
            more=rng.choice((0.2, 1.0, 5.0, 20.0)),
        )
        for number, run in enumerate(held)
        for place in range(rng.choice((0, 0, 1, 2)))
    )


def _word(rng: Random, run: str, by: str) -> Say:
    after = rng.choice(("begin", "hold", "hold", "deadline"))
    span = {"begin": (0.0, 12.0), "hold": (0.0, 4.0), "deadline": (-0.4, 0.4)}[after]
    return Say(
        run=run,
        verb=rng.choice(("approve", "approve", "approve", "reject", "cancel", "revise")),
        after=after,
        seconds=round(rng.uniform(*span), 3),
        by=by,
        over=rng.choice(("nats", "nats", "desk")),
        digest=rng.choice(("none", "none", "right", "stale")),
        exclude=rng.choice(("none", "none", "none", "one", "stranger")),
        desk=rng.randrange(2),
    )
