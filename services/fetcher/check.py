"""`python -m services.fetcher --check`: one search with each tool, and the rules for reading pages."""

import asyncio
import sys
from typing import Final

import msgspec

from services.fetcher.findings.tool import Tool
from services.fetcher.tools.catalogue import LOCAL, Closable, Misconfigured, build_tools
from services.fetcher.web.addresses import parse_rules
from shared.errors import StepError
from shared.runtime.settings import Settings
from shared.service.check import CheckResult, graded, listed

_SEARCH_S: Final = 60.0
_QUERY: Final = "test"
_PAGES: Final = "pages' guard"
_PRIVATE: Final = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1")
"""Addresses of this machine, a private network and a cloud's metadata service."""


def print_results(settings: Settings) -> None:
    """Print the results of all checks to standard output, each as a line of JSON (`CheckResult`)."""
    for result in asyncio.run(check(settings)):
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


async def check(settings: Settings) -> list[CheckResult]:
    """Search once with each tool, at the same time, and check the rules for reading pages."""
    return [*await check_tools(settings), check_page_rules(settings)]


async def check_tools(settings: Settings) -> list[CheckResult]:
    """One result for each tool, in the order of the settings, or one fault if a tool is misconfigured."""
    try:
        tools = build_tools(settings)
    except Misconfigured as error:
        return [CheckResult("tools", "fault", str(error), "Correct the setting, and restart the fetchers.")]
    return await asyncio.gather(*map(check_tool, tools.values()))


async def check_tool(tool: Tool) -> CheckResult:
    """Search once and close the tool. Return a fault if the search fails, or takes longer than 60 s."""
    check = f"tool {tool.name}"
    try:
        async with asyncio.timeout(_SEARCH_S):
            found = await tool.search(tool.arguments(query=_QUERY, limit=1))
    except StepError as error:
        return CheckResult(check, "fault", error.message, "Searches with it fail until it answers.")
    except TimeoutError:
        return CheckResult(check, "fault", f"It did not answer within {_SEARCH_S:g} s.", "Check its server.")
    except Exception as error:  # a tool of another distribution may raise anything
        return CheckResult(check, "fault", f"It failed: {type(error).__name__}: {error}", "Correct the tool.")
    finally:
        if isinstance(tool, Closable):
            await tool.close()
    return CheckResult(check, "ok", f"answers ({len(found)} found)")


def check_page_rules(settings: Settings) -> CheckResult:
    """A warning if the settings let pages be read from private addresses, a fault if they are not valid."""
    try:
        permitted = parse_rules(settings.allow_private)
    except ValueError as error:
        do = "Correct it, and restart the fetchers."
        return CheckResult(_PAGES, "fault", f"DOSSIER_ALLOW_PRIVATE: {error}.", do)
    if set(settings.tools) <= LOCAL:
        return CheckResult(_PAGES, "ok", "No tool finds pages, so none are read.")
    private = [address for address in _PRIVATE if permitted.permits("doctor.invalid", address, 80)]
    besides = f", and from {listed(settings.allow_private)}" if settings.allow_private else " only"
    found = f"Pages are read from public addresses{besides}."
    if private:
        found = f"Pages may be read from {listed(private)} at port 80; any page that is found can link there."
    do = "Restrict DOSSIER_ALLOW_PRIVATE to the hosts that are needed."
    return graded(_PAGES, "warning" if private else "ok", found, do)
