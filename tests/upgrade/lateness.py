"""Who was late, and by how much: read from the log alone, and from when each service was away."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.chaos.stored import Stored
from tests.upgrade.load import EXPIRING, FLYING, HELD

_NONE = timedelta()


class Restart(NamedTuple):
    """One service was told to stop, and its successor was ready."""

    name: str
    began: datetime
    ready: datetime
    exit_code: int

    @property
    def took(self) -> timedelta:
        """How long one of its kind was missing."""
        return self.ready - self.began


class Course(NamedTuple):
    """What was due from one moment on, and there at another: an end since the request, a word since the deadline."""

    run: str
    due: datetime
    done: datetime

    @property
    def took(self) -> timedelta:
        """From one to the other."""
        return self.done - self.due

    def meets(self, restart: Restart) -> bool:
        """Whether a service was away meanwhile."""
        return self.due < restart.ready and self.done > restart.began


class Late(NamedTuple):
    """By how much a course took longer than the slowest that met no restart, and how long the restart took."""

    run: str
    late: timedelta
    restart: timedelta


def flights(log: Sequence[Stored]) -> list[Course]:
    """Each run that nobody had to decide on, from its request to its end."""
    ends = {_run(message): message.at for message in log if message.subject.endswith(".completed")}
    asked = [message for message in log if message.subject == "research.requested"]
    return [
        Course(run, message.at, ends[run])
        for message in asked
        if (run := message.event["run_id"]).startswith(FLYING) and run in ends
    ]


def expiries(log: Sequence[Stored]) -> list[Course]:
    """Each run whose deadline passed, from the deadline until that was recorded."""
    slots = {message.subject: message for message in reversed(log)}
    return [
        Course(run, datetime.fromisoformat(hold.fact["deadline"]), decision.at)
        for subject, hold in slots.items()
        if subject.endswith(".hold.1") and (run := _run(hold)).startswith(EXPIRING)
        if (decision := slots.get(f"research.run.{run}.decision.1"))
    ]


def late(courses: Sequence[Course], restarts: Sequence[Restart]) -> Iterator[Late]:
    """Each course that met a restart, against those that ended before the first and the longest that it met."""
    usual = undisturbed(courses, restarts)
    for course in courses:
        if met := [restart.took for restart in restarts if course.meets(restart)]:
            yield Late(course.run, max(course.took - usual, _NONE), max(met))


def undisturbed(courses: Sequence[Course], restarts: Sequence[Restart]) -> timedelta:
    """The longest that took which ended before anything was replaced. Raises `ValueError` where none did."""
    first = min(restart.began for restart in restarts)
    return max(course.took for course in courses if course.done < first)


def on_their_way(log: Sequence[Stored], at: datetime) -> tuple[int, int]:
    """How many were in flight, and how many were on hold, at a moment."""
    flying = sum(course.due <= at < course.done for course in flights(log))
    decided = {_run(message): message.at for message in log if message.subject.endswith(".decision.1")}
    holds = [message for message in log if message.subject.endswith(".hold.1") and _run(message).startswith(HELD)]
    return flying, sum(hold.at <= at and (_run(hold) not in decided or decided[_run(hold)] > at) for hold in holds)


def _run(message: Stored) -> str:
    return message.subject.split(".")[2]
