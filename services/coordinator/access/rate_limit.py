"""How often something may happen, per name, in bounded memory. Pure: the time arrives as a value."""

import ipaddress
from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 10_000
"""Names at most; the one that was longest quiet is forgotten first."""


class Brake:
    """Lets `burst` through at once, and then `burst` in every `per_s` (a token bucket for each name)."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._rate = burst / per_s
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """How long until one more may pass; 0 for at once."""
        over = self._level(name, now) + 1 - self._burst
        return max(0.0, over / self._rate)

    def count(self, name: str, now: float) -> None:
        """One has passed."""
        self._spent[name] = (self._level(name, now) + 1, now)
        self._spent.move_to_end(name)
        while len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)

    def _level(self, name: str, now: float) -> float:
        level, then = self._spent.get(name, (0.0, now))
        return max(0.0, level - (now - then) * self._rate)

    def __len__(self) -> int:
        return len(self._spent)


class Known:
    """Names that were seen, the newest `REMEMBERED` of them."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> None:
        """Seen."""
        self._names[name] = None
        self._names.move_to_end(name)
        while len(self._names) > REMEMBERED:
            self._names.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name in self._names


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the /64 that one customer has, of anything else itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
