"""Frame of all pages: the viewer, their permissions, the time; and pages of problems."""

from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from msgspec import Struct
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.coordinator.engine.loop import Coordinator
from services.coordinator.http import problems
from services.coordinator.http.problems import ProblemError
from services.coordinator.web import render
from shared.domain.roles import Principal, is_allowed
from shared.runtime import clock

_TITLES: Final = {
    401: "Sign-in required",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    410: "No longer available",
    413: "Too large",
    422: "Invalid input",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
    507: "Storage is full",
}


class Permissions(Struct, frozen=True):
    """Actions that the viewer has a right to."""

    ask: bool
    decide: bool
    cancel: bool
    fork: bool


class Viewer(Struct, frozen=True):
    """Name and role of the viewer, and whether they have a session to sign out of."""

    name: str
    role: str
    can_leave: bool


class Notice(Struct, frozen=True):
    """Notice at the top of a page: its `kind` (`good`, `warn` or `bad`), its text, and further lines."""

    kind: str
    text: str
    lines: tuple[str, ...] = ()


def viewer_of(principal: Principal) -> Viewer:
    """The viewer as a page shows them."""
    return Viewer(principal.name, principal.role, principal.auth.startswith("session:"))


def permissions_of(principal: Principal) -> Permissions:
    """Permissions by role and scopes."""
    return Permissions(
        ask=is_allowed(principal, "ask"),
        decide=is_allowed(principal, "decide"),
        cancel=is_allowed(principal, "cancel"),
        fork=is_allowed(principal, "operate"),
    )


class Shell:
    """Renders templates in the frame of all pages."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator

    def html(self, request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Response with the rendered template, for the principal of the request."""
        principal: Principal = request.state.principal
        html = render.page(
            template,
            now=self.coordinator.now(),
            csrf=request.state.csrf,
            who=viewer_of(principal),
            may=permissions_of(principal),
            key=clock.token(),
            **context,
        )
        return HTMLResponse(html, status)


def respond(http: HTTPConnection, error: ProblemError) -> Response:
    """Response with the problem: a page if the request accepts HTML and is not to the API, else problem details."""
    if not problems.wants_page(http):
        return problems.problem_response(error)
    html = render.page(
        "problem.html",
        now=clock.now(),
        title=_TITLES.get(error.status, error.problem.title),
        text=error.problem.detail,
        code=error.problem.code,
        signs_in=error.status == 401,
    )
    return HTMLResponse(html, error.status, headers=dict(error.headers))
