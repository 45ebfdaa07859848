"""nats-py's client with a shorter path for incoming messages: from the parser straight to the receiver.

nats-py parses the headers of each message, puts it into a queue and wakes a task for it, which was a third of the cost
of reading the log. The methods overridden here are private there, so `pyproject.toml` names the minor releases of
nats-py that are known to have them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, Final

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

_CONTROL: Final = b"NATS/1.0 "
"""The beginning of a control message's header block; code and description follow."""
_ACK: Final = "$JS.ACK."
_CANCELS: Final = 5
_DRAIN_S: Final = 2.0


class Incoming:
    """A received message. `block` is its header block, empty if it has none."""

    __slots__ = ("block", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, block: bytes) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self.block = block

    @property
    def headers(self) -> dict[str, str]:
        """Headers by name; of repeated names the last. Malformed lines are left out. Parsed on each access."""
        lines = (line.partition(b":") for line in self.block.split(b"\r\n")[1:])
        named = ((_name(name), value) for name, colon, value in lines if colon)
        return {name: value.strip().decode("utf-8", "replace") for name, value in named if name is not None}

    @property
    def _first(self) -> list[str]:
        """Code and description of a control message, as far as present."""
        line, _, _ = self.block.partition(b"\r\n")
        return line[len(_CONTROL) :].decode("utf-8", "replace").split(maxsplit=1)

    @property
    def status(self) -> int:
        """Code of a control message; 0 for an ordinary message, whatever headers its publisher set."""
        if not self.block.startswith(_CONTROL) or self.reply.startswith(_ACK) or "Nats-Sequence" in self.headers:
            return 0
        first = self._first
        return int(first[0]) if first and first[0].isdecimal() else 0

    @property
    def description(self) -> str:
        """Description of a control message, `""` if it has none."""
        return self._first[1] if len(self._first) > 1 else ""


@lru_cache(maxsize=64)
def _name(raw: bytes) -> str | None:
    """Return the name of a header, or `None` if it has white space or characters other than ASCII."""
    name = raw.strip()
    return name.decode() if name.isascii() and not any(map(str.isspace, name.decode())) else None


Receive = Callable[[Incoming], None]


class Receiver:
    """Callback of a subscription that `Client` calls directly. nats-py itself only checks its type."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive

    async def func(self, message: object) -> None:
        """Exists because nats-py subscribes only coroutine functions. Raises `NotImplementedError`."""
        raise NotImplementedError(f"{message!r} came by nats-py's queue.")

    __call__ = func


class Subscription:
    """A subscription to a subject, until closed."""

    def __init__(self, unsubscribe: Callable[[], Awaitable[None]], drain: Callable[[], Awaitable[None]]) -> None:
        self._unsubscribe = unsubscribe
        self._drain = drain

    async def close(self) -> None:
        """Unsubscribe. Messages on their way are lost."""
        with contextlib.suppress(NatsError):
            await self._unsubscribe()

    async def drain(self) -> None:
        """Unsubscribe after receiving the messages that the server has sent by then; at most `_DRAIN_S` seconds."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._drain()
        except (NatsError, TimeoutError):
            await self.close()


class Client(NatsClient):
    """A client that hands messages for a `Receiver` straight to it."""

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """Call the subscription's `Receiver`; its errors go to the client's error callback. Others take
        nats-py's path.
        """
        subscription: Any = self._subs.get(sid)
        if subscription is None or not isinstance(subscription._cb, Receiver):
            await super()._process_msg(sid, subject, reply, data, headers or b"")
            return
        try:
            subscription._cb.receive(Incoming(subject.decode(), reply.decode(), data, headers or b""))
        except Exception as error:
            await self._error_cb(error)

    def drop_unsent(self) -> None:
        """Discard messages that were not sent yet. nats-py would send them after a reconnection."""
        self._pending: list[bytes] = []
        self._pending_data_size = 0


class Encrypted(Client):
    """A client that refuses to connect without TLS.

    nats-py connects in the clear if the server's greeting asks for no TLS, even with a TLS context; a greeting can be
    forged.
    """

    async def _process_info(self, info: Mapping[str, Any], initial_connection: bool = False) -> None:
        """Process the server's greeting. Raises `nats.errors.Error` if the first one does not require TLS."""
        if initial_connection and not info.get("tls_required"):
            raise NatsError("it does not speak TLS, which tls:// and DOSSIER_NATS_CA ask for")
        await super()._process_info(dict(info), initial_connection)


async def cancellable(call: Coroutine[Any, Any, None]) -> None:
    """Await a call of nats-py, and end it when cancelled.

    `asyncio.wait_for` of Python 3.11, which nats-py connects with, loses a cancel that comes together with its result.
    The cancel is therefore repeated until the call has ended.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait({task})
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        error = None if task.cancelled() else task.exception()
    if error:
        raise error


async def wait_at_most(seconds: float, call: Coroutine[Any, Any, None]) -> None:
    """Run `call` for at most `seconds` and ignore its errors. Cancels repeatedly, since nats-py swallows cancels."""
    task = asyncio.create_task(call)
    await asyncio.wait({task}, timeout=seconds)
    for _ in range(_CANCELS):
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
    if task.done():
        with contextlib.suppress(NatsError, OSError, TimeoutError, asyncio.CancelledError):
            task.result()
