"""A machine searches the whole API for what is wrong: answers that are not documented, and 5xx.

A bounded search, unless `DOSSIER_SEARCH_S` says for how many seconds; more find more. Every operation is tried by its
examples and at its edges over a log in memory, and at random and in sequences, where one answer leads to the next
request, against real processes.
"""

import subprocess
import sys
from pathlib import Path

from tests.access.entry import TOKEN
from tests.contracts.served import served
from tests.harness.deployment import Deployment
from tests.harness.environment import inherited, number

SECONDS = number("DOSSIER_SEARCH_S", 0)
BOUND = ["--max-time", str(SECONDS)] if SECONDS else ["--max-examples", "5", "--no-shrink"]
_PATIENCE_S = 120
PROGRAM = Path(sys.executable).with_name("schemathesis")
NOT_EXPECTED = "positive_data_acceptance,negative_data_rejection"
"""What has the right form may still be of a run that nobody knows; and what has not quite (`1` for a time, an unknown
header) may be taken for what it means."""


def search(port: int, folder: Path, token: str, phases: str) -> "subprocess.CompletedProcess[str]":
    """What schemathesis finds, within its bound; it ends with 0 where that is nothing."""
    command = [str(PROGRAM), "run", f"http://127.0.0.1:{port}/openapi.json", "--phases", phases, *BOUND]
    command += ["--checks", "all", "--exclude-checks", NOT_EXPECTED, "--continue-on-failure", "--request-timeout", "10"]
    command += ["--header", f"Authorization: Bearer {token}"]
    command += ["--warnings", "off", "--no-color", "--generation-database", "none"]
    return subprocess.run(
        command, cwd=folder, env=inherited({}), capture_output=True, text=True, timeout=SECONDS + _PATIENCE_S
    )


def finds_nothing(port: int, folder: Path, token: str, phases: str) -> None:
    found = search(port, folder, token, phases)
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
    assert "passed" in found.stdout


def test_nothing_is_wrong_with_the_api_over_a_log_in_memory(tmp_path: Path):
    with served(tmp_path) as port:
        finds_nothing(port, tmp_path, TOKEN, "examples,coverage")


def test_nothing_is_wrong_with_the_api_of_real_processes(tmp_path: Path):
    with Deployment(tmp_path) as deployment:
        deployment.start()
        token = (deployment.coordinator.data / "token").read_text().strip()
        finds_nothing(deployment.coordinator.port, tmp_path, token, "fuzzing,stateful")
        assert "Traceback" not in deployment.coordinator.said()
