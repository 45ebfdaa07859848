"""What follows an error, whatever it is and however often it came."""

import math

import pytest

from shared.contracts.evidence import Failure
from shared.errors import Refused, StepError, Terminal, Throttled, Transient, Unavailable
from shared.runtime.retry_policy import (
    GiveUp,
    Retry,
    RetryDecision,
    RetryInPlace,
    RetryPolicy,
    decide_retry,
    failure_from,
    give_up_abandoned,
)

POLICY = RetryPolicy(attempts=4, deliveries=5, longest_wait_s=600.0)
TERMINAL = Terminal("unauthorized", "The key is wrong.")
TRANSIENT = Transient("timeout", "No answer.")
DEFECT = ZeroDivisionError("division by zero")


def throttled(seconds: float) -> Throttled:
    return Throttled("throttled", "Slow down.", retry_after=seconds)


AGAIN_TRANSIENT, GIVE_UP_TRANSIENT = (what(Failure("timeout", "No answer.")) for what in (Retry, GiveUp))
AGAIN_THROTTLED, GIVE_UP_THROTTLED = (what(Failure("throttled", "Slow down.")) for what in (Retry, GiveUp))
GIVE_UP_TERMINAL = GiveUp(Failure("unauthorized", "The key is wrong."))
AGAIN_DEFECT, GIVE_UP_DEFECT = (
    what(Failure("defect", "ZeroDivisionError: division by zero")) for what in (Retry, GiveUp)
)


@pytest.mark.parametrize(
    ("error", "failures", "waited_s", "follows"),
    [
        (TERMINAL, 0, 0, GIVE_UP_TERMINAL),
        (TERMINAL, 3, 0, GIVE_UP_TERMINAL),
        (TRANSIENT, 0, 0, AGAIN_TRANSIENT),
        (TRANSIENT, 2, 0, AGAIN_TRANSIENT),
        (TRANSIENT, 3, 0, GIVE_UP_TRANSIENT),
        (TRANSIENT, 9, 0, GIVE_UP_TRANSIENT),
        (TRANSIENT, 0, 10_000, AGAIN_TRANSIENT),
        (DEFECT, 0, 0, AGAIN_DEFECT),
        (DEFECT, 3, 0, GIVE_UP_DEFECT),
        (throttled(5), 0, 0, RetryInPlace(5)),
        (throttled(5), 3, 0, RetryInPlace(5)),
        (throttled(600), 0, 0, RetryInPlace(600)),
        (throttled(601), 0, 0, AGAIN_THROTTLED),
        (throttled(5), 0, 595, RetryInPlace(5)),
        (throttled(5), 0, 596, AGAIN_THROTTLED),
        (throttled(5), 3, 596, GIVE_UP_THROTTLED),
        (throttled(math.inf), 0, 0, AGAIN_THROTTLED),
        (throttled(math.nan), 0, 0, AGAIN_THROTTLED),
    ],
)
def test_what_follows_an_error(error: Exception, failures: int, waited_s: float, follows: RetryDecision):
    assert decide_retry(error, failures=failures, waited_s=waited_s, policy=POLICY) == follows


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_being_throttled_without_a_wait_ends_all_the_same(seconds: float):
    """Else a worker would ask an endpoint that refuses it as fast as it can, for ever."""
    waited_s = 0.0
    for _ in range(1_000):
        follows = decide_retry(
            throttled(seconds), failures=0, waited_s=waited_s, policy=RetryPolicy(longest_wait_s=1.0)
        )
        if not isinstance(follows, RetryInPlace):
            return
        assert follows.seconds > 0
        waited_s += follows.seconds
    raise AssertionError("It never ends.")


@pytest.mark.parametrize(("attempts", "failures"), [(1, 0), (2, 1), (10, 9)])
def test_the_last_attempt_is_the_operators_choice(attempts: int, failures: int):
    policy = RetryPolicy(attempts=attempts)
    assert isinstance(decide_retry(TRANSIENT, failures=failures, waited_s=0, policy=policy), GiveUp)
    if failures:
        assert isinstance(decide_retry(TRANSIENT, failures=failures - 1, waited_s=0, policy=policy), Retry)


@pytest.mark.parametrize(("deliveries", "given_up"), [(1, False), (4, False), (5, True), (6, True)])
def test_the_fifth_delivery_is_given_up(deliveries: int, given_up: bool):
    follows = give_up_abandoned(deliveries, POLICY)
    assert (follows is not None) is given_up
    if follows:
        assert follows.error.code == "abandoned"
        assert str(deliveries - 1) in follows.error.message


@pytest.mark.parametrize("error", [TERMINAL, TRANSIENT, throttled(5)])
def test_a_step_error_is_recorded_by_its_code_and_in_its_words(error: StepError):
    assert failure_from(error) == Failure(error.code, error.message)


@pytest.mark.parametrize("error", [KeyError("q"), Unavailable("gone"), Refused(1, "no"), RuntimeError()])
def test_whatever_else_is_a_defect_by_its_class(error: Exception):
    failure = failure_from(error)
    assert failure.code == "defect"
    assert failure.message.startswith(f"{type(error).__name__}: ")


def test_a_defect_with_much_to_say_is_cut():
    assert len(failure_from(ValueError("x" * 100_000)).message) == 2_000
