"""Next step of a delivery, from its history and the time, and the record of an attempt, from its answer. Pure."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.deliveries import Delivery, DeliveryTried
from shared.contracts.evidence import Failure
from shared.runtime.deliveries import DeliveryHistory

RETRY_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds to wait after each failed attempt: 10 attempts over about 75 hours, as Standard Webhooks suggests."""
SPAN: Final = timedelta(seconds=sum(RETRY_S))
_SPREAD: Final = 0.1
_MAX_WAIT_S: Final = 86_400.0
_GONE: Final = 410


class Answer(Struct, frozen=True):
    """Answer of an endpoint: a status, or an error if there is none. Times in seconds."""

    status: int | None = None
    error: Failure | None = None
    retry_after_s: float = 0.0
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """True for a 2xx. A redirect is a failure: it is never followed."""
        return self.status is not None and 200 <= self.status < 300


class Attempt(Struct, frozen=True):
    """Make attempt number `n` now."""

    n: int


class Wait(Struct, frozen=True):
    """Do nothing before `until`."""

    until: datetime


class Done(Struct, frozen=True):
    """Do nothing any more."""


def next_step(story: DeliveryHistory, ask: int, now: datetime) -> Attempt | Wait | Done:
    """Return the next step for request number `ask` of a delivery. A request that a newer one replaced is over."""
    if ask != story.ask or story.due is None:
        return Done()
    if now < story.due:
        return Wait(story.due)
    return Attempt(max(story.tries, default=0) + 1)


def record_of(delivery: Delivery, n: int, answer: Answer, now: datetime) -> DeliveryTried:
    """Return the record of attempt `n`: delivered (2xx), disabled (410), given up (last attempt), else failed and due
    again.
    """
    if answer.ok:
        return DeliveryTried(result="delivered", status=answer.status, duration_s=answer.duration_s)
    error = answer.error or Failure("not_taken", _failure_message(answer.status))
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
    """Seconds from failed attempt `n` (from 1) to the next: by `RETRY_S`, up to 10 % later by a hash, and at least
    `told_s`.

    `told_s`, which the endpoint asked for, counts up to a day.
    """
    spread = int.from_bytes(sha256(f"{delivery.id}.{n}".encode()).digest()[:4]) / 2**32
    return max(RETRY_S[n - 1] * (1 + _SPREAD * spread), min(told_s, _MAX_WAIT_S))


def _failure_message(status: int | None) -> str:
    """Return the error message for an answer that is not a success."""
    if status is not None and 300 <= status < 400:
        return f"The endpoint answered {status}; redirects are not followed. Configure the URL that it leads to."
    if status == _GONE:
        return "The endpoint answered 410 Gone: nothing more is sent to it until a delivery is repeated by hand."
    return f"The endpoint answered {status}."
