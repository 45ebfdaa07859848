"""Write-once fills of one process, gathered into batches.

Up to four fills are pipelined publishes; more are one atomic batch, which costs one fsync. While a commit is under way
the next one gathers, so the size of a batch follows the load.
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
"""JetStream's error codes for a lack of room, and the remedy. The first has the class of a client's error."""


class _Fault(Struct, frozen=True):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Ack(Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    error: _Fault | None = None


class _PendingFill:
    """A fill that waits for its answer. `session` limits it to one session of the connection."""

    __slots__ = ("fill", "future", "session")

    def __init__(self, fill: Fill, future: "asyncio.Future[Filled]", session: int | None) -> None:
        self.fill = fill
        self.future = future
        self.session = session

    def resolve(self, answer: Filled) -> None:
        """Set the answer, unless there is one."""
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: Unavailable) -> None:
        """Fail with `error`, unless there is an answer."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


_Reply = Filled | Unavailable
"""Of one try. `Unavailable` is the only one that is tried again."""

_decode_ack: Final = msgspec.json.Decoder(_Ack).decode


def parse_reply(data: bytes) -> _Reply:
    """Return the answer in a publish acknowledgement: `Stored`, `Full`, `Refused`, or an `Unavailable` that may be
    retried.

    A server without room gives `LogFull`, whose text says what the operator can do. Raises `msgspec.DecodeError`.
    """
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
    """Yield the fills that may be written in this session; fail the others with `Unavailable`."""
    for one in waiting:
        if one.session in (None, session):
            yield one
        else:
            text = "The connection to NATS went down before the answer; whether %s was written is not known."
            one.fail(Unavailable(text % one.fill.subject))


class BatchWriter:
    """Fills slots of one stream. `atomic` is True if the stream takes atomic batches; `events` adds CloudEvents
    headers.
    """

    def __init__(self, link: Connection, stream: str, *, atomic: bool, events: bool) -> None:
        self.health = WriteHealth(stream)
        self._link = link
        self._atomic = atomic
        self._headers = _ONCE_EVENT if events else _ONCE
        self._queue: list[_PendingFill] = []
        self._writing = False
        self._successor: asyncio.Task[None] | None = None

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty; return an answer for each, in order. Retries until each is answered.

        Raises `Unavailable` once closed, and, with `session`, as soon as that session is over.
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
        """True if no fill waits."""
        return not self._writing and not self._queue

    async def close(self) -> None:
        """Stop writing. Fills that still wait raise `Unavailable`."""
        if self._successor:
            self._successor.cancel()
            await asyncio.gather(self._successor, return_exceptions=True)
        for one in self._queue:
            one.fail(Unavailable(f"Closed before {one.fill.subject} was written."))

    async def _write_next(self) -> None:
        """Write one batch of waiting fills. A new task writes what came meanwhile, so that no caller waits for later
        fills.
        """
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
        """Remove and return the fills of the next commit, in order: no subject twice, within the limits of a batch."""
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
        """Write `taken` until the server has answered for each, with pauses of 0.05 to 1 s. Updates `health`."""
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
        """Try to write once. Sets the answers that came; returns the error if some have to be tried again."""
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
        """Write all fills or none in one commit. `Stored` has the sequence of the last."""
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
        """Headers of message `number` (from 1) of an atomic batch."""
        return {**self._headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}

    async def _try_singly(self, taken: Iterable[_PendingFill], session: int) -> Unavailable | None:
        """Write each fill by itself, pipelined. Sets the answers that came; returns an error if some have to be tried
        again.
        """
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
        """Send one fill; return the future of its answer, or the error."""
        try:
            return await self._link.ask(fill.subject, fill.data, self._headers, session=session)
        except TooLarge as error:
            return Refused(_TOO_LARGE, str(error))
        except Unavailable as error:
            return error

    async def _answer(self, future: "asyncio.Future[Incoming]") -> _Reply:
        """Await and parse an answer; `Unavailable` is returned, not raised."""
        try:
            reply = await future
        except Unavailable as error:
            return error
        if reply.status:
            return Unavailable("The stream is not there, or has no leader.")
        return parse_reply(reply.data)
