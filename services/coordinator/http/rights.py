"""Roles, and the one table that says what each route needs. Pure.

A role may do all that those below it may. A requester cancels only what is their own; an approver anything. Whoever
adds a route adds its row here: the coordinator does not start while one is missing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from starlette.routing import compile_path

from shared.contracts.access import Action
from shared.domain.roles import ACTIONS

ANYONE: Final[Literal["anyone"]] = "anyone"
SOMEONE: Final[Literal["someone"]] = "someone"
Need = Action | Literal["anyone", "someone"]
"""What a route takes: an action; a caller who is known, whatever they may (`someone`); or nothing (`anyone`)."""

ROUTES: Final[Mapping[tuple[str, str], Need]] = {
    ("GET", "/livez"): ANYONE,
    ("GET", "/readyz"): ANYONE,
    ("GET", "/metrics"): "read",
    ("GET", "/sign-in"): ANYONE,
    ("POST", "/sign-in"): ANYONE,
    ("POST", "/sign-out"): SOMEONE,
    ("POST", "/v1/sign-in-links"): SOMEONE,
    ("GET", "/openapi.json"): "read",
    ("GET", "/v1/runs"): "read",
    ("POST", "/v1/runs"): "ask",
    ("GET", "/v1/runs/{run_id}"): "read",
    ("GET", "/v1/runs/{run_id}/events"): "read",
    ("GET", "/v1/runs/{run_id}/report"): "read",
    ("POST", "/v1/runs/{run_id}/approvals"): "decide",
    ("POST", "/v1/runs/{run_id}/extension"): "decide",
    ("POST", "/v1/runs/{run_id}/cancel"): "cancel",
    ("GET", "/v1/runs/{run_id}/why"): "read",
    ("GET", "/v1/failures"): "read",
    ("POST", "/v1/runs/{run_id}/fork"): "operate",
    ("POST", "/v1/forks"): "operate",
    ("GET", "/v1/deliveries"): "read",
    ("POST", "/v1/deliveries/{delivery_id}/resend"): "operate",
    ("GET", "/"): "read",
    ("GET", "/inbox/rows"): "read",
    ("GET", "/inbox/live"): "read",
    ("POST", "/ask"): "ask",
    ("POST", "/decide"): "decide",
    ("GET", "/runs/{run_id}"): "read",
    ("GET", "/runs/{run_id}/live"): "read",
    ("GET", "/runs/{run_id}/evidence/{sha256}"): "read",
    ("GET", "/runs/{run_id}/report.{form}"): "read",
    ("POST", "/runs/{run_id}/decide"): "decide",
    ("POST", "/runs/{run_id}/cancel"): "cancel",
    ("POST", "/runs/{run_id}/fork"): "operate",
    ("GET", "/static/{path:path}"): ANYONE,
}
_STRICTNESS: Final[tuple[Need, ...]] = (ANYONE, SOMEONE, *ACTIONS)
PROBES: Final = ("/livez", "/readyz")

_PATTERNS: Final[list[tuple[str, re.Pattern[str], Need]]] = [
    (method, compile_path(path)[0], need) for (method, path), need in ROUTES.items()
]


class Unlisted(Exception):
    """A route that is not in the table; nobody knows who may use it."""


def need(method: str, path: str) -> Need:
    """What this request takes: of all rows that fit the most, and a caller who is known where none does."""
    method = "GET" if method == "HEAD" else method
    needs = [need for of, pattern, need in _PATTERNS if of == method and pattern.match(path)]
    return _STRICTNESS[max(map(_STRICTNESS.index, needs), default=_STRICTNESS.index(SOMEONE))]


def methods(path: str) -> list[str]:
    """The methods that a path takes."""
    return sorted({method for method, pattern, _ in _PATTERNS if pattern.match(path)})


def check(routes: Iterable[tuple[str, str]]) -> None:
    """Raise `Unlisted` for any route, a method and a path template, that is not in the table."""
    missing = sorted({(method, path) for method, path in routes if method != "HEAD"} - set(ROUTES))
    if missing:
        named = ", ".join(f"{method} {path}" for method, path in missing)
        raise Unlisted(f"Nothing says who may use {named}: add it to ROUTES in services/coordinator/http/rights.py.")
