"""`make` takes any Python from 3.11 on; where there is only an older one, uv brings another."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.environment import ROOT, inherited

TOOLS = ("sh", "make", "awk", "mktemp", "rm")
PINNED = Path(sys.executable).parent / "uv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for PATH, with what the Makefile needs and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"There is no {tool} on PATH."
        (folder / tool).symlink_to(found)
    return folder


def python(folder: Path, name: str, version: tuple[int, int]) -> Path:
    """A Python in `folder` that is the tests' own and takes itself for another version."""
    return script(folder / name, f'exec {sys.executable} -c "import sys; sys.version_info = {version}; $2"')


def script(path: Path, line: str) -> Path:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def environment(folder: Path, venv: Path, python: Path) -> "subprocess.CompletedProcess[str]":
    """`make environment` with nothing on PATH but `folder`, and without a network."""
    offline = {"PATH": str(folder), "UV_OFFLINE": "1", "UV_PYTHON_INSTALL_DIR": str(folder / "fetched")}
    command = ["make", "--no-print-directory", "environment", f"PYTHON={python}", f"VENV={venv}"]
    settings = {name: value for name, value in inherited(offline).items() if name != "MAKEFLAGS"}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=120)


def test_where_python_is_too_old_uv_takes_a_newer_one_of_this_machine(folder: Path, tmp_path: Path):
    (folder / "uv").symlink_to(PINNED)
    (folder / "python3").symlink_to(sys.executable)
    old = python(folder, "python3.9", (3, 9))
    done = environment(folder, tmp_path / "venv", old)
    assert done.returncode == 0, done.stderr
    assert f"{old} is not Python 3.11 or later: uv looks for one on this machine" in done.stdout
    made = subprocess.run([tmp_path / "venv/bin/python", "--version"], capture_output=True, text=True, check=True)
    assert made.stdout.split()[1].split(".")[:2] == [str(part) for part in sys.version_info[:2]]


def test_where_none_is_found_and_none_can_be_fetched_make_says_what_to_do(folder: Path, tmp_path: Path):
    (folder / "uv").symlink_to(PINNED)
    done = environment(folder, tmp_path / "venv", python(folder, "python3.9", (3, 9)))
    assert done.returncode != 0
    assert "Install one, and name it: make PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("version", [(3, 11), (3, 14), (3, 15), (4, 0)])
def test_a_python_of_3_11_or_any_later_release_is_taken_as_it_is(
    folder: Path, tmp_path: Path, version: tuple[int, int]
):
    asked = tmp_path / "asked"
    script(folder / "uv", f'echo "$@" >> {asked}; [ "$1" != venv ] || {shutil.which("mkdir")} {tmp_path / "venv"}')
    given = python(folder, "python-given", version)
    done = environment(folder, tmp_path / "venv", given)
    assert done.returncode == 0, done.stderr
    assert f"venv --quiet --python {given} {tmp_path / 'venv'}" in asked.read_text().splitlines()
