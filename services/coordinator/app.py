"""The HTTP application of a coordinator: middleware, the JSON API and the web pages."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from services.coordinator.access.access import Access
from services.coordinator.access.middleware import AuthMiddleware
from services.coordinator.api import openapi
from services.coordinator.api.deliveries import DeliveryRoutes
from services.coordinator.api.failures import EXPECTATIONS, Expectations, FailureRoutes
from services.coordinator.api.forks import ForkRoutes
from services.coordinator.api.runs import RunRoutes
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.forks import Forks
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.requests import RequestPublisher
from services.coordinator.http import problems
from services.coordinator.http.commands import Commands
from services.coordinator.http.params import SEQUENCE
from services.coordinator.http.rights import ANYONE, Rights
from services.coordinator.http.routes import Routes, routes_of
from services.coordinator.web.shell import respond
from services.coordinator.web.sign_in import SignInPages
from services.coordinator.web.site import add_site
from shared.runtime.log import Log
from shared.service.app import readiness_response
from shared.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


def application(
    log: Log,
    coordinator: Coordinator,
    access: Access,
    *,
    unready: Callable[[], str | None],
    expected: Expectations = EXPECTATIONS,
    deliveries: Log | None = None,
    observe: Observe = unobserved,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Compose the application. `unready` returns why the coordinator cannot work, or None; `/readyz` answers it.

    Without `deliveries` or `metrics`, their routes are left out. Raises `UndeclaredRoute` if a route has no right.
    """
    routes, publisher = Routes(), RequestPublisher(log)
    defaults = coordinator.defaults
    approvals = Approvals(
        log, coordinator, digest_required=defaults.digest_required, rounds=defaults.rounds, observe=observe
    )
    forks = Forks(publisher, coordinator.rules)
    commands = Commands(coordinator, publisher, approvals, forks)
    RunRoutes(log, coordinator, commands, expected.late_after).add_to(routes)
    FailureRoutes(log, coordinator, expected).add_to(routes)
    ForkRoutes(coordinator, commands, forks).add_to(routes)
    SignInPages(access).add_to(routes)
    if deliveries:
        DeliveryRoutes(deliveries).add_to(routes)
    add_site(routes, coordinator, log, commands, late_after=expected.late_after)
    _add_probes(routes, unready, metrics)
    app = openapi.described_app(routes)
    problems.install(app, respond, routes.rights)
    app.middleware("http")(_numbering(coordinator))
    app.add_middleware(AuthMiddleware, access=access, rights=routes.rights, respond=respond)
    routes.rights.check(routes_of(app))
    app.state.rights = routes.rights
    return app


def rights_of(app: FastAPI) -> Rights:
    """Rights of an application that `application` composed."""
    rights: Rights = app.state.rights
    return rights


def _add_probes(routes: Routes, unready: Callable[[], str | None], metrics: Metrics | None) -> None:
    """Register `/livez`, `/readyz` and `/metrics`."""

    async def livez() -> Response:
        """Answer that the process runs."""
        return PlainTextResponse("ok\n")

    async def readyz() -> Response:
        """Answer 503 with the reason if the coordinator cannot work."""
        return readiness_response(unready())

    routes.add("GET", "/livez", livez, ANYONE)
    routes.add("GET", "/readyz", readyz, ANYONE)
    if metrics:
        routes.add("GET", "/metrics", metrics.answer, "read")


def _numbering(
    coordinator: Coordinator,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Middleware that sets `Dossier-Sequence` where a response lacks it, and logs and answers unexpected errors."""

    async def number(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        """Call the route; answer `defect` if it raises."""
        try:
            response = await call(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path, extra={"event": "request.failed"})
            response = respond(request, problems.internal_error())
        response.headers.setdefault(SEQUENCE, str(coordinator.fold.seq))
        return response

    return number
