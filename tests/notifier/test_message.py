"""What is sent: signed so that others' libraries verify it, and nothing that a stranger wrote can do anything in it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notifier import message
from shared.contracts.deliveries import Delivery, DeliveryAsked, WebhookData
from shared.runtime import clock
from tests.notifier.stage import SECRET, endpoint

NOW = clock.now()
OLD = f"whsec_{base64.b64encode(b'o' * 24).decode()}"
HELD = Delivery("ops", "r1", "hold-1")
HOSTILE = "Ignore this <!channel> <https://evil.example|click> & *bold* @here :tada:\n\n```\x1b[2J\u202etxt"


def asked(**told: object) -> DeliveryAsked:
    what = WebhookData(**({"run_id": "r1", "q": "What do cats do?", "round": 1, "deadline": NOW} | told))  # type: ignore[arg-type]
    return DeliveryAsked(told=what, happened_at=NOW, due=NOW, fact_seq=7)


def sent(**told: object) -> bytes:
    return message.body(endpoint(), HELD, asked(**told), public_url="https://d.example")


@given(text=st.text(max_size=200), run=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_another_library_verifies_what_is_sent(text: str, run: str):
    delivery = Delivery("ops", run, "ended")
    body = message.body(endpoint(), delivery, asked(q=text), public_url="https://d.example")
    headers = dict(message.headers(endpoint(), delivery, body, clock.now()))
    event = Webhook(SECRET).verify(body, headers)
    assert event["data"]["q"] == text
    assert headers["webhook-id"] == f"{run}-ended"


def test_what_was_changed_or_signed_by_another_is_not_verified():
    body = sent()
    headers = dict(message.headers(endpoint(), HELD, body, clock.now()))
    for wrong in ((OLD, body, headers), (SECRET, body + b" ", headers), (SECRET, body, headers | {"webhook-id": "x"})):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong[0]).verify(wrong[1], wrong[2])


def test_while_secrets_rotate_receivers_with_either_verify():
    rotating = endpoint(keys=(SecretStr(SECRET), SecretStr(OLD)))
    body = sent()
    headers = dict(message.headers(rotating, HELD, body, clock.now()))
    assert Webhook(SECRET).verify(body, headers) == Webhook(OLD).verify(body, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_every_try_has_the_same_id_and_content_and_a_time_of_its_own():
    body = sent()
    first, second = (message.headers(endpoint(), HELD, body, NOW + timedelta(days=day)) for day in (0, 1))
    assert first["webhook-id"] == second["webhook-id"] == "r1-hold-1"
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


def test_the_content_says_what_happened_and_links_to_the_run():
    event = json.loads(sent(requested_by="ann", digest="d" * 64))
    assert event["type"] == "hold.opened"
    assert event["url"] == "https://d.example/runs/r1"
    assert event["data"] == {
        "run_id": "r1",
        "q": "What do cats do?",
        "requested_by": "ann",
        "round": 1,
        "deadline": event["timestamp"],
        "digest": "d" * 64,
    }


def slack(delivery: Delivery = HELD, **told: object) -> dict[str, object]:
    body = message.body(endpoint(kind="slack", keys=()), delivery, asked(**told), public_url="https://d.example")
    return json.loads(body)


def texts(value: object) -> list[dict[str, object]]:
    """Every text object of a Slack message."""
    match value:
        case {"type": "plain_text" | "mrkdwn"}:
            return [value]  # type: ignore[list-item]
        case dict():
            return [text for each in value.values() for text in texts(each)]
        case list():
            return [text for each in value for text in texts(each)]
        case _:
            return []


@given(text=st.text(max_size=300) | st.just(HOSTILE))
def test_nothing_that_a_stranger_wrote_can_link_mention_or_format(text: str):
    told = {"q": text, "reason": text, "by": text, "requested_by": text}
    body = slack(Delivery("team", "r1", "ended"), **told, outcome="cancelled", ok=False)
    formatted = [each for each in texts(body) if each["type"] == "mrkdwn"]
    assert [each["text"] for each in formatted] == ["<https://d.example/runs/r1|Open the run>"]
    assert all(each["emoji"] is False for each in texts(body) if each["type"] == "plain_text")
    assert not set("<>") & set(str(body["text"]))


def test_a_hostile_question_is_shown_as_it_is():
    [_, question, *_] = [each for each in texts(slack(q=HOSTILE)) if each["type"] == "plain_text"]
    assert question["text"] == "Ignore this <!channel> <https://evil.example|click> & *bold* @here :tada: ```[2Jtxt"
    assert "&lt;!channel&gt;" in str(slack(q=HOSTILE)["text"])


@pytest.mark.parametrize("length", [0, 1, 150, 3_000, 8_000])
def test_slack_takes_every_length(length: int):
    body = slack(Delivery("team", "r1", "ended"), q="&" * length, reason="x" * length, outcome="failed", ok=False)
    for each in texts(body):
        assert 1 <= len(str(each["text"])) <= 3_000
    assert len(str(body["text"])) < 4_000


def test_slack_is_told_until_when_to_decide_and_gets_no_signature():
    deadline = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert "Decide before 02 January 2026 03:04 UTC" in [each["text"] for each in texts(slack(deadline=deadline))]
    headers = message.headers(endpoint(kind="slack", keys=()), HELD, b"{}", NOW)
    assert not any(name.startswith("webhook-") for name in headers)
