"""nats-py's client, with a shorter way in: a message goes from the parser straight to who receives it.

nats-py reads the headers of each message, whoever looks at them or not, puts it into a queue and wakes a task for it.
That was a third of what the log cost to read. What is changed here is private there, so that `pyproject.toml` names the
minor releases of nats-py that are known to have it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

_CONTROL: Final = b"NATS/1.0 "
"""What the block of a control message begins with; its code and what it says follow."""
_ACK: Final = "$JS.ACK."


class Incoming:
    """A message as it came. `block` is its header block, empty where it has none."""

    __slots__ = ("block", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, block: bytes) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self.block = block

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name, the last where a name is there twice; read from `block` each time."""
        lines = (line.partition(b":") for line in self.block.split(b"\r\n")[1:])
        named = ((_name(name), value) for name, colon, value in lines if colon)
        return {name: value.strip().decode("utf-8", "replace") for name, value in named if name is not None}

    @property
    def _first(self) -> list[str]:
        """The code and the description of a control message."""
        line, _, _ = self.block.partition(b"\r\n")
        return line[len(_CONTROL) :].decode("utf-8", "replace").split(maxsplit=1)

    @property
    def status(self) -> int:
        """The code of a control message; 0 for an ordinary one, whatever headers its publisher gave it."""
        if not self.block.startswith(_CONTROL) or self.reply.startswith(_ACK) or "Nats-Sequence" in self.headers:
            return 0
        first = self._first
        return int(first[0]) if first and first[0].isdecimal() else 0

    @property
    def description(self) -> str:
        """What a control message says."""
        return self._first[1] if len(self._first) > 1 else ""


@lru_cache(maxsize=64)
def _name(raw: bytes) -> str | None:
    """The name of a header. `None` for what is none: it has white space in it, or other than ASCII."""
    name = raw.strip()
    return name.decode() if name.isascii() and not any(map(str.isspace, name.decode())) else None


Receive = Callable[[Incoming], None]


class Receiver:
    """A subscription's callback. Only its type is looked at: it is never called by nats-py."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive

    async def func(self, message: object) -> None:
        """Is there because nats-py subscribes nobody who is not a coroutine function, or does not wrap one."""
        raise NotImplementedError(f"{message!r} came by nats-py's queue.")

    __call__ = func


class Client(NatsClient):
    """Hands what comes for a `Receiver` straight to it."""

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        subscription: Any = self._subs.get(sid)
        if subscription is None or not isinstance(subscription._cb, Receiver):
            await super()._process_msg(sid, subject, reply, data, headers or b"")
            return
        try:
            subscription._cb.receive(Incoming(subject.decode(), reply.decode(), data, headers or b""))
        except Exception as error:
            await self._error_cb(error)

    def drop_unsent(self) -> None:
        """Forget what was not sent yet. nats-py would send it first thing after a reconnection."""
        self._pending: list[bytes] = []
        self._pending_data_size = 0


class Encrypted(Client):
    """A client that tells nobody anything in the clear.

    nats-py would, TLS context or not, where the server's greeting asks for no TLS; and a greeting can be forged.
    """

    async def _process_info(self, info: Mapping[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required"):
            raise NatsError("it does not speak TLS, which tls:// and DOSSIER_NATS_CA ask for")
        await super()._process_info(dict(info), initial_connection)
