"""Addresses that notifications may be sent to: public ones, and private ones that the operator allows."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from shared.errors import Terminal, Transient
from shared.runtime.endpoints import Network

Address = IPv4Address | IPv6Address

_GIVEN_OUT: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")
_V4_BITS: Final = 0xFFFF_FFFF


async def resolve_allowed(host: str, port: int, *, allow: Sequence[Network]) -> list[Address]:
    """Return the addresses of `host`, each of which may be connected to.

    Raises `Terminal` (`not_allowed`) if any of them is neither public nor allowed, since a name that resolves to both
    is not trusted; `Transient` (`no_address`) if the name does not resolve. The caller connects to a returned address,
    never to the name.
    """
    addresses = await _addresses(host, port)
    for address in addresses:
        if not is_allowed(address, allow) and not is_public(address):
            raise Terminal("not_allowed", f"{address} is not a public address, and `allow` does not name it.")
    return addresses


async def _addresses(host: str, port: int) -> list[Address]:
    """Resolve `host` by the system's resolver; each address once. Raise `Transient` if there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Transient("no_address", "The host has no address.") from error
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))


def is_allowed(address: Address, allow: Sequence[Network]) -> bool:
    """Return True if a network of `allow` contains the address or the IPv4 address embedded in it."""
    return any(inner in network for network in allow for inner in (address, _embedded(address)))


def is_public(address: Address) -> bool:
    """Return True for a global unicast address whose embedded IPv4 address, if any, is public too.

    For IPv6 only `2000::/3` counts: `is_global` is also True for forms of loopback and private addresses.
    """
    if isinstance(address, IPv6Address) and address not in _GIVEN_OUT:
        return False
    return all(one.is_global and not one.is_multicast for one in (address, _embedded(address)))


def _embedded(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 address (NAT64, mapped, 6to4, Teredo), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _V4_BITS)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
