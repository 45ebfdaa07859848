"""A script, run in a process of its own: the documentation strings of this Python's standard library, as JSON.

Importing a module runs it, with effects that the service must not have. The script imports nothing of Dossier, so that
it can be run by its path and isolated.

It writes source text only. A value that exists since a module was imported may come from the environment: a signature
of `cgi` once held all of `os.environ`. So a default is shown where the source has a literal, and as `...` elsewhere; a
docstring is shown where the source has it as a literal, or C code has it. Annotations and constants are left out.
"""

import ast
import contextlib
import importlib
import inspect
import json
import linecache
import pkgutil
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import BuiltinImporter, ExtensionFileLoader
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, TypedDict

_UNWANTED = frozenset(
    {"antigravity", "this", "idlelib", "turtledemo", "test", "tests", "pydoc_data"}
    | {"distutils", "encodings", "ensurepip", "lib2to3"}
    | {"genericpath", "nt", "ntpath", "nturl2path", "posix", "posixpath"}
)
_HIDDEN_MODULES = ("os.path",)
"""Public, and neither listed nor found in a package."""
_ROUTINES = (FunctionType, BuiltinFunctionType, MethodDescriptorType, ClassMethodDescriptorType)
_SLOTS = (WrapperDescriptorType, MethodDescriptorType, ClassMethodDescriptorType)
_OF_C = (BuiltinFunctionType, *_SLOTS)
_LONGEST_DEFAULT = 40
_LONGEST_DEFINITION = 60
"""Lines."""


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


class _Dots:
    """A default that is not shown."""

    def __repr__(self) -> str:
        return "..."


_DOTS = _Dots()


class Texts:
    """The literals in the source of `modules`."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._texts = {_words(text) for module in modules for text in _constants(module)}

    def doc(self, value: object) -> str:
        """The docstring of `value`, if it is one of the literals or of C code; else empty."""
        doc = getattr(value, "__doc__", None)
        if isinstance(doc, str) and (_words(doc) in self._texts or _is_of_c(value)):
            return inspect.cleandoc(doc)
        return ""


def _constants(module: ModuleType) -> Iterator[str]:
    """The string literals in the module's source; of a module in C its documentation."""
    spec = getattr(module, "__spec__", None)
    loader: Any = getattr(spec, "loader", None)
    if loader is BuiltinImporter or isinstance(loader, ExtensionFileLoader):
        docs = (getattr(each, "__doc__", None) for each in (module, *vars(module).values()))
        yield from (doc for doc in docs if isinstance(doc, str))
    elif spec and hasattr(loader, "get_code"):
        with contextlib.suppress(ImportError):
            yield from _strings(loader.get_code(spec.name))


def _strings(code: CodeType | None) -> Iterator[str]:
    for constant in code.co_consts if code else ():
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _strings(constant)


def _words(text: str) -> str:
    """A text without its indentation, which compilers change."""
    return " ".join(text.split())


def _is_of_c(value: object) -> bool:
    """Whether C code made `value`, so that its texts are as constant as the binary."""
    if inspect.isclass(value):
        return any(isinstance(each, _SLOTS) and each.__objclass__ is value for each in vars(value).values())
    return isinstance(value, _OF_C)


def _signature(value: object) -> str:
    """The signature without annotations; of its defaults those that the source has as short literals."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
        literals = [literal for function in _called(value) for literal in _literals(function)]
        parameters = [
            parameter.replace(annotation=parameter.empty, default=_shown(parameter, literals))
            for parameter in signature.parameters.values()
        ]
    except Exception:  # some signatures in C are no Python, and evaluating them raises anything
        return ""
    return str(inspect.Signature(parameters))


def _shown(parameter: inspect.Parameter, literals: list[tuple[str, object]]) -> object:
    """The default if it is a literal; three dots where it is none or too long."""
    default = parameter.default
    if any(default is each for each in (parameter.empty, None, True, False)):
        return default
    for name, literal in literals:
        if name == parameter.name and type(literal) is type(default) and literal == default:
            return literal if literal is not ... and len(repr(literal)) <= _LONGEST_DEFAULT else _DOTS
    return _DOTS


def _called(value: object) -> Iterator[object]:
    """The functions that may be called when `value` is."""
    yield value
    if inspect.isclass(value):
        for called in (type(value).__call__, value.__new__, value.__init__):
            yield from _called(called)
    for name in ("__func__", "__wrapped__"):
        if inner := getattr(value, name, None):
            yield from _called(inner)


def _literals(function: object) -> Iterator[tuple[str, object]]:
    """Names of parameters in the source of a function, each with its default that is a literal.

    Nothing of what was generated when it was imported, such as the constructor of a dataclass: that has no source.
    """
    arguments = _arguments_of_c(function) if _is_of_c(function) else _arguments_of_python(function)
    for parameter, default in _with_defaults(arguments) if arguments else ():
        with contextlib.suppress(ValueError):
            yield parameter.arg, ast.literal_eval(default)


def _with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    yield from zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield parameter, default


def _arguments_of_python(function: object) -> ast.arguments | None:
    """The arguments as the source has them, read from as few of its lines as are a definition."""
    code, namespace = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    path = str(namespace.get("__file__"))
    if not isinstance(code, CodeType) or code.co_filename not in (path, f"<frozen {namespace.get('__name__')}>"):
        return None
    lines, first = linecache.getlines(path, namespace), code.co_firstlineno
    for last in range(first, min(first + _LONGEST_DEFINITION, len(lines) + 1)):
        text = textwrap.dedent("".join(lines[first - 1 : last]))
        for body in ("    pass", ""):
            with contextlib.suppress(SyntaxError):
                return _arguments(ast.parse(text + body), code.co_name)
    return None


def _arguments_of_c(function: object) -> ast.arguments | None:
    """The arguments as C code documents them."""
    text = getattr(function, "__text_signature__", None)
    if not isinstance(text, str):
        return None
    with contextlib.suppress(SyntaxError):
        return _arguments(ast.parse(f"def of_c{text.replace('$', '')}: pass"), "of_c")
    return None


def _arguments(tree: ast.Module, name: str) -> ast.arguments | None:
    (definition,) = tree.body
    is_function = isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef))
    return definition.args if is_function and definition.name == name else None


def described(called: str, module: ModuleType, seen: set[int], texts: Texts) -> Module:
    """The module with those of its members that no module before it has shown."""
    members: list[Member] = []
    for name, value in _public(module):
        if id(value) not in seen:
            seen.add(id(value))
            members.append(_member(name, value, texts))
    return {"name": called, "doc": texts.doc(module), "members": members}


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


def _member(name: str, value: object, texts: Texts) -> Member:
    return {
        "kind": "class" if inspect.isclass(value) else "function",
        "name": name,
        "signature": _signature(value),
        "doc": texts.doc(value),
        "members": list(_methods(value, texts)) if inspect.isclass(value) else [],
    }


def _methods(owner: type, texts: Texts) -> Iterator[Member]:
    """The public methods and properties of the class and of its private bases."""
    seen: set[str] = set()
    for base in (each for each in owner.__mro__ if each is owner or each.__name__.startswith("_")):
        for name, value in vars(base).items():
            inner = getattr(value, "__func__", value)
            if not name.startswith("_") and name not in seen and isinstance(inner, (property, *_ROUTINES)):
                seen.add(name)
                yield _method(name, inner, getattr(owner, name, None), texts)


def _method(name: str, value: object, bound: object, texts: Texts) -> Member:
    is_property = isinstance(value, property)
    signature = "" if is_property else _signature(bound)
    kind = "property" if is_property else "method"
    return {"kind": kind, "name": name, "signature": signature, "doc": texts.doc(value), "members": []}


def _topics() -> dict[str, str]:
    with contextlib.suppress(ImportError):
        return dict(importlib.import_module("pydoc_data.topics").topics)
    return {}


def main() -> None:
    """Write everything to standard output. What modules print goes to standard error."""
    warnings.simplefilter("ignore")
    seen: set[int] = set()
    with contextlib.redirect_stdout(sys.stderr):
        found = list(modules())
        texts = Texts([*sys.modules.values()])
        told = {"modules": [described(name, module, seen, texts) for name, module in found], "topics": _topics()}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
