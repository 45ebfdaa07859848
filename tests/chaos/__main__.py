"""Break everything for a while, then see whether every promise was kept: `python -m tests.chaos`.

One JSON line a scenario, and one of all together. Ends with 1 where anything is wrong, and then keeps the folder of
what happened and says how to run it again.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from random import Random  # noqa: TID251  one seed for everything that is drawn
from tempfile import mkdtemp
from typing import Final

import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from tests.chaos.checker import Findings, check_server, say
from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.stored import Json
from tests.chaos.world import World

_NODES: Final = {"single": 1, "cluster": 3}
_DRAINED_WITHIN_S: Final = 240.0
_SUMMED: Final = (
    "acknowledged", "completed", "lost", "completed_twice", "heard_twice", "outcomes_twice", "decisions_twice",
    "performed_again", "performed_after_all", "refused", "wrong",
    "kills", "leaders_killed", "freezes", "stops", "rebuilds",
)  # fmt: skip


def main() -> None:
    """Run the scenarios one after another."""
    asked = _arguments()
    lines: list[Json] = []
    for scenario in asked.scenario or list(_NODES):
        folder = Path(mkdtemp(prefix=f"dossier-chaos-{scenario}-"))
        world = World(folder, nodes=_NODES[scenario])
        ok = False
        try:
            line, found = asyncio.run(
                _happen(world, seconds=asked.seconds, seed=asked.seed, pause_s=asked.pause_ms / 1_000)
            )
            line = {"scenario": scenario, "seed": asked.seed} | line
            ok = found.ok
            lines.append(line)
            print(json.dumps(line), flush=True)
            say(found)
        finally:
            world.end(keep=not ok)
        if not ok:
            again = f"make chaos SECONDS={asked.seconds:g} SEED={asked.seed} SCENARIO={scenario}"
            sys.exit(f"What happened is in {folder}. To try the same faults again: {again}")
    print(json.dumps(_together(lines)), flush=True)


async def _happen(world: World, *, seconds: float, seed: int, pause_s: float) -> tuple[Json, Findings]:
    await asyncio.to_thread(world.start_all)
    load = Load(world.urls, world.apis, Random(seed), pause_s=pause_s, prefix=f"s{seed}-")
    faults = Faults(world, Random(seed))
    began = time.monotonic()
    asking = asyncio.create_task(load.run())
    await faults.run(seconds)
    load.stop()
    await asking
    drained_s = await _drained(world.urls, set(load.acknowledged))
    journal = [json.loads(line) for line in world.journal.read_text().splitlines()]
    line, found = await check_server(world.urls, acknowledged=load.acknowledged, heard=load.heard, journal=journal)
    await load.close()
    if line["heard_twice"] and len(world.servers) == 1:
        found.wrong.append("a server that is alone announced completions again")
    happened = {
        "kills": faults.kills,
        "leaders_killed": faults.leaders,
        "freezes": faults.freezes,
        "stops": faults.stops,
        "rebuilds": faults.rebuilds,
        "drained_s": round(drained_s, 1),
        "seconds": round(time.monotonic() - began, 1),
    }
    return line | happened, found


async def _drained(urls: list[str], runs: set[str]) -> float:
    """Seconds until as many runs have completed; it is for the checker to say which did not."""
    began = time.monotonic()
    connection = await nats.connect(urls, max_reconnect_attempts=-1)
    js = connection.jetstream()
    while time.monotonic() - began < _DRAINED_WITHIN_S:
        try:
            if (await js.stream_info("COMPLETIONS")).state.messages >= len(runs):
                break
        except (NatsError, NotFoundError, TimeoutError):
            pass
        await asyncio.sleep(0.2)
    await connection.close()
    return time.monotonic() - began


def _together(lines: list[Json]) -> Json:
    total: Json = {"scenario": "all", "runs_of": [line["scenario"] for line in lines]}
    total |= {name: sum(line[name] for line in lines) for name in _SUMMED}
    return total | {"longest_stall_s": max(line["longest_stall_s"] for line in lines)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything, then check.")
    parser.add_argument("--seconds", type=float, default=100, help="of faults, each scenario")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=10, help="between one request and the next")
    parser.add_argument("--scenario", action="append", choices=list(_NODES), help="this one alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
