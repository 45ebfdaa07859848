"""Every stream, consumer and subject name, and the slots of a run.

A *slot* is the write-once place of one thing that happens in a run. It is one subject,
`research.run.<run>.<box>…`; a `Slot` is that subject taken apart.
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
"""What is judged; each message ends in a fact or in `research.invalid.<seq>`. Others may publish all but `ASKED`."""

INVALID = "research.invalid"
RUN = "research.run"
LEAD = "research.lead"
LOG_TRUNCATED = "research.log.truncated"
LOG_PADDING = "research.log.padding"
"""Empty messages that follow a truncation, so that no sequence is given twice."""
LIVE_CANCELLED = "live.*.cancelled"
"""Core NATS, not stored: a hint to workers that a run has no more use for their work."""
LIVE_WRITING = "live.*.writing"
"""Core NATS, not stored: what is written of a report so far, for whoever watches its page."""

RESEARCH_SUBJECTS = (*INBOUND, f"{INVALID}.*", f"{RUN}.>", LEAD, f"{LOG_TRUNCATED}.*", LOG_PADDING)
COMPLETED_SLOTS = f"{RUN}.*.completed"
COORDINATOR_LEAD: Final = "lead"
"""The durable consumer of `research.lead`: its one delivery is the leadership."""

Kind = Literal["plan", "fetch", "synthesize"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Box = Literal[
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
_BOXES: Final = get_args(Box)

ACCESS_SECRET = "access.secret"  # noqa: S105  a subject
ACCESS_SUBJECTS = ("access.key.*.*", ACCESS_SECRET)

_RUN_DOT = f"{RUN}."
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED = re.compile(r"r[0-9]+")
_VOTER = re.compile(r"[0-9a-f]{32}")
_OUTCOME: dict[Kind, Box] = {"plan": "plan", "fetch": "fetch", "synthesize": "synthesis"}


@lru_cache(maxsize=4_096)
def is_token(text: str) -> bool:
    """Whether `text` can name a run: 1 to 64 of A–Z, a–z, 0–9, `_` and `-`."""
    return TOKEN.fullmatch(text) is not None


def is_reserved(run: str) -> bool:
    """Whether `run` has the form that only the log may give: `r` and digits."""
    return _RESERVED.fullmatch(run) is not None


def task_filter(kind: Kind) -> str:
    """The subjects of all tasks of a kind; the durable consumer that hands them out is named like the kind."""
    return f"{RUN}.*.task.{kind}.>"


def outcome_subjects(kind: Kind) -> str:
    """The subjects of the outcomes of all tasks of a kind: what its workers write."""
    box = _OUTCOME[kind]
    return f"{RUN}.*.{box}.*" + (".*" if box == "fetch" else "")


def attempt_subjects(kind: Kind) -> str:
    """The subjects of all attempts of a kind that failed: what its workers write besides."""
    return f"{RUN}.*.attempt.{kind}.*.*.*"


def invalid(seq: int) -> str:
    """Where the refusal of the contract message at stream sequence `seq` is written, once."""
    return f"{INVALID}.{seq}"


def refused_seq(subject: str) -> int | None:
    """The sequence of the contract message that a message on this subject refuses; `None` where it refuses none."""
    return _sequence_after(INVALID, subject)


def log_truncated(last_seq: int) -> str:
    """Where it is recorded that the log was truncated and sequences up to `last_seq` may have been given before."""
    return f"{LOG_TRUNCATED}.{last_seq}"


def truncated_seq(subject: str) -> int | None:
    """The last sequence that may have been given before a truncation; `None` for a subject that records none."""
    return _sequence_after(LOG_TRUNCATED, subject)


def _sequence_after(expected: str, subject: str) -> int | None:
    prefix, _, seq = subject.rpartition(".")
    return int(seq) if prefix == expected and seq.isascii() and seq.isdigit() and len(seq) < 20 else None


def evidence(sha256: str, chunk: int) -> str:
    """Where chunk `chunk` (from 0) of the frozen text with this SHA-256 (hex) is stored."""
    return f"evidence.{sha256}.{chunk}"


def key_created(key: str) -> str:
    """Where the key with this id is recorded, once."""
    return f"access.key.{key}.created"


def key_revoked(key: str) -> str:
    """Where it is recorded that the key with this id opens nothing any more."""
    return f"access.key.{key}.revoked"


def live_cancelled(run: str) -> str:
    """Where the hint is published that `run` was cancelled."""
    return f"live.{run}.cancelled"


def live_writing(run: str) -> str:
    """Where the hint is published of what is written so far of the report of `run`: `{"text"}`."""
    return f"live.{run}.writing"


class Slot(Struct, frozen=True):
    """One write-once place of one run. Fields that a box does not use are 0 or `None`.

    `index` counts fetches from 0 and extensions of a hold from 1.
    """

    run: str
    box: Box
    round: int = 0
    index: int = 0
    attempt: int = 0
    kind: Kind | None = None
    voter: str = ""
    """Of a vote: 32 hex digits of the hash of who cast it."""
    other: str = ""
    """The path of a box that this release does not have: a newer one does, and what is in it may matter."""

    @property
    def path(self) -> str:
        """The slot's name within its run, as in `task.fetch.1.0.2`."""
        match self.box:
            case "accepted" | "completed":
                return self.box
            case "task" | "attempt":
                return f"{self.box}.{self.kind}.{self.round}.{self.index}.{self.attempt}"
            case "fetch" | "extension":
                return f"{self.box}.{self.round}.{self.index}"
            case "vote":
                return f"vote.{self.round}.{self.voter}"
            case "plan" | "hold" | "decision" | "synthesis":
                return f"{self.box}.{self.round}"
            case "other":
                return self.other

    @property
    def subject(self) -> str:
        """The subject that is this slot."""
        return f"{RUN}.{self.run}.{self.path}"


class Step(Struct, frozen=True):
    """One piece of work of a run: its kind, round (from 1) and index within the round (from 0)."""

    run: str
    kind: Kind
    round: int
    index: int = 0

    def task(self, attempt: int) -> Slot:
        """Where attempt `attempt` (from 1) of this step is asked for."""
        return Slot(self.run, "task", self.round, self.index, attempt, self.kind)

    def attempt(self, attempt: int) -> Slot:
        """Where the failure of attempt `attempt` is recorded."""
        return Slot(self.run, "attempt", self.round, self.index, attempt, self.kind)

    @property
    def outcome(self) -> Slot:
        """Where what this step brings is recorded, success or failure."""
        return Slot(self.run, _OUTCOME[self.kind], self.round, self.index)


def parse_slot(subject: str) -> Slot | None:
    """The slot that a subject names, or `None` where it names none."""
    if not subject.startswith(_RUN_DOT):
        return None
    run, _, path = subject[len(_RUN_DOT) :].partition(".")
    if not is_token(run):
        return None
    if place := _place(path):
        return Slot(run, *place)
    return Slot(run, "other", other=path) if path.partition(".")[0] not in ("", *_BOXES) else None


_Place = tuple[Box, int, int, int, Kind | None, str]


@lru_cache(maxsize=4_096)
def _place(path: str) -> _Place | None:
    """What a path names within any run; all runs have the same few."""
    box, *rest = path.split(".")
    try:
        return _placed(box, rest)
    except ValueError:
        return None


def _placed(box: str, rest: list[str]) -> _Place | None:
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
    """A number as `Slot.subject` writes it. `01` would be a second subject for one box, and is refused."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or (text[0] == "0" and text != "0"):
        raise ValueError(text)
    return int(text)
