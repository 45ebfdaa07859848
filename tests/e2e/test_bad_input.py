"""What cannot be taken is refused once, by name and with a reason, and nothing else notices."""

import pytest
from nats.js.errors import APIError

from tests.harness.client import Client
from tests.harness.deployment import Deployment
from tests.harness.http import Answer

REQUESTS: dict[str, tuple[object, str, str]] = {
    "not JSON": (b"What does the fox do?", "", "not JSON"),
    "not an object": (["q"], "", "object"),
    "no q": ({}, "q", "required"),
    "empty q": ({"q": " \n"}, "q", "empty"),
    "q too long": ({"q": "x" * 8_001}, "q", "8,001"),
    "q no text": ({"q": 5}, "q", "expected str"),
    "run_id no token": ({"q": "?", "run_id": "no spaces"}, "run_id", "no spaces"),
    "run_id too long": ({"q": "?", "run_id": "x" * 65}, "run_id", "1 to 64"),
    "run_id with a wildcard": ({"q": "?", "run_id": "*"}, "run_id", "*"),
    "run_id reserved": ({"q": "?", "run_id": "r1"}, "run_id", "reserved"),
    "run_id a number": ({"q": "?", "run_id": 7}, "run_id", "expected str"),
    "approval unknown": ({"q": "?", "approval": "maybe"}, "approval", "maybe"),
    "approval_timeout no duration": ({"q": "?", "approval_timeout": "soon"}, "approval_timeout", "soon"),
    "approval_timeout too long": ({"q": "?", "approval_timeout": "367d"}, "approval_timeout", "366 days"),
    "max_cost_usd a word": ({"q": "?", "max_cost_usd": "little"}, "max_cost_usd", "expected float"),
    "max_cost_usd nothing": ({"q": "?", "max_cost_usd": 0}, "max_cost_usd", "more than 0"),
    "tools no list": ({"q": "?", "tools": "docs"}, "tools", "expected array"),
    "unknown field": ({"q": "?", "aproval": "auto"}, "aproval", "no such field"),
}


@pytest.mark.parametrize(("data", "field", "reason"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_bad_request_is_refused_once_by_field_and_reason(client: Client, data: object, field: str, reason: str):
    runs = client.counts("research.run.>")
    seq = client.publish("research.requested", data)
    why = client.refusal(seq)
    assert (why["seq"], why["subject"], why["field"]) == (seq, "research.requested", field)
    assert reason in why["error"]["message"]
    assert why["error"]["message"].startswith(field)
    assert client.counts(f"research.invalid.{seq}") == {f"research.invalid.{seq}": 1}
    assert client.get(f"/v1/runs/r{seq}").status == 404
    assert client.counts("research.run.>") == runs


def test_bad_messages_do_not_disturb_a_run_among_them(client: Client):
    def publish_all_bad() -> list[int]:
        return [client.publish("research.requested", data) for data, _, _ in REQUESTS.values()]

    refused = publish_all_bad()
    run = client.request()
    refused += publish_all_bad()
    client.until(run, "hold")
    refused += publish_all_bad()
    client.approve(run)
    assert client.completed(run)["outcome"] == "reported"
    for seq in refused:
        client.refusal(seq)
        assert client.counts(f"research.invalid.{seq}") == {f"research.invalid.{seq}": 1}


def test_another_question_under_a_known_run_id_is_refused(client: Client):
    client.request("What does the fox do?", run_id="known")
    held = client.until("known", "hold")
    seq = client.publish("research.requested", {"q": "What does the dog do?", "run_id": "known"})
    why = client.refusal(seq)
    assert (why["run_id"], why["field"], why["error"]["code"]) == ("known", "run_id", "clash")
    assert client.until("known", "hold") == held


def test_a_message_over_the_limit_is_refused_by_its_ack_and_the_services_live_on(
    client: Client, deployment: Deployment
):
    with pytest.raises(APIError, match="size exceeds maximum"):
        client.publish("research.requested", {"q": "x" * 300 * 1024})
    run = client.request(approval="auto")
    assert client.completed(run)["outcome"] == "reported"
    assert all(child.running for child in deployment.children)


def test_a_decision_on_an_unknown_run_is_404(client: Client):
    answer = client.approve("nobody-asked")
    assert (answer.status, answer.body["code"]) == (404, "unknown_run")
    assert client.counts("research.run.nobody-asked.>") == {}


def test_a_decision_over_http_before_the_hold_is_409_with_the_state_and_changes_nothing(
    client: Client, deployment: Deployment
):
    fetcher = deployment.services["fetch"]
    fetcher.kill()
    run = client.request()
    client.until(run, "fetching")
    early = client.approve(run)
    assert (early.status, early.body["code"], early.body["state"]) == (409, "not_held", "fetching")
    fetcher.start()
    client.until(run, "hold")
    assert client.approve(run).status == 200
    assert client.completed(run)["outcome"] == "reported"


def test_a_second_decision_is_409_with_the_winner(client: Client):
    run = client.request()
    client.until(run, "hold")
    assert client.decide(run, "reject", by="alice").status == 200
    second = client.approve(run, by="bob")
    assert (second.status, second.body["code"]) == (409, "decided")
    assert second.body["winner"].startswith("rejected by alice")
    assert client.completed(run)["outcome"] == "rejected"


def approve_on(client: Client, run: str, how: str, digest: str) -> Answer:
    """The answer to an approval that names its evidence, in the header or in the body."""
    if how == "digest":
        return client.approve(run, digest=digest)
    return client.approve(run, {"If-Match": f'"{digest}"'})


@pytest.mark.parametrize("how", ["If-Match", "digest"])
def test_a_decision_on_other_evidence_is_412_and_changes_nothing(client: Client, how: str):
    run = client.request()
    held = client.until(run, "hold")
    stale = approve_on(client, run, how, "0" * 64)
    assert (stale.status, stale.body["code"]) == (412, "stale_digest")
    assert held["digest"] in stale.body["detail"]
    assert client.until(run, "hold") == held
    assert approve_on(client, run, how, held["digest"]).status == 200
    assert client.completed(run)["digest"] == held["digest"]


def test_an_unfit_decision_over_nats_is_refused_with_the_reason(client: Client):
    unknown = client.publish("research.approved", {"run_id": "nobody-asked", "by": "alice"})
    anonymous = client.publish("research.approved", {"run_id": "nobody-asked"})
    assert client.refusal(unknown)["error"]["code"] == "unknown_run"
    assert client.refusal(anonymous)["field"] == "by"


def test_a_late_decision_over_nats_is_refused_with_the_winner(client: Client):
    run = client.request()
    client.until(run, "hold")
    client.decide(run, "reject", by="alice")
    client.completed(run)
    late = client.publish("research.approved", {"run_id": run, "by": "bob"})
    why = client.refusal(late)
    assert (why["run_id"], why["error"]["code"]) == (run, "decided")
    assert "rejected by alice" in why["error"]["message"]
