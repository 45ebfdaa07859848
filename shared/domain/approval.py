"""Whose approval counts: four-eyes and quorum. Pure.

People are told apart by what vouches for them. A key does; a name in a message, or beside the token of the data folder,
is anybody's claim. Where it matters who approves, who is only claimed to be somebody does not count.
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
    """What an operator demands of approvals. `trusts_nats`: a name in a message is as good as a key's."""

    quorum: int = 1
    four_eyes: bool = False
    trusts_nats: bool = False

    @property
    def ask_who(self) -> bool:
        """Whether it matters who approves."""
        return self.quorum > 1 or self.four_eyes


ANY_APPROVAL: Final = ApprovalRules()
"""Any approval will do."""


def rules_of_hold(hold: HoldOpened, rules: ApprovalRules) -> ApprovalRules:
    """What this hold demands: as it was recorded when it opened, whatever the settings are by now."""
    return ApprovalRules(hold.quorum, hold.four_eyes, rules.trusts_nats)


def verified_identity(name: str, auth: str, *, trusts_nats: bool) -> str | None:
    """Who that is, the same for all their keys; `None` where nothing vouches for the name."""
    how, _, key = auth.partition(":")
    vouched = (how in ("key", "session") and key != LOCAL) or (how == "nats" and trusts_nats)
    return (normalize("NFKC", name).strip().casefold() or None) if vouched else None


def voter_token(who: str) -> str:
    """The last token of the box for this person's vote."""
    return sha256(who.encode()).hexdigest()[:32]


def approval_objection(run: Run, name: str, auth: str, rules: ApprovalRules) -> tuple[str, str] | None:
    """Why an approval by this person cannot count, as a code and a sentence; `None` where it does."""
    hold = run.current.hold.fact if run.current.hold else None
    rules = rules_of_hold(hold, rules) if hold else rules
    if not rules.ask_who:
        return None
    if hold is None:
        return "not_held", f"Run {run.id} is not on hold yet; here an approval counts only on evidence that is there."
    who = verified_identity(name, auth, trusts_nats=rules.trusts_nats)
    if who is None:
        text = (
            f"It matters who approves run {run.id}, and nothing vouches for {name!r}: approve with a key of your own."
        )
        return "unidentified", text
    return (_same_eyes(run, who, rules) if rules.four_eyes else None) or _voted(run, who)


def _same_eyes(run: Run, who: str, rules: ApprovalRules) -> tuple[str, str] | None:
    assert run.accepted
    asked = run.accepted.fact
    requester = verified_identity(asked.requested_by, asked.auth, trusts_nats=rules.trusts_nats)
    if requester is None:
        text = f"Nobody can approve run {run.id}: approver and requester must differ, and who asked is not known."
        return "requester_unknown", f"{text} Reject it, and ask again over HTTP with a key."
    if requester == who:
        return "four_eyes", f"Run {run.id} was asked for by {asked.requested_by}; somebody else has to approve it."
    return None


def _voted(run: Run, who: str) -> tuple[str, str] | None:
    cast = run.current.votes.get(voter_token(who))
    return ("voted", f"{cast.fact.by} has approved run {run.id} already; others have to as well.") if cast else None


def valid_votes(round_: Round) -> list[Entry[VoteCast]]:
    """The votes on the evidence of a round's hold, the first one first."""
    digest = round_.hold.fact.digest if round_.hold else None
    cast = (vote for vote in round_.votes.values() if vote.fact.digest == digest)
    return sorted(cast, key=lambda vote: vote.seq)


def has_quorum(run: Run) -> bool:
    """Whether enough have voted on the evidence that the run is held with."""
    hold = run.current.hold.fact if run.current.hold else None
    return hold is not None and hold.quorum > 1 and len(valid_votes(run.current)) >= hold.quorum


def describe_deciders(run: Run) -> str:
    """Whose decision this run waits for."""
    hold = run.current.hold.fact if run.current.hold else None
    if hold is None or (hold.quorum == 1 and not hold.four_eyes):
        return (
            "anyone with an approver's key or the token of the data folder, or whom NATS permits to publish "
            "research.approved or research.rejected"
        )
    many = "somebody" if hold.quorum == 1 else f"{hold.quorum} people"
    but = ", but not whoever asked" if hold.four_eyes else ""
    done = f", of whom {', '.join(vote.fact.by for vote in cast)} did" if (cast := valid_votes(run.current)) else ""
    return f"{many} with an approver's key{but}{done}; to reject it, any one of them"


def quorum_decision(
    run: Run, number: int, hold: HoldOpened, findings: tuple[Finding, ...]
) -> DecisionApproved | DecisionRejected | None:
    """The decision that enough votes on `findings` make; `None` while there are fewer.

    It is made of the first that suffice, so it is the same whenever it is looked at. A source that any of them leaves
    out is left out; where that leaves nothing to write from, the run is rejected. It may cost what all of them allow.
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
