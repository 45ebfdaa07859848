"""The bench measures, and prints what it says it prints."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.environment import ROOT

FLOOR = """
import json, sys
assert sys.argv[1:] == ["--runs", "3", "--concurrency", "1", "--sync", "2m"], sys.argv
print("warming up")
print(json.dumps({"case": "floor", "runs_per_s": 1000.0, "p50_ms": 1.5, "cpu_ms_per_run": 0.5}))
"""


@pytest.fixture
def floor(tmp_path: Path) -> Path:
    """A script that claims to have measured."""
    script = tmp_path / "floor.py"
    script.write_text(FLOOR)
    return script


def bench(*arguments: str) -> dict[str, Any]:
    """The line of a bench of one case."""
    command = [sys.executable, "-m", "tests.bench", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    return json.loads(line)


def test_a_case_is_one_line_with_every_number_and_those_of_the_floor_beside(floor: Path):
    line = bench("--only", "c1-2m", "--runs", "3", "--turns", "1", "--floor", str(floor))
    case = {"case": "c1-2m", "sync": "2m", "concurrency": 1, "runs": 3}
    beside = {"floor_runs_per_s": 1000.0, "floor_p50_ms": 1.5, "floor_cpu_ms_per_run": 0.5}
    measured = ("runs_per_s", "p50_ms", "p99_ms", "cpu_ms_per_run", "peak_rss_mb")
    assert line.keys() == {*case, *measured, *beside}
    assert line.items() >= {**case, **beside}.items()
    assert all(line[name] > 0 for name in measured if name != "cpu_ms_per_run")


def test_runs_on_hold_are_weighed_and_woken():
    line = bench("--only", "parked", "--runs", "200")
    assert line.items() >= {"case": "parked", "runs": 200, "facts": 200 * 13}.items()
    assert all(number > 0 for name, number in line.items() if name != "case")
