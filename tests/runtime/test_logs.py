"""What a process says: for people, or for machines, and never what it read."""

import ast
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Transient
from shared.runtime.settings import Settings
from shared.telemetry import logs
from shared.telemetry.tracing import CURRENT_SCOPE, TraceScope

ROOT = Path(__file__).parents[2]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
LOUD = ("httpcore2", "httpx2", "mcp", "openai", "urllib3")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in LOUD}
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def saying(monkeypatch: pytest.MonkeyPatch, to: io.StringIO, **settings: Any) -> logging.Logger:
    """A logger of a planner that has just begun."""
    monkeypatch.setattr(sys, "stderr", to)
    logs.configure_logging("planner", Settings(**settings))
    return logging.getLogger("services.planner.test")


def said(to: io.StringIO) -> dict[str, Any]:
    [line] = to.getvalue().splitlines()
    return json.loads(line)


def test_a_line_for_machines_says_who_says_what_about_which_run(monkeypatch: pytest.MonkeyPatch):
    logger = saying(monkeypatch, to := io.StringIO())
    CURRENT_SCOPE.set(TraceScope("r7", f"00-{TRACE_ID}-b7ad6b7169203331-01"))
    try:
        logger.warning("It took %d s.", 3, extra={"event": "attempt.slow"})
    finally:
        CURRENT_SCOPE.set(None)
    line = said(to)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "planner",
        "event": "attempt.slow",
        "message": "It took 3 s.",
        "run_id": "r7",
        "trace_id": TRACE_ID,
        "logger": "services.planner.test",
    }


def test_a_run_may_be_named_where_none_is_at_hand(monkeypatch: pytest.MonkeyPatch):
    logger = saying(monkeypatch, to := io.StringIO())
    logger.error("It was refused.", extra={"event": "write.refused", "run_id": "r8"})
    assert said(to)["run_id"] == "r8"


@pytest.mark.parametrize(
    ("to", "log_format", "is_json"),
    [
        (io.StringIO, "auto", True),
        (Terminal, "auto", False),
        (io.StringIO, "text", False),
        (Terminal, "json", True),
    ],
)
def test_a_terminal_gets_lines_for_people_unless_something_else_is_wanted(
    monkeypatch: pytest.MonkeyPatch, to: type[io.StringIO], log_format: str, is_json: bool
):
    logger = saying(monkeypatch, out := to(), log_format=log_format)
    logger.info("It works.")
    assert out.getvalue().startswith("{") == is_json
    assert "It works." in out.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_of_exceptions_of_others_only_type_and_place_are_said(monkeypatch: pytest.MonkeyPatch, log_format: str):
    logger = saying(monkeypatch, to := io.StringIO(), log_format=log_format)
    try:
        try:
            raise ValueError("what stood on a page")
        except ValueError as error:
            raise Transient("server", "The server is busy.") from error
    except Transient:
        logger.exception("It failed")
    assert "what stood on a page" not in to.getvalue().replace('raise ValueError("what stood on a page")', "").replace(
        'raise ValueError(\\"what stood on a page\\")', ""
    )
    assert "ValueError" in to.getvalue()
    assert "Transient: The server is busy." in to.getvalue()
    assert "test_logs.py" in to.getvalue()


@pytest.mark.parametrize("name", LOUD)
def test_libraries_do_not_say_what_they_send_however_much_is_to_be_said(monkeypatch: pytest.MonkeyPatch, name: str):
    saying(monkeypatch, to := io.StringIO(), log_level="debug")
    logging.getLogger(f"{name}.client").debug("POST https://key@example.com {'messages': 'a page'}")
    logging.getLogger(f"{name}.client").info("POST https://key@example.com")
    assert to.getvalue() == ""


def test_everything_that_is_logged_has_a_code():
    calls = [
        (path, call)
        for top in ("shared", "services")
        for path in (ROOT / top).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "logger"
    ]
    assert len(calls) > 30
    without = [f"{path}:{call.lineno}" for path, call in calls if "'event'" not in ast.unparse(call)]
    assert without == []
