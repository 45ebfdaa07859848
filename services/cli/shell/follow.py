"""A run that is followed: folded from the API's events by the coordinator's own `evolve`."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import reduce
from typing import Final, cast

import msgspec

from services.cli.shell.api import Api
from services.cli.shell.terminal import printable
from shared.api.schemas import EventView
from shared.contracts.facts import Fact
from shared.contracts.subjects import RUN, parse_slot
from shared.domain.decoding import fact_for_slot, unreadable_fact
from shared.domain.run import Recorded, Run, UnknownFact, evolve

_NO_HASH: Final = ""
"""The API's events do not carry the hashes of the stored bytes; nothing here needs them."""


def fold(run_id: str, events: Iterable[EventView]) -> Run:
    """The state of the run after these events."""
    return reduce(advance, events, Run(run_id))


def advance(run: Run, event: EventView) -> Run:
    """The run after one more event. An event that this release cannot read parks it, as in the coordinator.

    An event without a time, or with an unknown slot, changes nothing.
    """
    slot = parse_slot(f"{RUN}.{run.id}.{event.slot}")
    if slot is None or event.time is None:
        return run
    try:
        fact = fact_for_slot(slot, msgspec.convert(_printable(event.data), type=Fact))
    except msgspec.ValidationError:
        unknown = f"{event.type} is not a type that this release knows."
        fact = UnknownFact(unknown) if event.data else unreadable_fact(slot, "EVIDENCE has no undamaged text for it.")
    return evolve(run, Recorded(slot, event.sequence, event.time, _NO_HASH, fact, event.time))


def _printable(data: object) -> object:
    """The same JSON value with all texts made `printable`; names of fields stay."""
    match data:
        case str():
            return printable(data)
        case dict():
            return {key: _printable(value) for key, value in cast("dict[str, object]", data).items()}
        case list():
            return [_printable(value) for value in cast("list[object]", data)]
        case _:
            return data


class Follower:
    """Follows one run in a task of its own until `close`. Calls `changed` after each event."""

    def __init__(self, api: Api, run_id: str, *, since: int = 0, changed: Callable[[Run], None]) -> None:
        self.run = Run(run_id)
        self.away = False
        """True while the API does not answer."""
        self._changed = changed
        self._news = asyncio.Event()
        self._following = asyncio.create_task(self._follow(api, since))

    async def until(self, wanted: Callable[[Run], bool]) -> Run:
        """Return the run as soon as `wanted` is true of it, or it has ended. Raises `Refused` if the API refuses."""
        while not wanted(self.run) and not self.run.completed:
            if self._following.done():
                self._following.result()
            await self._news.wait()
            self._news.clear()
        return self.run

    async def close(self) -> None:
        """Stop following. Raises nothing."""
        self._following.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._following

    async def _follow(self, api: Api, since: int) -> None:
        """Fold each event into `run` and wake `until`, which raises the error that ends this, if any."""
        try:
            async for event in api.events(self.run.id, since=since):
                self.away = event is None
                if event:
                    self.run = advance(self.run, event)
                    self._changed(self.run)
                    self._news.set()
        finally:
            self._news.set()
