"""Registration of routes, each with its right and the errors that it answers."""

from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Security
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.routing import Mount

from services.coordinator.http.params import SEQUENCE
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.rights import Right, Rights
from shared.contracts.errors import CATALOGUE, reason_phrase

PROBLEM: Final = "application/problem+json"
API: Final = "/v1/"
"""Routes below this path belong to the JSON API. All others are pages and probes, which OpenAPI does not list."""
WRITES: Final = ("too_large", "log_full")
"""Errors of a route that writes to NATS."""
_ALWAYS: Final = (
    *("invalid_field", "unauthenticated", "forbidden", "unknown_host", "too_many"),
    *("defect", "nats_refused", "nats_unavailable"),
)
_UNSAFE: Final = ("bad_request", "too_large", "cross_site", "csrf")
"""Errors of every route of the API that takes a body."""
_KEY: Final = Security(HTTPBearer(auto_error=False, scheme_name="key", description="Or the data folder's token."))
_HEADERS: Final = {SEQUENCE: {"schema": {"type": "integer"}, "description": "How far the log is folded."}}

Responses = dict[int | str, dict[str, Any]]


class Routes:
    """The routes of the application: `router` serves them, `rights` has the right of each."""

    def __init__(self) -> None:
        self.rights = Rights()
        self.router = APIRouter()

    def add(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        right: Right,
        *,
        refuses: Collection[str] = (),
        status: int = HTTPStatus.OK,
        **options: Any,
    ) -> None:
        """Register a route that needs `right`; `options` are those of FastAPI's `add_api_route`.

        A route of the API lists in `refuses` the codes that it answers beyond those that every route may answer.
        Raises `KeyError` for a code that is not in the catalogue.
        """
        self.rights.declare(method, path, right)
        if path.startswith(API):
            codes = (*_ALWAYS, *(_UNSAFE if method != "GET" else ()), *refuses)
            success: Responses = {status: {"description": reason_phrase(status), "headers": _HEADERS}}
            options |= {"dependencies": [_KEY], "responses": success | refusals(codes) | options.get("responses", {})}
        else:
            options |= {"include_in_schema": False, "response_class": Response}
        self.router.add_api_route(path, endpoint, methods=[method], status_code=status, **options)


def refusals(codes: Iterable[str]) -> Responses:
    """OpenAPI responses of these errors, by status, each with an example of every code that has the status."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(set(codes)):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        status: {
            "description": f"{reason_phrase(status)}: {', '.join(f'`{code}`' for code in same)}",
            "content": {
                PROBLEM: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {code: {"value": _example(code)} for code in same},
                }
            },
        }
        for status, same in sorted(by_status.items())
    }


def _example(code: str) -> dict[str, Any]:
    """Problem details that have this code."""
    return ProblemError(code, CATALOGUE[code].example).problem.model_dump(exclude_none=True)


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path template of every route of `app`. A mount counts as GET of all paths below it."""
    return [
        (method, f"{route.path or ''}{'/{path:path}' if isinstance(route.original_route, Mount) else ''}")
        for route in iter_route_contexts(app.routes)
        for method in route.methods or {"GET"}
    ]
