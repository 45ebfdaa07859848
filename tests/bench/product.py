"""The product measured: a real server, the four services as processes of their own, a stub for model and tools."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from tests.bench.case import Case, Measured
from tests.bench.driver import Driver
from tests.bench.meter import cpu_seconds, peak_rss_mb
from tests.harness.deployment import Deployment
from tests.harness.receiver import Receiver

_WARM_UP: Final = 50
_SETTINGS: Final = {"DOSSIER_LOG_LEVEL": "WARNING", "DOSSIER_MODEL_LIMIT": "2000", "DOSSIER_FETCH_LIMIT": "2000"}


def measure(case: Case, *, traces: bool = False) -> Measured:
    """One case from a fresh start, after a warm-up that does not count; with `traces` all of them are exported."""
    with (
        TemporaryDirectory(prefix="dossier-bench-") as folder,
        Receiver() as collector,
        Deployment(
            Path(folder), sync_interval=case.sync, settings=_SETTINGS | (_exporting(collector) if traces else {})
        ) as deployment,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        deployment.start()
        return runner.run(_load(case, deployment))


def _exporting(collector: Receiver) -> dict[str, str]:
    """Export to somebody who takes it all, and reads nothing of it; room for what a burst leaves behind."""
    endpoint = f"http://127.0.0.1:{collector.port}"
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": "100000"}


async def _load(case: Case, deployment: Deployment) -> Measured:
    pids = [child.pid for child in deployment.children]
    driver = await Driver.open(deployment.server.url)
    try:
        await driver.load("warm", runs=_WARM_UP, concurrency=_WARM_UP)
        before = cpu_seconds(pids)
        load = await driver.load("run", runs=case.runs, concurrency=case.concurrency)
        cpu = cpu_seconds(pids) - before
    finally:
        await driver.close()
    return {
        "runs_per_s": case.runs / load.seconds,
        "p50_ms": load.each_ms[case.runs // 2],
        "p99_ms": load.each_ms[int(case.runs * 0.99)],
        "cpu_ms_per_run": cpu / case.runs * 1_000,
        "peak_rss_mb": peak_rss_mb(pids),
    }
