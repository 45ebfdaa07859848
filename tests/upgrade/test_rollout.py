"""A new release is rolled out while runs are on their way: a small `make soak`."""

import asyncio
from pathlib import Path

from tests.upgrade.rollout import rollout

SLACK_S = 15.0
"""Half of what a task that nobody has would wait for: the tests' machine has more to do than this."""


def test_every_service_is_replaced_under_load_and_no_run_is_lost_repeated_or_late(tmp_path: Path):
    line, found = asyncio.run(rollout(tmp_path, runs=50, step_s=0.6, slack_s=SLACK_S))
    assert found.wrong == []
    assert found.ok
    assert line["replaced"] == 8
    assert line["on_hold"] == 50
    assert line["in_flight"] > 20
    assert line["completed"] == line["acknowledged"] > 200
