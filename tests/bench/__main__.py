"""Measure the message path of the product, with a stub for model and tools, and runs on hold: one JSON line a case.

Every process is real: NATS, a coordinator and a planner, a fetcher and a synthesizer. A run takes from before its
request is published to the arrival of its `research.completed`; processor time and memory are of server and services
together, without the driver. With a floor, product and floor take turns and the numbers are the medians of each.
The last case is of runs that only wait: see `parked`.
"""

import argparse
import json
from pathlib import Path
from typing import Final

from tests.bench import floor, parked, product
from tests.bench.case import CASES, Case, Measured, medians, rounded

_TURNS_BESIDE: Final = 5
_PARKED: Final = "parked"


def main() -> None:
    """Measure, and print each case as soon as it is measured."""
    arguments = _arguments()
    for case in CASES:
        if arguments.only in (None, case.name):
            case = case._replace(runs=arguments.runs or case.runs)
            turns = arguments.turns or (_TURNS_BESIDE if arguments.floor else 1)
            line = {"case": case.name, "sync": case.sync, "concurrency": case.concurrency, "runs": case.runs}
            print(json.dumps(line | _measure(case, arguments, turns)), flush=True)
    if arguments.only in (None, _PARKED):
        runs = arguments.runs or parked.RUNS
        print(json.dumps({"case": _PARKED, "runs": runs} | rounded(parked.measure(runs))), flush=True)


def _measure(case: Case, arguments: argparse.Namespace, turns: int) -> Measured:
    script: Path | None = arguments.floor
    measured = [
        product.measure(case, traces=arguments.traces) | (floor.measure(script, case) if script else {})
        for _ in range(turns)
    ]
    return medians(measured)


def _arguments() -> argparse.Namespace:
    lines = __doc__.splitlines() if __doc__ else [""]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=lines[0])
    parser.add_argument("--floor", type=Path, metavar="PATH", help="a script to measure beside, in turns")
    parser.add_argument("--runs", type=int, metavar="N", help="runs a measurement, instead of each case's own number")
    parser.add_argument("--turns", type=int, metavar="N", help="measurements a case; 5 beside a floor, else 1")
    parser.add_argument("--traces", action="store_true", help="export a trace of every run, to a receiver beside")
    parser.add_argument("--only", choices=[*(case.name for case in CASES), _PARKED], help="this case alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
