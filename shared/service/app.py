"""Life of a service process: log, connect, answer probes, and stop cleanly on SIGTERM."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from shared.contracts.subjects import Kind
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from shared.runtime.aio import run_until
from shared.runtime.settings import Settings
from shared.service.worker import Perform, Worker
from shared.telemetry import logs
from shared.telemetry.metrics import LogCollector, Metrics
from shared.telemetry.setup import Telemetry, WorkerObserver

Main = Callable[[asyncio.Event, Telemetry], Awaitable[None]]
Compose = Callable[[Settings, JetStreamLog, AsyncExitStack], Awaitable[Perform]]
"""Composes a service: returns the function that performs its tasks. Resources to close at the end go on the stack."""


SERVICES: Final[dict[Kind, str]] = {"plan": "planner", "fetch": "fetcher", "synthesize": "synthesizer"}
"""The service that performs the tasks of a kind."""
UNREACHABLE: Final = "NATS is not reachable."


def write_trouble(log: JetStreamLog) -> str | None:
    """Return the reason why this log cannot be written to, as far as is known, or `None`."""
    return log.trouble if log.link.connected else UNREACHABLE


class Server(uvicorn.Server):
    """A uvicorn server that leaves signal handling to its process."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Install no signal handlers."""
        yield


def run(service: str, main: Main, settings: Settings) -> None:
    """Run a service until `main` returns. `main` gets an event that SIGTERM or SIGINT sets, and the telemetry.

    Configures logging and garbage collection; exports remaining spans at the end.
    """
    logs.configure_logging(service, settings)
    telemetry = Telemetry(service, settings)
    _tune_gc()
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        with runner, contextlib.suppress(KeyboardInterrupt):
            runner.run(_run_until_signal(lambda stop: main(stop, telemetry)))
    finally:
        telemetry.close()


def _tune_gc() -> None:
    """Collect reference cycles rarely: facts have none, and searching runs for them took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory, or `None` for asyncio's own loop on Windows."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _run_until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` with an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


async def serve_http(
    app: ASGIApp, *, host: str, port: int, stop: asyncio.Event, trusted_proxies: Sequence[str] = ()
) -> None:
    """Serve `app` until `stop` is set. `X-Forwarded-…` headers are trusted from `trusted_proxies` only."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        lifespan="off",
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


class Health:
    """Holder of a function that returns why the process cannot work, or `None`. Until it is set, NATS counts as
    unreachable.
    """

    def __init__(self) -> None:
        self.trouble: Callable[[], str | None] = lambda: UNREACHABLE


def probes(health: Health) -> list[Route]:
    """Routes `/livez` (200 while the process runs) and `/readyz` (503 with the reason while it cannot work)."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return readiness_response(health.trouble())

    return [Route("/livez", livez), Route("/readyz", readyz)]


async def serve_health(health: Health, metrics: Metrics, settings: Settings, stop: asyncio.Event) -> None:
    """Serve probes and metrics at the health port until `stop`; return at once if the port is 0."""
    if settings.health_port:
        app = Starlette(routes=[*probes(health), metrics.route()])
        await serve_http(app, host=settings.health_host, port=settings.health_port, stop=stop)


def readiness_response(write_trouble: str | None) -> Response:
    """Return 503 with the reason, or 200 for `None`."""
    return PlainTextResponse(f"{write_trouble}\n", 503) if write_trouble else PlainTextResponse("ok\n")


async def connect(settings: Settings, name: str, stop: asyncio.Event) -> JetStreamLog | None:
    """Return the log once NATS is reachable, or `None` if `stop` is set first."""
    link = await run_until(stop, Connection.open(settings.nats_url, name=f"dossier-{name}", identity=settings.identity))
    return JetStreamLog(link) if link else None


def run_worker(kind: Kind, settings: Settings, compose: Compose) -> None:
    """Run the worker of a kind until it is stopped."""

    async def main(stop: asyncio.Event, telemetry: Telemetry) -> None:
        health = Health()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_health(health, telemetry.metrics, settings, stop))
            group.create_task(_work(kind, settings, compose, stop, health, telemetry))

    run(SERVICES[kind], main, settings)


async def _work(
    kind: Kind, settings: Settings, compose: Compose, stop: asyncio.Event, health: Health, telemetry: Telemetry
) -> None:
    """Connect, compose the service and run its worker until `stop`; then close what `compose` opened, and the log."""
    log = await connect(settings, kind, stop)
    if log is None:
        return
    telemetry.metrics.add(LogCollector(log))
    health.trouble = lambda: "The service is stopping." if stop.is_set() else write_trouble(log)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(log.close)
        perform = await compose(settings, log, stack)
        at_most = settings.limits.in_flight(kind)
        worker = Worker(
            log,
            kind,
            perform,
            at_most=at_most,
            policy=settings.policy,
            grace_s=settings.grace_s,
            observer=WorkerObserver(telemetry, kind),
        )
        await worker.run(stop)
