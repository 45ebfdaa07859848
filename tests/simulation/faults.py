"""What goes wrong, as data: so that a story can be told again with less of it."""

from collections.abc import Sequence
from enum import StrEnum
from random import Random  # noqa: TID251  seeded

from msgspec import Struct


class Hit(StrEnum):
    """What befalls one message that a process sends."""

    LOSE = "is lost"
    LOSE_ANSWER = "is not answered"
    DELAY = "comes late"
    REPEAT = "comes twice"
    KILL_BEFORE = "is never sent: its sender dies"
    KILL_AFTER = "is its sender's last"


Memory = str
"""With what a coordinator comes back: its projection as `saved` last, an `old` one, or `none`."""


class OnMessage(Struct, frozen=True, tag=True):
    """Befalls the message `number` of a process, over all its lives. A killed one comes back after `seconds`."""

    process: str
    number: int
    what: Hit
    seconds: float = 0.0
    memory: Memory = "saved"


class Kill(Struct, frozen=True, tag=True):
    """A process dies, and comes back after `seconds`."""

    process: str
    at: float
    seconds: float
    memory: Memory = "saved"


class Stop(Struct, frozen=True, tag=True):
    """A process is told to stop, ends in order, and comes back after `seconds`."""

    process: str
    at: float
    seconds: float


class Freeze(Struct, frozen=True, tag=True):
    """A process stands still for `seconds`, while time passes."""

    process: str
    at: float
    seconds: float


class Away(Struct, frozen=True, tag=True):
    """A process cannot reach the server for `seconds`; the server notices after `noticed_s`."""

    process: str
    at: float
    seconds: float
    noticed_s: float = 0.0


class Lag(Struct, frozen=True, tag=True):
    """What a process reads of the log is held up for `seconds`; it may write all the while."""

    process: str
    at: float
    seconds: float


class Restart(Struct, frozen=True, tag=True):
    """The server is gone for `seconds`, and has forgotten what it handed out in its last `forget_s`."""

    at: float
    seconds: float
    forget_s: float = 0.0


Fault = OnMessage | Kill | Stop | Freeze | Away | Lag | Restart

_HITS = (Hit.LOSE, Hit.LOSE_ANSWER, Hit.DELAY, Hit.REPEAT)
_DEADLY = (Hit.KILL_BEFORE, Hit.KILL_AFTER)
_SHORT, _LONG = (0.05, 3.0), (3.0, 45.0)


def drawn(rng: Random, processes: Sequence[str], people: Sequence[str], *, until: float) -> tuple[Fault, ...]:
    """Faults of one story: none in some, many in others, none after `until`. People do not die, nor do they stop."""
    how_many = rng.choice((0, 2, 5, 10, 20))
    return tuple(
        _on_a_process(rng, rng.choice(processes), until) if rng.random() < 0.8 else _on_all(rng, people, until)
        for _ in range(how_many)
    )


def _on_a_process(rng: Random, process: str, until: float) -> Fault:
    at, seconds = round(rng.uniform(0.0, until), 3), _some_time(rng)
    memory = rng.choice(("saved", "saved", "old", "none"))
    match rng.randrange(10):
        case 0:
            return Kill(process, at, seconds, memory)
        case 1:
            return Stop(process, at, seconds)
        case 2:
            return Freeze(process, at, seconds)
        case 3:
            return Away(process, at, seconds, round(rng.choice((0.0, rng.uniform(0.0, 10.0))), 3))
        case 4:
            return Lag(process, at, seconds)
        case _:
            return OnMessage(process, rng.randint(1, 60), rng.choice(_HITS + _DEADLY), seconds, memory)


def _on_all(rng: Random, people: Sequence[str], until: float) -> Fault:
    at, seconds, person = round(rng.uniform(0.0, until), 3), _some_time(rng), rng.choice(people)
    match rng.randrange(4):
        case 0:
            return Restart(at, min(seconds, 8.0), round(rng.uniform(0.0, 1.0), 3))
        case 1:
            return Away(person, at, seconds)
        case _:
            return OnMessage(person, rng.randint(1, 12), rng.choice(_HITS), seconds)


def _some_time(rng: Random) -> float:
    return round(rng.uniform(*rng.choice((_SHORT, _SHORT, _LONG))), 3)
