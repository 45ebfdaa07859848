"""Who may do what on NATS: an allow-list for each user. Pure; `config.py` makes the servers' configuration of it.

Each user has an account of its own, and only what stands here leads out of it, into the account that has the streams.
Permissions within one account would not do: NATS checks the subject that a client publishes to, and not the reply
subject that it names. Whoever may ask JetStream for anything could have the answer sent to, and so stored in, a subject
that it may not publish to; a planner could fill a decision's box that way. Between accounts an answer goes back to the
account that asked, whatever reply subject it named.
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
"""The user that hears how runs end, and the durable consumer of `COMPLETIONS` that keeps for it what it missed."""
STORE: Final = "DOSSIER"
"""The account that has the streams. Of the users only the operator is in it."""
OPERATOR: Final = "operator"
SYSTEM: Final = "system"
"""Sees the servers themselves (`$SYS.>`), and nothing that is stored."""

Answers = Literal["one", "many"]


class May(Struct, frozen=True):
    """A subject that a user may publish to, how many messages answer it, and what it is for."""

    subject: str
    why: str
    answers: Answers = "one"


class Hears(Struct, frozen=True):
    """A subject that a user may subscribe to, what it is for, and the account that it comes from.

    What a coordinator says comes from there: NATS passes nothing on that came into the store from another account.
    """

    subject: str
    why: str
    source: str = STORE


class User(Struct, frozen=True):
    """A user, and everything that it may do besides hearing answers in its own `_INBOX.>`."""

    name: str
    about: str
    may: tuple[May, ...] = ()
    hears: tuple[Hears, ...] = ()
    says: tuple[May, ...] = ()
    """What it may publish to besides, for others to hear, in its own account."""

    @property
    def account(self) -> str:
        """The account that is this user's alone."""
        return self.name.upper()


def _worker(kind: Kind) -> Iterator[May]:
    yield from _consumer(RESEARCH, kind, "take tasks")
    yield May(outcome_subjects(kind), "the outcome of its tasks")
    yield May(attempt_subjects(kind), "attempts that failed")
    for boxes in (outcome_subjects(kind), attempt_subjects(kind), COMPLETED_SLOTS):
        yield May(_direct(RESEARCH, boxes), "whether a task that comes again is done already")
    yield from _texts()


def _texts() -> Iterator[May]:
    yield May("evidence.*.*", "store frozen texts, and facts too large for a message")
    yield May(_direct(EVIDENCE), "read these", answers="many")
    yield May(f"$JS.API.STREAM.MSG.GET.{EVIDENCE}", "read these where a replica lags")


def _consumer(stream: str, consumer: str, why: str) -> Iterator[May]:
    """What it takes to work off a consumer that somebody else made.

    Acks have two forms. The newer begins with a domain, `_` for none, and a hash of the account; were the domain left
    open, the older ack of another stream could be made to fit.
    """
    yield May(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", f"{why}: is the consumer there yet")
    yield May(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", why, answers="many")
    yield May(f"$JS.ACK.{stream}.{consumer}.>", f"{why}: acknowledge, renew, give back")
    yield May(f"$JS.ACK._.*.{stream}.{consumer}.>", f"{why}: the same, as newer servers say it")


def _reader(stream: str) -> Iterator[May]:
    """What it takes to follow a whole stream, through a consumer of one's own."""
    yield May(f"$JS.API.CONSUMER.CREATE.{stream}.*", "follow the stream: a reader of its own")
    yield May(f"$JS.API.CONSUMER.DELETE.{stream}.*", "follow the stream: be rid of it")
    yield May(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*", "follow the stream, take turns to lead", answers="many")


def _reading(stream: str) -> Iterator[May]:
    yield May(_direct(stream), "read the stream", answers="many")
    yield May(_direct(stream, ">"), "read what a subject has")
    yield May(f"$JS.API.STREAM.MSG.GET.{stream}", "read what its leader has")
    yield May(f"$JS.API.STREAM.INFO.{stream}", "where the stream ends")


def _direct(stream: str, subject: str = "") -> str:
    return f"$JS.API.DIRECT.GET.{stream}" + (f".{subject}" if subject else "")


def _coordinator() -> Iterator[May]:
    for stream in (RESEARCH, COMPLETIONS, EVIDENCE, DELIVERIES, ACCESS):
        yield May(f"$JS.API.STREAM.CREATE.{stream}", "set up the stream")
        yield May(f"$JS.API.STREAM.UPDATE.{stream}", "set it up for another release, or other settings")
    for consumer in (*KINDS, COORDINATOR_LEAD):
        yield May(f"$JS.API.CONSUMER.DURABLE.CREATE.{RESEARCH}.{consumer}", "set up the consumer")
    yield May(f"$JS.API.CONSUMER.INFO.{RESEARCH}.*", "how long the queues are")
    yield May(f"$JS.ACK.{RESEARCH}.{COORDINATOR_LEAD}.>", "keep the leadership, hand it over")
    yield May(f"$JS.ACK._.*.{RESEARCH}.{COORDINATOR_LEAD}.>", "the same, as newer servers say it")
    for stream in (RESEARCH, ACCESS):
        yield from _reader(stream)
    for stream in (RESEARCH, DELIVERIES, ACCESS):
        yield from _reading(stream)
    yield from _texts()
    yield May(f"{RUN}.>", "every fact of a run: a fork copies the boxes of workers too")
    yield May(ASKED, "a request that came over HTTP")
    yield May(f"{INVALID}.*", "why a message was not taken")
    yield May(LEAD, "the message that is the leadership")
    yield May(f"{LOG_TRUNCATED}.*", "that the log was truncated")
    yield May(LOG_PADDING, "get past the sequences that were given before that")
    yield May("delivery.*.*.*.asked.*", "have something told again")
    yield May(ACCESS_SECRET, "what sessions are signed with; keys are the operator's to make")


def _notifier() -> Iterator[May]:
    yield from _consumer(RESEARCH, NOTICES_CONSUMER, "what happens to runs")
    yield from _consumer(DELIVERIES, "*", "what endpoints are to be told")
    yield May(_direct(RESEARCH, f"{RUN}.*.accepted"), "who asked what")
    yield May(f"$JS.API.STREAM.MSG.GET.{RESEARCH}", "whether a hold still waits; the subject is in the body: any")
    yield May(_direct(DELIVERIES), "what was told so far", answers="many")
    yield May(f"$JS.API.STREAM.MSG.GET.{DELIVERIES}", "whether an endpoint is gone")
    yield May("delivery.*.*.*.asked.1", "have something told")
    yield May("delivery.*.*.*.tried.*.*", "what came of it")


_COORDINATOR: Final = User(
    "coordinator",
    "writes what is owed, decides, serves the API",
    tuple(_coordinator()),
    hears=(Hears(LIVE_WRITING, "what is written of reports so far, for the pages of their runs", "SYNTHESIZER"),),
    says=(May(LIVE_CANCELLED, "hint to workers that a run was cancelled"),),
)
_CANCELS: Final = (Hears(LIVE_CANCELLED, "hints that a run has no more use for its work", _COORDINATOR.account),)
_SAYS: Final[dict[Kind, tuple[May, ...]]] = {
    "synthesize": (May(LIVE_WRITING, "the text of a report so far, for its page"),)
}
_ABOUT: Final[dict[Kind, tuple[str, str]]] = {
    "plan": ("planner", "plans sub-queries"),
    "fetch": ("fetcher", "searches and reads pages"),
    "synthesize": ("synthesizer", "writes reports"),
}

USERS: Final = (
    _COORDINATOR,
    *(User(name, about, tuple(_worker(kind)), _CANCELS, _SAYS.get(kind, ())) for kind, (name, about) in _ABOUT.items()),
    User("notifier", "tells others of holds, deadlines and ends", tuple(_notifier())),
    User("requester", "asks, and hears that the request is stored", (May(REQUESTED, "ask"),)),
    User(
        "approver",
        "decides",
        (May(APPROVED, "approve"), May(REJECTED, "reject"), May(CANCELLED, "cancel")),
    ),
    User(
        SUBSCRIBER,
        "hears how runs end",
        (
            *_consumer(COMPLETIONS, SUBSCRIBER, "completions, also those it missed"),
            May(_direct(RESEARCH, COMPLETED_SLOTS), "how one run ended"),
        ),
        (
            Hears(COMPLETED, "completions as they come"),
            Hears(f"{INVALID}.*", "why messages were not taken", _COORDINATOR.account),
        ),
    ),
)
"""All but the operator and the system user, who need no list."""

WHOAMI: Final = "$SYS.REQ.USER.INFO"
"""Every user may ask who it is to this server."""
ACCOUNT_INFO: Final = "$JS.API.INFO"
"""Every account imports it, though few users may ask: without it, the server would put in a `$JS.API.>` that leads
nowhere and answers first that the account has no JetStream."""
INBOX: Final = "_INBOX.>"
INFORMED: Final = (_COORDINATOR.name,)


def publishable(user: User) -> list[str]:
    """Subjects that the user may publish to, in the order of its list."""
    own = [may.subject for may in (*user.may, *user.says)]
    return [*own, *([ACCOUNT_INFO] if user.name in INFORMED else []), WHOAMI]


def subscribable(user: User) -> list[str]:
    """Subjects that the user may subscribe to: its own inbox first."""
    return [INBOX, *(hears.subject for hears in user.hears)]


def services(users: Iterable[User] = USERS) -> dict[str, tuple[Answers, list[str]]]:
    """Each subject that leads into the store: how it is answered, and the accounts that it leads from."""
    subjects: dict[str, tuple[Answers, list[str]]] = {}
    for user in users:
        for may in user.may:
            subjects.setdefault(may.subject, (may.answers, []))[1].append(user.account)
    return subjects


def heard(source: str, users: Iterable[User] = USERS) -> dict[str, list[str]]:
    """Each subject that is heard of what is said in an account, and the accounts that hear it."""
    subjects: dict[str, list[str]] = {}
    for user in users:
        for hears in user.hears:
            if hears.source == source:
                subjects.setdefault(hears.subject, []).append(user.account)
    return subjects
