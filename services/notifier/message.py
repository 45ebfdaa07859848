"""Body, headers and signature of a notification, as Standard Webhooks or for Slack. Pure."""

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from shared.contracts.deliveries import Delivery, DeliveryAsked, EventType, WebhookData
from shared.contracts.visible import visible_line
from shared.runtime.endpoints import WebhookEndpoint

_HEADER: Final = 150
_SECTION: Final = 2_900
"""Characters of a block in Slack, less those that escaping may add."""
_TITLES: Final[dict[EventType, str]] = {
    "hold.opened": "Evidence waits for a decision",
    "deadline.near": "The time to decide ends soon",
    "run.ended": "A run has ended",
}
_OUTCOMES: Final = {
    "reported": "The report is ready",
    "rejected": "Rejected",
    "expired": "No decision in time",
    "cancelled": "Cancelled",
    "failed": "Failed",
}


class Envelope(msgspec.Struct, frozen=True):
    """Body of a Standard Webhook: event type, time, link to the run, and the notification."""

    type: EventType
    timestamp: datetime
    url: str
    data: WebhookData


def body(endpoint: WebhookEndpoint, delivery: Delivery, asked: DeliveryAsked, *, public_url: str) -> bytes:
    """Return the JSON body for an endpoint of this kind; the same bytes for every attempt."""
    url = f"{public_url}/runs/{delivery.run}"
    if endpoint.kind == "slack":
        return msgspec.json.encode(slack(delivery.event_type, asked.told, url))
    return msgspec.json.encode(Envelope(delivery.event_type, asked.happened_at, url, asked.told))


def headers(endpoint: WebhookEndpoint, delivery: Delivery, sent: bytes, now: datetime) -> Mapping[str, str]:
    """Return the headers of one attempt. Id and content are the same for every attempt, time and signature differ."""
    plain = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "Dossier"}
    if endpoint.kind == "slack":
        return plain
    stamp = str(int(now.timestamp()))
    signatures = (sign(key, delivery.event_id, stamp, sent) for key in endpoint.secrets())
    return plain | {
        "webhook-id": delivery.event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }


def sign(key: bytes, event_id: str, stamp: str, sent: bytes) -> str:
    """Return the signature of Standard Webhooks 1.0: `v1,` and HMAC-SHA256 in base64."""
    digest = hmac.digest(key, f"{event_id}.{stamp}.".encode() + sent, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def slack(happened: EventType, told: WebhookData, url: str) -> object:
    """Return the notification as an incoming webhook of Slack takes it. Text of others can neither link nor mention."""
    title = _OUTCOMES.get(told.outcome or "", _TITLES[happened])
    lines = list(_lines(told))
    link = {"type": "section", "text": {"type": "mrkdwn", "text": f"<{url}|Open the run>", "verbatim": True}}
    return {
        "text": _escaped(f"{title}: {one_line(told.q, _HEADER)}"),
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _plain(title, _HEADER)},
            {"type": "section", "text": _plain(told.q, _SECTION)},
            *([{"type": "context", "elements": [_plain(line, _SECTION) for line in lines]}] if lines else []),
            link,
        ],
    }


def _lines(told: WebhookData) -> Iterable[str]:
    """Yield the lines below the question: deadline, round from the second on, reason, decider and requester, where
    known.
    """
    if told.deadline:
        yield f"Decide before {told.deadline:%d %B %Y %H:%M} UTC"
    if told.round and told.round > 1:
        yield f"Round {told.round}"
    if told.reason:
        yield told.reason
    if told.by:
        yield f"By {told.by}"
    if told.requested_by:
        yield f"Asked by {told.requested_by}"


def _plain(text: str, limit: int) -> object:
    """Return text that Slack does not parse: no links, mentions, markup or emoji. An empty text becomes `–`."""
    return {"type": "plain_text", "text": one_line(text, limit) or "–", "emoji": False}


def _escaped(text: str) -> str:
    """Escape the characters that Slack's markup gives a meaning."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str, limit: int) -> str:
    """Return `text` on one line without invisible characters, of at most `limit` characters; a cut ends in `…`."""
    line = visible_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
