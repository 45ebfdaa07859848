"""A continuous pull of a consumer's messages.

The number of requested messages never exceeds the free places. The pull survives reconnections, and is requested again
when the server drops it or falls silent.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from shared.errors import Unavailable
from shared.nats.client import Incoming, Subscription
from shared.nats.connection import Connection

_EXPIRES_S: Final = 60.0
_HEARTBEAT_S: Final = 2.0
_SMALL: Final = 64
"""Up to this window each freed place is asked for at once; beyond, a quarter of it at a time."""
_NS: Final = 1_000_000_000

_HEARTBEAT: Final = 100
_EXPIRED: Final = 408


class Pull:
    """Messages of one consumer, at most `window` of them received and not released."""

    def __init__(self, link: Connection, stream: str, consumer: str, *, window: int) -> None:
        self._link = link
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._window = window
        self._step = 1 if window <= _SMALL else window // 4
        self._inbox = ""
        self._asked = 0
        self._held = 0
        self._time = asyncio.get_running_loop().time
        self._heard = self._time()
        self._due = asyncio.Event()
        self._arrived: list[Incoming] = []
        self._news = asyncio.Event()
        self._faults = 0
        self._closed = False
        self._subscription: Subscription | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Subscribe and send the first pull request."""
        await self._subscribe()
        self._link.on_reconnect(self._forgotten)
        self._watch = asyncio.create_task(self._keep())
        await self._order()

    @property
    def faults(self) -> int:
        """Number of times that the pull had to be requested again other than by expiry."""
        return self._faults

    @property
    def silent_s(self) -> float:
        """Seconds since the server was last heard."""
        return self._time() - self._heard

    async def take(self, at_most: int = 500) -> Sequence[Incoming]:
        """Return up to `at_most` received messages; waits for at least one. Empty once closed, and at each fault."""
        faults = self._faults
        while not self._arrived and not self._closed and self._faults == faults:
            self._news.clear()
            await self._news.wait()
        taken, self._arrived = self._arrived[:at_most], self._arrived[at_most:]
        return taken

    def take_rest(self) -> Sequence[Incoming]:
        """Return the received messages that were never taken, once."""
        left, self._arrived = self._arrived, []
        return left

    async def release(self, count: int) -> None:
        """Free the places of `count` taken messages and request as many more."""
        self._held -= count
        await self._order()

    async def close(self) -> None:
        """Request no more, and return when all messages handed out by then have arrived. Taken messages stay taken.

        Messages still on their way would be handed to no other process before `ack_wait` is over.
        """
        if self._closing is None:
            self._closed = True
            self._news.set()
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        """Stop the watch and drain the subscription, or close it while disconnected."""
        if self._watch:
            self._link.forget_reconnect(self._forgotten)
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._subscription:
            await (self._subscription.drain() if self._link.connected else self._subscription.close())

    async def _subscribe(self) -> None:
        """Subscribe to a new inbox, which replaces the former one."""
        self._inbox = self._link.inbox()
        self._subscription = await self._link.subscribe(self._inbox, partial(self._receive, self._inbox))

    def _receive(self, inbox: str, message: Incoming) -> None:
        """Store a message, or handle a status message of the current inbox."""
        self._heard = self._time()
        code = message.status
        if code == 0:
            self._asked -= inbox == self._inbox
            self._held += 1
            self._arrived.append(message)
            self._news.set()
        elif code != _HEARTBEAT and inbox == self._inbox:
            self._ended(code, message.headers)

    def _ended(self, code: int, headers: dict[str, str]) -> None:
        """Handle the end of a pull request: ask again after expiry, else count a fault."""
        left = headers.get("Nats-Pending-Messages")
        self._asked = max(0, self._asked - int(left)) if left else 0
        if code == _EXPIRED:
            self._due.set()
        else:
            self._faults += 1
            self._news.set()

    def _forgotten(self) -> None:
        """Count a fault and request again: the server has forgotten the pull."""
        self._asked = 0
        self._faults += 1
        self._heard = self._time()
        self._news.set()
        self._due.set()

    async def _keep(self) -> None:
        """Request again, until cancelled, whenever the request expired, was dropped or the server is silent."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_S / 2):
                    await self._due.wait()
            self._due.clear()
            if self._is_silent() and await self._stays_silent():
                await self._begin_anew()
            await self._order()

    def _is_silent(self) -> bool:
        """Return True if messages are requested and no heartbeat came for two intervals."""
        return self._asked > 0 and self.silent_s > 2 * _HEARTBEAT_S

    async def _stays_silent(self) -> bool:
        """Return True if silence continues for half an interval: it was the server, not this process, that
        stood still.
        """
        await asyncio.sleep(_HEARTBEAT_S / 2)
        return self._is_silent()

    async def _begin_anew(self) -> None:
        """Move to a new inbox. A former request that the server still holds ends, as its inbox has no subscriber."""
        before = self._subscription
        await self._subscribe()
        if before:
            await before.close()
        self._forgotten()

    async def _order(self) -> None:
        """Request as many messages as places are free, in steps of `_step`; nothing while closed or disconnected."""
        free = self._window - self._held - self._asked
        if self._closed or free <= 0 or (self._asked and free < self._step):
            return
        if not self._link.connected:
            return
        self._asked += free
        order = {"batch": free, "expires": int(_EXPIRES_S * _NS), "idle_heartbeat": int(_HEARTBEAT_S * _NS)}
        try:
            await self._link.post(self._request, msgspec.json.encode(order), reply=self._inbox)
        except Unavailable:
            self._asked = 0
