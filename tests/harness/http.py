"""One HTTP request, one answer."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.waiting import PATIENCE_S


def key(data: Path) -> dict[str, str]:
    """The header that shows the token of a coordinator's data folder."""
    return {"Authorization": f"Bearer {(data / 'token').read_text().strip()}"}


class Answer(NamedTuple):
    """What a server said; `body` is decoded where it is JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]


def ask(port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer of the server on this loopback port. Raises `OSError` where none listens."""
    link = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        sent = None if body is None else json.dumps(body)
        link.request(method, path, sent, {"Content-Type": "application/json"} | dict(headers or {}))
        response = link.getresponse()
        text = response.read().decode()
    finally:
        link.close()
    is_json = "json" in response.headers.get("Content-Type", "")
    return Answer(response.status, json.loads(text) if is_json else text, dict(response.headers))


def status(port: int, path: str) -> int | None:
    """The status of a GET; `None` where nobody listens."""
    try:
        return ask(port, "GET", path).status
    except OSError:
        return None
