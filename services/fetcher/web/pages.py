"""Reader of web pages: polite requests through the guard, and the text by the sandbox."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from httpx2 import URL
from msgspec import Struct

from services.fetcher.findings.tool import Hit
from services.fetcher.sandbox.charset import decode_page
from services.fetcher.sandbox.pool import ReaderPool
from services.fetcher.sandbox.protocol import Reading, ReadRequest, truncate
from services.fetcher.web import urls
from services.fetcher.web.addresses import Rules
from services.fetcher.web.download import Download, Downloader, Limits, throttled_fault
from services.fetcher.web.guard import Guard, Resolve, resolve
from services.fetcher.web.hosts import Hosts
from services.fetcher.web.kinds import charset, detect_kind
from services.fetcher.web.robots import Robots
from shared.errors import StepError, Terminal, Transient
from shared.runtime import clock

_BLOCKED: Final = frozenset({401, 403, 407, 451})
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class Politeness(Struct, frozen=True):
    """Politeness towards a host: requests at a time, and seconds between them."""

    pause_s: float = 1.0
    at_once: int = 2


class Pages:
    """Reads pages of hosts that `rules` permit."""

    def __init__(
        self,
        rules: Rules,
        *,
        agent: str,
        manners: Politeness = Politeness(),  # noqa: B008  frozen
        limits: Limits = Limits(),  # noqa: B008  frozen
        readers: ReaderPool | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._readers = readers or ReaderPool()
        self._hosts = Hosts(pause_s=manners.pause_s, at_once=manners.at_once)
        self._downloader = Downloader(Guard(rules, resolve=resolve), agent=agent, limits=limits)
        self._robots = Robots(self._downloader, self._hosts)

    async def close(self) -> None:
        """Close the connections and end the worker processes."""
        await self._downloader.close()
        await self._readers.close()

    async def read(self, location: str) -> Hit:
        """Return the page at a URL, after redirects. Raises `Terminal`, `Transient` or `Throttled` with a message about
        the page.
        """
        asked = urls.parse_page_url(location)
        answer = await self._downloader.get(asked, turn=self._turn)
        if fault := throttled_fault(answer):
            self._hosts.rest(answer.url.host, fault.retry_after)
            raise fault
        if not 200 <= answer.status < 300:
            raise _failed_response(answer)
        try:
            reading, media_type = await self._reading(answer)
        except Terminal as error:
            raise Terminal(error.code, f"{urls.display_url(answer.url)}: {error.message}") from error
        return _hit(answer, reading, media_type)

    @asynccontextmanager
    async def _turn(self, url: URL) -> AsyncGenerator[None]:
        """Check robots.txt, then wait for the host's turn."""
        await self._robots.check(url)
        async with self._hosts.turn(url.host):
            yield

    async def _reading(self, answer: Download) -> tuple[Reading, str]:
        """Return text and media type of a response. Raise `Terminal` if it is not readable."""
        content_type = answer.headers.get("content-type", "")
        kind_, media_type = detect_kind(content_type, answer.data)
        if kind_ != "text":
            return await self._readers.read(ReadRequest(kind_, answer.data, charset(content_type))), media_type
        text, too_long = truncate(decode_page(answer.data, charset(content_type)))
        if not any(map(str.isalnum, text)):
            raise Terminal("empty", "It has no text.")
        return Reading(text, stripped=too_long), media_type


def _hit(answer: Download, reading: Reading, media_type: str) -> Hit:
    """Return the page as a document; its URL is the title if it has none."""
    location = str(answer.url)
    return Hit(
        reading.title or location,
        location,
        reading.text,
        (),
        url=location,
        status=answer.status,
        fetched_at=clock.now(),
        media_type=media_type,
        bytes_sha256=sha256(answer.data).hexdigest(),
        published=reading.published,
        language=reading.language,
        stripped=reading.stripped,
    )


def _failed_response(answer: Download) -> StepError:
    """Return the fault for a response that is no success."""
    status, where = answer.status, urls.display_url(answer.url)
    said = f"{status} {_PHRASES.get(status, '')}".strip()
    if status in _BLOCKED:
        return Terminal("blocked", f"{where} denies access: {said}.")
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return Terminal("paywalled", f"{where} requires payment: {said}.")
    if status in {404, 410}:
        return Terminal("gone", f"{where} does not exist: {said}.")
    if status >= 500 or status in {408, 425}:
        return Transient("server", f"{where} could not be read: {said}.")
    return Terminal("refused", f"{where} could not be read: {said}.")
