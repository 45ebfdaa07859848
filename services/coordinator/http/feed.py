"""The facts of a run as events of the API: stored ones as a list, and live as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from fastapi.sse import format_sse_event

from services.coordinator.engine.fold import Fold
from shared.api.schemas import EventView
from shared.contracts.messages import Message
from shared.contracts.subjects import RUN, parse_slot
from shared.domain.run import Run
from shared.runtime.dataref import load_text
from shared.runtime.log import Log

HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers of a stream: neither stored nor buffered on its way."""
HEARTBEAT_S: Final = 15.0
HEARTBEAT: Final = format_sse_event(comment="alive")
"""Keeps proxies from closing a stream without events, and shows a closed connection."""


class _Stored(msgspec.Struct):
    """The parts of a stored CloudEvent that the API shows; the defaults are those of bytes that cannot be read."""

    type: str = "unreadable"
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def event_view(message: Message) -> EventView:
    """The fact in a message. Never raises: what cannot be read has the type `unreadable` and no data."""
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
    """The facts of a run that are stored beyond the sequence `after`, in order."""
    return [event_view(await load_text(log, message)) async for message in log.history(f"{RUN}.{run}.>", after=after)]


async def event_stream(log: Log, fold: Fold, run: str, *, after: int) -> AsyncGenerator[bytes]:
    """Server-sent events: the facts of a run beyond the sequence `after`, up to its completion, which ends the stream.

    Ends at once if the completion is not beyond `after`. Sends a comment after 15 s without a fact. Reads the log once,
    for what is stored; the rest comes from `fold`.
    """
    queue: asyncio.Queue[Message] = asyncio.Queue()

    def enqueue(of: str, message: Message) -> None:
        if of == run:
            queue.put_nowait(message)

    fold.listeners.add(enqueue)
    try:
        known = fold.peek(run)
        if known and has_ended(known, after):
            return
        async for message in log.history(f"{RUN}.{run}.>", after=after):
            after = message.seq
            yield _event(await load_text(log, message))
            if _is_completion(message):
                return
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    message = await queue.get()
            except TimeoutError:
                yield HEARTBEAT
                continue
            if message.seq > after:
                yield _event(message)
            if _is_completion(message):
                return
    finally:
        fold.listeners.discard(enqueue)


def has_ended(run: Run, after: int) -> bool:
    """Return True if the run has a completion, and its sequence is not beyond `after`."""
    return run.completed is not None and run.completed.seq <= after


def server_sent_event(view: EventView) -> bytes:
    """The fact as a server-sent event: its sequence as id, its type as event, itself as JSON."""
    return format_sse_event(id=str(view.sequence), event=view.type, data_str=view.model_dump_json())


def _is_completion(message: Message) -> bool:
    """Return True if the message is in the slot of a run's completion."""
    return message.subject.endswith(".completed")


def _event(message: Message) -> bytes:
    return server_sent_event(event_view(message))
