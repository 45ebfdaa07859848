"""`dossier check-upgrade` as it is typed, beside a real deployment that runs, and one that was stopped."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.harness import programs
from tests.harness.deployment import Deployment
from tests.harness.environment import inherited
from tests.harness.ports import free_port


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Runs that were held, decided, reported, and tried again."""
    settings = {"STUB_FAILS_EVERY": "5", "DOSSIER_MODEL_LIMIT": "1"}
    with Deployment(tmp_path_factory.mktemp("dossier"), settings=settings) as deployment:
        deployment.start()
        client = deployment.client()
        for run in ("one", "two", "three"):
            client.request(run_id=run, approval_timeout="14d")
            client.until(run, "hold")
        client.approve("three")
        client.completed("three")
        yield deployment


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "services.cli", "check-upgrade", *arguments]
    return programs.run(command, env=inherited({"COLUMNS": "200"}), timeout=60)


def test_with_the_release_that_wrote_the_runs_it_finds_nothing_and_ends_with_0(deployment: Deployment):
    done = check("--data", str(deployment.folder / "data"), "--nats", deployment.server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"open": 2, "same": 2, "different": 0, "differences": []}


def test_it_writes_nothing(deployment: Deployment):
    client = deployment.client()
    before = client.end()
    check("--nats", deployment.server.url)
    assert client.end() == before


def test_what_differs_is_named_and_it_ends_with_1(deployment: Deployment):
    client = deployment.client()
    newer = client.stored("research.run.two.hold.1")
    assert newer
    client.publish("research.run.two.extension.1.1", newer | {"type": "research.hold.paused.v1"})
    done = check("--nats", deployment.server.url)
    assert done.returncode == 1, done.stderr
    assert "two" in done.stdout
    assert "this release parks the run" in done.stdout
    assert "one" not in done.stdout.replace("one of", "")
    assert "2 open runs checked: 1 the same, 1 different" in done.stderr


def test_what_cannot_be_checked_ends_with_2():
    nothing = check("--nats", f"nats://127.0.0.1:{free_port()}")
    assert (nothing.returncode, nothing.stdout) == (2, "")
