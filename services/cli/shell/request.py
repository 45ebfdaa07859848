"""A question on NATS: asked as `research.requested`, answered as `research.completed`."""

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


class Inquiry:
    """One run's question and its answer. It listens before it asks, so an answer cannot come too soon."""

    def __init__(self, log: JetStreamLog, request: Request) -> None:
        assert request.run_id
        loop = asyncio.get_running_loop()
        self.run_id = request.run_id
        self.completion: asyncio.Future[bytes] = loop.create_future()
        """The message on `research.completed`, as it was received."""
        self.refusal: asyncio.Future[str] = loop.create_future()
        """Why the request was not taken."""
        self._log = log
        self._request = request
        self._refused: dict[str, Incoming] = {}
        self._seq = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, servers: Sequence[str], request: Request, identity: Identity = NO_IDENTITY
    ) -> "AsyncGenerator[Inquiry]":
        """Connect and listen. Raises `Refusal` where no NATS answers."""
        link = await connected(servers, name="dossier-ask", identity=identity)
        log = JetStreamLog(link)
        try:
            inquiry = cls(log, request)
            await link.subscribe(COMPLETED, inquiry.hear_completed)
            await link.subscribe(f"{INVALID}.*", inquiry.hear_refused)
            yield inquiry
        finally:
            await log.close()

    async def publish(self) -> int:
        """Ask; the request's place in the log. Repeated until it is acknowledged: the run id makes that safe."""
        data = msgspec.json.encode(self._request)
        for left in reversed(range(_PUBLISH_TRIES)):
            try:
                self._seq = await self._log.publish(REQUESTED, data)
                break
            except Unavailable:
                if not left:
                    raise
        self._match()
        return self._seq

    def published(self, seq: int) -> None:
        """It was asked otherwise, and has this place in the log."""
        self._seq = seq
        self._match()

    async def stored_completion(self) -> bytes:
        """The message on `research.completed`, from the log, for whoever did not hear it."""
        subject = Slot(self.run_id, "completed").subject
        return (await self._log.last([subject]))[subject].data

    def hear_completed(self, message: Incoming) -> None:
        """Take this message if it is the answer."""
        try:
            ended = msgspec.json.decode(_data(message), type=RunCompleted)
        except (InvalidMessage, msgspec.MsgspecError):
            return
        if ended.run_id == self.run_id and not self.completion.done():
            self.completion.set_result(message.data)

    def hear_refused(self, message: Incoming) -> None:
        """Take this message if it refuses the request."""
        self._refused[message.subject] = message
        self._match()

    def _match(self) -> None:
        refused = self._refused.get(invalid(self._seq))
        if refused is None or self.refusal.done():
            return
        try:
            self.refusal.set_result(msgspec.json.decode(_data(refused), type=RequestRefused).error.message)
        except (InvalidMessage, msgspec.MsgspecError):
            self.refusal.set_result("The request was refused; the log of the coordinator says why.")


def _data(message: Incoming) -> bytes:
    return envelope.unwrap(message.headers, message.data).data
