"""One Dossier for all documents: started as the README says, on free ports."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.cli.terminals import Typed
from tests.docs.markdown import blocks
from tests.harness import http
from tests.harness.environment import ROOT, inherited
from tests.harness.ports import free_port
from tests.harness.waiting import wait_until

_NOTES: Final = """\
# Backups

We promised the customers that backups run every night at two o'clock, and that each backup is kept for 35 days.
Restores are tested on the first Monday of every month; a restore of the largest database takes 40 minutes.
Backups are encrypted with a key that only the operations team holds, and are copied to a second region.
Retention is 35 days for databases and one year for invoices.
"""
QUESTION: Final = "What did we promise about backups, restores and retention?"
_WITHIN_S: Final = 60


class Running:
    """A Dossier that runs in a home folder of its own. Its documents are in `~/notes`, its data is in `~/.dossier`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.api, self.nats = free_port(), free_port()
        path = f"{Path(sys.executable).parent}:{os.defpath}"
        self.environment = inherited(
            {"HOME": str(home), "PATH": path, "COLUMNS": "200", "TERM": "xterm", "DOSSIER_DOCS": str(home / "notes")}
        )

    def placed(self, text: str) -> str:
        """A text with the ports of this Dossier in place of the usual ones."""
        return text.replace(":8400", f":{self.api}").replace(":4222", f":{self.nats}")

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        """Start it with a command, on its own ports; returns when it is ready."""
        with (self.home / "up.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command} --port {self.nats} --api-port {self.api}"],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        wait_until(lambda: http.status(self.api, "/readyz") == 200 or process.poll() is not None, _WITHIN_S)
        assert process.poll() is None, (self.home / "up.log").read_text()
        return process

    def ask(self) -> str:
        """A new run; returns at once, with its id."""
        answer = http.ask(self.api, "POST", "/v1/runs", {"q": QUESTION}, http.key(self.home / ".dossier"))
        assert answer.status == 202, answer.body
        return answer.body["run_id"]

    def until(self, run: str, *statuses: str) -> str:
        """The status of a run, as soon as it is one of these."""

        def reached() -> str | None:
            answer = http.ask(self.api, "GET", f"/v1/runs/{run}", headers=http.key(self.home / ".dossier"))
            return answer.body["status"] if answer.status == 200 and answer.body["status"] in statuses else None

        return wait_until(reached, _WITHIN_S)

    def typing(self, command: str) -> Typed:
        """A command at a terminal of its own, in the home folder."""
        return Typed(("bash", "-c", f"cd {self.home} && exec {self.placed(command)}"), self.environment)

    def shell(self, script: str, typed: str = "") -> str:
        """The output of a script that is typed in the home folder. Each command must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.placed(script)],
            cwd=self.home,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def dossier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Dossier that was started with the command in the README."""
    home = tmp_path_factory.mktemp("home")
    (home / "notes").mkdir()
    (home / "notes" / "backups.md").write_text(_NOTES)
    [command] = re.findall(r"^(dossier up .*?) +#", "\n".join(blocks(ROOT / "README.md", "sh")), re.MULTILINE)
    running = Running(home)
    process = running.start(command)
    try:
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
