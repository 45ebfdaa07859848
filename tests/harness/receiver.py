"""Somebody who is told: a real HTTP server on the loopback that answers as it was told to, and keeps what it got."""

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.harness.ports import free_port
from tests.harness.waiting import wait_until


class Reply(NamedTuple):
    """One answer: after `after_s`, this status with these headers and a body of `size` bytes, `drip_s` apart."""

    status: int = 200
    headers: Mapping[str, str] = {}
    size: int = 0
    after_s: float = 0.0
    drip_s: float = 0.0


class Got(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Receiver:
    """Gives one answer after another, then `usual` for ever."""

    def __init__(self, *replies: Reply, usual: Reply | None = None) -> None:
        self.port = free_port()
        self.got: list[Got] = []
        self.replies = list(replies)
        self.usual = usual or Reply()
        self.sent_bytes = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.serve(self)

            def do_GET(self) -> None:
                outer.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?token=secret-in-the-url"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Keep the request, then answer."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.got.append(Got(handler.path, headers, body, time.monotonic()))
        reply = self.replies.pop(0) if self.replies else self.usual
        time.sleep(reply.after_s)
        try:
            handler.send_response(reply.status)
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(reply.size))
            handler.end_headers()
            while self.sent_bytes < reply.size:
                time.sleep(reply.drip_s)
                self.sent_bytes += handler.wfile.write(b"x" * min(65_536, reply.size - self.sent_bytes))
        except OSError:
            pass

    def wait_for(self, count: int, within_s: float = 10.0) -> list[Got]:
        """The requests, as soon as there are so many."""
        wait_until(lambda: len(self.got) >= count, within_s)
        return self.got
