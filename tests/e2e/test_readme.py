"""The clients in the README run as they are printed there, but for the ports."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.runtime.webhooks import load_webhooks
from tests.harness import http, node
from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.environment import ROOT, inherited

README = (ROOT / "README.md").read_text(encoding="utf-8")
NATS = "nats://127.0.0.1:4222"


def blocks(language: str) -> list[str]:
    """The code in the README that is of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def the_client(language: str, url: str) -> str:
    [code] = [block for block in blocks(language) if NATS in block]
    return code.replace(NATS, url)


def in_python(url: str, folder: Path) -> "subprocess.Popen[str]":
    path = folder / "client.py"
    path.write_text(the_client("python", url), encoding="utf-8")
    command = [sys.executable, "-u", str(path)]
    return subprocess.Popen(command, cwd=folder, env=inherited({}), stdout=subprocess.PIPE, text=True)


def in_javascript(url: str, _folder: Path) -> "subprocess.Popen[str]":
    return node.start(the_client("js", url), folder=node.packages())


Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.mark.parametrize("start", [in_python, in_javascript])
def test_the_printed_client_asks_and_hears_the_report(
    client: Client, deployment: Deployment, tmp_path: Path, start: Start
):
    process = start(deployment.server.url, tmp_path)
    try:
        assert process.stdout
        said = re.fullmatch(r"Run (r\d+) waits for your approval\.\n", process.stdout.readline())
        assert said
        held = client.until(said[1], "hold")
        approve_as_printed(deployment.coordinator.port, deployment.coordinator.data, said[1])
        heard, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert heard.startswith(f"reported # {held['q']}\n")
    assert "So says Foxes" in heard


def approve_as_printed(port: int, data: Path, run: str) -> None:
    """What the two commands with curl do, with the key that the first line takes from the data folder."""
    [shell] = [block for block in blocks("sh") if "/approvals" in block]
    curl = r"""^curl -H "\$KEY" http://127\.0\.0\.1:8400(\S+)(?: --json '(.*)')?"""
    [look, approve] = re.findall(curl, shell, re.MULTILINE)
    key = http.key(data)
    assert http.ask(port, "GET", look[0].replace("r2", run), headers=key).body["status"] == "hold"
    answer = http.ask(port, "POST", approve[0].replace("r2", run), json.loads(approve[1]), headers=key)
    assert answer.status == 200, answer.body


def test_the_file_of_webhooks_in_the_readme_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    [text] = blocks("toml")
    monkeypatch.setenv("OPS_SECRET", f"whsec_{'QUJD' * 8}")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example.com/services/T/B/x")
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    assert [(each.name, each.kind) for each in load_webhooks(file).endpoints] == [
        ("ops", "standard"),
        ("team", "slack"),
    ]
