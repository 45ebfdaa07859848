"""Log lines on standard error: text on a terminal, JSON elsewhere.

Each record has a code, `extra={"event": …}`, and a `run_id` unless it follows from the current work. Of exceptions only
types, places and Dossier's own texts are logged: texts of others may quote a page or a secret.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from shared.contracts import traces
from shared.errors import DossierError
from shared.runtime.settings import Settings
from shared.telemetry.tracing import CURRENT_SCOPE

_TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_VERBOSE_LOGGERS: Final = ("httpcore2", "httpx2", "mcp", "openai", "urllib3")
"""Loggers of libraries that log requests: prompts, pages, and URLs that may be secrets."""


def configure_logging(service: str, settings: Settings) -> None:
    """Configure the root logger after the settings, replacing its handlers. Libraries that log content are set to
    WARNING.
    """
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if is_json else TextFormatter(_TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in _VERBOSE_LOGGERS:
        loud = logging.getLogger(name)
        loud.setLevel(max(loud.level, logging.WARNING))


class TextFormatter(logging.Formatter):
    """A line of text, and the exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        return "\n".join([self.formatMessage(record), *_exception_lines(record)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON without empty fields."""
        within = CURRENT_SCOPE.get()
        trace = traces.parse_traceparent(within.traceparent) if within else None
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": getattr(record, "event", ""),
            "message": record.getMessage(),
            "run_id": getattr(record, "run_id", "") or (within.run if within else ""),
            "trace_id": trace.trace_id if trace else "",
            "logger": record.name,
            "error": "\n".join(_exception_lines(record)),
        }
        return json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False)


def _exception_lines(record: logging.LogRecord) -> Iterator[str]:
    """Yield type and traceback of a record's exception and of its causes, last first."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        yield f"{type(error).__name__}{f': {error}' if isinstance(error, DossierError) else ''}"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
