"""Rendering of templates. Every value is escaped, and invisible characters in it are named."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.coordinator.web import wording
from shared.contracts.visible import name_invisible

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"


@cache
def environment() -> Environment:
    """The template environment: autoescaping, and strict about unknown names. Made once."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., str]] = {
        "moment": wording.moment,
        "span": wording.span,
        "money": wording.money,
        "count": wording.count,
        "host": wording.host,
        "static": _static,
    }
    made.filters.update(filters)
    return made


def page(template: str, *, now: datetime, csrf: str = "", who: object = None, **context: Any) -> Markup:
    """The rendered template. `csrf` becomes a hidden field for forms; `who` is the viewer, None if not signed in."""
    field = Markup('<input type="hidden" name="csrf" value="{}">').format(csrf) if csrf else Markup()
    html = environment().get_template(template).render(now=now, who=who, csrf_field=field, **context)
    return Markup(html)  # noqa: S704 - what a template with autoescape made


def _inert(value: object) -> object:
    """The value with invisible characters named; markup, and values other than text, unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return name_invisible(value)
    return value


def _static(name: str) -> str:
    """Path of a static file, with the version of all files in it. Raises `AssertionError` for an unknown name."""
    assert name in FILES, name
    return f"/static/{VERSION}/{name}"


def _read() -> Mapping[str, bytes]:
    """Contents of the static files, by name."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())}


FILES: Final = _read()
"""What is served beside the pages, by name."""
VERSION: Final = sha256(b"".join(FILES.values())).hexdigest()[:12]
