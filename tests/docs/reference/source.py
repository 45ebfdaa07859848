"""Docstrings of class attributes, which Python itself does not keep, and types as a reader writes them."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Struct


@cache
def attribute_docs(cls: type) -> dict[str, str]:
    """The docstring below each attribute of `cls` and of its bases, as one line."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in ("services", "shared"):
            docs |= dict(_documented(base))
    return docs


def _documented(cls: type) -> Iterator[tuple[str, str]]:
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    for node, following in pairwise(definition.body):
        match node, following:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, line(text)
            case _:
                pass


def line(text: str | None) -> str:
    """A text without its line breaks."""
    return " ".join((text or "").split())


def paragraphs(text: str | None) -> str:
    """A docstring as Markdown: its indentation removed, one line a paragraph."""
    return "\n\n".join(line(part) for part in inspect.cleandoc(text or "").split("\n\n"))


def type_name(annotation: Any) -> str:
    """A type as the reference shows it, such as `list of string` or `"plan" | "fetch"`."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return _plain(annotation)
        case origin if origin is Annotated:
            return type_name(arguments[0])
        case origin if origin is Literal:
            return " | ".join(f'"{value}"' for value in arguments)
        case origin if origin in (Union, UnionType):
            return " | ".join("null" if each is NoneType else type_name(each) for each in arguments)
        case origin if origin is dict:
            return f"map of {type_name(arguments[1])}"
        case _:
            return f"list of {type_name(arguments[0])}"


def _plain(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "datetime": "date-time"}
    return names.get(annotation.__name__, annotation.__name__)
