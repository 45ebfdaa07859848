"""A script, run in a process of its own: what the modules of this Python's standard library say of themselves, as JSON.

Importing a module runs it, and some do surprising things; here they can do them to nobody. It
imports nothing of Dossier, so that it can be run by its path and isolated.
"""

import contextlib
import importlib
import inspect
import json
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from types import BuiltinFunctionType, ClassMethodDescriptorType, FunctionType, MethodDescriptorType, ModuleType
from typing import TypedDict

_UNWANTED = frozenset(
    {"antigravity", "this", "idlelib", "turtledemo", "test", "tests", "pydoc_data"}
    | {"distutils", "encodings", "ensurepip", "lib2to3"}
    | {"genericpath", "nt", "ntpath", "nturl2path", "posix", "posixpath"}
)
_HIDDEN_MODULES = ("os.path",)
"""Public, and neither listed nor found in a package."""
_ROUTINES = (FunctionType, BuiltinFunctionType, MethodDescriptorType, ClassMethodDescriptorType)
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
"""Another one in every process; without it, the same Python says the same."""
_NO_LITERAL = re.compile(r"<[^<>]*(?:object|function|module|class)[^<>]*>")


class Member(TypedDict):
    """A class, function, method or property; `members` are a class's methods and properties."""

    kind: str
    name: str
    signature: str
    doc: str
    members: list["Member"]


class Module(TypedDict):
    """A module and what it offers to the public."""

    name: str
    doc: str
    members: list[Member]


def modules() -> Iterator[tuple[str, ModuleType]]:
    """Every public module that can be imported, packages before what is in them."""
    waiting = [*sorted(name for name in sys.stdlib_module_names if _is_wanted(name)), *_HIDDEN_MODULES]
    while waiting:
        inner: list[str] = []
        for name in waiting:
            module = _imported(name)
            if module is not None:
                yield name, module
                found = pkgutil.iter_modules(getattr(module, "__path__", None) or [])
                inner += [f"{name}.{each.name}" for each in found if _is_wanted(each.name)]
        waiting = inner


def _is_wanted(name: str) -> bool:
    return not name.startswith("_") and name not in _UNWANTED


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except BaseException:  # a module may raise, or exit, as it likes: it is then not documented
        return None


def described(called: str, module: ModuleType, seen: set[int]) -> Module:
    """The module with those of its members that no module before it has shown."""
    members: list[Member] = []
    for name, value in _public(module):
        if id(value) not in seen:
            seen.add(id(value))
            members.append(_member(name, value))
    return {"name": called, "doc": _own_doc(module), "members": members}


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The classes and functions that the module exports, or has of its own and does not call private."""
    exported = frozenset[str](getattr(module, "__all__", ()))
    for name in sorted(exported.union(vars(module))):
        value = getattr(module, name, None)
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if name in exported or _is_of(module, getattr(value, "__module__", None)):
            yield name, value


def _is_of(module: ModuleType, owner: object) -> bool:
    """Whether what says it is of `owner` is of `module`, beyond what the module exports.

    A package has what its modules have. Without a list of exports, modules in C and private ones
    have lent their names.
    """
    if not isinstance(owner, str):
        return False
    if hasattr(module, "__path__") and owner.startswith(f"{module.__name__}."):
        return True
    lent = any(part.startswith("_") for part in owner.split("."))
    return not hasattr(module, "__all__") and (lent or owner == module.__name__)


def _member(name: str, value: object) -> Member:
    return {
        "kind": "class" if inspect.isclass(value) else "function",
        "name": name,
        "signature": _signature(value),
        "doc": _own_doc(value),
        "members": list(_methods(value)) if inspect.isclass(value) else [],
    }


def _methods(owner: type) -> Iterator[Member]:
    """What the class and its private bases say of their own methods and properties."""
    seen: set[str] = set()
    for base in (each for each in owner.__mro__ if each is owner or each.__name__.startswith("_")):
        for name, value in vars(base).items():
            inner = getattr(value, "__func__", value)
            if not name.startswith("_") and name not in seen and isinstance(inner, (property, *_ROUTINES)):
                seen.add(name)
                yield _method(name, inner, getattr(owner, name, None))


def _method(name: str, value: object, bound: object) -> Member:
    if isinstance(value, property):
        return {"kind": "property", "name": name, "signature": "", "doc": _own_doc(value), "members": []}
    return {"kind": "method", "name": name, "signature": _signature(bound), "doc": _own_doc(value), "members": []}


def _own_doc(value: object) -> str:
    doc = getattr(value, "__doc__", None)
    return _ADDRESS.sub("", inspect.cleandoc(doc)) if isinstance(doc, str) else ""


def _signature(value: object) -> str:
    try:
        return _NO_LITERAL.sub("...", _ADDRESS.sub("", str(inspect.signature(value))))  # type: ignore[arg-type]
    except Exception:  # some signatures in C are no Python, and evaluating them raises anything
        return ""


def _topics() -> dict[str, str]:
    with contextlib.suppress(ImportError):
        return dict(importlib.import_module("pydoc_data.topics").topics)
    return {}


def main() -> None:
    """Write everything to standard output. What modules print goes to standard error."""
    warnings.simplefilter("ignore")
    seen: set[int] = set()
    with contextlib.redirect_stdout(sys.stderr):
        told = {"modules": [described(name, module, seen) for name, module in modules()], "topics": _topics()}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
