"""`dossier check-upgrade` as it is typed, beside a real deployment that runs, and one that was stopped."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import programs
from tests.harness.deployment import Deployment
from tests.harness.environment import inherited
from tests.harness.waiting import wait_until


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


def saved(deployment: Deployment) -> Path:
    """The data folder, once everything is in it."""
    file = deployment.folder / "data" / "projection.db"

    def held() -> bool:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            [held, ended] = db.execute(
                "SELECT sum(status = 'hold' AND wake_at > 0), sum(status = 'reported') FROM run"
            ).fetchone()
            return (held, ended) == (2, 1)

    wait_until(held)
    return file.parent


def test_beside_its_own_release_it_finds_nothing_and_ends_with_0(deployment: Deployment):
    done = check("--data", str(saved(deployment)), "--nats", deployment.server.url, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["open"], found["same"], found["different"], found["differences"]) == (2, 2, 0, [])


def test_what_differs_is_named_and_it_ends_with_1(deployment: Deployment, tmp_path: Path):
    with (
        sqlite3.connect(saved(deployment) / "projection.db") as source,
        sqlite3.connect(tmp_path / "projection.db") as copy,
    ):
        source.backup(copy)
        copy.execute("UPDATE run SET deadline = deadline + 60, wake_at = wake_at + 60 WHERE id = 'two'")
    done = check("--data", str(tmp_path), "--nats", deployment.server.url)
    assert done.returncode == 1, done.stderr
    assert "two" in done.stdout
    assert "deadline" in done.stdout
    assert "one" not in done.stdout.replace("one of", "")
    assert "2 open runs checked: 1 the same, 1 different" in done.stderr


def test_it_changes_nothing(deployment: Deployment):
    file = saved(deployment) / "projection.db"
    before = file.read_bytes()
    check("--data", str(file.parent), "--nats", deployment.server.url)
    assert file.read_bytes() == before


def test_what_cannot_be_checked_ends_with_2(deployment: Deployment, tmp_path: Path):
    nothing = check("--data", str(tmp_path), "--nats", deployment.server.url)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "projection.db" in nothing.stderr
    (tmp_path / "projection.db").write_bytes(b"not a database, " * 1_000)
    assert check("--data", str(tmp_path), "--nats", deployment.server.url).returncode == 2
