"""Origin of a request, from the headers that browsers set: the host it names and the site that sent it. Pure."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def name_of(host: str) -> str:
    """Host name in a `Host` header or URL authority, in lower case, without port and brackets; empty if it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_addressed(headers: Headers, hosts: Collection[str]) -> bool:
    """Return True if `Host` is one of these names. Guards against DNS rebinding."""
    return name_of(headers.get("host", "")) in hosts


def is_same(headers: Headers) -> bool:
    """Return True unless a browser's `Sec-Fetch-Site` or `Origin` names another site. Clients other than browsers send
    neither, and pass.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    if origin == "null":
        return site == "same-origin"
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
