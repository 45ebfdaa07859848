"""Replaces every service, one by one, in the documented order: coordinators first, then workers."""

import asyncio
import json
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

import nats

from shared.runtime import clock
from tests.chaos.checker import Findings, check_server, read
from tests.chaos.stored import Json, Stored
from tests.chaos.world import World
from tests.harness import http
from tests.harness.deployment import Service
from tests.upgrade.lateness import Late, Restart, expiries, flights, late, on_their_way, undisturbed
from tests.upgrade.load import HELD, Load

_GRACE_S: Final = 20.0
_STOPS_WITHIN_S: Final = _GRACE_S + 5
_READY_S: Final = 60.0
_EVERYTHING_WITHIN_S: Final = 600.0


async def rollout(folder: Path, *, runs: int, step_s: float, slack_s: float = 0.0) -> tuple[Json, Findings]:
    """Run everything, replace everything, decide what was held; what came of it, and what is wrong.

    `slack_s` more than the restart is nobody's fault: what a busy machine takes its time for.
    """
    world = World(folder, nodes=1, settings=_settings(step_s))
    try:
        async with asyncio.timeout(_EVERYTHING_WITHIN_S):
            return await _happen(world, runs=runs, step_s=step_s, slack_s=slack_s)
    finally:
        world.end(keep=True)


def _settings(step_s: float) -> dict[str, str]:
    """Steps that take their time and wait for no place, so that a run that is late is late for a service."""
    return {
        "DOSSIER_GRACE_S": f"{_GRACE_S:g}",
        "DOSSIER_MODEL_LIMIT": "10000",
        "DOSSIER_FETCH_LIMIT": "10000",
        "STUB_DELAY_MS": f"{step_s * 1_000:g}",
        "STUB_FAILS_EVERY": "0",
    }


async def _happen(world: World, *, runs: int, step_s: float, slack_s: float) -> tuple[Json, Findings]:
    began = time.monotonic()
    await asyncio.to_thread(world.start_all)
    load = Load(world.urls[0], world.coordinators, runs=runs, step_s=step_s)
    await load.open()
    await load.take_off()
    restarts = [await asyncio.to_thread(_replace, world, service) for service in world.services]
    shown = [await asyncio.to_thread(_held, coordinator) for coordinator in world.coordinators]
    await load.decide()
    await load.land()
    journal = [json.loads(line) for line in world.journal.read_text().splitlines()]
    line, found = await check_server(world.urls, acknowledged=load.acknowledged, heard=load.heard, journal=journal)
    await load.close()
    log = await _log(world.urls[0])
    found.wrong += _tardy(log, restarts, timedelta(seconds=slack_s))
    punctual = _judge(log, restarts, runs=runs, found=found)
    if any(count != runs for count in shown):
        found.wrong.append(f"The coordinators' successors show {shown} runs on hold")
    for name in ("heard_twice", "performed_again"):
        if line[name]:
            found.wrong.append(f"{name}: {line[name]}, and nothing was killed")
    del line["longest_stall_s"]  # from the first request on, and those are on hold
    happened = {"runs": runs, "step_s": step_s} | line | punctual | {"wrong": len(found.wrong)}
    return happened | {"seconds": round(time.monotonic() - began, 1)}, found


def _replace(world: World, service: Service) -> Restart:
    """Tell it to stop, and start the one that follows. A coordinator's successor finds no projection every other time,
    as in a new pod."""
    began = clock.now()
    service.ask_to_stop()
    code = service.exit_code(within_s=_STOPS_WITHIN_S)
    if service is world.coordinators[-1]:
        shutil.rmtree(world.data(service))
    service.start()
    service.wait_until_ready(_READY_S)
    return Restart(service.name, began, clock.now(), code)


def _held(coordinator: Service) -> int:
    """How many of those that stay on hold a coordinator shows."""
    page, count = "/v1/runs?status=hold&limit=200", 0
    while True:
        body = http.ask(coordinator.port, "GET", page, headers=http.key(coordinator.data)).body
        count += sum(run["run_id"].startswith(HELD) for run in body["runs"])
        if not body["next"]:
            return count
        page = f"/v1/runs?status=hold&limit=200&cursor={body['next']}"


async def _log(url: str) -> list[Stored]:
    connection = await nats.connect(url)
    log = await read(connection, "RESEARCH")
    await connection.close()
    return log


def _tardy(log: list[Stored], restarts: list[Restart], slack: timedelta) -> list[str]:
    """Who was late by more than the restart."""
    return [
        f"{each.run} was {each.late.total_seconds():.2f} s late over a restart of {each.restart.total_seconds():.2f} s"
        for each in _delays(log, restarts)
        if each.late > each.restart + slack
    ]


def _delays(log: list[Stored], restarts: list[Restart]) -> list[Late]:
    return [*late(flights(log), restarts), *late(expiries(log), restarts)]


def _judge(log: list[Stored], restarts: list[Restart], *, runs: int, found: Findings) -> Json:
    """The line about time. Holds that were not there, and a service that ended badly, are wrong as well."""
    found.wrong += [f"{each.name} ended with {each.exit_code}" for each in restarts if each.exit_code]
    flying, held = (min(counts) for counts in zip(*(on_their_way(log, each.began) for each in restarts), strict=True))
    if held != runs:
        found.wrong.append(f"At times {held} were on hold")
    return {
        "replaced": len(restarts),
        "in_flight": flying,
        "on_hold": held,
        "undisturbed_s": round(undisturbed(flights(log), restarts).total_seconds(), 2),
        "longest_restart_s": round(max(each.took for each in restarts).total_seconds(), 2),
        "latest_s": round(max(each.late for each in _delays(log, restarts)).total_seconds(), 2),
        "expired": len(expiries(log)),
    }
