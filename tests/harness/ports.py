"""Ports that nobody listens on, and that stay free while a server is away.

They lie below the range from which the system takes the ports of outgoing connections. Within that range a service
that tries again and again to reach a server that is gone can be given the server's own port and reach itself.
"""

import os
import socket
from itertools import count

_FIRST, _SPAN = 20_000, 12_000
_next = count(os.getpid() * 37)


def free_port() -> int:
    """A port on the loopback that can be listened on."""
    while True:
        port = _FIRST + next(_next) % _SPAN
        if _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
