"""Links that sign a browser in, once. Kept in memory: a restart voids them all."""

from collections import OrderedDict
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.domain.roles import Principal

LIFE: Final = timedelta(minutes=10)
_AT_MOST: Final = 1_000


class _Ticket(Struct, frozen=True):
    """The principal that a link signs in, and its end."""

    who: Principal
    until: datetime


class SignInLinks:
    """Issues and redeems tickets. Keeps their hashes only, of the 1,000 newest at most."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Ticket] = OrderedDict()

    def issue(self, text: str, who: Principal, now: datetime) -> datetime:
        """Let the ticket `text`, a random secret, sign a browser in as `who` once. Returns its end, 10 minutes from
        now.
        """
        until = now + LIFE
        self._open[_hash(text)] = _Ticket(who, until)
        while len(self._open) > _AT_MOST:
            self._open.popitem(last=False)
        return until

    def redeem(self, text: str, now: datetime) -> Principal | None:
        """Principal of a ticket; None if it is unknown, used or over. The ticket is void afterwards."""
        ticket = self._open.pop(_hash(text), None)
        return ticket.who if ticket and now < ticket.until else None


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
