"""`python -m services.fetcher.sandbox.worker`: reads untrusted documents one by one; a document may crash it.

It gets no environment, only standard input and output, and limited memory and time for each document. It exits when its
input ends.
"""

import logging
import os
import resource
import sys
import warnings
from contextlib import suppress
from typing import BinaryIO, Final

import msgspec

from services.fetcher.sandbox.html_page import read_html
from services.fetcher.sandbox.protocol import LENGTH, Reading, ReadRequest, Reply

MEMORY: Final = 1024 * 1024 * 1024
"""Address space, in bytes."""
_CPU_S: Final = 20
"""CPU seconds for one document. The pool gives up earlier; this ends work whose result is no longer awaited."""
_ENOUGH_MEMORY: Final = 300 * 1024 * 1024
_ENOUGH: Final = 200
"""Documents after which the process is replaced, as it is above `_ENOUGH_MEMORY`, so that no leak can grow."""


def read(order: ReadRequest) -> Reading:
    """Read a document. Every exception becomes a fault of the result; never raises."""
    try:
        if order.kind == "pdf":
            from services.fetcher.sandbox.pdf_page import read_pdf

            return read_pdf(order.data)
        return read_html(order.data, order.charset)
    except MemoryError:
        return Reading(fault=("too_much", "Reading it takes more memory than a page may have."))
    except RecursionError:
        return Reading(fault=("damaged", "It is nested too deep to be read."))
    except Exception:  # whatever a library makes of a hostile page is that page's fault
        return Reading(fault=("damaged", "It cannot be read: it is damaged or malicious."))


def serve(orders: BinaryIO, replies: BinaryIO) -> None:
    """Read requests and write replies until the input ends, or until `_ENOUGH` documents or memory have been used."""
    order_of = msgspec.msgpack.Decoder(ReadRequest).decode
    for number in range(1, _ENOUGH + 1):
        length = orders.read(LENGTH.size)
        if len(length) < LENGTH.size:
            return
        _limit_cpu_time()
        reading = read(order_of(orders.read(*LENGTH.unpack(length))))
        last = number == _ENOUGH or _memory() > _ENOUGH_MEMORY
        reply = msgspec.msgpack.encode(Reply(reading, last))
        replies.write(LENGTH.pack(len(reply)) + reply)
        replies.flush()
        if last:
            return


def _memory() -> int:
    """Return the peak memory of this process in bytes.

    On Linux `ru_maxrss` begins with the parent's memory, so `/proc` goes first.
    """
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _limit_cpu_time() -> None:
    """Allow this process `_CPU_S` more seconds of CPU time; the system kills it after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + _CPU_S, hard))


def _limit_resources() -> None:
    """Limit memory, and forbid core dumps and files. Limits that the system does not support are skipped."""
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with suppress(ValueError):  # not every system takes every limit
            resource.setrlimit(what, (most, most))


def main() -> None:
    """Serve on the standard output, which nothing else can write to. Changes file descriptors and limits of the
    process.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(2_000)
    _limit_resources()
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
