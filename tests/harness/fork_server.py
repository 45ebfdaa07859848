"""An interpreter that has imported one program, and forks for each process that is to run it.

The imports of a program cost about a second of CPU, and the suite starts hundreds of processes. A fork is what a new
interpreter is just before the program's first line runs, with an environment, a folder and files of its own:
`python -m tests.harness.fork_server <descriptor of a socket> <module>`. `tests.harness.programs` is its client.
"""

import array
import json
import os
import runpy
import selectors
import socket
import sys
from importlib import import_module, util
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import NamedTuple, TextIO

REQUEST_BYTES = 1 << 17
_FILES = ("stdin", "stdout", "stderr")


class Start(NamedTuple):
    """A process to start. `isolated` is Python's `-P`: the folder is not on the path of imports."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    isolated: bool
    own_session: bool


class Server:
    """Forks on request, and writes the wait status of each child to the pipe that came with its request."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._waiting: dict[int, tuple[int, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)

    def serve(self) -> Start | None:
        """Return what to run in a child, and `None` in the server itself when its client is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._waiting:
                    self._reap(key.fd)
                    continue
                request, descriptors, *_ = socket.recv_fds(self._requests, REQUEST_BYTES, 4)
                if not request:
                    return None
                if start := self._fork(Start(**json.loads(request)), descriptors):
                    return start

    def _fork(self, start: Start, descriptors: list[int]) -> Start | None:
        *files, status = descriptors
        if child := os.fork():
            watched = os.pidfd_open(child)
            self._waiting[watched] = child, status
            self._selector.register(watched, selectors.EVENT_READ)
            _close(files)
            self._requests.send(str(child).encode())
            return None
        self._leave()
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
        _close(descriptors)
        return start

    def _reap(self, watched: int) -> None:
        child, status = self._waiting.pop(watched)
        os.write(status, array.array("i", [os.waitpid(child, 0)[1]]).tobytes())
        self._selector.unregister(watched)
        _close([watched, status])

    def _leave(self) -> None:
        """Close in a child what is the server's."""
        self._selector.close()
        self._requests.close()
        _close([descriptor for watched, (_, status) in self._waiting.items() for descriptor in (watched, status)])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _preload(module: str) -> None:
    """Import a program's modules; its main module is forgotten, so that it can run as `__main__`."""
    main = f"{module}.__main__" if _is_package(module) else module
    import_module(main)
    del sys.modules[main]


def _is_package(module: str) -> bool:
    spec = util.find_spec(module)
    assert spec, f"There is no module {module}."
    return spec.submodule_search_locations is not None


def _become(start: Start) -> None:
    """Make this process what it would be, had it been started by itself."""
    if start.own_session:
        os.setsid()
    os.environ.clear()  # noqa: TID251
    os.environ.update(start.environment)  # noqa: TID251
    os.chdir(start.folder)
    sys.path[:1] = [] if start.isolated else [start.folder]
    sys.argv[1:] = start.arguments
    unbuffered = bool(start.environment.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(_FILES):
        setattr(sys, name, _opened(number, getattr(sys, name), unbuffered=unbuffered))


def _opened(number: int, like: TextIO, *, unbuffered: bool) -> TextIO:
    """A standard file, buffered as Python does it."""
    file = FileIO(number, "w" if number else "r", closefd=False)
    if number == 0:
        return TextIOWrapper(BufferedReader(file), like.encoding, like.errors)
    if unbuffered:
        return TextIOWrapper(file, like.encoding, like.errors, write_through=True)  # type: ignore[arg-type]
    by_line = number == 2 or os.isatty(number)
    return TextIOWrapper(BufferedWriter(file), like.encoding, like.errors, line_buffering=by_line)


def main() -> None:
    """Serve until the client is gone; in a child, run the program."""
    _, descriptor, module = sys.argv
    _preload(module)
    with socket.socket(fileno=int(descriptor)) as requests:
        start = Server(requests).serve()
    if start:
        _become(start)
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
