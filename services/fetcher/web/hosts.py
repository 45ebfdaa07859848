"""Politeness towards hosts: few requests at once, pauses between them, and none while a host asks to wait."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Final

from aiolimiter import AsyncLimiter

from shared.errors import Throttled

LONGEST_REST_S: Final = 3_600.0
LONGEST_PAUSE_S: Final = 30.0
"""Longest pause in seconds, whatever robots.txt demands."""
_REMEMBERED: Final = 1_000


class _Host:
    """State of one host."""

    __slots__ = ("limiter", "pause_s", "places", "rests_until")

    def __init__(self, pause_s: float, at_once: int) -> None:
        self.pause_s = pause_s
        self.limiter = AsyncLimiter(1, pause_s)
        self.places = asyncio.Semaphore(at_once)
        self.rests_until = 0.0


class Hosts:
    """Limits on the requests of this process to each host: `at_once` at a time, `pause_s` seconds apart."""

    def __init__(self, *, pause_s: float = 1.0, at_once: int = 2) -> None:
        self._pause_s = pause_s
        self._at_once = at_once
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncGenerator[None]:
        """Wait until `host` may be requested, and hold the place meanwhile. Raises `Throttled`
        while it asks to wait.
        """
        known = self._host(host)
        self._check(host, known)
        async with known.places:
            await known.limiter.acquire()
            self._check(host, known)
            yield

    def slow(self, host: str, pause_s: float) -> None:
        """Lengthen the pauses of a host to `pause_s`, at most `LONGEST_PAUSE_S`; never shorten them."""
        known = self._host(host)
        pause_s = min(pause_s, LONGEST_PAUSE_S)
        if pause_s > known.pause_s:
            known.pause_s, known.limiter = pause_s, AsyncLimiter(1, pause_s)

    def rest(self, host: str, seconds: float) -> None:
        """Send a host no requests for `seconds`, at most `LONGEST_REST_S`."""
        self._host(host).rests_until = asyncio.get_running_loop().time() + min(seconds, LONGEST_REST_S)

    def _host(self, host: str) -> _Host:
        """Return the state of a host. The least recently used is forgotten when there are too many."""
        known = self._hosts.pop(host, None) or _Host(self._pause_s, self._at_once)
        self._hosts[host] = known
        if len(self._hosts) > _REMEMBERED:
            self._hosts.popitem(last=False)
        return known

    def _check(self, host: str, known: _Host) -> None:
        """Raise `Throttled` while the host asks to wait."""
        left = known.rests_until - asyncio.get_running_loop().time()
        if left > 0:
            raise Throttled("throttled", f"{host} asks to wait {ceil(left)} s.", retry_after=left)
