"""Reading one stream: single messages, pages, and the stream as it grows."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from shared.contracts.deliveries import DELIVERIES
from shared.contracts.messages import Message
from shared.contracts.subjects import ACCESS, RESEARCH
from shared.errors import Diverged, Refused, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.pull import Pull
from shared.nats.stored import get_batch, get_from_leader, parse_delivered, parse_direct_get, parse_time
from shared.runtime import clock
from shared.runtime.log import End, LogCheck

logger = logging.getLogger(__name__)

_SUBJECTS_AT_ONCE: Final = 256
_NOT_FOUND: Final = 404
_PAGE: Final = 512
_WINDOW: Final = 2_000
_CONSUMER_LIVES_S: Final = 60
_NS: Final = 1_000_000_000
_EVERYTHING: Final = {RESEARCH: "research.>", DELIVERIES: "delivery.>", ACCESS: "access.>"}
"""The pattern of every message. Asked for the newest of `>`, a server whose last message was deleted finds none."""


class StreamReader:
    """The reading half of `Log`, over one stream."""

    def __init__(self, link: Connection, stream: str) -> None:
        self.link = link
        self._stream = stream

    @property
    def session(self) -> int:
        """The number of the connection's session; each reconnection begins a new one."""
        return self.link.session

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        """Return the newest message of each subject that has one, by subject; see `Log.last`.

        Raises `Unavailable` if one of the reads was not answered.
        """
        if leader:
            found = await asyncio.gather(*(self.newest(subject) for subject in subjects))
            return {message.subject: message for message in found if message}
        return await (self._last_batched(subjects) if any(map(_is_pattern, subjects)) else self._last_exact(subjects))

    async def _last_batched(self, patterns: Sequence[str]) -> dict[str, Message]:
        """Read the newest messages with at most `_SUBJECTS_AT_ONCE` patterns a request."""
        messages: dict[str, Message] = {}
        for start in range(0, len(patterns), _SUBJECTS_AT_ONCE):
            some = list(patterns[start : start + _SUBJECTS_AT_ONCE])
            for message in await get_batch(self.link, self._stream, {"multi_last": some, "batch": 1_024}):
                messages[message.subject] = message
        return messages

    async def _last_exact(self, subjects: Sequence[str]) -> dict[str, Message]:
        """Read one subject a request, named in the request's own subject: the permissions of workers allow no other."""
        messages: dict[str, Message] = {}
        for start in range(0, len(subjects), _SUBJECTS_AT_ONCE):
            some = subjects[start : start + _SUBJECTS_AT_ONCE]
            asked = [await self.link.ask(f"$JS.API.DIRECT.GET.{self._stream}.{subject}", b"") for subject in some]
            for subject, reply in zip(some, await asyncio.gather(*asked), strict=True):
                if (code := reply.status) == 0:
                    messages[subject] = parse_direct_get(reply)
                elif code != _NOT_FOUND:
                    raise Unavailable(f"Reading {subject} was answered {code}.")
        return messages

    async def newest(self, pattern: str) -> Message | None:
        """Return the newest message under `pattern` as the stream's leader has it, or `None`."""
        return await get_from_leader(self.link, self._stream, {"last_by_subj": pattern})

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        """Yield what is stored under `pattern` beyond sequence `after`, in order, to the end of the stream."""
        request = {"next_by_subj": pattern, "batch": _PAGE}
        while page := await get_batch(self.link, self._stream, request | {"seq": after + 1}):
            for message in page:
                yield message
            after = page[-1].seq

    async def first(self, pattern: str, *, after: int) -> Message | None:
        """Return the first message under `pattern` beyond sequence `after`, or `None`."""
        request = {"seq": after + 1, "next_by_subj": pattern, "batch": 1}
        messages = await get_batch(self.link, self._stream, request)
        return messages[0] if messages else None

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        """Return the message at sequence `seq`, or `None`; with `leader`, as the stream's leader has it."""
        if leader:
            return await get_from_leader(self.link, self._stream, {"seq": seq})
        reply = await self.link.request(f"$JS.API.DIRECT.GET.{self._stream}", msgspec.json.encode({"seq": seq}))
        return None if reply.status else parse_direct_get(reply)

    async def end(self) -> End:
        """Return where the stream ends now; see `End`."""
        info = await topology.request_api(self.link, f"STREAM.INFO.{self._stream}")
        state = info["state"]
        seq = state["last_seq"]
        if state.get("num_deleted") or not state["messages"]:
            newest = await self.newest(_EVERYTHING[self._stream])
            seq = newest.seq if newest else 0
        return End(seq, parse_time(info["ts"]), parse_time(info["created"]), state["last_seq"])

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        """Yield every message beyond sequence `after`, in order and without gaps, for ever; see `Log.follow`.

        Interruptions are logged and reading goes on. Raises `Diverged` if `check` does, and `Unavailable` once the
        connection is closed.
        """
        while True:
            try:
                session = self.session
                if check:
                    await check()
                async with aclosing(self._follow_one_consumer(after, session)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                        after = chunk[-1].seq
            except Diverged:
                raise
            except (Unavailable, Refused) as error:
                text = "Reading the log from %d on is interrupted: %s"
                logger.warning(text, after + 1, error, extra={"event": "log.interrupted"})
                await asyncio.sleep(0.2)
            await self.link.up()

    async def _follow_one_consumer(self, after: int, session: int) -> AsyncGenerator[Sequence[Message]]:
        """Yield chunks from a new consumer until it skips a message, falls silent or is gone, or `session` is over."""
        name = await self._create_reader(after)
        pull = Pull(self.link, self._stream, name, window=_WINDOW)
        await pull.open()
        try:
            expected = 1
            while pull.faults == 0 and self.session == session:
                chunk = [parse_delivered(message) for message in await pull.take()]
                await pull.release(len(chunk))
                if [number for _, number, _ in chunk] != list(range(expected, expected + len(chunk))):
                    return
                expected += len(chunk)
                if chunk:
                    yield [message for _, _, message in chunk]
        finally:
            await pull.close()
            if self.link.connected:
                await self.link.post(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}", b"")

    async def _create_reader(self, after: int) -> str:
        """Create an ephemeral consumer that begins beyond sequence `after`; return its name."""
        name = f"reader-{clock.token()}"
        config = {
            "name": name,
            "ack_policy": "none",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "inactive_threshold": _CONSUMER_LIVES_S * _NS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        request = {"stream_name": self._stream, "config": config}
        await topology.request_api(self.link, f"CONSUMER.CREATE.{self._stream}.{name}", request)
        return name


def _is_pattern(subject: str) -> bool:
    """Return True if `subject` has a wildcard after its first token."""
    return subject.endswith(".>") or ".*" in subject
