"""The contract messages that clients publish, parsed and checked.

`research.requested` asks a question; `research.approved`, `.rejected` and `.cancelled` decide.

Unknown fields are refused by name: `"aproval": "auto"` is more likely a misspelling than a field to ignore.
"""

import re
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from shared.contracts.facts import Approval
from shared.contracts.forks import MAX_QUERIES, MAX_QUERY, Fork
from shared.contracts.subjects import is_reserved, is_token
from shared.errors import InvalidMessage

MAX_QUESTION: Final = 8_000
"""Characters."""
MAX_TIMEOUT_S: Final = 366 * 86_400.0
MAX_FEEDBACK: Final = 4_000
"""Characters."""
MAX_ADDED: Final = 5
_MAX_COMMENT: Final = 8_000
_SEARCHABLE: Final = re.compile(r"[^\W_]")
_LONGEST_REASON: Final = 300
_BESIDE_A_FORK: Final = {"fork", "run_id", "requested_by"}

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The data of `research.requested`: a question, or a fork of another run.

    With `fork`, only `run_id` and `requested_by` are allowed beside it; every change to the run is a field of `fork`.
    """

    q: str = ""
    """The question, at most 8,000 characters."""
    run_id: str | None = None
    """The id of the run: 1 to 64 of A–Z, a–z, 0–9, `_` and `-`, but not `r` and digits."""
    approval: Approval = "required"
    """`auto` approves the first round without a person."""
    approval_timeout: str | None = None
    """Time that a hold waits, as in `90m`; without it, `DOSSIER_APPROVAL_TIMEOUT`."""
    max_cost_usd: float | None = None
    """US dollars that the run may cost at most; `null` for no limit."""
    tools: tuple[str, ...] = ()
    """The search tools to use; empty for all that the operator allows."""
    requested_by: str = ""
    """The name of the requester."""
    fork: Fork | None = None
    """The run to repeat, and the changes."""

    @property
    def content_sha256(self) -> str:
        """SHA-256 (hex) of the request without its `run_id`. Equal hashes mean a repeated request."""
        return sha256(msgspec.json.encode(msgspec.structs.replace(self, run_id=None))).hexdigest()


class AuthenticatedRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data of `research.asked`: a request that came over HTTP, and how its `requested_by` signed in."""

    request: Request
    auth: str


class Ruling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The data of `research.approved`, `.rejected` and `.cancelled`: a decision of a person on a run."""

    run_id: str
    by: str
    """The name of the person who decides."""
    comment: str = ""
    digest: str | None = None
    """The digest of the evidence that was decided on; the decision is refused if the evidence is another."""
    exclude: tuple[str, ...] = ()
    """SHA-256 (hex) of sources to leave out; with an approval."""
    max_cost_usd: float | None = None
    """The new limit of the run's cost; with an approval."""


class Revision(Ruling, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A hold sent back for another round. It comes over HTTP alone: no subject carries it."""

    feedback: str
    queries_add: tuple[str, ...] = ()
    queries_drop: tuple[str, ...] = ()


class Extension(Struct, frozen=True, kw_only=True):
    """More time for a hold, until `deadline`. It comes over HTTP alone: no subject carries it."""

    run_id: str
    by: str
    deadline: datetime
    comment: str = ""
    digest: str | None = None


def parse_duration_s(text: str, field: str = "approval_timeout") -> float:
    """Return the seconds of a duration such as `"3s"`, `"1h30m"` or `"14d"`.

    Raises `InvalidMessage` for another form, and for less than 1 second or more than 366 days. `field` names it there.
    """
    if not _DURATION.fullmatch(text):
        raise _invalid(field, f"{text[:40]!r} is no duration; write it as in 90s, 30m, 2h, 14d or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if not 1 <= seconds <= MAX_TIMEOUT_S:
        raise _invalid(field, f"{text[:40]!r} is not between 1 second and 366 days")
    return seconds


def parse_request(data: bytes) -> Request:
    """Decode and check a request. Raises `InvalidMessage` with the field and the reason.

    Beside `fork`, only `run_id` and `requested_by` are accepted.
    """
    request = _decode(data, Request)
    if request.fork and (astray := msgspec.json.decode(data, type=dict[str, Raw]).keys() - _BESIDE_A_FORK):
        raise _invalid(min(astray), "it has no effect beside a fork; put it into the field fork")
    check_request(request)
    return request


def parse_authenticated_request(data: bytes) -> AuthenticatedRequest:
    """Decode and check the data of `research.asked`. Raises `InvalidMessage`."""
    asked = _decode(data, AuthenticatedRequest)
    check_request(asked.request)
    return asked


def check_request(request: Request) -> None:
    """Raise `InvalidMessage` if a request of the right types has a value that cannot be run."""
    if request.run_id is not None:
        _check_run_id(request.run_id)
    if request.fork:
        _check_fork(request.fork)
    else:
        _check_options(request)


def _check_options(wishes: Request | Fork, prefix: str = "") -> None:
    """Raise `InvalidMessage` for a bad question, approval time, cost limit or tool name. `prefix` begins the field's
    path.
    """
    if wishes.q is not None:
        _check_question(wishes.q, f"{prefix}q")
    if wishes.approval_timeout is not None:
        parse_duration_s(wishes.approval_timeout, f"{prefix}approval_timeout")
    _check_cost(wishes.max_cost_usd, f"{prefix}max_cost_usd")
    for tool in wishes.tools or ():
        if not is_token(tool):
            raise _invalid(f"{prefix}tools", f"{tool[:80]!r} is no name of a tool")


def _check_question(q: str, field: str) -> None:
    """Raise `InvalidMessage` if the question is blank or longer than `MAX_QUESTION`."""
    if not q.strip():
        raise _invalid(field, "it is required and cannot be empty")
    if len(q) > MAX_QUESTION:
        raise _invalid(field, f"the question has {len(q):,} characters; at most {MAX_QUESTION:,} are taken")


def _check_fork(fork: Fork) -> None:
    """Raise `InvalidMessage` for faults of a fork that show without the run that is forked."""
    if not is_token(fork.run_id):
        raise _invalid("fork.run_id", f"{fork.run_id[:80]!r} is no run id")
    _check_options(fork, "fork.")
    for name, queries in (("replace", fork.replace.values()), ("add", fork.add)):
        if len(queries) > MAX_QUERIES:
            raise _invalid(f"fork.{name}", f"at most {MAX_QUERIES} sub-queries are taken")
        if not all(0 < len(query.strip()) <= MAX_QUERY for query in queries):
            raise _invalid(f"fork.{name}", f"a sub-query has 1 to {MAX_QUERY:,} characters")


def _check_run_id(run: str) -> None:
    """Raise `InvalidMessage` if `run` is no token or is reserved for runs without an id."""
    if not is_token(run):
        raise _invalid("run_id", f"{run[:80]!r} is no run id: 1 to 64 of A–Z, a–z, 0–9, _ and - are")
    if is_reserved(run):
        raise _invalid("run_id", f"{run!r} is reserved: r and digits is what Dossier calls runs that have no id")


def parse_ruling(data: bytes) -> Ruling:
    """Decode a decision and check it as far as possible without its run. Raises `InvalidMessage`."""
    ruling = _decode(data, Ruling)
    if not is_token(ruling.run_id):
        raise _invalid("run_id", f"{ruling.run_id[:80]!r} is no run id")
    if not ruling.by.strip():
        raise _invalid("by", "it is required and cannot be blank")
    if len(ruling.comment) > _MAX_COMMENT:
        raise _invalid("comment", f"it has {len(ruling.comment):,} characters; at most {_MAX_COMMENT:,} are taken")
    _check_cost(ruling.max_cost_usd)
    return ruling


def check_revision(revision: Revision) -> None:
    """Raise `InvalidMessage` if a revision has no feedback, or too long, too many, blank or repeated sub-queries."""
    if not revision.feedback.strip():
        raise _invalid("feedback", "it is required: the next round needs it")
    if len(revision.feedback) > MAX_FEEDBACK:
        raise _invalid("feedback", f"it has {len(revision.feedback):,} characters; at most {MAX_FEEDBACK:,} are taken")
    if len(revision.queries_add) > MAX_ADDED:
        raise _invalid("queries_add", f"there are {len(revision.queries_add)}; at most {MAX_ADDED} are taken")
    for query in revision.queries_add:
        if not _SEARCHABLE.search(query) or len(query) > MAX_QUERY:
            raise _invalid(
                "queries_add", f"{query[:80]!r} is no sub-query: it must have words, and {MAX_QUERY} characters"
            )
    if len(set(revision.queries_add)) < len(revision.queries_add):
        raise _invalid("queries_add", "one of them is there twice")


def _check_cost(usd: float | None, field: str = "max_cost_usd") -> None:
    """Raise `InvalidMessage` if a cost limit is set and is not a positive finite number."""
    if usd is not None and not 0 < usd < float("inf"):
        raise _invalid(field, "it must be more than 0")


def run_id_of(request: Request, *, msg_id: str | None, seq: int) -> str:
    """Return the run id of a request: its own, else from its `Nats-Msg-Id`, else `r<seq>` by its sequence. Never
    random.
    """
    if request.run_id is not None:
        return request.run_id
    if not msg_id:
        return f"r{seq}"
    return run_id_of_key(msg_id)


def run_id_of_key(key: str) -> str:
    """Return the run id for an idempotency key or `Nats-Msg-Id`: the key if it is a valid run id, else `m` and 32 hex
    digits.
    """
    if is_token(key) and not is_reserved(key):
        return key
    return f"m{sha256(key.encode()).hexdigest()[:32]}"


_Message = TypeVar("_Message", Request, AuthenticatedRequest, Ruling)


def _decode(data: bytes, type_: type[_Message]) -> _Message:
    """Decode JSON of `type_`. Raises `InvalidMessage`: code `not_json`, or `invalid_field` with the field."""
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError as error:
        raise _from_msgspec(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("not_json", f"The message is not JSON: {error}.") from error


_NAMED: Final = re.compile(r"field `(?P<field>[^`]+)`")
_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def _from_msgspec(text: str) -> InvalidMessage:
    """Return `InvalidMessage` for msgspec's error text; it names the field by its path."""
    path = _PATH.search(text)
    field = path["path"] if path else ""
    if named := _NAMED.search(text):
        missing = text.startswith("Object missing")
        field = f"{field}.{named['field']}" if field else named["field"]
        return _invalid(field, "it is required" if missing else "there is no such field")
    reason = _PATH.sub("", text).replace("`", "")
    return _invalid(field, reason[:1].lower() + reason[1:])


def _invalid(field: str, reason: str) -> InvalidMessage:
    """Return `InvalidMessage` with code `invalid_field`. Field and reason are cut to `_LONGEST_REASON`."""
    return InvalidMessage("invalid_field", f"{_short(field) or 'The message'}: {_short(reason)}.", field=_short(field))


def _short(text: str) -> str:
    """Return `text`, cut to `_LONGEST_REASON` characters and `…`."""
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
