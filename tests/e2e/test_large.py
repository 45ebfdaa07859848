"""Findings, tasks and reports that are larger than a message, through real processes and a real server."""

import json
from collections.abc import Callable
from hashlib import sha256

import pytest

from tests.harness.client import Client
from tests.harness.deployment import Deployment

Alone = Callable[..., Deployment]

MESSAGE = 256 * 1024


def digest_of(client: Client, run: str) -> str:
    """The digest of what is stored, as the documentation says it."""
    slots = ["accepted", "plan.1", *(f"fetch.1.{n}" for n in range(4))]
    raw = {f"research.run.{run}.{slot}": client.raw(f"research.run.{run}.{slot}") for slot in slots}
    lines = sorted(f"{subject} {sha256(data).hexdigest()}\n" for subject, data in raw.items())
    return sha256("".join(lines).encode()).hexdigest()


def text(client: Client, digest: str) -> str:
    """A text of EVIDENCE, as anybody can put it together with plain nats-py."""
    subjects = client.counts(f"evidence.{digest}.*", "EVIDENCE")
    chunks = [client.raw(f"evidence.{digest}.{n}", "EVIDENCE") for n in range(len(subjects))]
    assert sha256(b"".join(chunks)).hexdigest() == digest
    return b"".join(chunks).decode()


def without_projection(deployment: Deployment) -> None:
    """The coordinator, killed and started anew on the log alone."""
    deployment.coordinator.kill()
    (deployment.folder / "data" / "projection.db").unlink()
    deployment.start_services()
    deployment.wait_until_ready()


@pytest.mark.parametrize(("finding", "report"), [(500_000, 1_000_000), (3_000_000, 0)])
def test_what_is_larger_than_a_message_goes_its_way(alone: Alone, finding: int, report: int):
    deployment = alone(settings={"STUB_FINDING_BYTES": str(finding), "STUB_REPORT_BYTES": str(report)})
    deployment.start()
    client = deployment.client()
    run = client.request()
    held = client.until(run, "hold")
    found = client.stored(f"research.run.{run}.fetch.1.0")
    assert "data" not in found
    assert len(text(client, found["dataref"].removeprefix("evidence:"))) > finding
    assert held["digest"] == digest_of(client, run)
    assert all(len(one["sources"][0]["passages"][0]["text"]) > finding for one in held["findings"])
    assert client.approve(run, {"If-Match": f'"{held["digest"]}"'}).status == 200
    ended = client.completed(run)
    assert (ended["outcome"], ended["ok"]) == ("reported", True)
    markdown = ended["report"] if ended["report_sha256"] is None else text(client, ended["report_sha256"])
    assert (ended["report"] is None) == (report > MESSAGE)
    assert len(markdown) > report
    events = client.get(f"/v1/runs/{run}/events").body["events"]
    task = next(event["data"] for event in events if event["slot"] == "task.synthesize.1.0.1")
    assert len(json.dumps(task)) > 4 * finding
    without_projection(deployment)
    assert client.get(f"/v1/runs/{run}/report").body == markdown
    assert client.get(f"/v1/runs/{run}").body["findings"] == held["findings"]


def test_a_finding_whose_text_is_gone_fails_its_step_by_name_and_holds_up_nothing(alone: Alone):
    deployment = alone(settings={"STUB_FINDING_BYTES": "300000", "STUB_JOURNAL": "/dev/null"})
    deployment.start()
    client = deployment.client()
    lost, other = client.request("One?"), client.request("Two?")
    for run in (lost, other):
        client.until(run, "hold")
    named = client.stored(f"research.run.{lost}.fetch.1.0")["dataref"].removeprefix("evidence:")
    client.purge("EVIDENCE", f"evidence.{named}.1")
    without_projection(deployment)
    assert named in client.get(f"/v1/runs/{lost}").body["findings"][0]["failure"]
    assert all(one["sources"] for one in client.get(f"/v1/runs/{other}").body["findings"])
    for run in (lost, other):
        assert client.approve(run).status == 200
        assert client.completed(run)["outcome"] == "reported"
