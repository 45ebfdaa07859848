"""Everybody who has a key, connected at once, and what NATS answers to each."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from services.cli.lockdown.permissions import OPERATOR, USERS, WHOAMI
from shared.contracts.topology import Limits
from shared.nats import topology
from shared.nats.connection import Connection
from tests.harness.locked import Locked

NAMES: Final = (*(user.name for user in USERS), OPERATOR)
T = TypeVar("T")
_ANSWERED_WITHIN_S: Final = 5.0
Json = dict[str, Any]


class Answer(NamedTuple):
    """Result of one message: the answer, `None` without one, and True if NATS refused it."""

    data: bytes | None
    headers: Mapping[str, str]
    denied: bool

    @property
    def json(self) -> Json:
        """The answer, where it is JSON."""
        try:
            return json.loads(self.data or b"{}")
        except ValueError:
            return {}

    @property
    def stored(self) -> bool:
        """True if a stream stored the message."""
        return "seq" in self.json and "error" not in self.json

    @property
    def done(self) -> bool:
        """True if JetStream answered without an error."""
        return self.data is not None and "error" not in self.json and self.headers.get("Status", "200") == "200"


class _Person:
    """One connection."""

    def __init__(self, client: Client, refusals: list[str]) -> None:
        self.client = client
        self.refusals = refusals

    async def say(self, subject: str, data: bytes, headers: Mapping[str, str] | None, reply: str) -> Answer:
        """Send, and wait for an answer where one may come: not for one that NATS has refused to send.

        It says so in the order of sending, so whoever was answered something else knows what was refused before.
        """
        inbox = reply or self.client.new_inbox()
        answers = await self.client.subscribe(inbox) if not reply else None
        before = len(self.refusals)
        await self.client.publish(subject, data, reply=inbox, headers=dict(headers) if headers else None)
        await self.heed()
        denied = len(self.refusals) > before
        message: Msg | None = None
        if answers:
            if not denied:
                with contextlib.suppress(nats.errors.TimeoutError):
                    message = await answers.next_msg(timeout=_ANSWERED_WITHIN_S)
            await answers.unsubscribe()
        return Answer(message.data if message else None, (message.headers or {}) if message else {}, denied)

    async def heed(self) -> None:
        """Return when NATS has dealt with what was sent. nats-py's ping may overtake that; a request does not."""
        await self.client.request(WHOAMI, timeout=_ANSWERED_WITHIN_S)


class People:
    """Each user of a locked-down NATS. Safe to use from the one thread that made it."""

    def __init__(self, locked: Locked) -> None:
        self._locked = locked
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="people", daemon=True)
        self._thread.start()
        self._people = {name: self._wait(self._connected(name)) for name in NAMES}

    def close(self) -> None:
        """End all connections."""
        for person in self._people.values():
            self._wait(person.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _connected(self, name: str) -> _Person:
        refusals: list[str] = []

        async def hear(error: Exception) -> None:
            refusals.append(str(error))

        client = await nats.connect(**self._locked.options(name), error_cb=hear)
        refusals.clear()
        return _Person(client, refusals)

    def set_up(self, limits: Limits) -> None:
        """Make streams and consumers, as a coordinator does and as nothing but a coordinator."""

        async def ensured() -> None:
            link = await Connection.open(self._locked.urls, name="test", identity=self._locked.identity("coordinator"))
            await topology.ensure_topology(link, limits)
            await link.close()

        self._wait(ensured())

    def say(
        self,
        who: str,
        subject: str,
        data: object = b"",
        headers: Mapping[str, str] | None = None,
        *,
        reply: str = "",
    ) -> Answer:
        """Publish as the user and return the result. With a `reply` of its own there is no answer."""
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self._wait(self._people[who].say(subject, payload, headers, reply))

    def stored(self, subject: str, stream: str = "RESEARCH") -> Json | None:
        """The newest message under a subject as the stream's leader has it; asked by the operator."""
        answer = self.say(OPERATOR, f"$JS.API.STREAM.MSG.GET.{stream}", {"last_by_subj": subject}).json
        return answer.get("message")

    def take(self, who: str, stream: str, consumer: str) -> str:
        """Take one message of a consumer as the user. Return the subject of its acknowledgement."""

        async def taken() -> str:
            client = self._people[who].client
            inbox = client.new_inbox()
            answers = await client.subscribe(inbox)
            order = json.dumps({"batch": 1, "expires": 4_000_000_000}).encode()
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", order, reply=inbox)
            message = await answers.next_msg(timeout=_ANSWERED_WITHIN_S)
            await answers.unsubscribe()
            return message.reply

        return self._wait(taken())

    def state(self, stream: str) -> Json:
        """Of a stream: its messages, its first and last."""
        return self.say(OPERATOR, f"$JS.API.STREAM.INFO.{stream}").json["state"]

    def info(self, stream: str, consumer: str) -> Json:
        """Of a consumer."""
        return self.say(OPERATOR, f"$JS.API.CONSUMER.INFO.{stream}.{consumer}").json

    @contextlib.contextmanager
    def listening(self, who: str, pattern: str) -> Iterator[list[str]]:
        """Subjects of the messages that the user receives under this pattern meanwhile."""
        heard: list[str] = []

        async def hear(message: Msg) -> None:
            heard.append(message.subject)

        async def begin() -> Subscription:
            begun = await self._people[who].client.subscribe(pattern, cb=hear)
            await self._people[who].heed()
            return begun

        subscription = self._wait(begin())
        try:
            yield heard
        finally:
            self._wait(self._people[who].heed())
            self._wait(subscription.unsubscribe())
