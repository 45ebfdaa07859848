"""Names of streams, consumers and subjects, and the slots of a run.

A *slot* is the write-once place of one fact of a run. It is the subject `research.run.<run>.<name>…`; a `Slot` is that
subject parsed.
"""

import re
from functools import lru_cache
from typing import Final, Literal, get_args

from msgspec import Struct

RESEARCH = "RESEARCH"
COMPLETIONS = "COMPLETIONS"
EVIDENCE = "EVIDENCE"
ACCESS = "ACCESS"

REQUESTED = "research.requested"
APPROVED = "research.approved"
REJECTED = "research.rejected"
CANCELLED = "research.cancelled"
COMPLETED = "research.completed"
ASKED = "research.asked"
"""A request that came over HTTP. Coordinators alone may publish it: that it is here vouches for who asked."""
INBOUND = (REQUESTED, APPROVED, REJECTED, CANCELLED, ASKED)
"""Contract messages; each ends in a fact or in `research.invalid.<seq>`. Clients may publish all but `ASKED`."""

INVALID = "research.invalid"
RUN = "research.run"
LEAD = "research.lead"
LOG_TRUNCATED = "research.log.truncated"
LOG_PADDING = "research.log.padding"
"""Empty messages that follow a truncation, so that no sequence is given twice."""
LIVE_CANCELLED = "live.*.cancelled"
"""Core NATS, not stored: a hint to workers that a run has no more use for their work."""
LIVE_WRITING = "live.*.writing"
"""Core NATS, not stored: the text of a report so far, for viewers of its page."""

RESEARCH_SUBJECTS = (*INBOUND, f"{INVALID}.*", f"{RUN}.>", LEAD, f"{LOG_TRUNCATED}.*", LOG_PADDING)
COMPLETED_SLOTS = f"{RUN}.*.completed"
COORDINATOR_LEAD: Final = "lead"
"""The durable consumer of `research.lead`: its one delivery is the leadership."""

Kind = Literal["plan", "fetch", "synthesize"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SlotName = Literal[
    "accepted",
    "task",
    "attempt",
    "plan",
    "fetch",
    "hold",
    "extension",
    "vote",
    "decision",
    "synthesis",
    "completed",
    "other",
]
_SLOT_NAMES: Final = get_args(SlotName)

ACCESS_SECRET = "access.secret"  # noqa: S105  a subject
ACCESS_SUBJECTS = ("access.key.*.*", ACCESS_SECRET)

_RUN_DOT = f"{RUN}."
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED = re.compile(r"r[0-9]+")
_VOTER = re.compile(r"[0-9a-f]{32}")
_OUTCOME: dict[Kind, SlotName] = {"plan": "plan", "fetch": "fetch", "synthesize": "synthesis"}


@lru_cache(maxsize=4_096)
def is_token(text: str) -> bool:
    """Return True if `text` can be a run id: 1 to 64 of A–Z, a–z, 0–9, `_` and `-`."""
    return TOKEN.fullmatch(text) is not None


def is_reserved(run: str) -> bool:
    """Return True if `run` is `r` and digits: the id of a run whose request named none."""
    return _RESERVED.fullmatch(run) is not None


def task_filter(kind: Kind) -> str:
    """Subject pattern of all tasks of a kind. The durable consumer that hands them out has the kind as its name."""
    return f"{RUN}.*.task.{kind}.>"


def outcome_subjects(kind: Kind) -> str:
    """Subject pattern of the outcomes of all tasks of a kind, which its workers write."""
    box = _OUTCOME[kind]
    return f"{RUN}.*.{box}.*" + (".*" if box == "fetch" else "")


def attempt_subjects(kind: Kind) -> str:
    """Subject pattern of the failed attempts of all tasks of a kind, which its workers write."""
    return f"{RUN}.*.attempt.{kind}.*.*.*"


def invalid(seq: int) -> str:
    """Subject of the refusal of the contract message at stream sequence `seq`."""
    return f"{INVALID}.{seq}"


def refused_sequence(subject: str) -> int | None:
    """Return the sequence of the message that a refusal's subject names, or `None` for any other subject."""
    return _sequence_after(INVALID, subject)


def log_truncated(last_seq: int) -> str:
    """Subject of the record that the log was truncated and sequences up to `last_seq` may have been given before."""
    return f"{LOG_TRUNCATED}.{last_seq}"


def truncated_seq(subject: str) -> int | None:
    """Return `last_seq` of a truncation record's subject, or `None` for any other subject."""
    return _sequence_after(LOG_TRUNCATED, subject)


def _sequence_after(expected: str, subject: str) -> int | None:
    """Return the number after `expected` and a dot, or `None` if `subject` has another prefix or no number of 1 to 19
    digits.
    """
    prefix, _, seq = subject.rpartition(".")
    return int(seq) if prefix == expected and seq.isascii() and seq.isdigit() and len(seq) < 20 else None


def evidence(sha256: str, chunk: int) -> str:
    """Subject of chunk `chunk` (from 0) of the frozen text with this SHA-256 (hex)."""
    return f"evidence.{sha256}.{chunk}"


def key_created(key: str) -> str:
    """Subject of the record that creates the key with this id."""
    return f"access.key.{key}.created"


def key_revoked(key: str) -> str:
    """Subject of the record that revokes the key with this id."""
    return f"access.key.{key}.revoked"


def live_cancelled(run: str) -> str:
    """Subject of the hint that `run` was cancelled."""
    return f"live.{run}.cancelled"


def live_writing(run: str) -> str:
    """Subject of the hints with the text of `run`'s report so far: `{"text"}`."""
    return f"live.{run}.writing"


class Slot(Struct, frozen=True):
    """One write-once slot of one run. Fields that its name does not use are 0, `""` or `None`.

    `index` counts fetches from 0 and extensions of a hold from 1.
    """

    run: str
    name: SlotName
    round: int = 0
    index: int = 0
    attempt: int = 0
    kind: Kind | None = None
    voter: str = ""
    """Of a vote: 32 hex digits of the hash of who cast it."""
    other: str = ""
    """The path of a slot that this release does not know. A newer release does, and its content may matter."""

    @property
    def path(self) -> str:
        """The slot's name within its run, as in `task.fetch.1.0.2`."""
        match self.name:
            case "accepted" | "completed":
                return self.name
            case "task" | "attempt":
                return f"{self.name}.{self.kind}.{self.round}.{self.index}.{self.attempt}"
            case "fetch" | "extension":
                return f"{self.name}.{self.round}.{self.index}"
            case "vote":
                return f"vote.{self.round}.{self.voter}"
            case "plan" | "hold" | "decision" | "synthesis":
                return f"{self.name}.{self.round}"
            case "other":
                return self.other

    @property
    def subject(self) -> str:
        """The subject of this slot: `research.run.<run>.<path>`."""
        return f"{RUN}.{self.run}.{self.path}"


class Step(Struct, frozen=True):
    """One piece of work of a run: its kind, round (from 1) and index within the round (from 0)."""

    run: str
    kind: Kind
    round: int
    index: int = 0

    def task(self, attempt: int) -> Slot:
        """Slot of the task of attempt `attempt` (from 1)."""
        return Slot(self.run, "task", self.round, self.index, attempt, self.kind)

    def attempt(self, attempt: int) -> Slot:
        """Slot of the failure of attempt `attempt` (from 1)."""
        return Slot(self.run, "attempt", self.round, self.index, attempt, self.kind)

    @property
    def outcome(self) -> Slot:
        """Slot of the step's outcome, success or failure."""
        return Slot(self.run, _OUTCOME[self.kind], self.round, self.index)


def parse_slot(subject: str) -> Slot | None:
    """Return the slot of a subject, or `None` if it is no subject of a run or a malformed one.

    A path whose first token this release does not know is a slot of the name `other`.
    """
    if not subject.startswith(_RUN_DOT):
        return None
    run, _, path = subject[len(_RUN_DOT) :].partition(".")
    if not is_token(run):
        return None
    if place := _place(path):
        return Slot(run, *place)
    return Slot(run, "other", other=path) if path.partition(".")[0] not in ("", *_SLOT_NAMES) else None


_Place = tuple[SlotName, int, int, int, Kind | None, str]


@lru_cache(maxsize=4_096)
def _place(path: str) -> _Place | None:
    """Return the fields of a slot from its path within the run, or `None` if it is malformed. Cached: all runs share
    paths.
    """
    box, *rest = path.split(".")
    try:
        return _parse_place(box, rest)
    except ValueError:
        return None


def _parse_place(box: str, rest: list[str]) -> _Place | None:
    """Return the fields of a slot, or `None` if name and number of tokens do not fit. Raises `ValueError` for bad
    numbers.
    """
    match box, rest:
        case (("accepted" | "completed"), []):
            return box, 0, 0, 0, None, ""
        case (("task" | "attempt"), [("plan" | "fetch" | "synthesize") as kind, round_, index, attempt]):
            return box, _number(round_), _number(index), _number(attempt), kind, ""
        case (("fetch" | "extension"), [round_, index]):
            return box, _number(round_), _number(index), 0, None, ""
        case "vote", [round_, voter] if _VOTER.fullmatch(voter):
            return "vote", _number(round_), 0, 0, None, voter
        case (("plan" | "hold" | "decision" | "synthesis"), [round_]):
            return box, _number(round_), 0, 0, None, ""
        case _:
            return None


def _number(text: str) -> int:
    """Parse a number as `Slot.subject` writes it. Raises `ValueError`, also for `01`: a slot has only one subject."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or (text[0] == "0" and text != "0"):
        raise ValueError(text)
    return int(text)
