"""Approvals that count: four-eyes, quorum, and the identity behind a name. Pure.

An identity is known by its verification. A key does; a name in a message, or beside the token of the data folder, is
a claim that anyone can make. Where the identity of approvers matters, a name without verification does not count.
"""

from hashlib import sha256
from typing import Final
from unicodedata import normalize

from msgspec import Struct

from shared.contracts.evidence import Finding
from shared.contracts.facts import DecisionApproved, DecisionRejected, HoldOpened, VoteCast
from shared.domain.budget import cost_limit
from shared.domain.run import Entry, Round, Run

LOCAL = "local"
"""In the place of a key's id: the token of the data folder."""


class ApprovalRules(Struct, frozen=True):
    """Demands of an operator on approvals. With `trusts_nats`, names in NATS messages count as verified."""

    quorum: int = 1
    four_eyes: bool = False
    trusts_nats: bool = False

    @property
    def needs_identity(self) -> bool:
        """Return True if an approval needs a verified identity: with a quorum or four eyes."""
        return self.quorum > 1 or self.four_eyes


ANY_APPROVAL: Final = ApprovalRules()
"""Any approval will do."""


def rules_of_hold(hold: HoldOpened, rules: ApprovalRules) -> ApprovalRules:
    """Rules under which this hold is approved: its own quorum and four-eyes, as recorded when it opened."""
    return ApprovalRules(hold.quorum, hold.four_eyes, rules.trusts_nats)


def verified_identity(name: str, auth: str, *, trusts_nats: bool) -> str | None:
    """Identity behind a name, the same for all keys of one name; `None` if nothing verifies it.

    `auth` is the method of sign-in as facts record it: `key:ID`, `session:ID`, `nats` or `local`. The name is compared
    without case and surrounding space.
    """
    how, _, key = auth.partition(":")
    vouched = (how in ("key", "session") and key != LOCAL) or (how == "nats" and trusts_nats)
    return (normalize("NFKC", name).strip().casefold() or None) if vouched else None


def voter_token(who: str) -> str:
    """Last token of the slot for this identity's vote: 32 hex digits."""
    return sha256(who.encode()).hexdigest()[:32]


def approval_objection(run: Run, name: str, auth: str, rules: ApprovalRules) -> tuple[str, str] | None:
    """Code and sentence why an approval by this person cannot count; `None` if it counts.

    Codes: `not_held`, `unidentified`, `requester_unknown`, `four_eyes`, `voted`. Without rules that need an identity,
    any approval counts.
    """
    hold = run.current.hold.fact if run.current.hold else None
    rules = rules_of_hold(hold, rules) if hold else rules
    if not rules.needs_identity:
        return None
    if hold is None:
        return "not_held", f"Run {run.id} is not on hold yet; here an approval counts only on evidence that is there."
    who = verified_identity(name, auth, trusts_nats=rules.trusts_nats)
    if who is None:
        text = f"Approving run {run.id} needs a verified person, and {name!r} is not verified: use a key of your own."
        return "unidentified", text
    return (_four_eyes_objection(run, who, rules) if rules.four_eyes else None) or _repeat_vote_objection(run, who)


def _four_eyes_objection(run: Run, who: str, rules: ApprovalRules) -> tuple[str, str] | None:
    """Objection if the requester's identity is not verified, or is that of the approver."""
    assert run.accepted
    asked = run.accepted.fact
    requester = verified_identity(asked.requested_by, asked.auth, trusts_nats=rules.trusts_nats)
    if requester is None:
        text = (
            f"Run {run.id} cannot be approved: approver and requester must differ, and the requester is not verified."
        )
        return "requester_unknown", f"{text} Reject it, and ask again over HTTP with a key."
    if requester == who:
        return "four_eyes", f"Run {run.id} was asked for by {asked.requested_by}; another person has to approve it."
    return None


def _repeat_vote_objection(run: Run, who: str) -> tuple[str, str] | None:
    """Objection if this identity has voted in the current round."""
    cast = run.current.votes.get(voter_token(who))
    return ("voted", f"{cast.fact.by} has approved run {run.id} already; others have to as well.") if cast else None


def valid_votes(round_: Round) -> list[Entry[VoteCast]]:
    """Votes of a round that are on the digest of its hold, by sequence; none if it has no hold."""
    digest = round_.hold.fact.digest if round_.hold else None
    cast = (vote for vote in round_.votes.values() if vote.fact.digest == digest)
    return sorted(cast, key=lambda vote: vote.seq)


def has_quorum(run: Run) -> bool:
    """Return True if the current hold needs a quorum of at least two and has that many valid votes."""
    hold = run.current.hold.fact if run.current.hold else None
    return hold is not None and hold.quorum > 1 and len(valid_votes(run.current)) >= hold.quorum


def describe_deciders(run: Run) -> str:
    """Phrase for people: who may decide on the current hold, and who has voted."""
    hold = run.current.hold.fact if run.current.hold else None
    if hold is None or (hold.quorum == 1 and not hold.four_eyes):
        return (
            "anyone with an approver's key or the token of the data folder, or whom NATS permits to publish "
            "research.approved or research.rejected"
        )
    many = "one person" if hold.quorum == 1 else f"{hold.quorum} people"
    but = ", but not the requester" if hold.four_eyes else ""
    done = f", of whom {', '.join(vote.fact.by for vote in cast)} did" if (cast := valid_votes(run.current)) else ""
    return f"{many} with an approver's key{but}{done}; to reject it, any one of them"


def quorum_decision(
    run: Run, number: int, hold: HoldOpened, findings: tuple[Finding, ...]
) -> DecisionApproved | DecisionRejected | None:
    """Decision that the first `hold.quorum` valid votes make on `findings`, or `None`.

    `None` below a quorum of two or while there are fewer votes; later votes change nothing. A source that any of these
    votes excludes is excluded; if that leaves none, the run is rejected. The cost limit is the lowest of these votes'
    limits.
    """
    enough = [vote.fact for vote in valid_votes(run.in_round(number))[: hold.quorum]]
    if hold.quorum < 2 or len(enough) < hold.quorum:
        return None
    names = tuple(vote.by for vote in enough)
    exclude = tuple(sorted({source for vote in enough for source in vote.exclude}))
    by = ", ".join(names)
    if not {source.sha256 for finding in findings for source in finding.sources} - set(exclude):
        text = f"Between them, {by} left out every source."
        return DecisionRejected(by=by, via="quorum", comment=text, digest=hold.digest)
    comment = "\n".join(f"{vote.by}: {vote.comment}" for vote in enough if vote.comment)
    most = [most for vote in enough if (most := vote.max_cost_usd or cost_limit(run)) is not None]
    return DecisionApproved(
        by=by,
        via="quorum",
        comment=comment,
        digest=hold.digest,
        exclude=exclude,
        voters=names,
        max_cost_usd=min(most, default=None),
    )
