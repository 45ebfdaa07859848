"""Reference of the error codes: of the API from their catalogue, of steps and webhooks from `errors.toml`."""

import ast
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from shared.contracts.errors import ACCESS, CATALOGUE, REQUESTS, SERVER
from tests.docs.reference.page import code, page, table
from tests.harness.environment import ROOT

_GROUPS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
API_ERRORS: Final = frozenset({"Reject", "InvalidMessage", "RequestError", "ProblemError"})
"""Classes whose first argument is a code of the API."""
_RAISES: Final = API_ERRORS | {"Terminal", "Transient", "Throttled", "Failure"}
_NOT_SCANNED: Final = {"unauthorized", "content_filter"}
"""Codes that are computed from a status or taken from an endpoint, so that no call names them."""
_API: Final = {"Requests and decisions": REQUESTS, "Access": ACCESS, "Server": SERVER}
FRAMEWORK: Final = {"bad_request", "not_found", "method_not_allowed"}
"""Codes of errors that the web framework raises."""


def document() -> str:
    """The page. Raises `ValueError` where codes and texts do not correspond."""
    raised, steps = codes(), {name for group in _GROUPS.values() for name in group}
    if bare := sorted(raised - steps - set(CATALOGUE)):
        raise ValueError(
            f"These codes are neither in shared/contracts/errors.py nor in errors.toml: {', '.join(bare)}."
        )
    if stale := sorted((steps | set(CATALOGUE)) - raised - _NOT_SCANNED - FRAMEWORK):
        raise ValueError(f"Nothing raises these codes: {', '.join(stale)}.")
    api = (
        f"## {title}\n\n"
        + table(
            ("Code", "HTTP status", "Meaning", "What to do"),
            ((code(error.code), str(error.status), error.meaning, error.remedy) for error in errors),
        )
        for title, errors in _API.items()
    )
    others = (
        f"## {title}\n\n"
        + table(("Code", "Meaning", "What to do"), ((code(name), *text) for name, text in group.items()))
        for title, group in _GROUPS.items()
    )
    return page(
        "Errors",
        "Every error has a `code` for programs and a message for people. Codes are stable; messages may change. The API"
        " answers errors as problem details (RFC 9457) with the HTTP status below. A message on NATS that is refused is"
        " answered on `research.invalid.<sequence>` with the same codes. A step that failed has its code in the run, in"
        " `dossier failures` and in `GET /v1/failures`.",
        *api,
        *others,
    )


def codes(classes: Collection[str] = _RAISES) -> set[str]:
    """Every code that a call of one of these classes names. A computed part is written as `<tool>` or `<status>`."""
    trees = _trees()
    constants = {name: value for tree in trees for name, value in _constants(tree.body)}
    return {name for tree in trees for name in _codes(tree, constants, classes)}


@cache
def _trees() -> tuple[ast.Module, ...]:
    paths = (path for top in ("shared", "services") for path in sorted((ROOT / top).rglob("*.py")))
    examples = ROOT / "shared" / "contracts" / "samples.py"
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in paths if path != examples)


def _codes(tree: ast.Module, constants: dict[str, str], classes: Collection[str]) -> Iterator[str]:
    if "Reject" in classes:
        yield from _objections(tree)
    for call in _calls(tree):
        faults = [word.value for word in call.keywords if word.arg == "fault"]
        if _name(call) in classes and call.args:
            yield from _written(call.args[0], constants)
        for fault in faults if "Failure" in classes else ():
            if isinstance(fault, ast.Tuple):
                yield from _written(fault.elts[0], constants)


def _objections(tree: ast.Module) -> Iterator[str]:
    """Codes that a function returns, each as a tuple with its sentence, for its caller to make a `Reject` of."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns):
        if ast.unparse(function.returns or function) == "tuple[str, str] | None":
            for node in ast.walk(function):
                match node:
                    case ast.Tuple(elts=[ast.Constant(value=str(name)), _]):
                        yield name
                    case _:
                        pass


def _constants(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        match node:
            case ast.AnnAssign(target=ast.Name(name), value=ast.Constant(value=str(value))):
                yield name, value
            case _:
                pass


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _written(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The code that an expression stands for, if it can be read off."""
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.Name(id=name) if name in constants:
            yield constants[name]
        case ast.JoinedStr(values=parts):
            yield "".join(_part(part) for part in parts)
        case _:
            pass


def _part(part: ast.expr) -> str:
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=ast.Attribute(attr=name)) | ast.FormattedValue(value=ast.Name(id=name)):
            return f"<{name.strip('_')}>"
        case _:
            return "<…>"
