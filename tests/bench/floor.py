"""A floor measured: a script that does the least that the same messages need, and prints what that took as JSON.

It is called with `--runs`, `--concurrency` and `--sync`; its last line has `runs_per_s`, `p50_ms` and `cpu_ms_per_run`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.case import Case, Measured

_FIELDS: Final = ("runs_per_s", "p50_ms", "cpu_ms_per_run")
_WITHIN_S: Final = 120


def measure(script: Path, case: Case) -> Measured:
    """The same case on the floor. Raises `subprocess.CalledProcessError` where the script fails."""
    numbers = ["--runs", str(case.runs), "--concurrency", str(case.concurrency), "--sync", case.sync]
    command = [sys.executable, str(script), *numbers]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_WITHIN_S).stdout
    line = json.loads(said.splitlines()[-1])
    return {f"floor_{field}": float(line[field]) for field in _FIELDS}
