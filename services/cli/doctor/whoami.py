"""The user that a NATS connection has, as the server reports it."""

from datetime import datetime

import msgspec
from msgspec import Struct

from services.cli.lockdown.permissions import OPERATOR, STORE, USERS, WHOAMI, User
from shared.errors import Unavailable
from shared.nats.connection import Connection
from shared.runtime import clock


class _Data(Struct, frozen=True):
    account: str = ""
    permissions: dict[str, object] | None = None


class _Server(Struct, frozen=True):
    name: str = ""
    time: datetime | None = None


class Whoami(Struct, frozen=True):
    """Answer of a server to `WHOAMI`: account and permissions of the user, name and time of the server.

    `ahead_s` is the offset of the server's clock in seconds; `None` if the server did not report its time.
    """

    data: _Data = _Data()
    server: _Server = _Server()
    ahead_s: float | None = None

    @property
    def user(self) -> User | None:
        """The restricted user of `dossier nats init` with this account; `None` for the operator and any other."""
        return next((user for user in USERS if user.account == self.data.account), None)

    @property
    def is_operator(self) -> bool:
        """Return True for the user of `dossier nats init` that may do everything."""
        return self.data.account == STORE

    @property
    def name(self) -> str:
        """Name of the user in `dossier nats init`; empty for any other user."""
        return OPERATOR if self.is_operator else self.user.name if self.user else ""

    def may_publish(self, subject: str) -> bool:
        """Return True unless this is a restricted user without permission for this subject."""
        return self.user is None or any(may.subject == subject for may in self.user.may)


async def whoami(link: Connection) -> Whoami:
    """Ask the server. Return an empty answer if it does not answer, or with something else."""
    before = clock.now()
    try:
        answer = msgspec.json.decode((await link.request(WHOAMI)).data, type=Whoami)
    except (Unavailable, msgspec.MsgspecError):
        return Whoami()
    if answer.server.time is None:
        return answer
    half = (clock.now() - before) / 2
    return msgspec.structs.replace(answer, ahead_s=(answer.server.time - before - half).total_seconds())
