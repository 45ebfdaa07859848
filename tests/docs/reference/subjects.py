"""Reference of the streams and subjects on NATS, from the AsyncAPI description and the permissions of users."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from services.cli.lockdown.permissions import USERS
from shared.contracts.access import KeyCreated, KeyRevoked, SecretSet
from shared.contracts.facts import LogTruncated
from shared.contracts.subjects import ACCESS_SECRET, COMPLETED, LOG_TRUNCATED, key_created, key_revoked
from tests.contracts import asyncapi
from tests.docs.reference.facts import MEANINGS, NAMES
from tests.docs.reference.page import code, page, table

Json = dict[str, Any]
_STREAMS: Final = (
    (
        "RESEARCH",
        "`research.>` except `research.completed`",
        "The log: requests, decisions and every fact.",
    ),
    ("COMPLETIONS", "`research.completed`", "How each run ended, exactly once, for subscribers that were away."),
    (
        "EVIDENCE",
        "`evidence.<sha256>.<chunk>`",
        "Frozen texts, prompts, replies, and large facts.",
    ),
    ("DELIVERIES", "`delivery.>`", "Webhooks that are due, and each attempt to deliver them."),
    ("ACCESS", "`access.>`", "API keys, as hashes, and the secret that signs sessions."),
)
_OPERATOR: Final = "operator"
"""May publish anything; named where nobody else may."""


def document() -> str:
    """The page."""
    channels = asyncapi.document()["channels"].values()
    head = ("Subject", "Written by", "Content", "Description")
    return page(
        "Subjects",
        "Every message is JSON. The same description for programs is [asyncapi.json](asyncapi.json). [Facts](facts.md)"
        " describes the content. *Written by* names the users of a NATS that is"
        " [locked down](../operate/lock-down.md); the operator may write everywhere.",
        "## Streams\n\n" + table(("Stream", "Subjects", "Content"), ((code(name), *rest) for name, *rest in _STREAMS)),
        "## Messages that others publish\n\n" + table(head, (_row(each) for each in channels if _is_inbound(each))),
        "## Messages that Dossier publishes\n\n"
        + table(head, (_row(each) for each in channels if not _is_inbound(each) and not _is_slot(each))),
        "## Slots of a run\n\nEach slot is a subject that is written once. Subscribe to them to follow a run; the"
        " server refuses a second message.\n\n" + table(head, _slots(channels)),
        "## Other slots\n\n" + table(head, _others()),
        "## Hints\n\nCore NATS messages, which are not stored. Losing one has no effect on any outcome.\n\n"
        + table(
            ("Subject", "Written by", "Description"),
            (
                (code(each.subject), user.name, f"{each.why[:1].upper()}{each.why[1:]}.")
                for user in USERS
                for each in user.announces
            ),
        ),
        "## Parameters\n\n" + table(("Parameter", "Meaning"), sorted(_parameters(channels).items())),
    )


def _is_inbound(channel: Json) -> bool:
    return any(name.endswith("Event") for name in channel["messages"])


def _is_slot(channel: Json) -> bool:
    return channel["address"].startswith("research.run.")


def _row(channel: Json) -> tuple[str, ...]:
    address = channel["address"]
    contents = [name for name in channel["messages"] if not name.endswith("Event")]
    type_ = "Request" if contents == ["requested"] else "Ruling"
    content = f"[{type_}](facts.md#{type_.lower()})" if _is_inbound(channel) else ", ".join(map(_linked, contents))
    return code(address), writers(address), content, channel["description"]


def _slots(channels: Iterable[Json]) -> Iterator[tuple[str, ...]]:
    """A row for each fact that a slot can have."""
    for channel in filter(_is_slot, channels):
        for tag in channel["messages"]:
            yield code(channel["address"]), writers(channel["address"]), _linked(tag), MEANINGS[tag]


def _linked(tag: str) -> str:
    return f"[`{tag}`](facts.md#{NAMES[tag].lower()})"


def writers(address: str) -> str:
    """The users that may publish on the subjects that `address`, a template, stands for."""
    if address == COMPLETED:
        return "NATS, from the slot `completed`"
    names = [user.name for user in USERS if any(_covers(may.subject, address) for may in user.may)]
    return ", ".join(names) or _OPERATOR


def _covers(pattern: str, address: str) -> bool:
    """Whether a permission lets a user publish on some of these subjects; a parameter stands for any token."""
    allowed, asked = pattern.split("."), address.split(".")
    if allowed[-1] == ">":
        allowed, asked = allowed[:-1], asked[: len(allowed) - 1]
    same = len(allowed) == len(asked)
    return same and all(a == "*" or a == b or b.startswith("{") for a, b in zip(allowed, asked, strict=True))


def _others() -> list[tuple[str, ...]]:
    slots = (
        (f"{LOG_TRUNCATED}.{{sequence}}", LogTruncated),
        (key_created("{key}"), KeyCreated),
        (key_revoked("{key}"), KeyRevoked),
        (ACCESS_SECRET, SecretSet),
    )
    return [
        (
            code(subject),
            writers(subject),
            _linked(str(fact.__struct_config__.tag)),
            MEANINGS[str(fact.__struct_config__.tag)],
        )
        for subject, fact in slots
    ]


def _parameters(channels: Any) -> dict[str, str]:
    return {
        code(f"{{{name}}}"): " ".join(
            part
            for part in (each["description"], f"One of {', '.join(each['enum'])}." if "enum" in each else "")
            if part
        )
        for channel in channels
        for name, each in channel.get("parameters", {}).items()
    }
