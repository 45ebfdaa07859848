"""`Log` over NATS JetStream."""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from shared.contracts.deliveries import DELIVERIES
from shared.contracts.messages import Fill, Message, Queue
from shared.contracts.subjects import ACCESS, EVIDENCE, INBOUND, RESEARCH, evidence
from shared.errors import Diverged, Refused, Unavailable
from shared.nats import padding, topology
from shared.nats.batch_writer import BatchWriter, parse_reply
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from shared.nats.horizon import Horizon
from shared.nats.pull import Pull
from shared.nats.write_health import WriteHealth
from shared.runtime import clock
from shared.runtime.aio import run_until
from shared.runtime.log import Consumer, End, Filled, Hint, LogCheck, Stored

logger = logging.getLogger(__name__)

CHUNK: Final = 128 * 1024
"""Bytes of a frozen text in one message."""

_PROGRESS: Final = b"+WPI"
_REMEMBERED: Final = 10_000
"""Hashes of texts that this process knows to be stored."""
_SUBJECTS_AT_ONCE: Final = 256
_NOT_FOUND: Final = 404
_PAGE: Final = 512
_WINDOW: Final = 2_000
_CONSUMER_LIVES_S: Final = 60
_NS: Final = 1_000_000_000
_NO_HEADERS: Final[Mapping[str, str]] = {}
_EVERYTHING: Final = {RESEARCH: "research.>", DELIVERIES: "delivery.>", ACCESS: "access.>"}
"""What takes in every message. Asked for the newest of `>`, a server whose last message was deleted finds none."""


class JetStreamLog:
    """The log of all runs on a NATS server, or that of another stream (`beside`). Close it with `close`."""

    def __init__(self, link: Connection, stream: str = RESEARCH) -> None:
        self.link = link
        self._stream = stream
        self._beside: list[JetStreamLog] = []
        self._facts = BatchWriter(link, stream, atomic=stream == RESEARCH, events=True)
        self._texts = BatchWriter(link, EVIDENCE, atomic=False, events=False)
        self._frozen: dict[str, None] = {}
        link.on_reconnect(self._frozen.clear)
        self._horizon = Horizon()

    def beside(self, stream: str) -> "JetStreamLog":
        """The log of another stream, over the same connection; closed with this one."""
        other = JetStreamLog(self.link, stream)
        self._beside.append(other)
        return other

    async def close(self) -> None:
        """End the connection; whoever still waits for a write is told `Unavailable`."""
        for other in self._beside:
            await other.close()
        await self._facts.close()
        await self._texts.close()
        await self.link.close()

    @property
    def rooms(self) -> tuple[WriteHealth, ...]:
        """Whether each stream that this process writes to takes writes."""
        return (self._facts.room, self._texts.room, *(other._facts.room for other in self._beside))

    @property
    def trouble(self) -> str | None:
        return self._facts.room.trouble or self._texts.room.trouble

    async def room(self) -> None:
        while self.trouble:
            await self._facts.room.wait()
            await self._texts.room.wait()

    @property
    def session(self) -> int:
        return self.link.session

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        epoch = self._horizon.epoch
        filled = await self._facts.fill(fills, session=session)
        self._horizon.written(filled, since=epoch)
        return filled

    async def pad(self, up_to: int, *, session: int) -> None:
        while (missing := up_to - (await self.end()).last) > 0:
            await padding.append_padding(self.link, missing, session=session)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> int:
        try:
            answer = await self._published(subject, data, headers)
        except Unavailable as error:
            self._facts.room.failures += 1
            if self.link.connected:
                self._facts.room.refused(error)
            raise
        if self._facts.is_idle:
            self._facts.room.taken()
        return answer.seq

    async def _published(self, subject: str, data: bytes, headers: Mapping[str, str]) -> Stored:
        reply = await (await self.link.ask(subject, data, headers))
        if reply.status:
            raise Unavailable(f"No stream takes {subject}.")
        answer = parse_reply(reply.data)
        if isinstance(answer, Stored):
            return answer
        raise answer if isinstance(answer, Refused | Unavailable) else Refused(0, f"{subject} was refused.")

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        if leader:
            found = await asyncio.gather(*(self.newest(subject) for subject in subjects))
            return {message.subject: message for message in found if message}
        return await (self._in_batches(subjects) if any(map(_is_pattern, subjects)) else self._one_by_one(subjects))

    async def _in_batches(self, patterns: Sequence[str]) -> dict[str, Message]:
        messages: dict[str, Message] = {}
        for start in range(0, len(patterns), _SUBJECTS_AT_ONCE):
            some = patterns[start : start + _SUBJECTS_AT_ONCE]
            for message in await self._get({"multi_last": list(some), "batch": 1_024}):
                messages[message.subject] = message
        return messages

    async def _one_by_one(self, subjects: Sequence[str]) -> dict[str, Message]:
        """In requests whose own subjects say what is read: that is what the permissions of workers are about."""
        messages: dict[str, Message] = {}
        for start in range(0, len(subjects), _SUBJECTS_AT_ONCE):
            some = subjects[start : start + _SUBJECTS_AT_ONCE]
            asked = [await self.link.ask(f"$JS.API.DIRECT.GET.{self._stream}.{subject}", b"") for subject in some]
            for subject, reply in zip(some, await asyncio.gather(*asked), strict=True):
                if (code := reply.status) == 0:
                    messages[subject] = _parse_direct_get(reply)
                elif code != _NOT_FOUND:
                    raise Unavailable(f"Reading {subject} was answered {code}.")
        return messages

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        while page := await self._get({"seq": after + 1, "next_by_subj": pattern, "batch": _PAGE}):
            for message in page:
                yield message
            after = page[-1].seq

    async def first(self, pattern: str, *, after: int) -> Message | None:
        messages = await self._get({"seq": after + 1, "next_by_subj": pattern, "batch": 1})
        return messages[0] if messages else None

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
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
                logger.warning(
                    "Reading the log from %d on is interrupted: %s",
                    after + 1,
                    error,
                    extra={"event": "log.interrupted"},
                )
                await asyncio.sleep(0.2)
            await self.link.up()

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        if leader:
            return await self._of_leader({"seq": seq}, self._stream)
        reply = await self.link.request(f"$JS.API.DIRECT.GET.{self._stream}", msgspec.json.encode({"seq": seq}))
        return None if reply.status else _parse_direct_get(reply)

    async def end(self) -> End:
        info = await topology.request_api(self.link, f"STREAM.INFO.{self._stream}")
        state = info["state"]
        seq = state["last_seq"]
        if state.get("num_deleted") or not state["messages"]:
            newest = await self.newest(_EVERYTHING[self._stream])
            seq = newest.seq if newest else 0
        return End(seq, _parse_time(info["ts"]), _parse_time(info["created"]), state["last_seq"])

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> "AsyncGenerator[JetStreamTasks]":
        tasks = JetStreamTasks(self.link, self._stream, consumer, at_most, self._horizon)
        try:
            yield tasks
        finally:
            await tasks.close()

    async def queue(self, consumer: Consumer) -> Queue:
        info = await topology.request_api(self.link, f"CONSUMER.INFO.{RESEARCH}.{consumer}")
        return Queue(
            waiting=info["num_pending"],
            in_flight=info["num_ack_pending"],
            limit=info["config"]["max_ack_pending"],
            redelivered=info["num_redelivered"],
            asking=info["num_waiting"],
            handed_out=info["delivered"]["stream_seq"],
        )

    async def put(self, text: str) -> str:
        data = text.encode()
        digest = sha256(data).hexdigest()
        if digest not in self._frozen:
            chunks = [data[start : start + CHUNK] for start in range(0, max(1, len(data)), CHUNK)]
            filled = await self._texts.fill([Fill(evidence(digest, n), chunk) for n, chunk in enumerate(chunks)])
            if refused := next((answer for answer in filled if isinstance(answer, Refused)), None):
                raise refused
            self._remember(digest)
        return digest

    def _remember(self, digest: str) -> None:
        """Texts that are found again soon, as a popular page is, are not sent again."""
        self._frozen[digest] = None
        if len(self._frozen) > _REMEMBERED:
            del self._frozen[next(iter(self._frozen))]

    async def get(self, sha256: str) -> str | None:
        messages = await self._get({"multi_last": [f"evidence.{sha256}.*"], "batch": 1_024}, EVIDENCE)
        messages.sort(key=lambda message: int(message.subject.rsplit(".", 1)[1]))
        return _join_chunks(sha256, messages) or _join_chunks(sha256, await self._chunks_of_leader(sha256))

    async def _chunks_of_leader(self, sha256: str) -> list[Message]:
        """What the leader has of a text: a replica that lags may have none of it yet, or a part."""
        chunks: list[Message] = []
        while chunk := await self._last_of_leader(evidence(sha256, len(chunks)), EVIDENCE):
            chunks.append(chunk)
        return chunks

    async def hint(self, subject: str, data: bytes) -> None:
        await self.link.post(subject, data)

    async def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        async with aclosing(self.link.listen(pattern)) as messages:
            async for message in messages:
                yield Hint(message.subject, message.data)

    async def _get(self, request: object, stream: str = "") -> list[Message]:
        """A batched direct get: its messages, in order."""
        stream = stream or self._stream
        replies = await self.link.collect(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request))
        last = replies[-1]
        if last.status not in (204, 404):
            raise Unavailable(f"Reading {stream} was answered {last.status} {last.description}.")
        return [_parse_direct_get(reply) for reply in replies[:-1]]

    async def newest(self, pattern: str) -> Message | None:
        return await self._last_of_leader(pattern, self._stream)

    async def _last_of_leader(self, subject: str, stream: str) -> Message | None:
        return await self._of_leader({"last_by_subj": subject}, stream)

    async def _of_leader(self, which: Mapping[str, str | int], stream: str) -> Message | None:
        try:
            answer = await topology.request_api(self.link, f"STREAM.MSG.GET.{stream}", which)
        except Refused as error:
            if error.code == 10037:
                return None
            raise
        stored = answer["message"]
        return Message(
            stored["subject"], stored["seq"], _parse_time(stored["time"]), base64.b64decode(stored.get("data", ""))
        )

    async def _follow_one_consumer(self, after: int, session: int) -> AsyncGenerator[Sequence[Message]]:
        """Chunks until the consumer skips, is silent or is gone, or the session is over. Then it takes a new one."""
        name = await self._create_reader(after)
        pull = Pull(self.link, self._stream, name, window=_WINDOW)
        await pull.open()
        try:
            expected = 1
            while pull.faults == 0 and self.session == session:
                chunk = [_parse_delivered(message) for message in await pull.take()]
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
        await topology.request_api(
            self.link, f"CONSUMER.CREATE.{self._stream}.{name}", {"stream_name": self._stream, "config": config}
        )
        return name


class JetStreamTasks:
    """A standing order for tasks of one kind."""

    def __init__(self, link: Connection, stream: str, consumer: Consumer, at_most: int, horizon: Horizon) -> None:
        self._link = link
        self._stream = stream
        self._consumer: Consumer = consumer
        self._horizon = horizon
        self._faults: int | None = None
        self._pull = Pull(link, stream, consumer, window=at_most)
        self._closed = asyncio.Event()

    async def __aiter__(self) -> "AsyncIterator[Sequence[JetStreamDelivery]]":
        await run_until(self._closed, self._open())
        while not self._closed.is_set():
            taken = await self._pull.take()
            if self._pull.faults != self._faults:
                self._faults = self._pull.faults
                self._horizon.forgotten()
            if taken:
                yield [JetStreamDelivery(self._link, message, self._horizon) for message in taken]

    async def release(self, count: int = 1) -> None:
        await self._pull.release(count)

    async def close(self) -> None:
        self._closed.set()
        await self._pull.close()
        for message in self._pull.untaken():
            await JetStreamDelivery(self._link, message, self._horizon).nak()

    async def _open(self) -> None:
        await topology.wait_for_consumer(self._link, self._consumer, stream=self._stream)
        await self._pull.open()


class JetStreamDelivery:
    """One task as JetStream handed it out."""

    def __init__(self, link: Connection, incoming: Incoming, horizon: Horizon) -> None:
        self._link = link
        self._reply = incoming.reply
        self.deliveries, _, self.message = _parse_delivered(incoming)
        self.fresh = link.connected and horizon.admits(self.message, self.deliveries)

    async def ack(self) -> None:
        await self._link.post(self._reply, b"+ACK")

    async def nak(self, *, delay_s: float = 0.0) -> None:
        later = msgspec.json.encode({"delay": int(delay_s * _NS)}) if delay_s > 0 else b""
        await self._link.post(self._reply, b"-NAK " + later if later else b"-NAK")

    async def renew(self) -> None:
        await self._link.request(self._reply, _PROGRESS)


def _parse_delivered(incoming: Incoming) -> tuple[int, int, Message]:
    """How often a message was delivered, its number among those that its consumer has delivered, and the message.

    All of it stands in `$JS.ACK.…`, where the form with a domain has two tokens more in front. Only a contract message
    says something in its headers.
    """
    where = incoming.reply.split(".")
    at = 4 if len(where) == 9 else 6
    headers = incoming.headers if incoming.subject in INBOUND else _NO_HEADERS
    message = Message(incoming.subject, int(where[at + 1]), clock.at(int(where[at + 3])), incoming.data, headers)
    return int(where[at]), int(where[at + 2]), message


def _parse_direct_get(reply: Incoming) -> Message:
    headers = reply.headers
    return Message(
        headers["Nats-Subject"],
        int(headers["Nats-Sequence"]),
        _parse_time(headers["Nats-Time-Stamp"]),
        reply.data,
        headers,
    )


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_pattern(subject: str) -> bool:
    return subject.endswith(".>") or ".*" in subject


def _join_chunks(digest: str, chunks: Sequence[Message]) -> str | None:
    """The text with this SHA-256, where these are its chunks. The empty text is a chunk with nothing in it."""
    data = b"".join(chunk.data for chunk in chunks)
    return data.decode() if chunks and sha256(data).hexdigest() == digest else None
