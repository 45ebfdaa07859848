"""A first delivery is fresh above a write that was begun and acknowledged since the server may last have forgotten."""

from datetime import UTC, datetime

import pytest

from shared.contracts.messages import Message
from shared.errors import Refused
from shared.nats.horizon import Horizon
from shared.runtime.log import Filled, Full, Stored


def at(seq: int) -> Message:
    return Message("research.run.r1.task.plan.1.0.1", seq, datetime(2026, 1, 1, tzinfo=UTC), b"")


def above(seq: int) -> Horizon:
    """A horizon, after a write at this place."""
    horizon = Horizon()
    horizon.advance([Stored(seq)], since=horizon.epoch)
    return horizon


def test_nothing_is_fresh_before_this_process_has_written():
    assert not Horizon().admit(at(1_000), 1)


@pytest.mark.parametrize(("seq", "fresh"), [(9, False), (10, False), (11, True)])
def test_a_first_delivery_is_fresh_above_the_write(seq: int, fresh: bool):
    assert above(10).admit(at(seq), 1) is fresh


def test_a_second_delivery_is_not_fresh():
    assert not above(10).admit(at(11), 2)


@pytest.mark.parametrize("answer", [Full(), Refused(10054, "too large")])
def test_an_answer_that_names_no_place_proves_nothing(answer: Filled):
    horizon = Horizon()
    horizon.advance([answer], since=horizon.epoch)
    assert not horizon.admit(at(1_000), 1)


def test_the_first_write_counts_so_that_tasks_that_wait_are_fresh():
    horizon = above(10)
    horizon.advance([Stored(20)], since=horizon.epoch)
    assert horizon.admit(at(15), 1)


def test_nothing_is_fresh_after_a_fault_until_the_next_write():
    horizon = above(10)
    horizon.reset()
    assert not horizon.admit(at(30), 1)
    horizon.advance([Stored(40)], since=horizon.epoch)
    assert not horizon.admit(at(39), 1)
    assert horizon.admit(at(41), 1)


def test_a_write_that_began_before_a_fault_proves_nothing_after_it():
    horizon = Horizon()
    epoch = horizon.epoch
    horizon.reset()
    horizon.advance([Stored(10)], since=epoch)
    assert not horizon.admit(at(11), 1)


@pytest.mark.parametrize("deliveries", [1, 2])
def test_what_is_not_above_all_before_has_come_before_though_no_fault_was_seen(deliveries: int):
    horizon = above(10)
    horizon.admit(at(20), deliveries)
    assert not horizon.admit(at(20), 1)
    assert not horizon.admit(at(15), 1)
    assert horizon.admit(at(21), 1)


def test_a_stream_that_lost_its_tail_has_another_horizon():
    horizon = above(1_000)
    horizon.reset()
    horizon.advance([Stored(90)], since=horizon.epoch)
    assert horizon.admit(at(91), 1)
