"""Pages read as the service reads them, from sites on loopback that a test allows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.fetcher.findings.tool import Hit
from services.fetcher.sandbox.pool import ReaderPool
from services.fetcher.web.addresses import parse_rules
from services.fetcher.web.download import Limits
from services.fetcher.web.guard import Resolve, resolve
from services.fetcher.web.pages import Pages, Politeness
from shared.errors import StepError
from tests.harness.site import Page, Site

QUICK = Politeness(pause_s=0.001)
SENTENCE = "The Moon pulls the oceans toward it and so raises the tide, and this is sentence number {} of the page."


def article(*extra: str, title: str = "Tides", head: str = "", sentences: int = 8) -> Page:
    """A page with a main text that any reader takes for one, and `extra` in the midst of it."""
    said = [f"<p>{SENTENCE.format(number)}</p>" for number in range(sentences)]
    half = sentences // 2
    body = "".join([*said[:half], *extra, *said[half:]])
    return Page(f"<html><head><title>{title}</title>{head}</head><body><article>{body}</article></body></html>")


def read(
    *urls: str,
    allowed: Sequence[str],
    manners: Politeness = QUICK,
    limits: Limits = Limits(),  # noqa: B008  frozen
    timeout_s: float = 10.0,
    resolve: Resolve = resolve,
) -> list[Hit | StepError]:
    """What becomes of each of these, read one after the other by one service."""

    async def story(pages: Pages) -> list[Hit | StepError]:
        return [await outcome(pages, url) for url in urls]

    return reading(story, allowed=allowed, manners=manners, limits=limits, timeout_s=timeout_s, resolve=resolve)


def one(site: Site, path: str, **how: Any) -> Hit:
    """The page there, which can be read."""
    (hit,) = read(site.url + path, allowed=[site.allowed], **how)
    assert isinstance(hit, Hit), hit
    return hit


def fault(site: Site, path: str, **how: Any) -> StepError:
    """Why the page there cannot be read."""
    (error,) = read(site.url + path, allowed=[site.allowed], **how)
    assert isinstance(error, StepError), error
    return error


async def outcome(pages: Pages, url: str) -> Hit | StepError:
    """The page, or why not."""
    try:
        return await pages.read(url)
    except StepError as error:
        return error


def reading(
    story: Callable[[Pages], Awaitable[Any]],
    *,
    allowed: Sequence[str],
    manners: Politeness = QUICK,
    limits: Limits = Limits(),  # noqa: B008  frozen
    timeout_s: float = 10.0,
    resolve: Resolve = resolve,
) -> Any:
    """Run `story` with a reader of pages, and close it."""

    async def whole() -> Any:
        readers = ReaderPool(at_most=1, timeout_s=timeout_s)
        pages = Pages(
            parse_rules(allowed), agent="Dossier/test", manners=manners, limits=limits, readers=readers, resolve=resolve
        )
        try:
            return await story(pages)
        finally:
            await pages.close()

    return asyncio.run(whole())
