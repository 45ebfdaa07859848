"""Rate limits per name, in bounded memory. Pure: the time arrives as a value, in seconds."""

import ipaddress
from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 10_000
"""Names at most; the one that was longest quiet is forgotten first."""


class RateLimiter:
    """A token bucket for each name: `burst` tokens, refilled evenly within `per_s` seconds."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._rate = burst / per_s
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """Seconds until the name has a token; 0 if it has one. Consumes none."""
        over = self._level(name, now) + 1 - self._burst
        return max(0.0, over / self._rate)

    def consume(self, name: str, now: float) -> None:
        """Consume one token of the name, also beyond its last one. Forgets the names used longest ago beyond 10,000."""
        self._spent[name] = (self._level(name, now) + 1, now)
        self._spent.move_to_end(name)
        while len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)

    def _level(self, name: str, now: float) -> float:
        """Tokens of the name that are consumed and not refilled yet."""
        level, then = self._spent.get(name, (0.0, now))
        return max(0.0, level - (now - then) * self._rate)

    def __len__(self) -> int:
        return len(self._spent)


class RecentNames:
    """A set of the 10,000 names that were added last."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str) -> None:
        """Add the name, as the newest one."""
        self._names[name] = None
        self._names.move_to_end(name)
        while len(self._names) > REMEMBERED:
            self._names.popitem(last=False)

    def __contains__(self, name: str) -> bool:
        return name in self._names


def address_block(address: str) -> str:
    """The address that rate limits count: the /64 network of an IPv6 address, the IPv4 address of a mapped one, any
    other text itself.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
