"""Permissions on NATS: an allow-list for each user, from which `config.py` makes the servers' configuration. Pure.

Each user has an account of its own. It reaches the account with the streams only by the subjects listed here.
Permissions within one account would not suffice: NATS checks the subject that a client publishes to, but not the reply
subject that it names. A client that may send any request to JetStream could have the answer stored in a subject that it
may not publish to; a planner could fill the slot of a decision that way. Between accounts an answer returns to the
account that asked, whatever reply subject was named.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from msgspec import Struct

from shared.contracts.deliveries import DELIVERIES, NOTICES_CONSUMER
from shared.contracts.subjects import (
    ACCESS,
    ACCESS_SECRET,
    APPROVED,
    ASKED,
    CANCELLED,
    COMPLETED,
    COMPLETED_SLOTS,
    COMPLETIONS,
    COORDINATOR_LEAD,
    EVIDENCE,
    INVALID,
    KINDS,
    LEAD,
    LIVE_CANCELLED,
    LIVE_WRITING,
    LOG_PADDING,
    LOG_TRUNCATED,
    REJECTED,
    REQUESTED,
    RESEARCH,
    RUN,
    Kind,
    attempt_subjects,
    outcome_subjects,
)

SUBSCRIBER: Final = "subscriber"
"""The user that receives the ends of runs, and the durable consumer of `COMPLETIONS` that keeps those it missed."""
STORE: Final = "DOSSIER"
"""The account with the streams. Only the operator is in it."""
OPERATOR: Final = "operator"
SYSTEM: Final = "system"
"""Reads the state of the servers (`$SYS.>`), and nothing that is stored."""

Answers = Literal["one", "many"]


class May(Struct, frozen=True):
    """A subject that a user may publish to, its purpose, and the number of messages that answer it."""

    subject: str
    why: str
    answers: Answers = "one"


class Topic(Struct, frozen=True):
    """A subject that a user may subscribe to, its purpose, and the account in which it is published.

    Messages of a coordinator come from its own account: NATS does not forward messages that the store imported.
    """

    subject: str
    why: str
    source: str = STORE


class User(Struct, frozen=True):
    """A user and its permissions, besides the subscription to its own inbox.

    `announces` are subjects that it publishes in its own account, for others to subscribe to.
    """

    name: str
    about: str
    may: tuple[May, ...] = ()
    listens: tuple[Topic, ...] = ()
    announces: tuple[May, ...] = ()

    @property
    def account(self) -> str:
        """The account of this user, which has no other."""
        return self.name.upper()


def _worker(kind: Kind) -> Iterator[May]:
    """Permissions of the service that performs this kind of step."""
    yield from _consumer(RESEARCH, kind, "take tasks")
    yield May(outcome_subjects(kind), "the outcome of its tasks")
    yield May(attempt_subjects(kind), "attempts that failed")
    for slots in (outcome_subjects(kind), attempt_subjects(kind), COMPLETED_SLOTS):
        yield May(_direct(RESEARCH, slots), "is a redelivered task done already")
    yield from _texts()


def _texts() -> Iterator[May]:
    """Permissions to write and read frozen texts."""
    yield May("evidence.*.*", "store frozen texts, and facts too large for a message")
    yield May(_direct(EVIDENCE), "read these", answers="many")
    yield May(f"$JS.API.STREAM.MSG.GET.{EVIDENCE}", "read these where a replica lags")


def _consumer(stream: str, consumer: str, why: str) -> Iterator[May]:
    """Permissions to use an existing consumer.

    Acknowledgements have two forms. The newer begins with a domain, `_` for none, and a hash of the account. The domain
    is fixed, since a wildcard would also match the older form for another stream.
    """
    yield May(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", f"{why}: is the consumer there yet")
    yield May(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", why, answers="many")
    yield May(f"$JS.ACK.{stream}.{consumer}.>", f"{why}: acknowledge, renew, give back")
    yield May(f"$JS.ACK._.*.{stream}.{consumer}.>", f"{why}: the same, in the form of newer servers")


def _reader(stream: str) -> Iterator[May]:
    """Permissions to follow a whole stream by a consumer of its own."""
    yield May(f"$JS.API.CONSUMER.CREATE.{stream}.*", "follow the stream: a reader of its own")
    yield May(f"$JS.API.CONSUMER.DELETE.{stream}.*", "follow the stream: delete that reader")
    yield May(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*", "follow the stream, take turns to lead", answers="many")


def _reading(stream: str) -> Iterator[May]:
    """Permissions to read messages of a stream."""
    yield May(_direct(stream), "read the stream", answers="many")
    yield May(_direct(stream, ">"), "read what a subject has")
    yield May(f"$JS.API.STREAM.MSG.GET.{stream}", "read what its leader has")
    yield May(f"$JS.API.STREAM.INFO.{stream}", "where the stream ends")


def _direct(stream: str, subject: str = "") -> str:
    """Subject of direct reads of a stream, or of one subject in it."""
    return f"$JS.API.DIRECT.GET.{stream}" + (f".{subject}" if subject else "")


def _coordinator() -> Iterator[May]:
    """Permissions of the coordinator."""
    for stream in (RESEARCH, COMPLETIONS, EVIDENCE, DELIVERIES, ACCESS):
        yield May(f"$JS.API.STREAM.CREATE.{stream}", "set up the stream")
        yield May(f"$JS.API.STREAM.UPDATE.{stream}", "set it up for another release, or other settings")
    for consumer in (*KINDS, COORDINATOR_LEAD):
        yield May(f"$JS.API.CONSUMER.DURABLE.CREATE.{RESEARCH}.{consumer}", "set up the consumer")
    yield May(f"$JS.API.CONSUMER.INFO.{RESEARCH}.*", "how long the queues are")
    yield May(f"$JS.ACK.{RESEARCH}.{COORDINATOR_LEAD}.>", "keep the leadership, hand it over")
    yield May(f"$JS.ACK._.*.{RESEARCH}.{COORDINATOR_LEAD}.>", "the same, in the form of newer servers")
    for stream in (RESEARCH, ACCESS):
        yield from _reader(stream)
    for stream in (RESEARCH, DELIVERIES, ACCESS):
        yield from _reading(stream)
    yield from _texts()
    yield May(f"{RUN}.>", "every fact of a run: a fork copies the boxes of workers too")
    yield May(ASKED, "a request that came over HTTP")
    yield May(f"{INVALID}.*", "the reason why a message was refused")
    yield May(LEAD, "the message that is the leadership")
    yield May(f"{LOG_TRUNCATED}.*", "that the log was truncated")
    yield May(LOG_PADDING, "get past the sequences that were given before that")
    yield May("delivery.*.*.*.asked.*", "have a delivery sent again")
    yield May(ACCESS_SECRET, "what sessions are signed with; keys are the operator's to make")


def _notifier() -> Iterator[May]:
    """Permissions of the notifier."""
    yield from _consumer(RESEARCH, NOTICES_CONSUMER, "what happens to runs")
    yield from _consumer(DELIVERIES, "*", "deliveries to endpoints")
    yield May(_direct(RESEARCH, f"{RUN}.*.accepted"), "who asked what")
    yield May(f"$JS.API.STREAM.MSG.GET.{RESEARCH}", "whether a hold still waits; the subject is in the body: any")
    yield May(_direct(DELIVERIES), "deliveries so far", answers="many")
    yield May(f"$JS.API.STREAM.MSG.GET.{DELIVERIES}", "whether an endpoint is gone")
    yield May("delivery.*.*.*.asked.1", "enqueue a delivery")
    yield May("delivery.*.*.*.tried.*.*", "the result of an attempt")


_COORDINATOR: Final = User(
    "coordinator",
    "writes what is owed, decides, serves the API",
    tuple(_coordinator()),
    listens=(Topic(LIVE_WRITING, "reports in progress, for the pages of their runs", "SYNTHESIZER"),),
    announces=(May(LIVE_CANCELLED, "hint to workers that a run was cancelled"),),
)
_CANCELLATIONS: Final = (Topic(LIVE_CANCELLED, "hints that a run was cancelled", _COORDINATOR.account),)
_ANNOUNCES: Final[dict[Kind, tuple[May, ...]]] = {
    "synthesize": (May(LIVE_WRITING, "the text of a report so far, for its page"),)
}
_ABOUT: Final[dict[Kind, tuple[str, str]]] = {
    "plan": ("planner", "plans sub-queries"),
    "fetch": ("fetcher", "searches and reads pages"),
    "synthesize": ("synthesizer", "writes reports"),
}

USERS: Final = (
    _COORDINATOR,
    *(
        User(name, about, tuple(_worker(kind)), _CANCELLATIONS, _ANNOUNCES.get(kind, ()))
        for kind, (name, about) in _ABOUT.items()
    ),
    User("notifier", "notifies endpoints of holds, deadlines and ends", tuple(_notifier())),
    User("requester", "asks, and receives the acknowledgement", (May(REQUESTED, "ask"),)),
    User(
        "approver",
        "decides",
        (May(APPROVED, "approve"), May(REJECTED, "reject"), May(CANCELLED, "cancel")),
    ),
    User(
        SUBSCRIBER,
        "receives the ends of runs",
        (
            *_consumer(COMPLETIONS, SUBSCRIBER, "completions, also those it missed"),
            May(_direct(RESEARCH, COMPLETED_SLOTS), "how one run ended"),
        ),
        (
            Topic(COMPLETED, "completions as they come"),
            Topic(f"{INVALID}.*", "the reasons why messages were refused", _COORDINATOR.account),
        ),
    ),
)
"""All users except operator and system, which have no list."""

WHOAMI: Final = "$SYS.REQ.USER.INFO"
"""Every user may ask the server for its own user and permissions."""
ACCOUNT_INFO: Final = "$JS.API.INFO"
"""Every account imports it, though few users may publish to it. Without the import, the server adds a `$JS.API.>` that
answers first that the account has no JetStream."""
INBOX: Final = "_INBOX.>"
INFORMED: Final = (_COORDINATOR.name,)


def publishable(user: User) -> list[str]:
    """Subjects that the user may publish to, in the order of its list."""
    own = [may.subject for may in (*user.may, *user.announces)]
    return [*own, *([ACCOUNT_INFO] if user.name in INFORMED else []), WHOAMI]


def subscribable(user: User) -> list[str]:
    """Subjects that the user may subscribe to: its own inbox first."""
    return [INBOX, *(topic.subject for topic in user.listens)]


def services(users: Iterable[User] = USERS) -> dict[str, tuple[Answers, list[str]]]:
    """Each subject of requests to the store: how it is answered, and the accounts that may send them."""
    subjects: dict[str, tuple[Answers, list[str]]] = {}
    for user in users:
        for may in user.may:
            subjects.setdefault(may.subject, (may.answers, []))[1].append(user.account)
    return subjects


def subscribers(source: str, users: Iterable[User] = USERS) -> dict[str, list[str]]:
    """Each subject that is published in the account `source` for others, and the accounts that subscribe to it."""
    subjects: dict[str, list[str]] = {}
    for user in users:
        for topic in user.listens:
            if topic.source == source:
                subjects.setdefault(topic.subject, []).append(user.account)
    return subjects
