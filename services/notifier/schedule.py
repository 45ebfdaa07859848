"""What a delivery is due, from its boxes and the time; and what follows from an answer. Pure."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.deliveries import Delivery, DeliveryTried
from shared.contracts.evidence import Failure
from shared.runtime.deliveries import Story

RETRY_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""How long to wait after each failed attempt: 10 attempts over about 75 hours, as Standard Webhooks suggests."""
SPAN: Final = timedelta(seconds=sum(RETRY_S))
_SPREAD: Final = 0.1
_LONGEST_WAIT_S: Final = 86_400.0
_GONE: Final = 410


class Answer(Struct, frozen=True):
    """What an endpoint said: a status, or an error where there is none."""

    status: int | None = None
    error: Failure | None = None
    retry_after_s: float = 0.0
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it took what it was sent. A redirect is no yes: it is never followed."""
        return self.status is not None and 200 <= self.status < 300


class Try(Struct, frozen=True):
    """Make the `n`-th attempt now."""

    n: int


class Wait(Struct, frozen=True):
    """Nothing to do before `until`."""

    until: datetime


class Over(Struct, frozen=True):
    """Nothing to do, ever."""


def due(story: Story, ask: int, now: datetime) -> Try | Wait | Over:
    """What is to be done about asking number `ask` of a delivery."""
    if ask != story.ask or story.due is None:
        return Over()
    if now < story.due:
        return Wait(story.due)
    return Try(max(story.tries, default=0) + 1)


def follows(delivery: Delivery, n: int, answer: Answer, now: datetime) -> DeliveryTried:
    """What is recorded of the `n`-th attempt, which was answered so."""
    if answer.ok:
        return DeliveryTried(result="delivered", status=answer.status, duration_s=answer.duration_s)
    error = answer.error or Failure("not_taken", _said(answer.status))
    if answer.status == _GONE:
        return DeliveryTried(result="disabled", status=_GONE, error=error, duration_s=answer.duration_s)
    if n > len(RETRY_S):
        return DeliveryTried(result="gave_up", status=answer.status, error=error, duration_s=answer.duration_s)
    return DeliveryTried(
        result="failed",
        status=answer.status,
        error=error,
        duration_s=answer.duration_s,
        due=now + timedelta(seconds=wait_s(delivery, n, answer.retry_after_s)),
    )


def wait_s(delivery: Delivery, n: int, told_s: float = 0.0) -> float:
    """How long after failed attempt `n` to try again: at least what the endpoint asked for, spread by a hash."""
    spread = int.from_bytes(sha256(f"{delivery.id}.{n}".encode()).digest()[:4]) / 2**32
    return max(RETRY_S[n - 1] * (1 + _SPREAD * spread), min(told_s, _LONGEST_WAIT_S))


def _said(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"The endpoint answered {status}; redirects are not followed. Configure where it leads to."
    if status == _GONE:
        return "The endpoint answered 410 Gone: it is told nothing more until something is sent to it again by hand."
    return f"The endpoint answered {status}."
