"""URLs as pages contain them: parsed, checked and shown. Pure."""

from typing import Final

import httpx2
from httpx2 import URL

from shared.errors import Terminal

_LONGEST: Final = 2_000
_SHOWN: Final = 200


def parse_page_url(text: str, base: URL | None = None) -> URL:
    """Parse the URL of a page, relative to `base` if given, without its fragment.

    Raises `Terminal` (`url_refused`) if it is malformed, too long, not http(s), or carries credentials.
    """
    if len(text) > _LONGEST or not text.isprintable():
        raise Terminal(
            "url_refused", f"{display_url(text)} is no URL of a page: too long, or with characters that no URL has."
        )
    try:
        url = base.join(text) if base else URL(text)
        url = url.copy_with(fragment=None)
    except (httpx2.InvalidURL, ValueError) as error:
        raise Terminal("url_refused", f"{display_url(text)} is no URL: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise Terminal("url_refused", f"{display_url(text)} is not read; only http and https URLs are.")
    if url.userinfo:
        raise Terminal("url_refused", f"A URL at {url.host} is not read, because it carries a name or a password.")
    return url


def port_of(url: URL) -> int:
    """Return the port of a URL, by default that of its scheme."""
    return url.port or (443 if url.scheme == "https" else 80)


def origin_of(url: URL) -> str:
    """Return scheme, host and port: the scope of a robots.txt."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def display_url(url: URL | str) -> str:
    """Return a URL for a message, cut to `_SHOWN` characters."""
    text = str(url)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
