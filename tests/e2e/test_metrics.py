"""What real processes measure and say, while one run waits for a person and another is done."""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import http
from tests.harness.children import Child
from tests.harness.client import Client
from tests.harness.deployment import REAL_WORKERS, Deployment
from tests.harness.environment import ROOT
from tests.harness.ports import free_port
from tests.harness.receiver import Receiver
from tests.harness.waiting import wait_until

PAGE = "The Moon pulls the oceans, and the tides follow them."
QUESTION = "What do the tides follow?"
KEY = "sk-that-nobody-may-see"
PLAN = json.dumps({"queries": ["tides", "Moon oceans"]})
CLAIM = {"text": "They follow the oceans.", "quotes": [{"source": 1, "quote": "the tides follow them"}]}
REPORT = json.dumps({"sections": [{"heading": "Tides", "claims": [CLAIM]}]})
WEBHOOKS = 'allow = ["127.0.0.1"]\n[endpoints.ops]\nurl_env = "OPS_URL"\nsecret_env = "OPS_SECRET"\n'

Labels = tuple[tuple[str, str], ...]


class Measured(NamedTuple):
    """What one service measures: each sample by name and labels, and all of it as text."""

    samples: dict[tuple[str, Labels], float]
    text: str

    def __getitem__(self, name: str) -> Any:
        """The value of the one sample of this name."""
        [value] = [value for (of, _), value in self.samples.items() if of == name]
        return value

    def of(self, name: str, **labels: str) -> float:
        """The value of the sample with exactly these labels; 0 where there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0.0)


class World(NamedTuple):
    """A Dossier with a run that is done, one on hold, and the endpoint that hears of them."""

    deployment: Deployment
    client: Client
    done: str
    held: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("measured")
    (folder / "docs").mkdir()
    (folder / "docs" / "tides.md").write_text(f"# Tides\n\n{PAGE}\n")
    (folder / "webhooks.toml").write_text(WEBHOOKS)
    with LLMockServer() as models, Receiver() as ops:
        llmock = LLMock(models)
        llmock.reply("garbage").reply(PLAN).reply(REPORT).reply(PLAN)
        settings = {
            "DOSSIER_DOCS": str(folder / "docs"),
            "DOSSIER_WEBHOOKS": str(folder / "webhooks.toml"),
            "DOSSIER_JUDGE": "false",
            "DOSSIER_LOG_LEVEL": "DEBUG",
            "DOSSIER_PLANNER_PRICE": "1000/1000",
            "OPENAI_BASE_URL": llmock.base_url(),
            "OPENAI_API_KEY": KEY,
            "OPS_URL": ops.url,
            "OPS_SECRET": f"whsec_{base64.b64encode(b'a-key-that-nobody-may-see').decode()}",
        }
        with Deployment(folder, workers=(*REAL_WORKERS, "notifier"), settings=settings) as deployment:
            deployment.server.start()
            deployment.start_services()
            for service in deployment.services.values():
                service.wait_until_ready(60)
            client = deployment.client()
            done = client.request(QUESTION)
            client.until(done, "hold")
            assert client.approve(done).status == 200
            assert client.completed(done)["outcome"] == "reported"
            held = client.request(QUESTION)
            client.until(held, "hold")
            ops.wait_for(3)
            yield World(deployment, client, done, held)


def scraped(world: World, service: str) -> Measured:
    """What a service measures; of the coordinator at its API, with a key."""
    headers = http.key(world.deployment.coordinator.data) if service == "coordinator" else {}
    answer = http.ask(world.deployment.services[service].port, "GET", "/metrics", headers=headers)
    assert answer.status == 200, answer
    return read(answer.body)


def read(text: str) -> Measured:
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Measured(samples, text)


def all_of_them(world: World) -> dict[str, Measured]:
    return {service: scraped(world, service) for service in world.deployment.services}


def test_the_coordinator_measures_runs_holds_queues_and_itself(world: World):
    wait_until(lambda: scraped(world, "coordinator").of("dossier_holds_open") == 1)
    measured = scraped(world, "coordinator")
    assert measured["dossier_leader"] == 1
    assert measured["dossier_projection_lag_messages"] == 0
    assert measured["dossier_runs_late"] == 0
    assert measured.of("dossier_runs", status="hold") == 1
    assert measured.of("dossier_runs", status="planning") == 0
    assert 0 <= measured["dossier_hold_oldest_age_seconds"] < 600
    assert 6_600 < measured["dossier_hold_nearest_deadline_seconds"] < 7_201
    assert measured["dossier_runs_accepted_total"] == 2
    assert measured.of("dossier_runs_completed_total", outcome="reported") == 1
    assert measured.of("dossier_decisions_total", decision="approved", via="api") == 1
    assert measured["dossier_hold_duration_seconds_count"] == 1
    assert measured.of("dossier_queue_limit", kind="fetch") == 20
    assert measured.of("dossier_queue_tasks_waiting", kind="fetch") == 0
    assert measured.of("dossier_queue_workers_asking", kind="plan") >= 1


def test_workers_measure_attempts_and_what_their_calls_cost(world: World):
    planner, fetcher, writer = (scraped(world, service) for service in REAL_WORKERS)
    assert planner.of("dossier_attempts_total", kind="plan", result="succeeded") == 2
    results = {labels: value for (name, labels), value in fetcher.samples.items() if name == "dossier_attempts_total"}
    assert sum(results.values()) == fetcher.of("dossier_attempt_duration_seconds_count", kind="fetch") >= 4
    assert fetcher.of("dossier_attempts_total", kind="fetch", result="succeeded") >= 2
    assert fetcher.of("dossier_queue_time_seconds_count", kind="fetch") >= 4
    assert planner.of("dossier_attempts_in_flight", kind="plan") == 0
    readings = {"ok": 2, "malformed": 1}
    for reading, count in readings.items():
        labels = {"agent": "planner", "model": "gpt-4o-mini", "reading": reading}
        assert planner.of("dossier_model_calls_total", **labels) == count
    usage = world.client.get(f"/v1/runs/{world.done}").body["usage"]
    spent = sum(value for (name, _), value in planner.samples.items() if name == "dossier_model_cost_dollars_total")
    assert spent > usage["cost_usd"] > 0, "Both runs are in it."
    assert writer.of("dossier_model_unpriced_calls_total", agent="writer", model="gpt-4o") == 1
    tokens = writer.of("dossier_model_tokens_total", agent="writer", model="gpt-4o", direction="output")
    assert tokens > 0


def test_every_service_measures_how_it_gets_on_with_nats(world: World):
    for measured in all_of_them(world).values():
        assert measured["dossier_nats_connected"] == 1
        assert measured["process_resident_memory_bytes"] > 0
        assert measured.of("dossier_log_full", stream="RESEARCH") == 0
    assert scraped(world, "notifier").of("dossier_deliveries_total", endpoint="ops", result="delivered") >= 3


def test_no_figure_says_which_run_who_or_what(world: World):
    for measured in all_of_them(world).values():
        for secret in (world.done, world.held, "tester", "tides", KEY):
            assert secret not in measured.text


def test_every_metric_in_rules_and_dashboards_is_really_measured(world: World):
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()
    dashboard = (ROOT / "deploy" / "grafana" / "dossier.json").read_text()
    used = set(re.findall(r"\b(?:dossier|process)_[a-z_]+", expressions(rules, dashboard)))
    there = {name for measured in all_of_them(world).values() for name, _ in measured.samples}
    assert len(used) > 35
    assert used - there == set()


def expressions(rules: str, dashboard: str) -> str:
    """Everything in PromQL."""
    queries = [rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    panels = json.loads(dashboard)["panels"]
    return "\n".join([*queries, *(target["expr"] for panel in panels for target in panel.get("targets", []))])


def test_every_figure_of_ours_is_on_the_dashboard_or_in_a_rule(world: World):
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()
    shown = expressions(rules, (ROOT / "deploy" / "grafana" / "dossier.json").read_text())
    ours = {name for measured in all_of_them(world).values() for name, _ in measured.samples if "dossier_" in name}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert {family for family in families if family not in shown} == set()


def test_at_its_api_a_coordinator_measures_for_keys_alone(world: World):
    port = world.deployment.coordinator.port
    assert http.status(port, "/metrics") == 401
    assert http.ask(port, "GET", "/metrics", headers={"Authorization": "Bearer guessed"}).status == 401


def test_at_its_health_port_a_coordinator_that_does_not_lead_measures_and_says_so(world: World, tmp_path: Path):
    api, health = free_port(), free_port()
    settings = {
        "DOSSIER_NATS_URL": world.deployment.server.url,
        "DOSSIER_DATA": str(tmp_path),
        "DOSSIER_API_PORT": str(api),
        "DOSSIER_HEALTH_PORT": str(health),
    }
    command = [sys.executable, "-m", "services.coordinator"]
    other = Child("other", command, log=tmp_path / "other.log", settings=settings)
    other.start()
    try:
        wait_until(lambda: http.status(health, "/readyz") == 200)
        wait_until(lambda: read(http.ask(health, "GET", "/metrics").body).of("dossier_holds_open") == 1)
        assert read(http.ask(health, "GET", "/metrics").body)["dossier_leader"] == 0
        assert http.status(api, "/metrics") == 401
        assert http.status(health, "/v1/runs") == 404
    finally:
        other.kill()


def test_every_line_that_a_service_says_is_json_of_that_service_and_shows_no_secret(world: World):
    for name, service in world.deployment.services.items():
        lines = [json.loads(line) for line in service.said().splitlines()]
        assert {line["service"] for line in lines} == {name}
        assert all(line["message"] and line["level"] and line["time"] for line in lines)
        for secret in (KEY, PAGE, QUESTION, "secret-in-the-url"):
            assert secret not in service.said()
    events = [json.loads(line).get("event") for line in world.deployment.coordinator.said().splitlines()]
    assert "leadership.won" in events
    assert any("uvicorn" in line for line in world.deployment.coordinator.said().splitlines())
