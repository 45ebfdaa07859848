"""A forked program is what a new interpreter would make of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import programs
from tests.harness.environment import ROOT, inherited
from tests.harness.programs import Files, Process
from tests.harness.waiting import PATIENCE_S, wait_until

MIRROR = (sys.executable, "-m", "tests.harness.mirror")
ISOLATED = (sys.executable, "-P", "-m", "tests.harness.mirror")


@pytest.fixture(params=["forked", "new"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_forking", request.param == "forked")


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return programs.run(command, env=inherited(environment), timeout=PATIENCE_S)


def mirrored(output: str) -> dict[str, Any]:
    [line] = [line for line in output.splitlines() if line.startswith("{")]
    return json.loads(line)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_has_its_own_arguments_environment_folder_and_files(unbuffered: str):
    done = run(*MIRROR, "7", MIRROR_A="ä", PYTHONUNBUFFERED=unbuffered)
    how = mirrored(done.stdout)
    assert (how["arguments"], how["name"], how["environment"]) == (["7"], "__main__", {"MIRROR_A": "ä"})
    assert (how["folder"], how["path"], how["session"]) == (str(ROOT), True, False)
    assert how["buffers"] == [[False, bool(unbuffered)], [not unbuffered, bool(unbuffered)]]
    assert how["handlers"] == [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    assert (done.returncode, done.stdout.splitlines()[1:], done.stderr) == (7, ["at exit"], "é\n")


def test_where_it_is_isolated_it_does_not_import_from_its_folder():
    assert not mirrored(run(*ISOLATED, "0").stdout)["path"]


def test_an_exception_that_nobody_takes_ends_it_with_1_and_a_traceback():
    done = run(*MIRROR, "raise")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (1, ["at exit"])
    assert done.stderr.splitlines()[-1] == "ValueError: as asked"


def waiting(output: Path, *, own_session: bool = False) -> Process:
    """A program that waits for a signal, as soon as it does."""
    with output.open("wb") as file, open(os.devnull, "rb") as nothing:
        files = Files(nothing, file, file)
        process = programs.start((*MIRROR, "wait"), files, env=inherited({}), own_session=own_session)
    wait_until(lambda: output.read_text().count("\n") == 2)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_and_its_exit_code_says_which(tmp_path: Path, number: int):
    process = waiting(tmp_path / "output")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == process.poll() == -number
    process.kill()


def test_it_can_have_a_session_of_its_own(tmp_path: Path):
    process = waiting(tmp_path / "output", own_session=True)
    process.kill()
    process.wait()
    assert mirrored((tmp_path / "output").read_text())["session"]
