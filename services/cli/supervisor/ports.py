"""Ports on the loopback interface."""

import os
import socket
from collections.abc import Iterator
from typing import Final

from services.cli.shell.refusal import MISUSED, Refusal

_LOWEST: Final = 20_000
_SPAN: Final = 12_000
"""Below the ports that systems give to outgoing connections: from among those, a client that tries to reach a server
that is away can be given the server's own port, and reach itself."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(wanted: int | None, *, usual: int, what: str) -> int:
    """The port that is wanted, else the usual one if it is free, else any. Raises `Refusal` for one that is taken."""
    if wanted:
        if not is_free(wanted):
            raise Refusal(f"Port {wanted}, wanted for {what}, is not free.", code=MISUSED)
        return wanted
    return next(port for port in (usual, *_others(usual)) if port and is_free(port))


def _others(usual: int) -> Iterator[int]:
    """Ports to try, from a place of this process's own on, and another one for what is usually elsewhere."""
    first = os.getpid() * 37 + usual
    return (_LOWEST + (first + step) % _SPAN for step in range(_SPAN))
