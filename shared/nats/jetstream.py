"""`Log` over NATS JetStream."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from shared.contracts.messages import Fill, Queue
from shared.contracts.subjects import RESEARCH
from shared.errors import Refused, Unavailable
from shared.nats import padding, topology
from shared.nats.batch_writer import BatchWriter, parse_reply
from shared.nats.connection import Connection
from shared.nats.evidence import EvidenceStore
from shared.nats.horizon import Horizon
from shared.nats.reader import StreamReader
from shared.nats.tasks import JetStreamTasks
from shared.nats.write_health import WriteHealth
from shared.runtime.log import Consumer, Filled, Hint, Stored

_NO_HEADERS: Final[Mapping[str, str]] = {}


class JetStreamLog(StreamReader):
    """The log of all runs on a NATS server, or that of another stream (`beside`). Close it with `close`."""

    def __init__(self, link: Connection, stream: str = RESEARCH) -> None:
        super().__init__(link, stream)
        self._beside: list[JetStreamLog] = []
        self._writer = BatchWriter(link, stream, atomic=stream == RESEARCH, events=True)
        self._evidence = EvidenceStore(link)
        self._horizon = Horizon()

    def beside(self, stream: str) -> "JetStreamLog":
        """Return the log of another stream over the same connection; it is closed with this one."""
        other = JetStreamLog(self.link, stream)
        self._beside.append(other)
        return other

    async def close(self) -> None:
        """Close the connection. Writes that still wait raise `Unavailable`."""
        for other in self._beside:
            await other.close()
        await self._writer.close()
        await self._evidence.close()
        await self.link.close()

    @property
    def write_health(self) -> tuple[WriteHealth, ...]:
        """The health of each stream that this process writes to."""
        return (self._writer.health, self._evidence.health, *(other._writer.health for other in self._beside))

    @property
    def trouble(self) -> str | None:
        """Reason why writes to the log or to `EVIDENCE` currently fail, for operators, or `None`."""
        return self._writer.health.trouble or self._evidence.health.trouble

    async def wait_writable(self) -> None:
        """Return once there is no `trouble`."""
        while self.trouble:
            await self._writer.health.wait()
            await self._evidence.health.wait()

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty; return an answer for each, in order. See `Log.fill`."""
        epoch = self._horizon.epoch
        filled = await self._writer.fill(fills, session=session)
        self._horizon.advance(filled, since=epoch)
        return filled

    async def pad(self, up_to: int, *, session: int) -> None:
        """Append empty messages until the sequence `up_to` is given. Raises `Unavailable` or `Refused`."""
        while (missing := up_to - (await self.end()).last) > 0:
            await padding.append_padding(self.link, missing, session=session)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> int:
        """Append a message and return its sequence; see `Log.publish`. A failure counts in `write_health`."""
        health = self._writer.health
        try:
            answer = await self._publish(subject, data, headers)
        except Unavailable as error:
            health.failures += 1
            if self.link.connected:
                health.record_refusal(error)
            raise
        if self._writer.is_idle:
            health.record_success()
        return answer.seq

    async def _publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> Stored:
        """Append a message once. Raises `Unavailable`, also if no stream takes the subject, or `Refused`."""
        reply = await (await self.link.ask(subject, data, headers))
        if reply.status:
            raise Unavailable(f"No stream takes {subject}.")
        answer = parse_reply(reply.data)
        if isinstance(answer, Stored):
            return answer
        raise answer if isinstance(answer, Refused | Unavailable) else Refused(0, f"{subject} was refused.")

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> AsyncGenerator[JetStreamTasks]:
        """Open the tasks of a durable consumer, at most `at_most` of them taken and not released; close them after."""
        tasks = JetStreamTasks(self.link, self._stream, consumer, at_most, self._horizon)
        try:
            yield tasks
        finally:
            await tasks.close()

    async def queue(self, consumer: Consumer) -> Queue:
        """Return the state of a consumer of `RESEARCH`. Raises `Refused` if it does not exist, or `Unavailable`."""
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
        """Store a frozen text and return its SHA-256; see `Evidence.put`."""
        return await self._evidence.put(text)

    async def get(self, sha256: str) -> str | None:
        """Return the frozen text with this SHA-256, or `None`; see `Evidence.get`."""
        return await self._evidence.get(sha256)

    async def hint(self, subject: str, data: bytes) -> None:
        """Publish a hint on core NATS: it is not stored and may be lost."""
        await self.link.post(subject, data)

    async def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        """Yield hints under `pattern` as they come, until the caller stops."""
        async with aclosing(self.link.listen(pattern)) as messages:
            async for message in messages:
                yield Hint(message.subject, message.data)
