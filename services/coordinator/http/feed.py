"""The facts of one run as they come, for as many readers as there are, from the coordinator's one read of the log."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from services.coordinator.engine.fold import Fold
from shared.api.schemas import EventView
from shared.contracts.messages import Message
from shared.contracts.subjects import RUN, parse_slot
from shared.runtime.dataref import whole
from shared.runtime.log import Log

HEARTBEAT_S: Final = 15.0


class _Stored(msgspec.Struct):
    type: str = "unreadable"
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def event_view(message: Message) -> EventView:
    """A stored fact as the API shows it; also one that this release cannot read."""
    slot = parse_slot(message.subject)
    try:
        stored = msgspec.json.decode(message.data, type=_Stored)
        data: object = msgspec.json.decode(message.text or stored.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        stored, data = _Stored(), None
    return EventView(
        sequence=message.seq,
        slot=slot.path if slot else message.subject,
        type=stored.type,
        time=message.time,
        data=data,
    )


async def stored(log: Log, run: str, *, after: int = 0) -> list[EventView]:
    """The facts of a run so far."""
    return [event_view(await whole(log, message)) async for message in log.history(f"{RUN}.{run}.>", after=after)]


async def stream(log: Log, fold: Fold, run: str, *, after: int) -> AsyncGenerator[str]:
    """The facts of a run beyond `after` as server-sent events, to its completion."""
    queue: asyncio.Queue[Message] = asyncio.Queue()

    def heard(of: str, message: Message) -> None:
        if of == run:
            queue.put_nowait(message)

    fold.listeners.add(heard)
    try:
        async for message in log.history(f"{RUN}.{run}.>", after=after):
            after = message.seq
            yield _sent(await whole(log, message))
            if _ends(message):
                return
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    message = await queue.get()
            except TimeoutError:
                yield ": alive\n\n"
                continue
            if message.seq > after:
                yield _sent(message)
                if _ends(message):
                    return
    finally:
        fold.listeners.discard(heard)


def _ends(message: Message) -> bool:
    return message.subject.endswith(".completed")


def _sent(message: Message) -> str:
    view = event_view(message)
    return f"id: {view.sequence}\nevent: {view.type}\ndata: {view.model_dump_json()}\n\n"
