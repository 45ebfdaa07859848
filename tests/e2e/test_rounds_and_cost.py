"""A reviewer sends evidence back, and a run reaches its limit: real processes, the real workers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from llmock.pytest_plugin import LLMock

from tests.harness.client import Client, Json
from tests.harness.deployment import REAL_WORKERS, Deployment
from tests.harness.waiting import wait_until

Alone = Callable[..., Deployment]

TIDES = "The Moon pulls the oceans into two bulges, and the tides follow them."
EELS = "European eels spawn in the Sargasso Sea and nowhere else."
QUESTION = "What do the tides follow?"


@pytest.fixture
def docs(tmp_path: Path) -> str:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tides.md").write_text(f"# Tides\n\n{TIDES} The bulges move as the Earth turns below them.\n")
    (folder / "eels.md").write_text(f"# Eels\n\n{EELS} The larvae drift home for three years.\n")
    return str(folder)


def held_in_round(client: Client, run: str, number: int) -> Json:
    """The run as soon as that round of it is on hold."""

    def held() -> Json | None:
        view = client.get(f"/v1/runs/{run}").body
        return view if (view["round"], view["status"]) == (number, "hold") else None

    return wait_until(held)


def found_in(view: Json, number: int) -> set[str]:
    return {
        source["location"]
        for finding in view["findings"]
        if finding["round"] == number
        for source in finding["sources"]
    }


def test_a_second_round_adds_what_the_reviewer_missed_and_the_report_cites_both(alone: Alone, docs: str):
    deployment = alone(workers=REAL_WORKERS, settings={"DOSSIER_DOCS": docs})
    deployment.start()
    client = deployment.client()
    run = client.request(QUESTION)
    first = client.until(run, "hold")
    assert "tides.md" in str(found_in(first, 1))
    assert "eels.md" not in str(found_in(first, 1))
    feedback = "No, not enough. Where do European eels spawn?"
    sent = client.decide(run, "revise", {"If-Match": first["digest"]}, feedback=feedback, queries_add=["Sargasso Sea"])
    assert (sent.status, sent.body["round"]) == (200, 2)
    second = held_in_round(client, run, 2)
    assert found_in(second, 1) == found_in(first, 1)
    assert "eels.md" in str(found_in(second, 2))
    assert not set(first["plan"]) & set(second["plan"][len(first["plan"]) :])
    assert any("eels" in query for query in second["plan"])
    assert client.approve(run, {"If-Match": first["digest"]}).status == 412
    assert client.approve(run, {"If-Match": second["digest"]}).status == 200
    ended = client.completed(run)
    assert ended["outcome"] == "reported"
    assert {"tides.md", "eels.md"} <= {Path(source["location"]).name for source in ended["sources"]}
    assert TIDES in ended["report"]
    assert EELS in ended["report"]
    assert client.counts(f"research.run.{run}.decision.>") == {
        f"research.run.{run}.decision.1": 1,
        f"research.run.{run}.decision.2": 1,
    }


def test_a_run_at_its_limit_holds_over_a_crash_and_goes_on_when_an_approval_raises_it(
    alone: Alone, docs: str, llmock: LLMock
):
    plan = {"queries": ["tides", "Moon oceans", "bulges"]}
    claim = {"text": "They follow two bulges.", "quotes": [{"source": 1, "quote": "the tides follow them"}]}
    llmock.reply(json.dumps(plan)).reply(json.dumps({"sections": [{"heading": "Tides", "claims": [claim]}]}))
    settings = {
        "DOSSIER_DOCS": docs,
        "OPENAI_BASE_URL": llmock.base_url(),
        "DOSSIER_PLANNER_PRICE": "0.1/0.1",
        "DOSSIER_WRITER_PRICE": "100/100",
        "DOSSIER_JUDGE": "false",
    }
    deployment = alone(workers=REAL_WORKERS, settings=settings)
    deployment.start()
    client = deployment.client()
    run = client.request(QUESTION, approval="auto", max_cost_usd=0.5)
    held = client.until(run, "hold")
    assert held["over_budget"] is True
    assert 0 < held["usage"]["cost_usd"] < 0.001
    assert held["estimate"]["cost_usd"] > 0.5
    deployment.coordinator.kill()
    deployment.start()
    refused = client.approve(run)
    assert (refused.status, refused.body["code"], refused.body["field"]) == (409, "over_budget", "max_cost_usd")
    assert client.get(f"/v1/runs/{run}").body["status"] == "hold"
    assert client.approve(run, max_cost_usd=2).status == 200
    ended = client.completed(run)
    assert ended["outcome"] == "reported"
    assert "Degraded" not in ended["report"]
    assert set(ended["agents"]) == {"planner", "writer"}
    assert held["usage"]["cost_usd"] < ended["usage"]["cost_usd"] < 2
    assert client.fact(run, "decision.1")["max_cost_usd"] == 2
    assert len(llmock.requests) == 2
