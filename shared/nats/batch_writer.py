"""Write-once fills through one place per process, so that whoever waits is written together.

Few fills go out as pipelined publishes, many as one atomic batch: one fsync for all. While a
commit is under way the next one gathers, so the size of a batch follows the load by itself.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from shared.contracts.envelope import HEADERS
from shared.contracts.messages import Fill
from shared.errors import LogFull, Refused, TooLarge, Unavailable
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from shared.nats.write_health import WriteHealth
from shared.runtime.clock import token
from shared.runtime.log import Filled, Full, Stored

_FEW: Final = 4
BATCH: Final = 1_000
"""JetStream's own limit."""
_BATCH_BYTES: Final = 8 * 1024 * 1024
_RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
_ONCE: Final = {"Nats-Expected-Last-Subject-Sequence": "0"}
_ONCE_EVENT: Final = {**_ONCE, **HEADERS}
_SLOT_FULL: Final = 10071
_TOO_LARGE: Final = 10054
_WRITE_IN_FLIGHT: Final = 10164
_STORE: Final = "raise max_file_store of nats-server or free its disk, and restart it"
_NO_ROOM: Final = {
    10002: "raise the JetStream limits of its account",
    10023: _STORE,
    10028: _STORE,
    10047: _STORE,
    10077: "raise the limits of the stream (max_bytes)",
}
"""What NATS says where it is full, and what helps. The first has the class of an error of the client's."""


class _Fault(Struct, frozen=True):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Ack(Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    error: _Fault | None = None


class _PendingFill:
    __slots__ = ("fill", "future", "session")

    def __init__(self, fill: Fill, future: "asyncio.Future[Filled]", session: int | None) -> None:
        self.fill = fill
        self.future = future
        self.session = session

    def resolve(self, answer: Filled) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: Unavailable) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


_Reply = Filled | Unavailable
"""Of one try. `Unavailable` is the only one that is tried again."""

_decode_ack: Final = msgspec.json.Decoder(_Ack).decode


def parse_reply(data: bytes) -> _Reply:
    """What a publish acknowledgement says of the slot."""
    ack = _decode_ack(data)
    if ack.error is None:
        return Stored(ack.seq)
    if ack.error.err_code == _SLOT_FULL:
        return Full()
    text = f"{ack.error.description} ({ack.error.err_code})"
    if helps := _NO_ROOM.get(ack.error.err_code):
        return LogFull(f"NATS has no room in {ack.stream}: {text}; {helps}.")
    if ack.error.code == 400 and ack.error.err_code != _WRITE_IN_FLIGHT:
        return Refused(ack.error.err_code, text)
    return Unavailable(text)


def _of_this_session(waiting: Iterable[_PendingFill], session: int) -> Iterable[_PendingFill]:
    """Those that may be written in this session; the others are told that they may not."""
    for one in waiting:
        if one.session in (None, session):
            yield one
        else:
            text = "The connection to NATS went down before the answer; whether %s was written is not known."
            one.fail(Unavailable(text % one.fill.subject))


class BatchWriter:
    """Fills slots of one stream. `atomic` says whether the stream takes atomic batches."""

    def __init__(self, link: Connection, stream: str, *, atomic: bool, events: bool) -> None:
        self.health = WriteHealth(stream)
        self._link = link
        self._atomic = atomic
        self._headers = _ONCE_EVENT if events else _ONCE
        self._queue: list[_PendingFill] = []
        self._writing = False
        self._successor: asyncio.Task[None] | None = None

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty; an answer for each, in order.

        With `session`, raises `Unavailable` as soon as the connection is in another one, and sends nothing in it.
        """
        loop = asyncio.get_running_loop()
        waiting = [_PendingFill(fill, loop.create_future(), session) for fill in fills]
        self._queue += waiting
        if not self._writing:
            await self._write_next()
        if len(waiting) == 1:
            return [await waiting[0].future]
        return list(await asyncio.gather(*(one.future for one in waiting)))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._writing and not self._queue

    async def close(self) -> None:
        """Stop writing; whoever still waits is told `Unavailable`."""
        if self._successor:
            self._successor.cancel()
            await asyncio.gather(self._successor, return_exceptions=True)
        for one in self._queue:
            one.fail(Unavailable(f"Closed before {one.fill.subject} was written."))

    async def _write_next(self) -> None:
        """Write what waits. What comes meanwhile is for a successor, so that nobody is kept by others' writes."""
        self._writing = True
        taken = self._take()
        try:
            await self._commit(taken)
        except Unavailable as closed:
            for one in (*taken, *self._queue):
                one.fail(closed)
            self._queue = []
        finally:
            self._queue = [one for one in taken if not one.future.done()] + self._queue
            self._writing = False
            if self._queue:
                self._writing = True
                self._successor = asyncio.create_task(self._write_next())

    def _take(self) -> list[_PendingFill]:
        """The next commit: what waits, in order, but no slot twice and no more than a batch may hold."""
        taken: list[_PendingFill] = []
        left: list[_PendingFill] = []
        subjects: set[str] = set()
        room = _BATCH_BYTES
        for one in self._queue:
            room -= len(one.fill.data)
            if one.fill.subject in subjects or len(taken) == BATCH or (room < 0 and taken):
                left.append(one)
            else:
                subjects.add(one.fill.subject)
                taken.append(one)
        self._queue = left
        return taken

    async def _commit(self, taken: list[_PendingFill]) -> None:
        """Write until the server has answered for every one."""
        tries = 0
        while taken := [one for one in taken if not one.future.done()]:
            if tries:
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S)) - 1])
            tries += 1
            await self._link.up()
            session = self._link.session
            if not (taken := list(_of_this_session(taken, session))):
                return
            trouble = await self._try(taken, session)
            self.health.failures += trouble is not None
            if trouble is None:
                self.health.record_success()
            elif self._link.connected:
                self.health.record_refusal(trouble)

    async def _try(self, taken: list[_PendingFill], session: int) -> Unavailable | None:
        if self._atomic and len(taken) > _FEW:
            answer = await self._try_batch([one.fill for one in taken], session)
            if isinstance(answer, Stored):
                first = answer.seq - len(taken) + 1
                for offset, one in enumerate(taken):
                    one.resolve(Stored(first + offset))
                return None
            if isinstance(answer, Unavailable):
                return answer
        return await self._try_singly(taken, session)

    async def _try_batch(self, fills: Sequence[Fill], session: int) -> _Reply:
        """All or none, in one commit; `Stored` has the sequence of the last."""
        batch, last = token(), len(fills)
        try:
            for number, fill in enumerate(fills[:-1], 1):
                await self._link.post(fill.subject, fill.data, self._batch_headers(batch, number), session=session)
            headers = self._batch_headers(batch, last) | {"Nats-Batch-Commit": "1"}
            return await self._answer(await self._link.ask(fills[-1].subject, fills[-1].data, headers, session=session))
        except TooLarge as error:
            return Refused(_TOO_LARGE, str(error))
        except Unavailable as error:
            return error

    def _batch_headers(self, batch: str, number: int) -> dict[str, str]:
        return {**self._headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}

    async def _try_singly(self, taken: Iterable[_PendingFill], session: int) -> Unavailable | None:
        trouble: Unavailable | None = None
        asked = [(one, await self._ask(one.fill, session)) for one in taken]
        for one, future in asked:
            answer = future if isinstance(future, Unavailable | Refused) else await self._answer(future)
            if isinstance(answer, Unavailable):
                trouble = answer
            else:
                self.health.failures += isinstance(answer, Refused)
                one.resolve(answer)
        return trouble

    async def _ask(self, fill: Fill, session: int) -> "asyncio.Future[Incoming] | Unavailable | Refused":
        try:
            return await self._link.ask(fill.subject, fill.data, self._headers, session=session)
        except TooLarge as error:
            return Refused(_TOO_LARGE, str(error))
        except Unavailable as error:
            return error

    async def _answer(self, future: "asyncio.Future[Incoming]") -> _Reply:
        try:
            reply = await future
        except Unavailable as error:
            return error
        if reply.status:
            return Unavailable("The stream is not there, or has no leader.")
        return parse_reply(reply.data)
