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
    who: Principal
    until: datetime


class Tickets:
    """Takes each ticket once and not late. It keeps only their hashes."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Ticket] = OrderedDict()

    def issue(self, text: str, who: Principal, now: datetime) -> datetime:
        """Let `text`, which nobody can guess, sign a browser in as `who`; until when."""
        until = now + LIFE
        self._open[_hash(text)] = _Ticket(who, until)
        while len(self._open) > _AT_MOST:
            self._open.popitem(last=False)
        return until

    def redeem(self, text: str, now: datetime) -> Principal | None:
        """Who the ticket is for; it is void from then on."""
        ticket = self._open.pop(_hash(text), None)
        return ticket.who if ticket and now < ticket.until else None


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
