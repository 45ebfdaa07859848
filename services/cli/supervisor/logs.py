"""Output of the processes: log files, and the warnings and errors in it."""

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
    """A warning or error, and the name of the process."""

    source: str
    severity: Severity
    text: str


OnNotice = Callable[[Notice], None]


def parse_notice(source: str, line: str) -> Notice | None:
    """The warning or error in a log line of Dossier (text or JSON) or NATS; `None` for any other line."""
    if line.startswith("{"):
        return _parse_json(source, line)
    match = _PYTHON.fullmatch(line) or _NATS.fullmatch(line)
    if match is None:
        return None
    return Notice(source, "warning" if match["level"] in _WARNINGS else "error", match["text"])


class _Line(Struct):
    """Fields of a JSON log line."""

    level: str
    message: str


def _parse_json(source: str, line: str) -> Notice | None:
    """The warning or error in a JSON log line; `None` for any other line."""
    try:
        logged = msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError:
        return None
    severity = _SEVERITIES.get(logged.level)
    return Notice(source, severity, logged.message) if severity else None


class LogFile:
    """Log file of one process. A new file begins with each start and at `max_bytes`; the one before it is kept."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.last = ""
        """The last line that is not empty, stripped."""
        self._max_bytes = max_bytes
        self._rotate()

    def write(self, line: str) -> None:
        """Append a line and flush it; begin a new file if this one is over `max_bytes`."""
        self.last = line.strip() or self.last
        self._file.write(f"{line}\n")
        self._file.flush()
        if self._file.tell() > self._max_bytes:
            self._file.close()
            self._rotate()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        """Rename the file to `.log.1`, which replaces an older one, and open a new one."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".log.1"))
        self._file = self.path.open("w", encoding="utf-8", errors="replace")
