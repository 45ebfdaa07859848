"""Ports on the loopback that no other test process draws, and that stay free while their server is away.

A process reserves a block of ports for as long as it lives, by listening on the block's first port. So two workers of
one run, or two runs on one machine, never draw the same port. The blocks lie below the ports that `dossier up` chooses
by itself, and both lie below the range of outgoing connections: within that range a client that retries a server that
is away can be given the server's own port and connect to itself.
"""

import os
import socket
from collections.abc import Iterable
from functools import cache
from itertools import cycle
from typing import Final

from services.cli.lockdown.config import MONITOR_OFFSET, ROUTE_OFFSET
from services.cli.supervisor.ports import is_free

_FIRST: Final = 12_000
_SIZE: Final = 50
_BLOCKS: Final = ROUTE_OFFSET // _SIZE
_OFFSETS: Final = (0, ROUTE_OFFSET, MONITOR_OFFSET)


class Block:
    """Consecutive ports, and those at a NATS node's offsets above them, reserved until this process ends."""

    def __init__(self) -> None:
        self._lock, first = _reserved()
        self._bases = cycle(range(first + 1, first + _SIZE))
        self._ports = (base + offset for base in self._bases for offset in _OFFSETS)

    def port(self) -> int:
        """The next port on which a server can listen."""
        return next(filter(is_free, self._ports))

    def row(self, length: int) -> int:
        """The first of the next `length` consecutive ports that are free, as are those at their offsets."""
        while True:
            row = [next(self._bases) for _ in range(length)]
            if row == list(range(row[0], row[0] + length)) and _are_free(row):
                return row[0]


@cache
def _block() -> Block:
    return Block()


def free_port() -> int:
    """A port on the loopback that can be listened on."""
    return _block().port()


def free_row(length: int) -> int:
    """The first of `length` consecutive ports for NATS nodes, with those for routes and monitoring free as well."""
    return _block().row(length)


def _are_free(bases: Iterable[int]) -> bool:
    return all(is_free(base + offset) for base in bases for offset in _OFFSETS)


def _reserved() -> tuple[socket.socket, int]:
    """The listening socket that reserves a block, and the block's first port. Raises `RuntimeError` if none is left."""
    for step in range(_BLOCKS):
        first = _FIRST + (os.getpid() + step) % _BLOCKS * _SIZE
        try:
            return socket.create_server(("127.0.0.1", first)), first
        except OSError:
            continue
    raise RuntimeError(f"All {_BLOCKS} blocks of ports from {_FIRST} on are reserved by other test runs; end one.")
