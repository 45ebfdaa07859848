"""Where a request comes from, as far as a browser says: the host it speaks to, and the site that sends it. Pure."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def name_of(host: str) -> str:
    """The name in a `Host` header or URL authority, without port and brackets; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_addressed(headers: Headers, hosts: Collection[str]) -> bool:
    """Whether it was sent to one of these names: a page that had its own name point here is not."""
    return name_of(headers.get("host", "")) in hosts


def is_same(headers: Headers) -> bool:
    """Whether no other site sent it. Browsers say so in headers that no page can set; other clients say nothing."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    if origin == "null":
        return site == "same-origin"
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
