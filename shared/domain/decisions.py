"""Contract messages judged: what each one fills, or why it is refused. Pure, and the same for NATS and HTTP.

Every message ends in exactly one place: a box of its run, `research.invalid.<seq>`, or nowhere because it
says again what is already recorded. So it may be judged as often as it takes.
"""

from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Final, Literal

from msgspec import Struct

from shared.contracts import envelope, requests, traces
from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    Decision,
    DecisionApproved,
    DecisionRejected,
    DecisionRevised,
    RequestRefused,
    RunAccepted,
    RunCompleted,
    Via,
    VoteCast,
)
from shared.contracts.messages import Message
from shared.contracts.requests import AuthenticatedRequest, Request, Revision, Ruling
from shared.contracts.subjects import APPROVED, ASKED, CANCELLED, REJECTED, REQUESTED, Slot, is_reserved
from shared.domain import fork
from shared.domain.approval import (
    ANY_APPROVAL,
    ApprovalRules,
    approval_objection,
    rules_of_hold,
    verified_identity,
    voter_token,
)
from shared.domain.budget import WriterPricing, cost_limit, is_affordable, with_usage
from shared.domain.judgement import (
    Accept,
    Duplicate,
    Judgement,
    Reject,
    describe_winner,
    reject_auto_approval,
    reject_late,
    reject_stale_digest,
)
from shared.domain.owed import decided_findings
from shared.domain.run import Run
from shared.errors import InvalidMessage

Verb = Literal["approve", "reject", "revise", "cancel"]
VERBS: Final[dict[str, Verb]] = {APPROVED: "approve", REJECTED: "reject", CANCELLED: "cancel"}


class Defaults(Struct, frozen=True):
    """What a request gets that does not say."""

    approval_timeout_s: float = 7_200.0
    digest_required: bool = False
    rounds: int = 5
    writer: WriterPricing | None = None
    """What a hold is priced with; `None` where no model writes."""
    rules: ApprovalRules = ANY_APPROVAL


class Inbound(Struct, frozen=True):
    """A contract message that could be read: the run it is about, and what it says."""

    seq: int
    time: datetime
    run: str
    content: Request | Ruling
    verb: Verb | None = None
    traceparent: str | None = None
    auth: str = "nats"
    """How whoever says it signed in."""

    @property
    def trace(self) -> str:
        """The publisher's trace, else one that follows from the message, so that it is the same again."""
        if self.traceparent and traces.parse_traceparent(self.traceparent):
            return self.traceparent
        return traces.derive_traceparent(self.run, self.seq)

    @property
    def forks(self) -> str | None:
        """The run that this is to do over."""
        return self.content.fork.run_id if isinstance(self.content, Request) and self.content.fork else None


def parse_inbound(message: Message, *, used: int = 0) -> Inbound | RequestRefused:
    """What a contract message says, or its refusal.

    Sequences up to `used` may have been given to other messages, before the log was truncated.
    """
    try:
        unwrapped = envelope.unwrap(message.headers, message.data)
        if message.subject in (REQUESTED, ASKED):
            asked = _asked(message.subject, unwrapped.data)
            request = asked.request
            msg_id = {name.lower(): value for name, value in message.headers.items()}.get("nats-msg-id")
            run = requests.run_id_of(request, msg_id=msg_id, seq=message.seq)
            if is_reserved(run) and message.seq <= used:
                run = _distinct(run, message)
            return Inbound(message.seq, message.time, run, request, traceparent=unwrapped.traceparent, auth=asked.auth)
        ruling = requests.parse_ruling(unwrapped.data)
        return Inbound(message.seq, message.time, ruling.run_id, ruling, VERBS[message.subject])
    except InvalidMessage as error:
        return refusal_fact(message.subject, message.seq, None, Reject(error.code, error.message, error.field))


def _distinct(run: str, message: Message) -> str:
    """An id for the run of this message alone, where `r<sequence>` may be the id of another run.

    It follows from the stored message, so that it is the same for every coordinator, whenever it reads it.
    """
    stored = f"{message.time.isoformat()} ".encode() + message.data
    return f"{run}-{sha256(stored).hexdigest()[:16]}"


def _asked(subject: str, data: bytes) -> AuthenticatedRequest:
    """A request and how its sender signed in, which only a coordinator can say."""
    return (
        requests.parse_authenticated_request(data)
        if subject == ASKED
        else AuthenticatedRequest(request=requests.parse_request(data), auth="nats")
    )


def refusal_fact(subject: str, seq: int, run: str | None, why: Reject) -> RequestRefused:
    """The fact that says so on `research.invalid.<seq>`."""
    return RequestRefused(seq=seq, subject=subject, run_id=run, field=why.field, error=Failure(why.code, why.message))


def decide_inbound(inbound: Inbound, run: Run | None, defaults: Defaults, *, source: Run | None = None) -> Judgement:
    """What follows from a message for its run, as far as that is known (`None`: not at all).

    `source` is the run that it forks, where it does.
    """
    match inbound.content:
        case Request():
            return _judge_request(inbound, inbound.content, run, defaults, source)
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
    """Whether what a message says is recorded already."""
    if isinstance(inbound.content, Ruling):
        return _is_recorded(run, inbound.seq)
    return bool(run.accepted and run.accepted.fact.request_sha256 == inbound.content.content_sha256)


def _judge_request(
    inbound: Inbound, request: Request, run: Run | None, defaults: Defaults, source: Run | None
) -> Judgement:
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
        fact = _accepted(request, inbound, defaults)
    return reject_auto_approval(fact.approval, defaults.rules) or Accept(Slot(inbound.run, "accepted"), fact)


def _accepted(request: Request, inbound: Inbound, defaults: Defaults) -> RunAccepted:
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


def decide_ruling(
    verb: Verb,
    ruling: Ruling,
    run: Run | None,
    *,
    at: datetime,
    via: Via,
    message_seq: int | None = None,
    digest_required: bool = False,
    rounds: int = 5,
    auth: str = "",
    rules: ApprovalRules = ANY_APPROVAL,
) -> Judgement:
    """What follows from a person's word on a run, given at `at`. To revise takes a `Revision`."""
    if run is None or run.accepted is None:
        return Reject("unknown_run", f"There is no run {ruling.run_id}.", "run_id")
    if _is_recorded(run, message_seq):
        return Duplicate()
    if run.completed:
        return Reject("decided", f"Run {run.id} has ended: {describe_winner(run)}.")
    if verb == "cancel":
        return _cancelled(run, ruling, message_seq, auth)
    if run.current.decision:
        return Reject("decided", f"Run {run.id} is decided: {describe_winner(run)}.")
    return (
        _unheld(run, message_seq)
        or _untimely(run, ruling, at, digest_required)
        or _overdone(verb, run, ruling)
        or (_too_dear(run, ruling) if verb == "approve" else None)
        or (_not_revisable(run, ruling, rounds) if isinstance(ruling, Revision) else None)
        or (_unfit(run, ruling, auth, rules) if verb == "approve" else None)
        or _taken(run, _decision(verb, ruling, run, via, message_seq, auth), rules)
    )


def _unfit(run: Run, ruling: Ruling, auth: str, rules: ApprovalRules) -> Reject | None:
    """Why this is not the person whose approval counts."""
    why = approval_objection(run, ruling.by, auth, rules)
    return Reject(*why) if why else None


def _taken(run: Run, decision: Decision, rules: ApprovalRules) -> Accept:
    """The decision in its box; an approval of which more are needed, in the box of whoever gave it."""
    hold = run.current.hold.fact if run.current.hold else None
    if not isinstance(decision, DecisionApproved) or hold is None or hold.quorum == 1:
        return Accept(Slot(run.id, "decision", run.round), decision)
    who = verified_identity(decision.by, decision.auth, trusts_nats=rules_of_hold(hold, rules).trusts_nats)
    assert who
    vote = VoteCast(
        by=decision.by,
        via=decision.via,
        comment=decision.comment,
        digest=decision.digest,
        message_seq=decision.message_seq,
        auth=decision.auth,
        exclude=decision.exclude,
        max_cost_usd=decision.max_cost_usd,
    )
    return Accept(Slot(run.id, "vote", run.round, voter=voter_token(who)), vote)


def _is_recorded(run: Run, message_seq: int | None) -> bool:
    decisions = [round_.decision.fact.message_seq for round_ in run.rounds.values() if round_.decision]
    votes = [vote.fact.message_seq for round_ in run.rounds.values() for vote in round_.votes.values()]
    ended = run.completed.fact.message_seq if run.completed else None
    return message_seq is not None and message_seq in (*decisions, *votes, ended)


def _unheld(run: Run, message_seq: int | None) -> Reject | None:
    """Why a decision is too early for a later round: it was said before there was anything new to decide on."""
    hold = run.current.hold
    if run.round == 1 or (hold and (message_seq is None or message_seq > hold.seq)):
        return None
    if hold:
        return Reject("not_held", f"Round {run.round} of run {run.id} was not on hold yet when this was said.")
    return Reject("not_held", f"Round {run.round} of run {run.id} is not on hold yet; it is {run.status}.")


def _untimely(run: Run, ruling: Ruling, at: datetime, digest_required: bool) -> Reject | None:
    """Why a decision cannot be taken now: too late, or on other evidence."""
    if late := reject_late(run, at):
        return late
    if ruling.digest is None and digest_required:
        return Reject("digest_required", "Decisions must name the digest of the evidence they are on.", "digest")
    return reject_stale_digest(run, ruling.digest)


def _overdone(verb: Verb, run: Run, ruling: Ruling) -> Reject | None:
    """Why these sources cannot be excluded: one is not in the evidence, or none would be left to write from."""
    if run.current.hold is None:
        return None
    known = {source.sha256 for finding in run.findings() for source in finding.sources}
    if strangers := set(ruling.exclude) - known:
        return Reject("unknown_source", f"exclude: {min(strangers)} is no source of run {run.id}.", "exclude")
    kept = {source.sha256 for finding in decided_findings(run) for source in finding.sources}
    if (verb == "approve" or (verb == "reject" and ruling.exclude)) and not kept - set(ruling.exclude):
        text = f"exclude: no source of run {run.id} is left to write from; reject it, or send it back for more."
        return Reject("nothing_left", text, "exclude")
    return None


def _too_dear(run: Run, ruling: Ruling) -> Reject | None:
    """Why the report may not be written for what the run may cost, and what to do."""
    hold = run.current.hold.fact if run.current.hold else None
    most = cost_limit(run) if ruling.max_cost_usd is None else ruling.max_cost_usd
    if hold is None or hold.estimate is None or is_affordable(hold, most):
        return None
    about, cost = hold.estimate, hold.estimate.cost_usd
    if cost is None:
        if ruling.max_cost_usd is not None:
            return None
        text = f"max_cost_usd: no price is known for {about.model}, so ${most:.4f} cannot be kept; approve with "
        return Reject("over_budget", f"{text}max_cost_usd to have run {run.id} written at any price.", "max_cost_usd")
    text = f"max_cost_usd: writing run {run.id} could cost ${cost:.4f} after ${hold.spent_usd:.4f} so far, and "
    enough = ceil((hold.spent_usd + cost) * 10_000) / 10_000
    text += f"${most:.4f} is its limit; approve with a max_cost_usd of {enough:.4f} or more, or reject it."
    return Reject("over_budget", text, "max_cost_usd")


def _not_revisable(run: Run, revision: Revision, rounds: int) -> Reject | None:
    """Why the run cannot be sent back so."""
    if run.current.hold is None:
        return Reject("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
    if run.round >= rounds:
        text = f"Round {run.round} of run {run.id} is its last; approve or reject it."
        return Reject("last_round", text)
    asked = {query for number in run.rounds for query in run.queries(number)}
    if strangers := set(revision.queries_drop) - asked:
        text = f"queries_drop: {min(strangers)!r} is no sub-query of run {run.id}."
        return Reject("unknown_query", text, "queries_drop")
    return None


def _decision(verb: Verb, ruling: Ruling, run: Run, via: Via, message_seq: int | None, auth: str) -> Decision:
    digest = run.current.hold.fact.digest if run.current.hold else None
    if verb == "reject":
        return DecisionRejected(
            by=ruling.by, via=via, comment=ruling.comment, digest=digest, message_seq=message_seq, auth=auth
        )
    if isinstance(ruling, Revision):
        return DecisionRevised(
            by=ruling.by,
            via=via,
            comment=ruling.comment,
            digest=digest,
            message_seq=message_seq,
            auth=auth,
            feedback=ruling.feedback,
            exclude=ruling.exclude,
            queries_add=ruling.queries_add,
            queries_drop=ruling.queries_drop,
            max_cost_usd=ruling.max_cost_usd,
        )
    return DecisionApproved(
        by=ruling.by,
        via=via,
        comment=ruling.comment,
        digest=digest,
        message_seq=message_seq,
        auth=auth,
        exclude=ruling.exclude,
        max_cost_usd=ruling.max_cost_usd,
    )


def _cancelled(run: Run, ruling: Ruling, message_seq: int | None, auth: str) -> Accept:
    fact = RunCompleted(
        run_id=run.id,
        ok=False,
        outcome="cancelled",
        reason=ruling.comment or f"Cancelled by {ruling.by}.",
        by=ruling.by,
        message_seq=message_seq,
        auth=auth,
    )
    return Accept(Slot(run.id, "completed"), with_usage(fact, run))


def decision_deadline(run: Run) -> datetime | None:
    """Until when the run waits for a decision; `None` where it does not."""
    return run.current.deadline if run.status == "hold" else None
