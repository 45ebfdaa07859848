"""Templates to HTML. Everything that is put into a page is escaped, and nothing invisible in it works."""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.coordinator.pages import words

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"


def environment() -> Environment:
    """The templates, strict about names and escaping always."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )
    filters: dict[str, Callable[..., str]] = {
        "moment": words.moment,
        "span": words.span,
        "money": words.money,
        "count": words.count,
        "host": words.host,
    }
    made.filters.update(filters)
    made.globals["static"] = _static
    return made


def _inert(value: object) -> object:
    """What a template prints. Markup is ours; any other text may be anybody's."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.inert(value)
    return value


def _static(name: str) -> str:
    """Where a file is served: under a name that changes with it, so that it may be kept for ever."""
    return f"/static/{_versions()[name]}/{name}"


_known: dict[str, str] = {}


def _versions() -> Mapping[str, str]:
    if not _known:
        whole = sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:12]
        _known.update({path.name: whole for path in STATIC.iterdir()})
    return _known


class Renderer:
    """Renders pages. `shared` is known to every template."""

    def __init__(self, **shared: Any) -> None:
        self._environment = environment()
        self._shared = shared

    def page(self, template: str, *, now: datetime, **context: Any) -> str:
        """The page."""
        return self._environment.get_template(template).render(now=now, **self._shared, **context)


