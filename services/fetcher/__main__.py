"""`python -m services.fetcher`."""

import logging
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from services.fetcher.check import print_results
from services.fetcher.findings.tool import Tool
from services.fetcher.perform import Fetcher, Reader
from services.fetcher.tools.catalogue import LOCAL, Closable, Misconfigured, build_tools
from services.fetcher.web.addresses import parse_rules
from services.fetcher.web.user_agent import user_agent
from shared.contracts.tasks import FetchTask
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.service.app import run_worker
from shared.service.worker import Perform, require_task_type

if TYPE_CHECKING:
    from services.fetcher.web.pages import Pages


async def compose(tools: Mapping[str, Tool], settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    """Return the fetching step with these tools. Tools and page reader are closed with `stack`.

    Pages are read only if a tool may return links.
    """
    for tool in tools.values():
        if isinstance(tool, Closable):
            stack.push_async_callback(tool.close)
    pages: Reader | None = None
    if not tools.keys() <= LOCAL:
        pages = _pages(settings)
        stack.push_async_callback(pages.close)
    return require_task_type(FetchTask, Fetcher(tools, log, sources=settings.sources, pages=pages).perform)


def _pages(settings: Settings) -> "Pages":
    """Return the page reader. Imported here, so that a service without web tools has no network code in memory."""
    from services.fetcher.web.pages import Pages, Politeness

    manners = Politeness(pause_s=settings.page_pause_s)
    return Pages(parse_rules(settings.allow_private), agent=user_agent(settings.contact), manners=manners)


def _check(settings: Settings) -> None:
    """Raise `Misconfigured` if `DOSSIER_ALLOW_PRIVATE` cannot be parsed."""
    try:
        parse_rules(settings.allow_private)
    except ValueError as error:
        raise Misconfigured(f"DOSSIER_ALLOW_PRIVATE: {error}.") from error


def _hush() -> None:
    """Silence the loggers of HTTP and MCP clients: they log whole URLs and messages, which may hold secrets."""
    for name in ("httpx2", "httpcore2", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def main() -> None:
    """Run the fetcher until it is stopped. Exit with a message if the settings are invalid."""
    settings = Settings()
    _hush()
    if sys.argv[1:] == ["--check"]:
        print_results(settings)
        return
    try:
        _check(settings)
        tools = build_tools(settings)
    except Misconfigured as error:
        sys.exit(str(error))
    run_worker("fetch", settings, partial(compose, tools))


if __name__ == "__main__":
    main()
