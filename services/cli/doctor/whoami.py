"""The user of a NATS connection, and its permissions, as the server reports them."""

from datetime import datetime

import msgspec
from msgspec import Struct

from services.cli.lockdown.permissions import OPERATOR, STORE, USERS, WHOAMI, User, publishable, subscribable
from shared.errors import Unavailable
from shared.nats.connection import Connection
from shared.runtime import clock
from shared.service.check import CheckResult, listed


class _Subjects(Struct, frozen=True):
    """Subjects of a permission, as patterns."""

    allow: list[str] = []


class _Permissions(Struct, frozen=True):
    """Subjects to which a user may publish and subscribe."""

    publish: _Subjects = _Subjects()
    subscribe: _Subjects = _Subjects()


class _Data(Struct, frozen=True):
    """The account of the user; without permissions the user is not restricted."""

    account: str = ""
    permissions: _Permissions | None = None


class _Server(Struct, frozen=True):
    """The server that answers."""

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
    def name(self) -> str:
        """Name of the user in `dossier nats init`; empty for any other user."""
        return OPERATOR if self.data.account == STORE else self.user.name if self.user else ""


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


async def permissions(me: Whoami) -> list[CheckResult]:
    """A fault if the permissions are not those that this release gives this user.

    A user without restrictions, and one that `dossier nats init` does not know, are warnings.
    """
    granted = me.data.permissions
    if me.name == OPERATOR:
        return [CheckResult("permissions", "ok", f"{OPERATOR}: may do everything; no service should run as this user")]
    if granted is None:
        text = "Any client of this NATS may do everything: decide, create keys, delete."
        do = "Keep it to this machine, or lock it down: dossier nats init FOLDER."
        return [CheckResult("permissions", "warning", text, do)]
    if me.user is None:
        text = f"The user of account {me.data.account} is not one of dossier nats init, so its work is unknown."
        return [CheckResult("permissions", "warning", text, "Check that it may write only what its work needs.")]
    given = {*granted.publish.allow}, {*granted.subscribe.allow}
    needed = {*publishable(me.user)}, {*subscribable(me.user)}
    excess = [subject for have, need in zip(given, needed, strict=True) for subject in sorted(have - need)]
    missing = [subject for have, need in zip(given, needed, strict=True) for subject in sorted(need - have)]
    if not excess and not missing:
        return [CheckResult("permissions", "ok", f"{me.user.name}: those that its work needs, and no others")]
    texts = (
        f"{me.user.name} may use {listed(excess)}, which is not its work." if excess else "",
        f"{me.user.name} may not use {listed(missing)}, which its work needs." if missing else "",
    )
    do = "Move nats/accounts.conf away, run dossier nats init again, and restart the servers."
    return [CheckResult("permissions", "fault", " ".join(filter(None, texts)), do)]
