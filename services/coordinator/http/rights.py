"""Roles, and the one table that says what each route needs. Pure.

A role may do all that those below it may. A requester cancels only what is their own; an approver anything. Whoever
adds a route adds its row here: the coordinator does not start while one is missing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from msgspec import Struct
from starlette.routing import compile_path

from shared.contracts.access import Action, Role
from shared.domain.approval import LOCAL

ROLES: Final[tuple[Role, ...]] = get_args(Role)
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
LEAST: Final[Mapping[Action, Role]] = {
    "read": "viewer",
    "ask": "requester",
    "cancel": "requester",
    "decide": "approver",
    "operate": "operator",
}
"""The lowest role that an action takes."""

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


class Principal(Struct, frozen=True):
    """Whoever a request is from. `auth` is how they signed in, as facts record it; `key` the key's id, or `LOCAL`."""

    name: str
    role: Role
    auth: str
    key: str
    scopes: tuple[Action, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is somebody with the data folder, who may go by any name."""
        return self.key == LOCAL


def local(name: str = "", *, session: bool = False) -> Principal:
    """Whoever has the data folder."""
    return Principal(name or LOCAL, "operator", f"session:{LOCAL}" if session else LOCAL, LOCAL)


def may(who: Principal, action: Action) -> bool:
    """Whether their role and scopes let them do that."""
    return ROLES.index(who.role) >= ROLES.index(LEAST[action]) and (not who.scopes or action in who.scopes)


def may_cancel_any(who: Principal) -> bool:
    """Whether they may cancel what others asked for."""
    return ROLES.index(who.role) >= ROLES.index("approver")


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
