"""The only way to the web: a network backend that resolves a name once, checks the addresses, and connects to one of
them.

The address that is connected to is the one that was checked, so a name server that changes its answer gains nothing.
Every connection uses this backend, those of redirects too.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import httpcore2
from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from services.fetcher.web.addresses import Rules
from shared.errors import Terminal, Transient

logger = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host and port. Raises `OSError` if there are none."""

_TRIED: Final = 4
"""Addresses of one host that are tried at most."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host by the system's resolver, which also reads forms such as `0x7f.1`. Raises
    `OSError`.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard(AsyncNetworkBackend):
    """Connects only to addresses that `rules` permit. Raises `Terminal` and `Transient`, and the
    errors of `httpcore2`.
    """

    def __init__(self, rules: Rules, *, resolve: Resolve = resolve, within: AsyncNetworkBackend | None = None) -> None:
        self._rules = rules
        self._resolve = resolve
        self._within = within or AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the protocol's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to `host` at the first of its addresses that answers, if all of them are permitted."""
        problem: Exception = httpcore2.ConnectError(f"{host} has no address.")
        for address in (await self._resolve_permitted(host, port))[:_TRIED]:
            try:
                return await self._within.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
        raise problem

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  the protocol's
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Raise `Terminal`: local sockets are never connected to."""
        raise Terminal("address_refused", "Pages are not read from sockets of this machine.")

    async def sleep(self, seconds: float) -> None:
        """Sleep between attempts."""
        await asyncio.sleep(seconds)

    async def _resolve_permitted(self, host: str, port: int) -> Sequence[str]:
        """Resolve `host` and return its addresses. Raise `Terminal` (`address_refused`) if any of them is not
        permitted.
        """
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Transient("unresolved", f"{host} could not be looked up.") from error
        for address in addresses:
            if not self._rules.permits(host, address, port):
                logger.warning(
                    "Not connected to %s port %d: it is %s.", host, port, address, extra={"event": "page.guarded"}
                )
                raise Terminal(
                    "address_refused",
                    f"{host} port {port} is not read: not a public address at a usual port, and not allowed besides.",
                )
        return addresses
