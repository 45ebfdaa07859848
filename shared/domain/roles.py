"""Roles, actions and principals."""

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
