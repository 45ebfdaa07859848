"""The decision that follows an error of a step. Pure."""

from msgspec import Struct

from shared.contracts.evidence import Call, Failure
from shared.errors import Refused, StepError, Terminal, Throttled, TooLarge


class RetryPolicy(Struct, frozen=True):
    """Limits of retries: attempts of a step, deliveries without an answer, and the seconds that throttling may wait."""

    attempts: int = 4
    deliveries: int = 5
    shortest_wait_s: float = 1.0
    longest_wait_s: float = 600.0


class RetryInPlace(Struct, frozen=True):
    """Wait `seconds` and try again within the same attempt, keeping the place in the limit."""

    seconds: float


class Retry(Struct, frozen=True):
    """Record the failed attempt; the coordinator issues the next one when it is due."""

    error: Failure


class GiveUp(Struct, frozen=True):
    """Record the failure as the step's outcome."""

    error: Failure


RetryDecision = RetryInPlace | Retry | GiveUp


def decide_retry(error: Exception, *, failures: int, waited_s: float, policy: RetryPolicy) -> RetryDecision:
    """Return what follows `error`, after `failures` earlier failed attempts and `waited_s` seconds of throttling.

    Terminal errors give up; throttling waits in place within `longest_wait_s`; others retry until `attempts` is
    reached.
    """
    failure = failure_from(error)
    match error:
        case Terminal():
            return GiveUp(failure)
        case Throttled(retry_after=wait_s) if (
            waited_s + (wait := max(wait_s, policy.shortest_wait_s)) <= policy.longest_wait_s
        ):
            return RetryInPlace(wait)
        case _ if failures + 1 < policy.attempts:
            return Retry(failure)
        case _:
            return GiveUp(failure)


def give_up_abandoned(deliveries: int, policy: RetryPolicy) -> GiveUp | None:
    """Return a failure, without another try, for a task handed out `deliveries` times without an answer;
    else `None`.
    """
    if deliveries < policy.deliveries:
        return None
    text = f"Handed to {deliveries - 1} workers without an answer from any; it is not tried again."
    return GiveUp(Failure("abandoned", text))


def write_failure(error: Exception) -> Failure:
    """Return the failure that is recorded in place of a result that can never be written."""
    match error:
        case TooLarge():
            return Failure("too_large", str(error))
        case Refused():
            return Failure("refused", f"NATS will never take what came of it: {error}")
        case _:
            return failure_from(error)


def failure_from(error: Exception) -> Failure:
    """Return the failure for an error: code and message of a `StepError`, else code `defect` with the class
    and text.
    """
    if isinstance(error, StepError):
        return Failure(error.code, error.message)
    return Failure("defect", f"{type(error).__name__}: {error}"[:2_000])


def paid_calls(error: Exception) -> tuple[Call, ...]:
    """Return the model calls that a `StepError` carries; none for other errors."""
    return tuple(call for call in error.calls if isinstance(call, Call)) if isinstance(error, StepError) else ()
