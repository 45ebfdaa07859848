"""Contract messages of the log: read, and decided on for their run. Pure.

A message ends in one of three places: a slot of its run, `research.invalid.<seq>`, or nowhere, because it is recorded
already. So it may be decided on any number of times.
"""

from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts import envelope, requests, traces
from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    RequestRefused,
    RunAccepted,
)
from shared.contracts.messages import Message
from shared.contracts.requests import AuthenticatedRequest, Request, Ruling
from shared.contracts.subjects import APPROVED, ASKED, CANCELLED, REJECTED, REQUESTED, Slot, is_reserved
from shared.domain import fork
from shared.domain.approval import (
    ANY_APPROVAL,
    ApprovalRules,
)
from shared.domain.budget import WriterPricing
from shared.domain.decisions import Verb, decide_ruling, is_ruling_recorded
from shared.domain.judgement import (
    Accept,
    Duplicate,
    Judgement,
    Reject,
    reject_auto_approval,
)
from shared.domain.run import Run
from shared.errors import InvalidMessage

VERBS: Final[dict[str, Verb]] = {APPROVED: "approve", REJECTED: "reject", CANCELLED: "cancel"}


class Defaults(Struct, frozen=True):
    """Values for fields that a request leaves out, and the rules under which messages are decided on."""

    approval_timeout_s: float = 7_200.0
    digest_required: bool = False
    rounds: int = 5
    writer: WriterPricing | None = None
    """Model that prices the report of a hold; `None` if no model writes."""
    rules: ApprovalRules = ANY_APPROVAL


class Inbound(Struct, frozen=True):
    """A readable contract message: its run, and the request or ruling in it. `verb` is `None` for a request."""

    seq: int
    time: datetime
    run: str
    content: Request | Ruling
    verb: Verb | None = None
    traceparent: str | None = None
    auth: str = "nats"
    """Method by which the sender signed in, as facts record it."""

    @property
    def trace(self) -> str:
        """The publisher's traceparent if it is valid, else one derived from run and sequence."""
        if self.traceparent and traces.parse_traceparent(self.traceparent):
            return self.traceparent
        return traces.derive_traceparent(self.run, self.seq)

    @property
    def forks(self) -> str | None:
        """Id of the run that a request forks, or `None`."""
        return self.content.fork.run_id if isinstance(self.content, Request) and self.content.fork else None


def parse_inbound(message: Message, *, used: int = 0) -> Inbound | RequestRefused:
    """Read a contract message, or the fact that refuses it if it breaks the contract.

    Sequences up to `used` may have been given to other messages before the log was truncated; an id derived from one of
    them is made distinct.
    """
    try:
        unwrapped = envelope.unwrap(message.headers, message.data)
        if message.subject in (REQUESTED, ASKED):
            asked = _asked(message.subject, unwrapped.data)
            request = asked.request
            msg_id = {name.lower(): value for name, value in message.headers.items()}.get("nats-msg-id")
            run = requests.run_id_of(request, msg_id=msg_id, seq=message.seq)
            if is_reserved(run) and message.seq <= used:
                run = _unique_run_id(run, message)
            return Inbound(message.seq, message.time, run, request, traceparent=unwrapped.traceparent, auth=asked.auth)
        ruling = requests.parse_ruling(unwrapped.data)
        return Inbound(message.seq, message.time, ruling.run_id, ruling, VERBS[message.subject])
    except InvalidMessage as error:
        return refusal_fact(message.subject, message.seq, None, Reject(error.code, error.message, error.field))


def _unique_run_id(run: str, message: Message) -> str:
    """Run id with a hash of the stored message, where `r<sequence>` may be the id of another run.

    It depends on the stored message alone, so every coordinator derives the same.
    """
    stored = f"{message.time.isoformat()} ".encode() + message.data
    return f"{run}-{sha256(stored).hexdigest()[:16]}"


def _asked(subject: str, data: bytes) -> AuthenticatedRequest:
    """Request with its sender's sign-in, which only a coordinator may set: on any other subject it is `nats`.

    Raises `InvalidMessage`.
    """
    return (
        requests.parse_authenticated_request(data)
        if subject == ASKED
        else AuthenticatedRequest(request=requests.parse_request(data), auth="nats")
    )


def refusal_fact(subject: str, seq: int, run: str | None, why: Reject) -> RequestRefused:
    """Fact for `research.invalid.<seq>` that refuses the message at `seq`. `run` is `None` if it names none."""
    return RequestRefused(seq=seq, subject=subject, run_id=run, field=why.field, error=Failure(why.code, why.message))


def decide_inbound(inbound: Inbound, run: Run | None, defaults: Defaults, *, source: Run | None = None) -> Judgement:
    """Decide on a message for its run; `run` is `None` if no fact of it is known.

    `source` is the run that a fork reuses. Accept, Reject, or Duplicate if it is recorded already.
    """
    match inbound.content:
        case Request():
            return _decide_request(inbound, inbound.content, run, defaults, source)
        case Ruling():
            assert inbound.verb
            return decide_ruling(
                inbound.verb,
                inbound.content,
                run,
                at=inbound.time,
                via="nats",
                message_seq=inbound.seq,
                digest_required=defaults.digest_required,
                rounds=defaults.rounds,
                auth=inbound.auth,
                rules=defaults.rules,
            )


def is_recorded(inbound: Inbound, run: Run) -> bool:
    """Return True if the message is recorded in the run: the request by its content, a ruling by its sequence."""
    if isinstance(inbound.content, Ruling):
        return is_ruling_recorded(run, inbound.seq)
    return bool(run.accepted and run.accepted.fact.request_sha256 == inbound.content.content_sha256)


def _decide_request(
    inbound: Inbound, request: Request, run: Run | None, defaults: Defaults, source: Run | None
) -> Judgement:
    """Accept a request as the run's first fact, Duplicate if the run has it, or Reject.

    Rejected: another request for the same run (`clash`), a fork that `source` does not allow, and `approval: auto`
    under rules that forbid it.
    """
    if run and is_recorded(inbound, run):
        return Duplicate()
    if run and run.accepted:
        text = f"Run {inbound.run} exists and asks something else; give this request another run_id."
        return Reject("clash", text, "run_id")
    if request.fork:
        forked = fork.resolve_fork(request.fork, source)
        if isinstance(forked, Reject):
            return forked
        assert source
        assert source.accepted
        fact = fork.accept_fork(request, forked, source.accepted.fact, seq=inbound.seq, auth=inbound.auth)
    else:
        fact = _accepted_fact(request, inbound, defaults)
    return reject_auto_approval(fact.approval, defaults.rules) or Accept(Slot(inbound.run, "accepted"), fact)


def _accepted_fact(request: Request, inbound: Inbound, defaults: Defaults) -> RunAccepted:
    """The first fact of a run: the request with defaults filled in."""
    timeout = requests.parse_duration_s(request.approval_timeout) if request.approval_timeout else None
    return RunAccepted(
        q=request.q,
        request_seq=inbound.seq,
        request_sha256=request.content_sha256,
        approval=request.approval,
        approval_timeout_s=timeout or defaults.approval_timeout_s,
        max_cost_usd=request.max_cost_usd,
        tools=request.tools,
        requested_by=request.requested_by,
        auth=inbound.auth,
    )
