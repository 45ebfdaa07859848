"""Download of one page within limits of size and time."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpcore2
from httpx2 import URL
from msgspec import Struct

from services.fetcher.web import urls
from services.fetcher.web.body import Body
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime import clock
from shared.runtime.headers import retry_after_s

REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MAX_HEADERS: Final = 200
_MAX_REST_S: Final = 3_600.0
_REST_S: Final = 60.0
"""Seconds to wait after a 429 without `Retry-After`."""


class Limits(Struct, frozen=True):
    """Limits of one page: `total_s` seconds with all redirects, `max_bytes` packed and unpacked."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    max_bytes: int = 5 * 1024 * 1024


class Download(Struct, frozen=True):
    """A response. `url` is its address after redirects; header names are in lower case."""

    url: URL
    status: int
    headers: Mapping[str, str]
    data: bytes


Turn = Callable[[URL], AbstractAsyncContextManager[None]]
"""Entered before each request: waits until the URL may be requested, and raises if it must not be."""


class Downloader:
    """HTTP client without cookies, credentials, proxies or other input from the environment."""

    def __init__(self, guard: httpcore2.AsyncNetworkBackend, *, agent: str, limits: Limits) -> None:
        self._limits = limits
        self._agent = agent
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0, network_backend=guard
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def get(self, url: URL, *, turn: Turn, at_most: int | None = None) -> Download:
        """Return the response after up to five redirects, each of which waits for its own `turn`.

        Waiting for a turn does not count as time of the page. Raises `Terminal`, `Transient`, and the errors of `turn`.
        """
        now = asyncio.get_running_loop().time
        left = self._limits.total_s
        for _ in range(REDIRECTS + 1):
            async with turn(url):
                began = now()
                answer = await self._request_within(left, url, at_most or self._limits.max_bytes)
                left -= now() - began
            location = answer.headers.get("location")
            if answer.status not in _MOVED or not location:
                return answer
            url = urls.parse_page_url(location, base=url)
        raise Terminal("redirects", f"{urls.display_url(url)} has more than {REDIRECTS} redirects.")

    async def _request_within(self, seconds: float, url: URL, at_most: int) -> Download:
        """Send one request within `seconds`. Raise `Transient` or `Terminal` with a message about the page."""
        try:
            async with asyncio.timeout(seconds):
                return await self._request(url, at_most)
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise Transient("timeout", f"{urls.display_url(url)} did not answer in time.") from error
        except httpcore2.ProtocolError as error:
            raise Transient(
                "protocol", f"{urls.display_url(url)} did not answer in HTTP, or not completely."
            ) from error
        except (httpcore2.NetworkError, OSError) as error:
            raise Transient("unreachable", f"{urls.display_url(url)} could not be reached.") from error
        except StepError as error:
            raise _about_page(error, url) from error

    async def _request(self, url: URL, at_most: int) -> Download:
        """Send one request and read the body; the body of a redirect is not read."""
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=urls.port_of(url), target=url.raw_path)
        timeout = {"connect": self._limits.connect_s, "read": self._limits.read_s, "write": self._limits.read_s}
        async with self._pool.stream(
            "GET", target, headers=self._headers(url), extensions={"timeout": timeout}
        ) as response:
            headers = _headers(response.headers)
            if response.status in _MOVED:
                return Download(url, response.status, headers, b"")
            body = Body(headers.get("content-encoding", ""), at_most=at_most)
            async for chunk in response.aiter_stream():
                body.add(chunk)
        return Download(url, response.status, headers, body.finish())

    def _headers(self, url: URL) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request."""
        return [
            (b"Host", url.netloc),
            (b"User-Agent", self._agent.encode()),
            (b"Accept", b"text/html,application/xhtml+xml,application/pdf,text/plain;q=0.9,*/*;q=0.1"),
            (b"Accept-Language", b"en,*;q=0.5"),
            (b"Accept-Encoding", b"gzip, deflate"),
        ]


def throttled_fault(answer: Download) -> Throttled | None:
    """Return the fault of a 429, or of a 503 with `Retry-After`; `None` for other responses."""
    if not is_throttled(answer.status, answer.headers):
        return None
    seconds = wait_s(answer.headers)
    return Throttled("throttled", f"{answer.url.host} asks to wait {seconds:.0f} s.", retry_after=seconds)


def is_throttled(status: int, headers: Mapping[str, str]) -> bool:
    """Return True for a 429, and for a 503 with `Retry-After`."""
    return status == 429 or (status == 503 and bool(headers.get("retry-after")))


def wait_s(headers: Mapping[str, str]) -> float:
    """Return the seconds to wait by `Retry-After`: 1 s to 1 h, a minute if it is absent or unreadable."""
    seconds = retry_after_s(headers, now=clock.now())
    return _REST_S if seconds is None else min(max(seconds, 1.0), _MAX_REST_S)


def _headers(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the headers with names in lower case. Raise `Terminal` (`headers`) for more than `_MAX_HEADERS`."""
    if len(raw) > _MAX_HEADERS:
        raise Terminal("headers", f"It came with {len(raw)} headers; {_MAX_HEADERS} are read.")
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _about_page(error: StepError, url: URL) -> StepError:
    """Return the fault with the page's URL in its message."""
    if url.host in error.message:
        return error
    fault = Terminal if isinstance(error, Terminal) else Transient
    return fault(error.code, f"{urls.display_url(url)}: {error.message}")
