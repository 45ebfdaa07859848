"""`python -m tests.simulation --seeds 5000`: tell many stories, and say of each that breaks a promise how."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import scenario
from tests.simulation.telling import account, explained, replayed
from tests.simulation.world import tell


def main() -> None:
    """Tell the stories that are asked for; end with 1 where any breaks a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many stories")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to tell them in")
    parser.add_argument("--seed", type=int, help="tell this one, with all that happens in it")
    parser.add_argument("--faults", metavar="LIST", help="of its faults, only these (0,3,4 or none)")
    asked = parser.parse_args()
    sys.exit(_one(asked.seed, asked.faults) if asked.seed is not None else _many(asked.first, asked.seeds, asked.jobs))


def _one(seed: int, faults: str | None) -> bool:
    whole = range(len(scenario(seed).faults))
    kept = list(whole) if faults is None else [int(place) for place in faults.split(",") if place != "none"]
    told = tell(replayed(seed, kept))
    print("\n".join(account(told, kept)))
    return bool(told.wrong)


def _many(first: int, seeds: int, jobs: int) -> bool:
    began = time.monotonic()
    if jobs == 1:
        broken = [seed for seed in range(first, first + seeds) if is_broken(seed)]
    else:
        with ProcessPoolExecutor(jobs) as processes:
            told = processes.map(is_broken, range(first, first + seeds), chunksize=20)
            broken = [seed for seed, wrong in zip(range(first, first + seeds), told, strict=True) if wrong]
    for seed in broken:
        print(explained(seed), end="\n\n")
    print(f"{seeds} stories in {time.monotonic() - began:.1f} s; {len(broken)} broke a promise: {broken[:20]}")
    return bool(broken)


def is_broken(seed: int) -> bool:
    """Whether the story of this seed breaks a promise."""
    return bool(tell(scenario(seed)).wrong)


if __name__ == "__main__":
    main()
