"""The approval desk: all pages and static files. Everything works without a script; scripts add live updates."""

import mimetypes
from datetime import timedelta
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from services.coordinator.engine.loop import Coordinator
from services.coordinator.http.commands import Commands
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.rights import ANYONE
from services.coordinator.http.routes import Routes
from services.coordinator.web.downloads import Downloads
from services.coordinator.web.hub import Hub
from services.coordinator.web.inbox import InboxPages
from services.coordinator.web.lists import Lists
from services.coordinator.web.render import FILES, VERSION
from services.coordinator.web.runs import RunPages
from services.coordinator.web.shell import Shell
from shared.runtime.log import Log

_FOR_EVER: Final = "public, max-age=31536000, immutable"


def add_site(routes: Routes, coordinator: Coordinator, log: Log, commands: Commands, *, late_after: timedelta) -> None:
    """Register the routes of all pages and of the files beside them."""
    shell, hub = Shell(coordinator), Hub(coordinator.fold, log)
    InboxPages(coordinator, shell, hub, Lists(coordinator, late_after), commands).add_to(routes)
    RunPages(coordinator, log, shell, hub, commands).add_to(routes)
    Downloads(coordinator, log).add_to(routes)
    routes.add("GET", "/static/{path:path}", static, ANYONE)


async def static(request: Request, path: str) -> Response:
    """A static file. It may be cached for ever under its current version, and has to be revalidated under any other.
    Raises `ProblemError` (`not_found`).
    """
    version, _, name = path.partition("/")
    if name not in FILES:
        raise ProblemError("not_found", f"There is no {request.url.path}.")
    kept = {"Cache-Control": _FOR_EVER if version == VERSION else "no-cache"}
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(FILES[name], media_type=kind, headers=kept)
