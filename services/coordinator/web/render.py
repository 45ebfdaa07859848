"""Templates to HTML. Everything that is put into a page is escaped, and nothing invisible in it works."""

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
    """The templates, strict about names and escaping always."""
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
    """The page, for `who`, whose forms bring `csrf` along."""
    field = Markup('<input type="hidden" name="csrf" value="{}">').format(csrf) if csrf else Markup()
    html = environment().get_template(template).render(now=now, who=who, csrf_field=field, **context)
    return Markup(html)  # noqa: S704 - what a template with autoescape made


def _inert(value: object) -> object:
    """What a template prints. Markup is ours; any other text may be anybody's."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return name_invisible(value)
    return value


def _static(name: str) -> str:
    """Where a file is served: under a name that changes with it, so that it may be kept for ever."""
    assert name in FILES, name
    return f"/static/{VERSION}/{name}"


def _read() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())}


FILES: Final = _read()
"""What is served beside the pages, by name."""
VERSION: Final = sha256(b"".join(FILES.values())).hexdigest()[:12]
