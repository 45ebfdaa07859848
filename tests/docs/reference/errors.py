"""Reference of the error codes: the codes and statuses that the code raises, with the words of `errors.toml`.

A catalogue in the product can take the place of both: the page needs a code, a status, a meaning and a remedy each.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from services.coordinator.api import openapi
from services.coordinator.http import problems
from tests.docs.reference.page import code, page, table
from tests.harness.environment import ROOT

_GROUPS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_RAISES: Final = {"Terminal", "Transient", "Throttled", "Failure", "Reject", "InvalidMessage", "ProblemError"}
_NOT_SCANNED: Final = {"unauthorized", "content_filter"}
"""Codes that are computed from a status or taken from an endpoint, so that no call names them."""
_UNNUMBERED: Final = {"defect": 500, "log_full": 507, "too_large": 413}


def document() -> str:
    """The page. Raises `ValueError` where codes and texts do not correspond."""
    raised, texts = codes(), {name for group in _GROUPS.values() for name in group}
    if bare := sorted(raised - texts):
        raise ValueError(f"These codes have no text in errors.toml: {', '.join(bare)}.")
    if stale := sorted(texts - raised - _NOT_SCANNED):
        raise ValueError(f"No code raises these codes of errors.toml: {', '.join(stale)}.")
    statuses = http_statuses()
    return page(
        "Errors",
        "Every error has a `code` for programs and a message for people. Codes are stable; messages may change. The API"
        " answers errors as problem details (RFC 9457) with the HTTP status below. A message on NATS that is refused is"
        " answered on `research.invalid.<sequence>` with the same codes. A step that failed has its code in the run, in"
        " `dossier failures` and in `GET /v1/failures`.",
        *(f"## {title}\n\n{_table(group, statuses)}" for title, group in _GROUPS.items()),
        "Other routing errors have the name of their HTTP status as code, such as `method_not_allowed` (405).",
    )


def _table(group: Mapping[str, tuple[str, str]], statuses: Mapping[str, int]) -> str:
    """The codes of a group; without a column of statuses where none has one."""
    if not group.keys() & statuses.keys():
        return table(("Code", "Meaning", "What to do"), ((code(name), *text) for name, text in group.items()))
    head = ("Code", "HTTP status", "Meaning", "What to do")
    return table(head, ((code(name), str(statuses.get(name, "")), *text) for name, text in group.items()))


def http_statuses() -> dict[str, int]:
    """The HTTP status of each code that the API answers."""
    described = {name: status for name, (status, _) in openapi.FAULTS.items()}
    literal = {name: status for name, status in _problems() if status}
    messages = dict.fromkeys(("not_json", "bad_cloudevent"), 422)
    return messages | literal | described | problems.STATUS | _UNNUMBERED


def codes() -> set[str]:
    """Every code that a call in the product names. A computed part of it is written as `<tool>` or `<status>`."""
    trees = _trees()
    constants = {name: value for tree in trees for name, value in _constants(tree.body)}
    return {name for tree in trees for name in _codes(tree, constants)} | set(problems.STATUS) | set(openapi.FAULTS)


@cache
def _trees() -> tuple[ast.Module, ...]:
    paths = (path for top in ("shared", "services") for path in sorted((ROOT / top).rglob("*.py")))
    examples = ROOT / "shared" / "contracts" / "samples.py"
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in paths if path != examples)


def _codes(tree: ast.Module, constants: dict[str, str]) -> Iterator[str]:
    for call in _calls(tree):
        arguments = call.args[1:] if _name(call) == "ProblemError" else call.args
        faults = [word.value for word in call.keywords if word.arg == "fault"]
        if _name(call) in _RAISES and arguments:
            yield from _written(arguments[0], constants)
        for fault in faults:
            if isinstance(fault, ast.Tuple):
                yield from _written(fault.elts[0], constants)


def _problems() -> Iterator[tuple[str, int | None]]:
    for tree in _trees():
        for call in _calls(tree):
            match _name(call), call.args:
                case "ProblemError", [ast.Constant(value=int(status)), ast.Constant(value=str(name)), *_]:
                    yield name, status
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
