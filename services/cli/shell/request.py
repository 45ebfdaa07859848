"""A research request over NATS: published as `research.requested`, answered by `research.completed`."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from services.cli.shell.connecting import connected
from shared.contracts import envelope
from shared.contracts.facts import RequestRefused, RunCompleted
from shared.contracts.requests import Request
from shared.contracts.subjects import COMPLETED, INVALID, REQUESTED, Slot, invalid
from shared.errors import InvalidMessage, Unavailable
from shared.nats.client import Incoming
from shared.nats.jetstream import JetStreamLog
from shared.runtime.identity import NO_IDENTITY, Identity

_PUBLISH_TRIES: Final = 5


class Submission:
    """A request and its answer. It subscribes before the request is published, so it misses no answer."""

    def __init__(self, log: JetStreamLog, request: Request) -> None:
        assert request.run_id
        loop = asyncio.get_running_loop()
        self.run_id = request.run_id
        self.completion: asyncio.Future[bytes] = loop.create_future()
        """The message on `research.completed`, as received."""
        self.refusal: asyncio.Future[str] = loop.create_future()
        """The reason why the request was refused."""
        self._log = log
        self._request = request
        self._refused: dict[str, Incoming] = {}
        self._seq = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, servers: Sequence[str], request: Request, identity: Identity = NO_IDENTITY
    ) -> "AsyncGenerator[Submission]":
        """Connect and subscribe; close the connection on exit. Raises `Refusal` if NATS does not answer."""
        link = await connected(servers, name="dossier-ask", identity=identity)
        log = JetStreamLog(link)
        try:
            submission = cls(log, request)
            await link.subscribe(COMPLETED, submission.on_completed)
            await link.subscribe(f"{INVALID}.*", submission.on_refused)
            yield submission
        finally:
            await log.close()

    async def publish(self) -> int:
        """Publish the request, up to five times. Return its sequence in the log. Raises `Unavailable`.

        The run id makes the repetition safe.
        """
        data = msgspec.json.encode(self._request)
        for left in reversed(range(_PUBLISH_TRIES)):
            try:
                self.set_sequence(await self._log.publish(REQUESTED, data))
                break
            except Unavailable:
                if not left:
                    raise
        return self._seq

    def set_sequence(self, seq: int) -> None:
        """Set the sequence of the request in the log, by which a refusal names it."""
        self._seq = seq
        self._match_refusal()

    async def stored_completion(self) -> bytes:
        """The message on `research.completed`, read from the log. Raises `KeyError` if the run has not ended."""
        subject = Slot(self.run_id, "completed").subject
        return (await self._log.last([subject]))[subject].data

    def on_completed(self, message: Incoming) -> None:
        """Resolve `completion` if the message is of this run; drop any other message."""
        try:
            ended = msgspec.json.decode(_data(message), type=RunCompleted)
        except (InvalidMessage, msgspec.MsgspecError):
            return
        if ended.run_id == self.run_id and not self.completion.done():
            self.completion.set_result(message.data)

    def on_refused(self, message: Incoming) -> None:
        """Keep the message, and resolve `refusal` if it is of this request."""
        self._refused[message.subject] = message
        self._match_refusal()

    def _match_refusal(self) -> None:
        """Resolve `refusal` if a kept message is of this request."""
        refused = self._refused.get(invalid(self._seq))
        if refused is None or self.refusal.done():
            return
        try:
            self.refusal.set_result(msgspec.json.decode(_data(refused), type=RequestRefused).error.message)
        except (InvalidMessage, msgspec.MsgspecError):
            self.refusal.set_result("The request was refused; the coordinator's log has the reason.")


def _data(message: Incoming) -> bytes:
    """Data of the CloudEvent in the message. Raises `InvalidMessage`."""
    return envelope.unwrap(message.headers, message.data).data
