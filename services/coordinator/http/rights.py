"""Rights of the routes: which right a request needs, by its method and path. Pure.

A role may do all that those below it may. A requester cancels only their own runs; an approver any run. Each route
states its right where it is declared (`http/routes.py`); an application with a route that has none does not start.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from starlette.routing import compile_path

from shared.contracts.access import Action
from shared.domain.roles import ACTIONS

ANYONE: Final[Literal["anyone"]] = "anyone"
SOMEONE: Final[Literal["someone"]] = "someone"
Right = Action | Literal["anyone", "someone"]
"""What a route needs: the right to an action, any valid key (`someone`), or nothing (`anyone`)."""

PROBES: Final = ("/livez", "/readyz")
_STRICTNESS: Final[tuple[Right, ...]] = (ANYONE, SOMEONE, *ACTIONS)


class UndeclaredRoute(Exception):
    """An application has a route without a right."""


class Rights:
    """The right of each declared route, by method and path template."""

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], Right] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Right]] = []

    @property
    def table(self) -> Mapping[tuple[str, str], Right]:
        """The right of each route, in the order of declaration."""
        return self._table

    def declare(self, method: str, path: str, right: Right) -> None:
        """Give the route of this method and path template a right."""
        self._table[method, path] = right
        self._patterns.append((method, compile_path(path)[0], right))

    def required(self, method: str, path: str) -> Right:
        """Return the right that a request needs: the strictest of all routes that match, `someone` if none does.

        HEAD needs the right of GET.
        """
        method = "GET" if method == "HEAD" else method
        rights: list[Right] = [right for of, pattern, right in self._patterns if of == method and pattern.match(path)]
        return max(rights, key=_STRICTNESS.index) if rights else SOMEONE

    def allowed_methods(self, path: str) -> list[str]:
        """Methods of the routes that match a path, sorted."""
        return sorted({method for method, pattern, _ in self._patterns if pattern.match(path)})

    def check(self, routes: Iterable[tuple[str, str]]) -> None:
        """Raise `UndeclaredRoute` if any of the routes (method and path template) has no right. HEAD is not checked."""
        missing = sorted({(method, path) for method, path in routes if method != "HEAD"} - set(self._table))
        if missing:
            named = ", ".join(f"{method} {path}" for method, path in missing)
            raise UndeclaredRoute(
                f"No right is declared for {named}: register it with services.coordinator.http.Routes."
            )
