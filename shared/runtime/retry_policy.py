"""What follows an error: a pure function of the error and of how often the step has failed."""

from msgspec import Struct

from shared.contracts.evidence import Call, Failure
from shared.errors import Refused, StepError, Terminal, Throttled, TooLarge


class RetryPolicy(Struct, frozen=True):
    """How patient workers are."""

    attempts: int = 4
    deliveries: int = 5
    shortest_wait_s: float = 1.0
    longest_wait_s: float = 600.0


class RetryInPlace(Struct, frozen=True):
    """Wait here, keeping the place in the limit, then try again; it is no attempt of its own."""

    seconds: float


class Retry(Struct, frozen=True):
    """Record the attempt; the coordinator issues the next one when it is due."""

    error: Failure


class GiveUp(Struct, frozen=True):
    """Record the failure as the step's outcome."""

    error: Failure


RetryDecision = RetryInPlace | Retry | GiveUp


def decide_retry(error: Exception, *, failures: int, waited_s: float, policy: RetryPolicy) -> RetryDecision:
    """What to do about `error`, after `failures` attempts that failed before and `waited_s` spent being throttled."""
    failure = failure_from(error)
    match error:
        case Terminal():
            return GiveUp(failure)
        case Throttled(retry_after=told) if (
            waited_s + (wait := max(told, policy.shortest_wait_s)) <= policy.longest_wait_s
        ):
            return RetryInPlace(wait)
        case _ if failures + 1 < policy.attempts:
            return Retry(failure)
        case _:
            return GiveUp(failure)


def give_up_abandoned(deliveries: int, policy: RetryPolicy) -> GiveUp | None:
    """Give up, without trying, what has been handed out this often without a word from any worker."""
    if deliveries < policy.deliveries:
        return None
    text = f"Handed to {deliveries - 1} workers, none of which said another word; it is not tried again."
    return GiveUp(Failure("abandoned", text))


def write_failure(error: Exception) -> Failure:
    """Why a result can never be written, as it is recorded in its place."""
    match error:
        case TooLarge():
            return Failure("too_large", str(error))
        case Refused():
            return Failure("refused", f"NATS will never take what came of it: {error}")
        case _:
            return failure_from(error)


def failure_from(error: Exception) -> Failure:
    """The error as it is recorded. What is no `StepError` is a defect, recorded by its class."""
    if isinstance(error, StepError):
        return Failure(error.code, error.message)
    return Failure("defect", f"{type(error).__name__}: {error}"[:2_000])


def paid_calls(error: Exception) -> tuple[Call, ...]:
    """The model calls that were paid for before `error`."""
    return tuple(call for call in error.calls if isinstance(call, Call)) if isinstance(error, StepError) else ()
