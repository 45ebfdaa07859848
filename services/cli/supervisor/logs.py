"""What the processes say: all of it into files, what matters also to the person at the terminal."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

Severity = Literal["warning", "error"]

MAX_BYTES: Final = 8 * 1024 * 1024

_PYTHON: Final = re.compile(r"\d{4}-\d\d-\d\d \S+ (?P<level>WARNING|ERROR|CRITICAL) +(?:[\w.]+: )?(?P<text>.*)")
_NATS: Final = re.compile(r"\[\d+\] \S+ \S+ \[(?P<level>WRN|ERR|FTL)\] (?P<text>.*)")
_WARNINGS: Final = ("WARNING", "WRN")
_SEVERITIES: Final[dict[str, Severity]] = {"warning": "warning", "error": "error", "critical": "error"}


class Notice(Struct, frozen=True):
    """Something that a person should see, and which process it is about."""

    source: str
    severity: Severity
    text: str


Tell = Callable[[Notice], None]


def notice(source: str, line: str) -> Notice | None:
    """The warning or error that a line of a log is; `None` for any other line."""
    if line.startswith("{"):
        return _of_json(source, line)
    match = _PYTHON.fullmatch(line) or _NATS.fullmatch(line)
    if match is None:
        return None
    return Notice(source, "warning" if match["level"] in _WARNINGS else "error", match["text"])


class _Line(Struct):
    level: str
    message: str


def _of_json(source: str, line: str) -> Notice | None:
    try:
        said = msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError:
        return None
    severity = _SEVERITIES.get(said.level)
    return Notice(source, severity, said.message) if severity else None


class LogFile:
    """The log of one process. It begins anew with each start of Dossier, and when it is full; one older is kept."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.last = ""
        """The last line that is not empty."""
        self._max_bytes = max_bytes
        self._turn()

    def write(self, line: str) -> None:
        """Add a line."""
        self.last = line.strip() or self.last
        self._file.write(f"{line}\n")
        self._file.flush()
        if self._file.tell() > self._max_bytes:
            self._file.close()
            self._turn()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _turn(self) -> None:
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".log.1"))
        self._file = self.path.open("w", encoding="utf-8", errors="replace")
