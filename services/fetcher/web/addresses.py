"""Which addresses and ports pages may be read from. Pure."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS: Final = frozenset({80, 443})

_UNICAST: Final = IPv6Network("2000::/3")
"""All that is global in IPv6. `is_global` alone also takes `::127.0.0.1`, site-local and other leftovers for global."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4_RELAYS: Final = IPv4Network("192.88.99.0/24")
_ALLOWANCE: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]\s]+))(?::(?P<port>\d{1,5}))?")


class Allowance(Struct, frozen=True):
    """One exception that an operator made: a name or a network, at one port or (`None`) at the usual ones."""

    name: str = ""
    network: Network | None = None
    port: int | None = None


class Rules(Struct, frozen=True):
    """Public addresses at the usual ports, and what an operator allowed besides."""

    allowed: tuple[Allowance, ...] = ()

    def permit(self, host: str, address: str, port: int) -> bool:
        """Whether to connect to `address`, which is what the name `host` stands for at this moment."""
        known = _canonical(ip_address(address))
        usual = port in PORTS
        return (usual and is_public(known)) or any(
            (port == each.port if each.port else usual) and _names(each, host, known) for each in self.allowed
        )


def rules(allowances: Iterable[str]) -> Rules:
    """The rules with these exceptions, each `host`, `address` or `network`, optionally `:port`. Raises `ValueError`."""
    return Rules(tuple(allowance(text) for text in allowances))


def allowance(text: str) -> Allowance:
    """The exception that `text` names, as `127.0.0.1:8080`, `10.1.0.0/16`, `[fd00::/8]:80`. Raises `ValueError`."""
    if (bare := _network(text)) is not None:
        return Allowance(network=bare)
    match = _ALLOWANCE.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65_535):
        raise ValueError(
            f"{text!r} names no host or network; write it as in 127.0.0.1:8080, 10.1.0.0/16 or wiki.lan:443"
        )
    network = _network(match["v6"] or match["host"])
    if network is None and match["v6"]:
        raise ValueError(f"{text!r}: {match['v6']!r} is no IPv6 address or network")
    return Allowance("" if network else match["host"].lower().rstrip("."), network, port)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could mean this address, also after a translation between IPv4 and IPv6."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and address not in _6TO4_RELAYS
    embedded = address.ipv4_mapped or address.sixtofour or _translated(address)
    if embedded is not None:
        return is_public(embedded)
    return address in _UNICAST and address.is_global


def _translated(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


def _canonical(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 is that IPv4 address."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _names(each: Allowance, host: str, address: Address) -> bool:
    if each.network is None:
        return each.name == host.lower().rstrip(".")
    return address.version == each.network.version and address in each.network


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
