"""The connection to NATS. Only this module and `client` import nats.

It adds to nats-py: replies that fail when the connection is lost, requests with many replies, and waiting for NATS at
the start. Nothing is queued while disconnected: nats-py would send it later, when its sender has given up.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from shared.errors import TooLarge, Unavailable
from shared.nats.client import Client, Encrypted, Incoming, Receive, Receiver, Subscription, cancellable, wait_at_most
from shared.runtime.identity import NO_IDENTITY, Identity

logger = logging.getLogger(__name__)

REPLY_TIMEOUT_S: Final = 5.0
"""Seconds in which a healthy server answers. A leader election takes longer and is met by retries."""

_SWEEP_S: Final = 0.5
_RECONNECT_S: Final = 0.2
_PASSWORD: Final = re.compile(r"(?<=://)[^@/]+(?=@)")
_NO_VERSION: Final = (0, 0, 0)
"""nats-py's version of the server while it is connected to none."""
_NO_HEADERS: Final[Mapping[str, str]] = {}


class _Expected(NamedTuple):
    """A reply that is awaited until `until` (loop time)."""

    receive: Receive
    future: "asyncio.Future[Incoming] | asyncio.Future[None]"
    until: float

    def fail(self, reason: str) -> None:
        """Fail the reply with `Unavailable`, if it is still awaited."""
        if not self.future.done():
            self.future.set_exception(Unavailable(reason))
            self.future.exception()


class Connection:
    """One connection, shared by a whole process."""

    def __init__(self, client: Client, servers: Sequence[str]) -> None:
        self._client = client
        self._servers = list(servers)
        self._is_logged = False
        self._hear: Callable[[str], None] | None = None
        self._waiting: dict[str, _Expected] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._count = 0
        self._prefix = ""
        self._up = asyncio.Event()
        self._reconnected: list[Callable[[], None]] = []
        self._closed = False
        self.reconnects = 0
        """Number of reconnections."""

    @classmethod
    async def open(
        cls,
        servers: Sequence[str],
        *,
        name: str,
        identity: Identity = NO_IDENTITY,
        hear: Callable[[str], None] | None = None,
    ) -> "Connection":
        """Connect, retrying every half second until a server accepts. `hear` is called with the reason of
        each failure.
        """
        encrypted = identity.ca or any(server.startswith("tls://") for server in servers)
        while True:
            link = cls(Encrypted() if encrypted else Client(), servers)
            link._hear = hear
            try:
                await cancellable(link._connect(name, identity))
            except (OSError, NatsError, TimeoutError) as error:
                await link._complained(error)
                await asyncio.sleep(0.5)
            else:
                return link

    async def _connect(self, name: str, identity: Identity) -> None:
        """Connect once and start receiving replies. Raises `OSError`, `TimeoutError` or nats-py's error."""
        await self._client.connect(
            self._servers,
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,  # pyright: ignore[reportArgumentType]  a float will do
            allow_reconnect=True,
            connect_timeout=2,
            ping_interval=10,
            max_outstanding_pings=2,
            skip_subject_validation=True,
            nkeys_seed=str(identity.seed) if identity.seed else None,
            tls=identity.tls(),
            error_cb=self._complained,
            disconnected_cb=self._went_down,
            reconnected_cb=self._came_back,
        )
        self._prefix = f"{self._client.new_inbox()}."
        await self.subscribe(f"{self._prefix}*", self._answered)
        self._sweeping = asyncio.create_task(self._sweep())
        self._up.set()

    @property
    def connected(self) -> bool:
        """True while the connection stands and is not closed."""
        return self._up.is_set() and not self._closed

    @property
    def server_version(self) -> tuple[int, int, int]:
        """Version of the connected server. Raises `Unavailable` while disconnected."""
        version = self._client.connected_server_version
        known = version.major, version.minor, version.patch
        if known == _NO_VERSION:
            raise Unavailable("The connection to NATS is down, so its version is not known.")
        return known

    @property
    def max_payload(self) -> int:
        """Bytes that the server accepts in one message, headers included."""
        return self._client.max_payload

    @property
    def session(self) -> int:
        """Number of the session; each reconnection begins a new one."""
        return self.reconnects

    def on_reconnect(self, call: Callable[[], None]) -> None:
        """Call `call` after each reconnection, until `forget_reconnect`."""
        self._reconnected.append(call)

    def forget_reconnect(self, call: Callable[[], None]) -> None:
        """Stop calling `call`. Raises `ValueError` if it is not registered."""
        self._reconnected.remove(call)

    async def post(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        reply: str = "",
        session: int | None = None,
    ) -> None:
        """Send a message without awaiting an answer; `reply` is the subject for answers.

        Raises `Unavailable` after `REPLY_TIMEOUT_S` without a connection, or if `session` is over; `TooLarge` above the
        server's limit.
        """
        await self._send(subject, data, reply, headers, session)

    async def ask(
        self, subject: str, data: bytes, headers: Mapping[str, str] = _NO_HEADERS, *, session: int | None = None
    ) -> "asyncio.Future[Incoming]":
        """Send a request and return the future of its answer. Raises like `post`.

        The future fails with `Unavailable` after `REPLY_TIMEOUT_S`, and as soon as the connection is lost.
        """
        future: asyncio.Future[Incoming] = asyncio.get_running_loop().create_future()

        def receive(message: Incoming) -> None:
            del self._waiting[name]
            if not future.done():
                future.set_result(message)

        name = self._expect(receive, future)
        try:
            await self._send(subject, data, f"{self._prefix}{name}", headers, session)
        except BaseException:
            self._waiting.pop(name, None)
            raise
        return future

    async def request(self, subject: str, data: bytes = b"") -> Incoming:
        """Send a request and return the answer. Raises `Unavailable` if none comes or the subject has no responder."""
        reply = await (await self.ask(subject, data))
        if reply.status == 503:
            raise Unavailable(f"{subject} has no responder: JetStream or its stream is missing.")
        return reply

    async def collect(self, subject: str, data: bytes) -> list[Incoming]:
        """Send a request and return its replies up to and including the status message that ends them. Raises like
        `ask`.
        """
        replies: list[Incoming] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def receive(message: Incoming) -> None:
            replies.append(message)
            if message.status and not done.done():
                done.set_result(None)

        name = self._expect(receive, done)
        try:
            await self._send(subject, data, f"{self._prefix}{name}", _NO_HEADERS)
            await done
        finally:
            self._waiting.pop(name, None)
        return replies

    async def subscribe(self, subject: str, receive: Receive) -> Subscription:
        """Call `receive` with every message on `subject`, also after reconnections."""
        subscription = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            subject, cb=Receiver(receive)
        )
        return Subscription(subscription.unsubscribe, subscription.drain)

    async def listen(self, subject: str) -> AsyncGenerator[Incoming]:
        """Yield every message on `subject` as it comes, until the caller stops."""
        queue: asyncio.Queue[Incoming] = asyncio.Queue()
        subscription = await self.subscribe(subject, queue.put_nowait)
        try:
            while True:
                yield await queue.get()
        finally:
            await subscription.close()

    def inbox(self) -> str:
        """Return a new unique subject for replies."""
        return self._client.new_inbox()

    async def up(self) -> None:
        """Return once the connection stands. Raises `Unavailable` if it is closed."""
        if self._closed:
            raise Unavailable("The connection to NATS is closed.")
        await self._up.wait()

    async def close(self) -> None:
        """Flush and close the connection within 4 s. Awaited replies fail with `Unavailable`."""
        self._closed = True
        if self._sweeping:
            self._sweeping.cancel()
        await wait_at_most(1, self._client.flush())
        await wait_at_most(2, self._client.close())
        self._drop_waiting()
        self._up.set()

    async def _send(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str], session: int | None = None
    ) -> None:
        """Publish a message, waiting up to `REPLY_TIMEOUT_S` for the connection. Raises `Unavailable` or `TooLarge`."""
        if not self._up.is_set():
            await self._up_soon()
        if self._closed:
            raise Unavailable("The connection to NATS is closed.")
        if session not in (None, self.session):
            raise Unavailable(f"{subject} was not sent: the connection to NATS is a new one.")
        try:
            await self._client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)
        except MaxPayloadError as error:
            raise TooLarge(f"{subject}: {len(data):,} bytes are more than this NATS server takes.") from error
        except NatsError as error:
            raise Unavailable(f"{subject} could not be sent: {_error_text(error)}") from error

    async def _up_soon(self) -> None:
        """Return once the connection stands. Raises `Unavailable` after `REPLY_TIMEOUT_S`."""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                await self.up()
        except TimeoutError as error:
            raise Unavailable(f"NATS has not been reachable for {REPLY_TIMEOUT_S:g} s.") from error

    def _expect(self, receive: Receive, future: "asyncio.Future[Incoming] | asyncio.Future[None]") -> str:
        """Register an awaited reply and return its name, the last token of its subject."""
        self._count += 1
        name = str(self._count)
        self._waiting[name] = _Expected(receive, future, asyncio.get_running_loop().time() + REPLY_TIMEOUT_S)
        return name

    async def _sweep(self) -> None:
        """Fail overdue replies every `_SWEEP_S` seconds, until cancelled. They are in the order of their requests."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            overdue = list(takewhile(self._is_overdue, self._waiting))
            for name in overdue:
                self._waiting.pop(name).fail(f"NATS gave no answer within {REPLY_TIMEOUT_S:g} s.")

    def _is_overdue(self, name: str) -> bool:
        """Return True if the awaited reply's time is over."""
        return self._waiting[name].until <= asyncio.get_running_loop().time()

    def _answered(self, message: Incoming) -> None:
        """Hand a reply to its receiver; a reply that is not awaited is dropped."""
        expected = self._waiting.get(message.subject[len(self._prefix) :])
        if expected:
            expected.receive(message)

    def _drop_waiting(self) -> None:
        """Fail all awaited replies with `Unavailable`."""
        waiting, self._waiting = self._waiting, {}
        for expected in waiting.values():
            expected.fail("The connection to NATS went down before the answer.")

    async def _went_down(self) -> None:
        """Log the loss of the connection, discard unsent messages and fail awaited replies."""
        if not self._closed:
            logger.warning("The connection to NATS is down; trying again.", extra={"event": "nats.down"})
            self._up.clear()
            self._client.drop_unsent()
        self._drop_waiting()

    async def _came_back(self) -> None:
        """Log the reconnection, begin a new session and call the registered callbacks."""
        logger.warning("The connection to NATS is up again.", extra={"event": "nats.up"})
        self.reconnects += 1
        self._up.set()
        for call in self._reconnected:
            call()

    async def _complained(self, error: Exception) -> None:
        """Log an error of nats-py. While first connecting, also call `hear` and warn once; permission errors are logged
        as errors.
        """
        if not self._prefix and not self._is_logged:
            logger.warning(
                "Waiting for NATS at %s: %s",
                mask_passwords(self._servers),
                _error_text(error),
                extra={"event": "nats.awaited"},
            )
            self._is_logged = True
        if not self._prefix and self._hear:
            self._hear(_error_text(error))
        logger.debug("NATS: %s", _error_text(error), extra={"event": "nats.said"})
        if "permissions violation" in str(error).lower():
            logger.error("NATS refused: %s", error, extra={"event": "nats.forbidden"})


def _error_text(error: BaseException) -> str:
    """The text of an error, else its class."""
    return str(error) or type(error).__name__


def mask_passwords(servers: Sequence[str]) -> str:
    """Return the servers' URLs, comma-separated, with credentials replaced by `•••`."""
    return ", ".join(_PASSWORD.sub("•••", server) for server in servers)
