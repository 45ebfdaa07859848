"""The collector of Python's documentation puts out source text only, never a value that this machine gave it."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.documents import python_strings
from services.fetcher.documents.python_docs import collected, documents
from services.fetcher.documents.python_strings import Texts, described

SECRET = "hunter2-example-secret"


def interpreters() -> Iterator[str]:
    """This interpreter, and every other supported one that can be started."""
    yield sys.executable
    for minor in (11, 12, 13):
        found = shutil.which(f"python3.{minor}")
        if minor != sys.version_info.minor and found and subprocess.run([found, "-c", ""]).returncode == 0:
            yield found


@pytest.fixture(scope="module", params=list(interpreters()))
def strings(request: pytest.FixtureRequest) -> str:
    """All that the script puts out under one interpreter whose environment holds secrets."""
    script = [request.param, "-I", "-X", "utf8", str(Path(python_strings.__file__))]
    environment = {"MY_DB_PASSWORD": SECRET, "OPENAI_API_KEY": SECRET, "HOME": f"/home/{SECRET}", "TZ": SECRET}
    return subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout


def signatures(members: list[dict[str, Any]]) -> Iterator[str]:
    """The signatures of these members and of theirs."""
    for member in members:
        yield member["signature"]
        yield from signatures(member["members"])


def test_no_value_of_the_environment_is_put_out_although_the_script_has_one(strings: str):
    assert SECRET not in strings


def test_every_default_that_is_put_out_is_a_literal(strings: str):
    of_modules = [member for module in json.loads(strings)["modules"] for member in module["members"]]
    for signature in filter(None, signatures(of_modules)):
        (function,) = ast.parse(f"def f{signature}: pass").body
        assert isinstance(function, ast.FunctionDef)
        for default in (*function.args.defaults, *filter(None, function.args.kw_defaults)):
            ast.literal_eval(default)


def test_python_is_still_documented_in_full(strings: str):
    told = json.loads(strings)
    members = {
        f"{module['name']}.{member['name']}": member for module in told["modules"] for member in module["members"]
    }
    assert members["json.dumps"]["signature"].startswith("(obj, *, skipkeys=False, ensure_ascii=True,")
    assert members["functools.lru_cache"]["signature"] == "(maxsize=128, typed=False)"
    assert members["platform.architecture"]["signature"] == "(executable=..., bits='', linkage='')"
    assert members["functools.partial"]["doc"]
    assert members["io.IOBase"]["doc"]
    assert members["os.walk"]["signature"] == "(top, topdown=True, onerror=None, followlinks=False)"
    assert members["subprocess.run"]["doc"].startswith("Run command with arguments")
    assert members["builtins.sorted"]["signature"] == "(iterable, /, *, key=None, reverse=False)"
    assert sum(bool(member["doc"]) for member in members.values()) > 1_500
    assert len(told["topics"]) > 50


def test_the_collecting_process_has_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    spy = tmp_path / "spy.py"
    spy.write_text("import json, os\nprint(json.dumps({'modules': [], 'topics': dict(os.environ)}))")
    monkeypatch.setattr(python_strings, "__file__", str(spy))
    monkeypatch.setenv("MY_DB_PASSWORD", SECRET)
    assert not {"MY_DB_PASSWORD", "PATH", "HOME"} & collected().topics.keys()


MODULE = '''
"""A module."""
import os, dataclasses, collections
SECRET = os.environ["MY_DB_PASSWORD"]
LENGTH = len(SECRET)

def values(a=SECRET, b=os.environ, c={"x": SECRET}, d=(1, SECRET), e=LENGTH, f=[os.environ], g=f"{SECRET}", h=object()):
    """It takes values."""

def literals(a, /, b=1, c=-2.5, *args, d="x", e=None, f=True, g=..., h=(1, "y"), i=(), j={}, k="z" * 99, **more):
    """It takes literals."""

def annotated(a: SECRET = None, b: "int" = 3) -> {"x": SECRET}:
    """It is annotated."""

def computed():
    pass
computed.__doc__ = f"It says {SECRET}."

def long(a="0123456789012345678901234567890123456789012345678901234567890"):
    """It has a long default."""

shortened = lambda a=SECRET, b=1: a

class Plain:
    """A class."""
    default = SECRET
    def __init__(self, a=SECRET, b=2):
        """Make one."""
    def method(self, a=SECRET, b=3):
        """A method."""
    @classmethod
    def made(cls, a=SECRET, b=4):
        """Made."""
    @staticmethod
    def apart(a=SECRET, b=5):
        """Apart."""
    @property
    def size(self):
        """Its size."""

@dataclasses.dataclass
class Data:
    password: str = SECRET
    environment: dict = dataclasses.field(default_factory=lambda: dict(os.environ))

@dataclasses.dataclass
class Documented:
    """A documented class."""
    password: str = SECRET
    port: int = 80

Pair = collections.namedtuple("Pair", "a b", defaults=[SECRET, 1])
Made = type("Made", (), {"__doc__": f"Made of {SECRET}."})
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What is said of the members of `MODULE`, by name."""
    (tmp_path / "secretive.py").write_text(MODULE)
    monkeypatch.setenv("MY_DB_PASSWORD", SECRET)
    monkeypatch.syspath_prepend(tmp_path)
    import secretive  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "secretive")
    told = described("secretive", secretive, set(), Texts([secretive]))
    assert told["doc"] == "A module."
    assert SECRET not in json.dumps(told)
    return {member["name"]: member for member in told["members"]}


def test_a_default_that_is_no_literal_is_three_dots(module: dict[str, dict[str, Any]]):
    assert module["values"]["signature"] == "(a=..., b=..., c=..., d=..., e=..., f=..., g=..., h=...)"
    assert module["shortened"]["signature"] == "(a=..., b=...)"
    assert module["long"]["signature"] == "(a=...)"


def test_a_literal_default_is_shown_as_it_is_written(module: dict[str, dict[str, Any]]):
    assert module["literals"]["signature"] == (
        "(a, /, b=1, c=-2.5, *args, d='x', e=None, f=True, g=..., h=(1, 'y'), i=(), j={}, k=..., **more)"
    )


def test_annotations_are_left_out(module: dict[str, dict[str, Any]]):
    assert module["annotated"]["signature"] == "(a=None, b=3)"


def test_of_a_class_the_literals_of_its_constructor_and_methods_are_shown(module: dict[str, dict[str, Any]]):
    plain = module["Plain"]
    assert plain["signature"] == "(a=..., b=2)"
    assert {inner["name"]: inner["signature"] for inner in plain["members"]} == {
        "method": "(self, a=..., b=3)",
        "made": "(a=..., b=4)",
        "apart": "(a=..., b=5)",
        "size": "",
    }
    assert all(inner["doc"] for inner in plain["members"])


def test_what_was_generated_when_it_was_imported_shows_no_default_and_no_text(module: dict[str, dict[str, Any]]):
    assert (module["Data"]["signature"], module["Data"]["doc"]) == ("(password=..., environment=...)", "")
    assert (module["Documented"]["signature"], module["Documented"]["doc"]) == (
        "(password=..., port=...)",
        "A documented class.",
    )
    assert module["Pair"]["signature"] == "(a=..., b=...)"
    assert module["computed"]["doc"] == module["Made"]["doc"] == ""


def test_the_documents_hold_no_value_either(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_DB_PASSWORD", SECRET)
    assert not any(SECRET in document.text for document in documents(collected(), "3.x"))
