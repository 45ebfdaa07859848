"""Who we are to a NATS server, by its own account."""

from datetime import datetime

import msgspec
from msgspec import Struct

from services.cli.lockdown.permissions import OPERATOR, STORE, WHOAMI, User, named
from shared.errors import Unavailable
from shared.nats.connection import Link


class _User(Struct, frozen=True):
    account: str = ""
    user: str = ""
    permissions: dict[str, object] | None = None


class _Server(Struct, frozen=True):
    name: str = ""
    time: datetime | None = None


class Whoami(Struct, frozen=True):
    """A user of an account, the server that says so, and its time."""

    data: _User = _User()
    server: _Server = _Server()

    @property
    def user(self) -> User | None:
        """The user of `dossier nats init` that this is, where it is one that has a list of what it may."""
        user = named(self.data.account.lower())
        return user if user and user.account == self.data.account else None

    @property
    def is_operator(self) -> bool:
        """Whether this is whoever may do everything in a locked-down NATS."""
        return self.data.account == STORE

    @property
    def name(self) -> str:
        """What `dossier nats init` calls this user; empty for any other."""
        return OPERATOR if self.is_operator else self.user.name if self.user else ""

    def may_ask(self, subject: str) -> bool:
        """Whether this user may publish there, as far as that is known."""
        return self.user is None or any(may.subject == subject for may in self.user.may)


async def whoami(link: Link) -> Whoami:
    """Ask the server. Nobody that is known of, where it may not be asked."""
    try:
        return msgspec.json.decode((await link.request(WHOAMI)).data, type=Whoami)
    except (Unavailable, msgspec.MsgspecError):
        return Whoami()
