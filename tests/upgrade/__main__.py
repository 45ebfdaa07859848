"""Roll a release out under load, then see whether every promise was kept: `python -m tests.upgrade`.

One JSON line: what the checker of `tests.chaos` counts, and besides

- `in_flight`, `on_hold`: the fewest runs that there were at the moment a service was told to stop.
- `undisturbed_s`: the longest that a run took, from request to end, before anything was replaced.
- `longest_restart_s`: from SIGTERM to a successor that is ready. `latest_s`: by how much the latest run was late, be it
  on its way to a report, or to be told that its deadline has passed.

Ends with 1 where a run was lost, done twice, or late by more than the restart, and then keeps the folder of all this.
"""

import argparse
import asyncio
import json
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

from tests.chaos.checker import say
from tests.upgrade.rollout import rollout


def main() -> None:
    """Replace everything once."""
    asked = _arguments()
    folder = Path(mkdtemp(prefix="dossier-upgrade-"))
    line, found = asyncio.run(rollout(folder, runs=asked.runs, step_s=asked.step_s))
    print(json.dumps(line), flush=True)
    say(found)
    if not found.ok:
        sys.exit(f"What happened is in {folder}.")
    if line["in_flight"] < asked.runs:
        sys.exit(f"Nothing is wrong, but this machine is too busy to keep {asked.runs} runs in flight.")
    shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description="Replace every service under load.")
    parser.add_argument("--runs", type=int, default=500, help="in flight, and as many on hold")
    parser.add_argument("--step-s", type=float, default=8, help="that each plan, fetch and report takes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
