"""An event loop whose time is a number, and processes within it that can be frozen or killed between any two steps.

Nothing here waits for the world: when nothing is ready, the time is that of the next timer. What is ready runs in the
order in which it became so, and nothing iterates over anything that is ordered by its address in memory. So the same
story is the same to the byte, in every process.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from heapq import heappop
from random import Random  # noqa: TID251  seeded
from typing import Any, Final, TypeVar
from uuid import UUID

from shared.runtime import clock

_STEP_S: Final = 1e-6
"""What one step takes, so that whoever looks again and again at the time does not do so for ever."""
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


class Stuck(Exception):
    """Everything waits, and nothing will ever come."""


class Host:
    """One life of a process: all that runs in its context. What is `still` does not run, however long it is ready."""

    def __init__(self, name: str, *, skew_s: float = 0.0) -> None:
        self.name = name
        self.skew_s = skew_s
        self.still = False
        self.dead = False
        self.frozen_s = 0.0
        """How long it has stood still in all."""
        self.dazed_until = 0.0
        """Until then, after it stood still for long, it may begin what was handed to it long ago."""
        self.aside: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(_HOST.set, self)

    def begin(self, doing: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run a coroutine in this process."""
        return asyncio.get_running_loop().create_task(doing, context=self.context)


_HOST: Final[ContextVar[Host | None]] = ContextVar("host", default=None)
OUTSIDE: Final = Context()
"""Where the server and the world run: in no process."""


def here() -> Host | None:
    """The process that is running."""
    return _HOST.get()


class _Task(asyncio.Task[T]):
    """A task with a number for a hash, so that sets of tasks are in the same order every time."""

    def __init__(self, doing: Coroutine[Any, Any, T], number: int, **more: Any) -> None:
        self._number = number
        super().__init__(doing, **more)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """Time passes only where everybody waits for it."""

    _ready: Any
    _scheduled: Any

    def __init__(self) -> None:
        super().__init__()
        self._time = 0.0
        self._hosts: list[Host] = []
        self._tasks: list[_Task[Any]] = []
        self.set_task_factory(self._task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._time

    def _task(self, _: asyncio.AbstractEventLoop, doing: Coroutine[Any, Any, T], **more: Any) -> "_Task[T]":
        """A new task, kept until the end: of a process that was killed, nothing may run because it is collected."""
        task = _Task(doing, len(self._tasks), loop=self, **more)
        self._tasks.append(task)
        return task

    def host(self, name: str, *, skew_s: float = 0.0) -> Host:
        """A new process."""
        host = Host(name, skew_s=skew_s)
        self._hosts.append(host)
        return host

    def wake(self, host: Host) -> None:
        """Let a process go on where it stood still."""
        host.still = False
        aside, host.aside = host.aside, []
        self._ready.extend(aside)

    def _run_once(self) -> None:
        self._time += _STEP_S
        if not self._ready:
            self._advance()
        self._ring()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            host = handle._context.get(_HOST)
            if host is not None and host.still:
                host.aside.append(handle)
            else:
                handle._run()

    def _advance(self) -> None:
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heappop(timers)._scheduled = False
        if not timers:
            raise Stuck
        self._time = max(self._time, timers[0]._when)

    def _ring(self) -> None:
        timers = self._scheduled
        while timers and timers[0]._when <= self._time:
            timer = heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)

    def end(self) -> None:
        """Cancel whatever still runs. What it does then is of no more consequence."""
        self.set_exception_handler(lambda *_: None)
        for host in self._hosts:
            host.dead = True
            self.wake(host)
        if tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def _process_events(self, event_list: object) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


@contextmanager
def virtual(seed: object) -> Iterator[VirtualLoop]:
    """A new loop. Inside, the product's clock shows its time (as the running process has it), its names are the seed's.

    Whatever still runs in the end is cancelled, and what it does then is of no more consequence.
    """
    loop = VirtualLoop()
    names = Random(f"{seed} names")
    before = clock.now, clock.token, clock.uuid7
    clock.now = lambda: moment(loop.time() + (host.skew_s if (host := here()) else 0.0))
    clock.token = lambda: names.randbytes(16).hex()
    clock.uuid7 = lambda: str(UUID(int=names.getrandbits(128), version=4))
    try:
        yield loop
    finally:
        loop.end()
        clock.now, clock.token, clock.uuid7 = before


def moment(seconds: float) -> datetime:
    """The time of day so long after everything began."""
    return BEGAN + timedelta(seconds=seconds)
