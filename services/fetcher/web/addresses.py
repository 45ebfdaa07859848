"""Addresses and ports that pages may be read from. Pure."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS: Final = frozenset({80, 443})

_UNICAST: Final = IPv6Network("2000::/3")
"""Global unicast addresses. `is_global` alone is also True for `::127.0.0.1`, site-local and other reserved forms."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4_RELAYS: Final = IPv4Network("192.88.99.0/24")
_ALLOWANCE: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]\s]+))(?::(?P<port>\d{1,5}))?")


class Allowance(Struct, frozen=True):
    """An exception by the operator: a host name or a network, at one port, or (`None`) at the usual ports."""

    name: str = ""
    network: Network | None = None
    port: int | None = None


class Rules(Struct, frozen=True):
    """Permission for public addresses at the usual ports, and for the operator's exceptions."""

    allowed: tuple[Allowance, ...] = ()

    def permits(self, host: str, address: str, port: int) -> bool:
        """Return True if `address`, which `host` resolves to, may be connected to at `port`."""
        known = _canonical(ip_address(address))
        usual = port in PORTS
        return (usual and is_public(known)) or any(
            (port == each.port if each.port else usual) and _covers(each, host, known) for each in self.allowed
        )


def parse_rules(allowances: Iterable[str]) -> Rules:
    """Parse exceptions of the form `host`, `address` or `network`, each with an optional `:port`.
    Raises `ValueError`.
    """
    return Rules(tuple(parse_allowance(text) for text in allowances))


def parse_allowance(text: str) -> Allowance:
    """Parse one exception, such as `127.0.0.1:8080`, `10.1.0.0/16` or `[fd00::/8]:80`. Raises `ValueError`."""
    if (bare := _parse_network(text)) is not None:
        return Allowance(network=bare)
    match = _ALLOWANCE.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65_535):
        raise ValueError(
            f"{text!r} names no host or network; write it as in 127.0.0.1:8080, 10.1.0.0/16 or wiki.lan:443"
        )
    network = _parse_network(match["v6"] or match["host"])
    if network is None and match["v6"]:
        raise ValueError(f"{text!r}: {match['v6']!r} is no IPv6 address or network")
    return Allowance("" if network else match["host"].lower().rstrip("."), network, port)


def is_public(address: Address) -> bool:
    """Return True for a global unicast address whose embedded IPv4 address, if any, is public too."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and address not in _6TO4_RELAYS
    embedded = address.ipv4_mapped or address.sixtofour or _nat64_target(address)
    if embedded is not None:
        return is_public(embedded)
    return address in _UNICAST and address.is_global


def _nat64_target(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address in a NAT64 address; `None` for others."""
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


def _canonical(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped address, else the address itself."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _covers(each: Allowance, host: str, address: Address) -> bool:
    """Return True if an exception covers this host or address, at any port."""
    if each.network is None:
        return each.name == host.lower().rstrip(".")
    return address.version == each.network.version and address in each.network


def _parse_network(text: str) -> Network | None:
    """Parse an address or a network; `None` if it is neither."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
