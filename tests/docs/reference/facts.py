"""Reference of everything that is stored or published, from the contracts' types."""

from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from shared.contracts import evidence, tasks
from shared.contracts.access import AccessFact
from shared.contracts.deliveries import Record, WebhookData
from shared.contracts.facts import Fact, Forked, LogTruncated, RequestRefused, Reused
from shared.contracts.forks import Fork
from shared.contracts.requests import Request, Ruling
from tests.docs.reference.page import code, page, table
from tests.docs.reference.source import attribute_docs, line, paragraphs, type_name

Type = type[Struct]


def _tag(type_: Type) -> str:
    return str(type_.__struct_config__.tag)


def _structs(module: object) -> tuple[Type, ...]:
    found = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Struct))
    return tuple(each for each in found if each.__module__ == getattr(module, "__name__", "") and each is not Struct)


_INBOUND: Final[tuple[Type, ...]] = (Request, Fork, Ruling)
_FACTS: Final[tuple[Type, ...]] = get_args(Fact)
_OTHER: Final[tuple[Type, ...]] = (RequestRefused, LogTruncated, *get_args(Record), *get_args(AccessFact))
_TASKS: Final[tuple[Type, ...]] = get_args(tasks.Task)
_PARTS: Final[tuple[Type, ...]] = (*_structs(evidence), Reused, Forked, WebhookData)
NAMES: Final = {_tag(each): each.__name__ for each in (*_FACTS, *_OTHER)}
"""The heading of each stored type."""
MEANINGS: Final = {_tag(each): line((each.__doc__ or "").partition("\n\n")[0]) for each in (*_FACTS, *_OTHER)}
"""The first paragraph of its docstring."""


def document() -> str:
    """The page."""
    return page(
        "Facts",
        "The `data` of every message. Stored messages are CloudEvents 1.0: `type` is the name below, `subject` the run,"
        " `id` the NATS subject, `time` the moment of writing, `traceparent` the trace. A fact that does not fit in a"
        " message of 256 KiB has the extension `dataref` instead of `data`; see the"
        " [guide on NATS](../guides/nats.md#large-facts). Fields are only ever added, with a default. Any other change"
        " gets a new version number, and earlier versions stay readable.",
        _part("Requests and decisions", _INBOUND),
        _part("Facts of a run", _FACTS),
        _part("Other stored facts", _OTHER),
        _part("Tasks", _TASKS),
        _part("Parts", _PARTS),
    )


def _part(title: str, types: Iterable[Type]) -> str:
    return "\n\n".join((f"## {title}", *map(_section, types)))


def _section(type_: Type) -> str:
    docs = attribute_docs(type_)
    rows = (
        (code(field.encode_name), type_name(field.type), _default(field), docs.get(field.name, ""))
        for field in fields(type_)
    )
    tagged = code(_tag(type_)) if type_.__struct_config__.tag else ""
    parts = (f"### {type_.__name__}", tagged, paragraphs(type_.__doc__), table(("Field", "Type", "Default", ""), rows))
    return "\n\n".join(part for part in parts if part)


def _default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    value: Any = field.default if field.default is not NODEFAULT else field.default_factory()
    return "" if isinstance(value, Struct) else code(msgspec.json.encode(value).decode())
