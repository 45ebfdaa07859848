"""Somebody who is told: a real HTTP server on the loopback that answers as it was told to, and keeps what it got."""

import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests.harness.listener import Listener
from tests.harness.waiting import PATIENCE_S, wait_until


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


class Receiver(Listener):
    """Gives one answer after another, then `usual` for ever."""

    def __init__(self, *replies: Reply, usual: Reply | None = None) -> None:
        super().__init__()
        self.got: list[Got] = []
        self.replies = list(replies)
        self.usual = usual or Reply()
        self.sent_bytes = 0

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

    def wait_for(self, count: int, within_s: float = PATIENCE_S) -> list[Got]:
        """The requests, as soon as there are so many."""
        wait_until(lambda: len(self.got) >= count, within_s)
        return self.got
