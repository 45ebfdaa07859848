"""What the README of deploy/ has people type does what it says: run as it stands, or held against what it is for."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml

from tests.deploy.charted import VALUES, workloads
from tests.harness.environment import ROOT, inherited
from tests.harness.helm import Manifest
from tests.harness.ports import free_row

README = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
_WITHIN_S = 180


def commands(section: str) -> str:
    """The commands that a section has people type, one block after another."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def test_three_locked_down_nodes_do_the_main_job_word_by_word(tmp_path: Path):
    base = free_row(4)
    script = commands("Three nodes on this machine").replace("--nodes 3", f"--nodes 3 --port {base}")
    script = script.replace(":8400", f":{base + 3}")
    for number in range(3):
        script = script.replace(f":{4222 + number}", f":{base + number}")
    text = told(script, tmp_path, {"DOSSIER_API_PORT": str(base + 3)})
    reports = re.findall(r"^(?:reported )?# (.+)$", text, re.MULTILINE)
    assert reports == ["What is a context manager?", "What does yield do?", "What does the with statement do?"], text
    assert text.count("## Sources") == 3


def told(script: str, folder: Path, settings: dict[str, str]) -> str:
    """What commands say that are typed in a folder, each of them well. Nothing that they start outlives this."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "COLUMNS": "200"}
    said = folder / "said.txt"
    with said.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=inherited(settings | path),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            code = shell.wait(_WITHIN_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    logs = "".join(f"=== {log.name}\n{log.read_text()[-2_000:]}" for log in sorted(folder.glob("*.log")))
    assert code == 0, said.read_text() + logs
    return said.read_text()


def test_compose_finds_what_its_commands_write(tmp_path: Path):
    [init] = re.findall(r"^dossier (nats init .*)$", commands("Compose"), re.MULTILINE)
    arguments = init.replace("deploy/locked", str(tmp_path / "locked")).split()
    subprocess.run([sys.executable, "-m", "services.cli", *arguments], cwd=ROOT, env=inherited({}), check=True)
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    for kind in ("configs", "secrets"):
        for one in compose[kind].values():
            if one["file"].startswith("./locked/"):
                assert (tmp_path / one["file"]).is_file(), one
    for node in ("n1", "n2", "n3"):
        named = set(re.findall(r'"(/nats/[^"]+)"', (tmp_path / "locked" / "nats" / f"{node}.conf").read_text()))
        container = compose["services"][node]
        given = {each["target"] for kind in ("configs", "secrets") for each in container[kind]}
        kept = container["volumes"][0].split(":")[1]
        assert {path for path in named if not path.startswith(f"{kept}/")} <= given
        assert f"{kept}/{node}" in named


def test_kubernetes_finds_the_secrets_that_its_commands_make(everything: list[Manifest]):
    made = {
        name: set(re.findall(r"--from-file=([\w.]+)=", rest))
        for name, rest in re.findall(r"create secret generic (\S+)((?:[^\n]|(?<=\\)\n)*)", commands("Kubernetes"))
    }
    users = re.findall(r"for user in (.*); do", commands("Kubernetes"))[0].split()
    keys = made.pop("dossier-nats-$user")
    made |= {f"dossier-nats-{user}": keys for user in users}
    for workload in workloads(everything):
        [secret] = [
            volume["secret"] for volume in workload["spec"]["template"]["spec"]["volumes"] if volume["name"] == "nats"
        ]
        assert made[secret["secretName"]] == {item["key"] for item in secret["items"]}
    nats = VALUES["nats"]
    assert made[nats["tlsCA"]["secretName"]] == {"ca.crt"}
    accounts = nats["podTemplate"]["patch"][0]["value"]["secret"]["secretName"]
    assert made[accounts] == {Path(nats["config"]["merge"]["zz$include"]).name}
    assert f"create secret tls {nats['config']['nats']['tls']['secretName']} " in commands("Kubernetes")
    assert f"*.{nats['fullnameOverride']}-headless.research.svc.cluster.local" in commands("Kubernetes")


def test_systemd_finds_the_files_that_its_commands_install():
    text = commands("systemd")
    systemd = ROOT / "deploy" / "systemd"
    for pattern in re.findall(r"deploy/systemd/(\S+)", text):
        assert list(systemd.glob(pattern)), pattern
    everything = {path for path in systemd.rglob("*") if path.is_file()}
    installed = {path for pattern in re.findall(r"deploy/systemd/(\S+)", text) for path in systemd.glob(pattern)}
    assert {path for path in everything if path not in installed and path.parent not in installed} == set()
    for locks in re.findall(r"-r (\S+\.txt)", text):
        assert (ROOT / locks).is_file()
