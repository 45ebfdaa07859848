"""A pool of processes that read pages. A process that dies or exceeds its time is replaced, and its page is skipped."""

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

import msgspec

from services.fetcher.sandbox.protocol import LENGTH, Reading, ReadRequest, Reply
from shared.errors import Terminal, Transient

logger = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-I", "-X", "utf8", "-m", "services.fetcher.sandbox.worker")
_MAX_REPLY_BYTES: Final = 16 * 1024 * 1024

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Reply).decode


class ReaderPool:
    """Reads documents in up to `at_most` processes, started when needed, each document within `timeout_s` seconds."""

    def __init__(self, *, at_most: int = 2, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(at_most)
        self._idle: list[Process] = []
        self._busy: set[Process] = set()

    async def read(self, order: ReadRequest) -> Reading:
        """Return the text of a document. Raises `Terminal` with the reader's fault, or if its process dies or exceeds
        its time; `Transient` (`no_reader`) if no process can be started.
        """
        async with self._places:
            process = await self._acquire()
            try:
                async with asyncio.timeout(self._timeout_s):
                    reply = await _exchange(process, order)
            except TimeoutError as error:
                raise Terminal("slow_to_read", f"Reading it takes longer than {self._timeout_s:g} s.") from error
            except (EOFError, OSError, msgspec.MsgspecError) as error:
                logger.warning("A process that reads pages crashed: %s.", error, extra={"event": "page.reader_died"})
                raise Terminal("damaged", "It cannot be read: the reading process crashed.") from error
            else:
                if not reply.last:
                    self._idle.append(process)
            finally:
                self._busy.discard(process)
                if process not in self._idle:
                    await _kill(process)
        if reply.reading.fault:
            raise Terminal(*reply.reading.fault)
        return reply.reading

    async def close(self) -> None:
        """Kill every process and wait for it."""
        processes, self._idle = [*self._idle, *self._busy], []
        await asyncio.gather(*map(_kill, processes))

    async def _acquire(self) -> Process:
        """Return an idle process, or start one. Raise `Transient` if it does not start."""
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                self._busy.add(process)
                return process
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, limit=_MAX_REPLY_BYTES
            )
        except OSError as error:
            raise Transient("no_reader", f"No process could be started to read pages: {error}.") from error
        self._busy.add(process)
        return process


async def _exchange(process: Process, order: ReadRequest) -> Reply:
    """Send a request to a process and return its reply. Raise `EOFError` if the process ends or replies with too many
    bytes.
    """
    assert process.stdin
    assert process.stdout
    message = _encode(order)
    process.stdin.write(LENGTH.pack(len(message)) + message)
    await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    if length > _MAX_REPLY_BYTES:
        raise EOFError(f"it replied with {length:,} bytes")
    return _decode(await process.stdout.readexactly(length))


async def _kill(process: Process) -> None:
    """Kill the process and wait until it has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
