"""What any release has logged, every later one folds to the same runs, and owes them the same.

`golden_logs/<version>/` holds whole logs, recorded by `record.py` from the code of that release, and beside each what
that release made of it. Files that have been released are never changed: new ones are added beside them.
"""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from shared.contracts.facts import Fact
from shared.domain.replay import replay
from shared.domain.run import Unknown
from tests.contracts.golden_log import GoldenLog, States, facts, told
from tests.contracts.record import STORIES, record
from tests.contracts.saying import says

LOGS = sorted((Path(__file__).parent / "golden_logs").glob("*/*.jsonl"))


def golden(file: Path) -> GoldenLog:
    return GoldenLog.decoded(file.read_bytes())


@pytest.mark.parametrize("file", LOGS, ids=lambda file: file.stem)
def test_a_log_is_folded_to_what_it_was_and_owed_what_it_was(file: Path):
    then = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=States)
    now = msgspec.json.decode(States.of(golden(file)).encoded(), type=States)
    for run, state in then.runs.items():
        assert says(now.runs[run], state), f"{run} is folded otherwise"
        for this, that in zip(now.owed[run], then.owed[run], strict=True):
            assert says(this, that), f"after message {that['after']} of {run}"
    assert now.runs.keys() == then.runs.keys()


@pytest.mark.parametrize("file", LOGS, ids=lambda file: file.stem)
def test_in_another_order_and_twice_it_is_the_same(file: Path):
    messages = golden(file).messages
    assert told([*reversed(messages), *messages]) == told(messages)


@pytest.mark.parametrize("file", LOGS, ids=lambda file: file.stem)
def test_replayed_it_is_written_again_as_it_was(file: Path):
    for run, recorded in facts(golden(file).messages).items():
        assert list(replay(run, recorded)) == []


def test_every_type_of_fact_is_in_some_log():
    seen = {type(it.fact) for file in LOGS for each in facts(golden(file).messages).values() for it in each}
    assert seen == {*get_args(Fact), Unknown}


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_the_same_story_is_recorded_to_the_same_bytes(tell):
    assert record(tell).encoded() == record(tell).encoded()
