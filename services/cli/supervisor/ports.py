"""Ports on the loopback interface."""

import os
import socket
from collections.abc import Iterator
from typing import Final

from services.cli.shell.refusal import MISUSED, Refusal

_LOWEST: Final = 20_000
_SPAN: Final = 12_000
"""Ports below those that systems give to outgoing connections. A client that retries a connection to one of those can
be given the port itself as its own, and connect to itself."""


def is_free(port: int) -> bool:
    """Return True if a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(wanted: int | None, *, usual: int, user: str) -> int:
    """The wanted port, else the usual one if it is free, else another free one. `user` names its user in errors.

    Raises `Refusal` if the wanted port is taken.
    """
    if wanted:
        if not is_free(wanted):
            raise Refusal(f"Port {wanted}, wanted for {user}, is not free.", code=MISUSED)
        return wanted
    return next(port for port in (usual, *_others(usual)) if port and is_free(port))


def _others(usual: int) -> Iterator[int]:
    """All ports of the range, from a start that differs by process and by usual port."""
    first = os.getpid() * 37 + usual
    return (_LOWEST + (first + step) % _SPAN for step in range(_SPAN))
