"""What this user may do on NATS, tried without doing any of it.

A write names a stream that there is not, and a call to JetStream is no JSON: whoever may make them is told so, and
nothing happens. Whoever may not is told nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from services.cli.doctor.finding import Finding, fault, ok, some, warning
from services.cli.doctor.whoami import Whoami
from services.cli.lockdown.permissions import OPERATOR, USERS, User
from shared.contracts.subjects import RUN
from shared.errors import Unavailable
from shared.nats.connection import Link

_NOWHERE: Final = {"Nats-Expected-Stream": "DOSSIER-DOCTOR"}
_NO_JSON: Final = b"{"
_API: Final = "$JS.API."
_TAKE: Final = f"{_API}CONSUMER.MSG.NEXT."
"""Of a consumer that nobody has made yet, which is nobody's fault."""
_ACK: Final = "$JS.ACK."
_NO_RESPONDERS: Final = 503
_ANEW: Final = "nats/accounts.conf written anew (move it away, dossier nats init), and restart the servers."


_BOXES: Final = ("accepted", "task.>", "hold.*", "extension.*.*", "vote.*.*", "decision.*", "completed")
"""Of a run; what is the coordinator's alone to fill, which its own list says in one word."""


async def permissions(link: Link, me: Whoami) -> Sequence[Finding]:
    """Whether this user may do all of its own work, and nothing of others'."""
    if me.is_operator:
        return [ok("permissions", f"{OPERATOR}: may do everything; no service should run as this user")]
    if me.user:
        return await _tried(link, me.user)
    if me.data.permissions:
        text = f"This user, of account {me.data.account}, is none of dossier nats init: what it is for is not known."
        return [warning("permissions", text, "See that it may write nothing that is not its own work.")]
    text = "NATS lets whoever reaches it do everything: decide, make keys, delete."
    return [warning("permissions", text, "Keep it to this machine, or lock it down: dossier nats init FOLDER.")]


async def _tried(link: Link, user: User) -> Sequence[Finding]:
    own = [may.subject for may in user.may if not may.subject.startswith(_ACK)]
    others = sorted(subject for subject in _writes(USERS) if not _covered(subject, own))
    answered, reached = await asyncio.gather(_answered(link, own), _answered(link, others))
    found: list[Finding] = []
    if too_much := [subject for subject in others if subject in reached]:
        text = f"{user.name} may write {some(too_much)}, which is not its work."
        found.append(fault("permissions", text, f"Have {_ANEW}"))
    if too_little := [subject for subject in own if subject not in answered]:
        text = f"{user.name} is not answered on {some(too_little)}."
        found.append(fault("permissions", text, f"Start a coordinator, if none has run yet; else have {_ANEW}"))
    return found or [ok("permissions", f"{user.name}: all {len(own)} things that it may, none of {len(others)} others")]


def _writes(users: Iterable[User]) -> set[str]:
    boxes = {f"{RUN}.*.{box}" for box in _BOXES}
    return boxes | {may.subject for user in users for may in user.may if not may.subject.startswith("$")}


def _covered(subject: str, patterns: Iterable[str]) -> bool:
    """Whether one of these patterns takes in all of the other."""
    return any(_within(subject.split("."), pattern.split(".")) for pattern in patterns)


def _within(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    for at, part in enumerate(pattern):
        if part == ">":
            return len(parts) > at
        if at >= len(parts) or part not in ("*", parts[at]):
            return False
    return len(parts) == len(pattern)


async def _answered(link: Link, subjects: Sequence[str]) -> set[str]:
    """Those that somebody has answered."""
    answers = await asyncio.gather(*(_is_answered(link, subject) for subject in subjects))
    return {subject for subject, answered in zip(subjects, answers, strict=True) if answered}


async def _is_answered(link: Link, subject: str) -> bool:
    literal = subject.replace("*", "doctor").replace(">", "doctor")
    is_call = subject.startswith(_API)
    try:
        asked = await link.ask(literal, _NO_JSON if is_call else b"", {} if is_call else _NOWHERE)
        return (await asked).status != _NO_RESPONDERS or literal.startswith(_TAKE)
    except Unavailable:
        return False
