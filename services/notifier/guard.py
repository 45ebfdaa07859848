"""Where messages may go: to the internet, and inside only where the operator says so."""

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


async def resolved(host: str, port: int, *, allow: Sequence[Network]) -> list[Address]:
    """The addresses of a host, all of which may be sent to. Raises `Terminal` where one may not, `Transient` for none.

    A name that means the internet and the inside alike is not to be trusted. The caller connects to an address that
    was checked, never to the name.
    """
    addresses = await _addresses(host, port)
    for address in addresses:
        if not is_allowed(address, allow) and not is_public(address):
            raise Terminal("not_allowed", f"{address} is not on the internet, and `allow` does not name it.")
    return addresses


async def _addresses(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Transient("no_address", "Its name has no address.") from error
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))


def is_allowed(address: Address, allow: Sequence[Network]) -> bool:
    """Whether the operator names this address."""
    return any(inner in network for network in allow for inner in (address, _inner(address)))


def is_public(address: Address) -> bool:
    """Whether this is an address of the internet, also where it wraps another.

    Of IPv6 only what is given out for it: `is_global` holds for forms of loopback and private addresses as well.
    """
    if isinstance(address, IPv6Address) and address not in _GIVEN_OUT:
        return False
    return all(one.is_global and not one.is_multicast for one in (address, _inner(address)))


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for; itself where it stands for none."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _V4_BITS)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
