"""Permission by each site's robots.txt (RFC 9309), cached for an hour."""

import asyncio
from collections import OrderedDict
from typing import Final

from httpx2 import URL
from msgspec import Struct
from protego import Protego

from services.fetcher.web import urls
from services.fetcher.web.download import Downloader
from services.fetcher.web.hosts import Hosts
from services.fetcher.web.user_agent import NAME
from shared.errors import StepError, Terminal, Throttled, Transient

_MAX_BYTES: Final = 500 * 1024
_REMEMBERED: Final = 500
_FOR_S: Final = 3_600.0
_FAULT_FOR_S: Final = 60.0


class _Known(Struct, frozen=True):
    """The cached rules of a site. Without `rules` everything may be read, unless a `fault` prevented reading them."""

    until: float
    rules: Protego | None = None
    fault: StepError | None = None


class _Site:
    """Cache entry of a site."""

    __slots__ = ("known", "turn")

    def __init__(self) -> None:
        self.known = _Known(until=float("-inf"))
        self.turn = asyncio.Lock()


class Robots:
    """Requests each robots.txt once, also for concurrent callers."""

    def __init__(self, downloader: Downloader, hosts: Hosts) -> None:
        self._downloader = downloader
        self._hosts = hosts
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    async def check(self, url: URL) -> None:
        """Return if the page may be read, and apply the site's crawl delay.

        Raises `Terminal` (`robots`) if it may not, and `Transient` (`robots_unknown`) if robots.txt cannot be read.
        """
        known = await self._rules_of(url)
        if known.fault:
            raise known.fault
        if known.rules is None:
            return
        if not known.rules.can_fetch(str(url), NAME):
            raise Terminal("robots", f"{urls.display_url(url)} is not read: the site's robots.txt asks not to.")
        if pause_s := known.rules.crawl_delay(NAME):
            self._hosts.slow(url.host, pause_s)

    async def _rules_of(self, url: URL) -> _Known:
        """Return the rules of a site, requested if they are unknown or expired."""
        origin = urls.origin_of(url)
        site = self._sites[origin] = self._sites.pop(origin, None) or _Site()
        if len(self._sites) > _REMEMBERED:
            self._sites.popitem(last=False)
        async with site.turn:
            now = asyncio.get_running_loop().time()
            if site.known.until <= now:
                site.known = await self._request(url.copy_with(path="/robots.txt", query=None), now)
            return site.known

    async def _request(self, url: URL, now: float) -> _Known:
        """Request a robots.txt. A client error permits everything; other faults are cached for a minute. Raise
        `Throttled`.
        """
        try:
            answer = await self._downloader.get(url, turn=lambda url: self._hosts.turn(url.host), at_most=_MAX_BYTES)
        except Throttled:
            raise
        except Terminal as error:
            return _Known(now + _FAULT_FOR_S, fault=error)
        except StepError as error:
            return _Known(now + _FAULT_FOR_S, fault=_unreadable(url, f"could not be read: {error.message}"))
        if answer.status >= 500 or answer.status == 429:
            return _Known(now + _FAULT_FOR_S, fault=_unreadable(url, f"was answered with {answer.status}"))
        if answer.status >= 400:
            return _Known(now + _FOR_S)
        rules = await asyncio.to_thread(Protego.parse, answer.data.decode("utf-8", "replace"))
        return _Known(now + _FOR_S, rules=rules)


def _unreadable(url: URL, why: str) -> Transient:
    """Return the fault for a robots.txt that cannot be read."""
    return Transient("robots_unknown", f"{url.host} is not read: its robots.txt {why}")
