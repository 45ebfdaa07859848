"""Which tools there are, and those of them that the operator allows.

A tool is an entry point of the group `dossier.tools`: its name, and a function that makes it of the settings. Those of
other distributions are added by installing them. Only what is allowed is imported, so a service that is allowed no
tool which uses the network has no code for it in memory.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol, cast, runtime_checkable

from services.fetcher.findings.tool import Tool
from shared.errors import DossierError
from shared.runtime.settings import Settings

GROUP: Final = "dossier.tools"
Make = Callable[[Settings], Tool]
"""Makes a tool, and reaches for nothing yet. Raises `Misconfigured` where a setting is missing."""

_OURS: Final = ("docs", "searxng", "wikipedia", "arxiv", "tavily", "mcp")
LOCAL: Final = frozenset({"docs"})
"""Those of ours that never give a link."""


class Misconfigured(DossierError):
    """The operator's settings name a tool that there is not, or leave out what one needs."""


@runtime_checkable
class Closing(Protocol):
    """A tool that has something to close at the end."""

    async def close(self) -> None:
        """Close it."""
        ...


def known() -> Mapping[str, EntryPoint]:
    """Every tool by name. Ours go before others that took their names."""
    ours = {name: EntryPoint(name, f"services.fetcher.tools.{name}:make", GROUP) for name in _OURS}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | ours


def made(settings: Settings) -> dict[str, Tool]:
    """The tools that `settings` allow, by name, in that order. Raises `Misconfigured`."""
    there = known()
    if unknown := [name for name in settings.tools if name not in there]:
        raise Misconfigured(
            f"DOSSIER_TOOLS: there is no tool {' or '.join(unknown)}; what there is: {', '.join(sorted(there))}."
        )
    return {name: _made(there[name], settings) for name in settings.tools}


def _made(entry: EntryPoint, settings: Settings) -> Tool:
    try:
        make = cast("Make", entry.load())
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"DOSSIER_TOOLS: the tool {entry.name} cannot be loaded: {error}.") from error
    return make(settings)
