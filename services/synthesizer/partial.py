"""Readable text of a reply that is still being written. Pure."""

from collections.abc import Iterator
from typing import Any, cast

from pydantic_core import from_json

from shared.models.completion import without_thinking


def readable_text(reply: str) -> str:
    """Return the headings and sentences received so far, unchecked; empty if there are none."""
    text = without_thinking(reply)
    start = text.find("{")
    if start < 0:
        return ""
    try:
        value: object = from_json(text[start:], allow_partial="trailing-strings")
    except ValueError:
        return ""
    return "\n\n".join(filter(None, _sections(value)))


def _sections(value: object) -> Iterator[str]:
    """Yield the text of each section that has begun."""
    for section in _list(value, "sections"):
        claims = (_text(claim, "text") for claim in _list(section, "claims"))
        yield "\n".join(filter(None, (_text(section, "heading"), " ".join(filter(None, claims)))))


def _list(value: object, name: str) -> list[object]:
    """Return the list under a key; empty if it is none."""
    inner = _get(value, name)
    return cast("list[object]", inner) if isinstance(inner, list) else []


def _text(value: object, name: str) -> str:
    """Return the string under a key; empty if it is none."""
    inner = _get(value, name)
    return inner if isinstance(inner, str) else ""


def _get(value: object, name: str) -> object:
    """Return the value under a key; `None` if `value` is no object or lacks it."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
