"""What all pages have in common: who looks, what they may do, and what time it is."""

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
    401: "Who are you?",
    403: "This is not for you to do",
    404: "There is nothing here",
    409: "This cannot be done now",
    410: "This is over",
    413: "This is too much",
    422: "This cannot be taken as it is",
    429: "Slower, please",
    500: "Something went wrong here",
    503: "Not just now",
    507: "There is no room left",
}


class May(Struct, frozen=True):
    """What somebody may do."""

    ask: bool
    decide: bool
    cancel: bool
    fork: bool


class Who(Struct, frozen=True):
    """Who looks at a page, and whether there is a session that they can leave."""

    name: str
    role: str
    can_leave: bool


class Notice(Struct, frozen=True):
    """What a page says first: `good`, `warn` or `bad` news, each on a line of its own."""

    kind: str
    text: str
    lines: tuple[str, ...] = ()


def who_of(principal: Principal) -> Who:
    """How a page names them."""
    return Who(principal.name, principal.role, principal.auth.startswith("session:"))


def may_of(principal: Principal) -> May:
    """What they may do."""
    return May(
        ask=is_allowed(principal, "ask"),
        decide=is_allowed(principal, "decide"),
        cancel=is_allowed(principal, "cancel"),
        fork=is_allowed(principal, "operate"),
    )


class Shell:
    """Puts pages into their frame."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator

    def html(self, request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """The page, for whoever asks for it."""
        principal: Principal = request.state.principal
        html = render.page(
            template,
            now=self.coordinator.now(),
            csrf=request.state.csrf,
            who=who_of(principal),
            may=may_of(principal),
            key=clock.token(),
            **context,
        )
        return HTMLResponse(html, status)


def respond(http: HTTPConnection, error: ProblemError) -> Response:
    """The problem: a page for whoever wants to read one, else problem details."""
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
