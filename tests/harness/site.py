"""A site on loopback, in a thread of its own: a real server that says exactly what a test wants it to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from tests.harness.ports import free_port


class Request(NamedTuple):
    """What somebody asked for. `path` has the query in it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Send = Callable[[bytes], None]


class Page(NamedTuple):
    """An answer. Its length is said unless `headers` say something of it."""

    body: bytes | str = ""
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = {}


class Raw(NamedTuple):
    """An answer as bytes on the wire, written by a function that gets a way to send them."""

    write: Callable[[Send], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has hung up."""


class Site:
    """Answers by `pages`, a path to what is there; 404 for everything else. `asked` has every request so far."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self.pages: dict[str, Page | Raw | Callable[[Request], Page | Raw]] = {}
        self.asked: list[Request] = []
        self._server = _Server((host, port or free_port()), _handler(self))
        self.host, self.port = host, self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def allowed(self) -> str:
        """What `DOSSIER_ALLOW_PRIVATE` says of it."""
        return f"{self.host}:{self.port}"

    def paths(self) -> list[str]:
        """The paths that were asked for, in order, less robots.txt."""
        return [request.path for request in self.asked if request.path != "/robots.txt"]

    def answer(self, request: Request) -> Page | Raw:
        """What is there."""
        self.asked.append(request)
        there = self.pages.get(request.path.partition("?")[0], Page("Not here.", status=404))
        return there if isinstance(there, Page | Raw) else there(request)

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def site(host: str = "127.0.0.1", port: int | None = None) -> Iterator[Site]:
    """A site for as long as the context lasts."""
    one = Site(host, port)
    try:
        yield one
    finally:
        one.close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there = site.answer(Request(self.command, self.path, dict(self.headers), body))
            try:
                if isinstance(there, Raw):
                    self.close_connection = True
                    there.write(self.wfile.write)
                else:
                    self._send(there)
            except OSError:
                pass  # whoever asked has heard enough

        def _send(self, page: Page) -> None:
            body = page.body.encode() if isinstance(page.body, str) else page.body
            headers = {"Content-Type": page.content_type, "Content-Length": str(len(body))} | dict(page.headers)
            self.send_response(page.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's
            pass

    return Handler
