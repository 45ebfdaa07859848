"""Ports that nobody listens on, and that stay free while a server is away.

They lie below the range from which the system takes the ports of outgoing connections. Within that range a service
that tries again and again to reach a server that is gone can be given the server's own port and reach itself.
"""

import os
from itertools import count

from services.cli.supervisor.ports import is_free

_FIRST, _SPAN = 20_000, 12_000
_next = count(os.getpid() * 37)


def free_port() -> int:
    """A port on the loopback that can be listened on."""
    while True:
        port = _FIRST + next(_next) % _SPAN
        if is_free(port):
            return port
