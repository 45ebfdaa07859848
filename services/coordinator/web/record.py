"""Who said what about a run, in words: decisions and votes, on what evidence, and how their names are known. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from shared.contracts.facts import Decision, DecisionApproved, DecisionRevised, Via, VoteCast
from shared.domain.approval import LOCAL, valid_votes
from shared.domain.judgement import WORDS
from shared.domain.run import Entry, Run

_VIAS: Final[dict[Via, str]] = {
    "api": "",
    "nats": "by a message on NATS",
    "policy": "as the request asked for",
    "deadline": "by time",
    "quorum": "by enough votes",
}


class Said(Struct, frozen=True):
    """One word on a run. `how` says how it came and what vouches for the name; `digest` what it was said about."""

    word: str
    round: int
    by: str
    how: str
    at: datetime
    why: str = ""
    digest: str | None = None
    excluded: int = 0
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    until: datetime | None = None


def said(run: Run) -> list[Said]:
    """Every vote and decision of all rounds, and who ended the run, in order."""
    told = [one for number in sorted(run.rounds) for one in _in_round(run, number)]
    return told + list(_ended(run))


def _in_round(run: Run, number: int) -> Iterator[Said]:
    round_ = run.in_round(number)
    for vote in valid_votes(round_):
        yield _said("voted to approve", number, vote)
    for box in round_.valid_extensions():
        fact = box.fact
        yield Said("more time", number, fact.by, how(fact.via, fact.auth), box.at, fact.comment, until=fact.deadline)
    if round_.decision:
        yield _said(WORDS[type(round_.decision.fact)], number, round_.decision)


def _said(word: str, number: int, box: "Entry[VoteCast] | Entry[Decision]") -> Said:
    fact = box.fact
    revised = fact if isinstance(fact, DecisionRevised) else None
    has_more = isinstance(fact, DecisionApproved | DecisionRevised | VoteCast)
    return Said(
        word=word,
        round=number,
        by=fact.by,
        how=how(fact.via, fact.auth),
        at=box.at,
        why="\n".join(filter(None, (revised.feedback if revised else "", fact.comment))),
        digest=fact.digest,
        excluded=len(fact.exclude) if has_more else 0,
        added=revised.queries_add if revised else (),
        dropped=revised.queries_drop if revised else (),
        max_cost_usd=fact.max_cost_usd if has_more else None,
    )


def _ended(run: Run) -> Iterator[Said]:
    ended = run.completed
    if ended and ended.fact.outcome == "cancelled":
        fact = ended.fact
        yield Said("cancelled", run.round, fact.by, how("api", fact.auth), ended.at, fact.reason)


def how(via: Via, auth: str) -> str:
    """How a word came and how the name is known, as a person says it."""
    kind, _, key = auth.partition(":")
    known = {
        "key": f"with the key {key}",
        "session": "signed in from this data folder" if key == LOCAL else f"signed in with the key {key}",
        LOCAL: "with the data folder's token",
    }.get(kind, "")
    return ", ".join(filter(None, (_VIAS[via], known)))
