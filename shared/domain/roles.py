"""Roles, actions and principals of the API."""

from collections.abc import Mapping
from typing import Final, get_args

from msgspec import Struct

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


class Principal(Struct, frozen=True):
    """The authenticated sender of a request.

    `auth` is the method of sign-in as facts record it; `key` the key's id, or `LOCAL`. `scopes` limit the role's
    actions; none means no limit.
    """

    name: str
    role: Role
    auth: str
    key: str
    scopes: tuple[Action, ...] = ()

    @property
    def is_local(self) -> bool:
        """Return True for the data folder's token, whose holder may act under any name."""
        return self.key == LOCAL


def local_principal(name: str = "", *, session: bool = False) -> Principal:
    """Principal of the data folder's token: an operator, named `local` unless `name` is given."""
    return Principal(name or LOCAL, "operator", f"session:{LOCAL}" if session else LOCAL, LOCAL)


def is_allowed(who: Principal, action: Action) -> bool:
    """Return True if role and scopes permit the action."""
    return ROLES.index(who.role) >= ROLES.index(LEAST[action]) and (not who.scopes or action in who.scopes)


def can_cancel_any(who: Principal) -> bool:
    """Return True if the role may cancel runs that others requested: approver or higher."""
    return ROLES.index(who.role) >= ROLES.index("approver")
