"""Check of the permissions that a NATS user has, by requests that have no effect.

A write names a stream that does not exist, and a call of JetStream's API is not JSON: the answer is an error if the
user may publish there. If it may not, there is no answer.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from services.cli.doctor.whoami import Whoami
from services.cli.lockdown.permissions import OPERATOR, USERS, User
from shared.contracts.subjects import RUN
from shared.errors import Unavailable
from shared.nats.connection import Connection
from shared.service.check import CheckResult, listed

_NO_STREAM: Final = {"Nats-Expected-Stream": "DOSSIER-DOCTOR"}
_NO_JSON: Final = b"{"
_API: Final = "$JS.API."
_PULL: Final = f"{_API}CONSUMER.MSG.NEXT."
"""Without a responder as long as the consumer does not exist, which is no fault."""
_ACK: Final = "$JS.ACK."
_NO_RESPONDERS: Final = 503
_RENEW: Final = "move nats/accounts.conf away, run dossier nats init again, and restart the servers."
_SLOTS: Final = ("accepted", "task.>", "hold.*", "extension.*.*", "vote.*.*", "decision.*", "completed")
"""Slots of a run that only the coordinator fills; its own permission covers them by `>`."""


async def permissions(link: Connection, me: Whoami) -> list[CheckResult]:
    """Faults if this user may write what only other users should, or may not do its own work.

    A user without restrictions, and one that `dossier nats init` does not know, are warnings.
    """
    if me.is_operator:
        return [CheckResult("permissions", "ok", f"{OPERATOR}: may do everything; no service should run as this user")]
    if me.user:
        return await _tested(link, me.user)
    if me.data.permissions:
        text = f"The user of account {me.data.account} is not one of dossier nats init, so its work is unknown."
        return [CheckResult("permissions", "warning", text, "Check that it may write only what its work needs.")]
    text = "Any client of this NATS may do everything: decide, create keys, delete."
    do = "Keep it to this machine, or lock it down: dossier nats init FOLDER."
    return [CheckResult("permissions", "warning", text, do)]


async def _tested(link: Connection, user: User) -> list[CheckResult]:
    """Results of a request to each subject that the user may publish to, and to each write of the others."""
    own = [may.subject for may in user.may if not may.subject.startswith(_ACK)]
    others = sorted(subject for subject in _writes() if not _is_covered(subject, own))
    answered, excess = await asyncio.gather(_answered(link, own), _answered(link, others))
    results: list[CheckResult] = []
    if excess:
        text = f"{user.name} may write {listed(excess)}, which is not its work."
        results.append(CheckResult("permissions", "fault", text, f"Renew the permissions: {_RENEW}"))
    if missing := [subject for subject in own if subject not in answered]:
        text = f"{user.name} gets no answer on {listed(missing)}."
        do = f"Start a coordinator if none has run yet; else renew the permissions: {_RENEW}"
        results.append(CheckResult("permissions", "fault", text, do))
    text = f"{user.name}: all of its {len(own)} permissions, and none of {len(others)} others"
    return results or [CheckResult("permissions", "ok", text)]


def _writes() -> set[str]:
    """Subjects to which any user or the coordinator writes."""
    slots = {f"{RUN}.*.{slot}" for slot in _SLOTS}
    return slots | {may.subject for user in USERS for may in user.may if not may.subject.startswith("$")}


def _is_covered(subject: str, patterns: Iterable[str]) -> bool:
    """Return True if one of the patterns matches all that `subject`, itself a pattern, matches."""
    return any(_is_within(subject.split("."), pattern.split(".")) for pattern in patterns)


def _is_within(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return True if the tokens of the pattern match all that `parts` match."""
    for at, part in enumerate(pattern):
        if part == ">":
            return len(parts) > at
        if at >= len(parts) or part not in ("*", parts[at]):
            return False
    return len(parts) == len(pattern)


async def _answered(link: Connection, subjects: Sequence[str]) -> list[str]:
    """Those of the subjects on which a request is answered, in order."""
    answers = await asyncio.gather(*(_is_answered(link, subject) for subject in subjects))
    return [subject for subject, is_answered in zip(subjects, answers, strict=True) if is_answered]


async def _is_answered(link: Connection, subject: str) -> bool:
    """Send a request without effect. Return False without permission, and without a responder."""
    literal = subject.replace("*", "doctor").replace(">", "doctor")
    is_call = subject.startswith(_API)
    try:
        reply = await (await link.ask(literal, _NO_JSON if is_call else b"", {} if is_call else _NO_STREAM))
        return reply.status != _NO_RESPONDERS or literal.startswith(_PULL)
    except Unavailable:
        return False
