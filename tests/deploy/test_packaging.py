"""What is installed is what pyproject.toml asks for, pinned and hashed; and nothing names where it was written."""

import os
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.txt": PYPROJECT["project"]["dependencies"],
    "requirements-dev.txt": PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"],
    "requirements-build.txt": PYPROJECT["build-system"]["requires"],
}

every_lock = pytest.mark.parametrize("lock", LOCKS)


@every_lock
def test_each_dependency_is_pinned_to_a_version_that_it_allows(lock: str):
    pins = pinned(lock)
    for wanted in map(Requirement, LOCKS[lock]):
        name = canonicalize_name(wanted.name)
        assert name in pins, f"{lock} has no {name}: run `make lock`"
        assert wanted.specifier.contains(pins[name], prereleases=True), f"{lock} pins {name} {pins[name]}"


@every_lock
def test_each_pin_has_hashes(lock: str):
    for block in blocks(lock):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def test_one_package_has_one_version_in_all_locks():
    everywhere = [pin for lock in LOCKS for pin in pinned(lock).items()]
    assert len(set(everywhere)) == len(dict(everywhere))


def test_what_runs_is_what_was_tested():
    assert pinned("requirements.txt").items() <= pinned("requirements-dev.txt").items()


def test_the_changelog_speaks_of_this_version():
    heading = rf"^## {re.escape(PYPROJECT['project']['version'])} "
    assert re.search(heading, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_image_is_made_of_what_exists_and_is_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    copied = {source for sources in copies for source in sources.split()}
    assert copied == kept
    assert [source for source in copied if not (ROOT / source).exists()] == []


REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|(?:deb|security)\.debian\.org|proxy\.golang\.org"
    r"|(?:ghcr|docker|quay)\.io|crates\.io",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|work|home|Users)/")


@pytest.mark.parametrize("place", [REGISTRY, MACHINE_PATH], ids=["registry", "machine"])
def test_no_file_names_a_registry_or_a_path_of_a_machine(place: re.Pattern[str]):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if place.search(line)
    ]
    assert found == []


def blocks(lock: str) -> list[str]:
    """Each pin of a lock with the lines that belong to it."""
    return re.findall(r"^[a-z0-9].*(?:\n[ \t].*)*", (ROOT / lock).read_text(), re.MULTILINE)


def pinned(lock: str) -> dict[str, str]:
    """Package and version of each pin."""
    return dict(re.findall(r"^(\S+?)==(\S+)", "\n".join(blocks(lock)), re.MULTILINE))


def files() -> Iterator[Path]:
    """Every file of the project that could be committed: all but what .gitignore names, in a clone or out of one."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()] + [".git", ".venv*"]
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch(name, pattern) for pattern in ignored)]
        yield from (Path(folder, name) for name in names if not any(fnmatch(name, pattern) for pattern in ignored))
