"""Authentication and authorization of every request before its body is read: host, origin, key or session, right."""

from collections.abc import MutableMapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, quote

from fastapi import Depends
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.coordinator.access import same_origin
from services.coordinator.access.access import Access, unauthenticated
from services.coordinator.access.sessions import Session
from services.coordinator.http.problems import ProblemError, Respond, wants_page
from services.coordinator.http.rights import ANYONE, PROBES, SOMEONE, Right, Rights
from shared.domain.roles import LEAST, Principal, is_allowed
from shared.errors import Unavailable

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf"
_COOKIE: Final = "dossier"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_FORM: Final = "application/x-www-form-urlencoded"
_POLICY_VIOLATION: Final = 1008
_LARGEST_FORM: Final = 256 * 1024
_MOST_FIELDS: Final = 2_000
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise itself."""

Message = MutableMapping[str, Any]


def cookie_name(scheme: str) -> str:
    """Name of the session's cookie: with the prefix `__Host-` over TLS, which no other site of the domain can set."""
    return f"__Host-{_COOKIE}" if scheme == "https" else _COOKIE


async def caller(request: Request) -> Principal:
    """Principal of a request that the middleware let through."""
    return request.state.principal


Caller = Annotated[Principal, Depends(caller)]


async def csrf_of(request: Request) -> str:
    """CSRF token that the forms of a page have to send in the field `csrf`; empty without a session."""
    return request.state.csrf


class SecurityHeaders:
    """Sets the security headers on every response that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, adding the headers at the start of its response."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, protected)


class AuthMiddleware:
    """Passes a request on if its caller has the right that the route needs; else responds with a problem.

    Sets `request.state.principal` (None for routes that anyone may call) and `request.state.csrf`.
    """

    def __init__(self, app: ASGIApp, access: Access, rights: Rights, respond: Respond) -> None:
        self._app = SecurityHeaders(app)
        self._access = access
        self._rights = rights
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request, or pass it on. Websockets are closed; other scopes pass unchecked. A response that is
        still being sent ends when the caller's key becomes invalid.
        """
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            principal, receive = await self._authorize(HTTPConnection(scope), receive)
        except ProblemError as error:
            await SecurityHeaders(self._refusal(HTTPConnection(scope), error))(scope, receive, send)
        except Unavailable as error:
            text = f"{error} Keys cannot be checked, so the request was refused; it is safe to repeat it."
            refusal = self._respond(HTTPConnection(scope), ProblemError("nats_unavailable", text))
            await SecurityHeaders(refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, self._until_revoked(principal, send) if principal else send)

    async def _authorize(self, http: HTTPConnection, receive: Receive) -> tuple[Principal | None, Receive]:
        """Principal of a request, None if the route needs none, and a `receive` that still has the whole body.

        Raises `ProblemError` if the request is refused: `unknown_host`, `cross_site`, `unauthenticated`, `too_many`,
        `csrf`, `too_large` or `forbidden`; and `Unavailable` if keys cannot be checked.
        """
        method, path = http.scope["method"], http.scope["path"]
        right = self._rights.required(method, path)
        if path not in PROBES and not same_origin.is_addressed(http.headers, self._access.entry.hosts):
            text = "The Host header names no host of this API; add the name to DOSSIER_HOSTS."
            raise ProblemError("unknown_host", text)
        is_safe, has_key = method in _SAFE, "authorization" in http.headers
        if not is_safe and not has_key and not same_origin.is_same(http.headers):
            raise ProblemError("cross_site", "Another site sent this form; use the form on the page of Dossier itself.")
        http.state.principal, http.state.csrf = None, ""
        if right == ANYONE:
            return None, receive
        principal, session = await self._authenticate(http)
        if session and not is_safe:
            receive = await self._check_csrf(http.headers, receive, session)
        http.state.principal = principal
        self._check_right(principal, right)
        return principal, receive

    def _refusal(self, http: HTTPConnection, error: ProblemError) -> Response:
        """Response with the problem; a redirect to the sign-in page for a page that was requested without a key."""
        is_stranger = error.status == 401 and "authorization" not in http.headers
        if is_stranger and http.scope["method"] == "GET" and wants_page(http):
            query = http.scope.get("query_string", b"").decode("latin-1")
            target = f"{http.scope['path']}{'?' if query else ''}{query}"
            return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", 303)
        return self._respond(http, error)

    async def _authenticate(self, http: HTTPConnection) -> tuple[Principal, Session | None]:
        """Principal of the request's key or session cookie, and the session if it came with one. Sets the state's
        `csrf`.

        Raises `ProblemError` (`unauthenticated`, `too_many`) and `Unavailable`. A key takes precedence over a cookie.
        """
        address = http.client.host if http.client else ""
        if "authorization" in http.headers:
            scheme, _, key = http.headers["authorization"].partition(" ")
            return await self._access.bearer(key.strip() if scheme.lower() == "bearer" else "", address), None
        cookie = http.cookies.get(cookie_name(http.scope["scheme"]))
        known = await self._access.session(cookie) if cookie else None
        if known is None:
            raise unauthenticated()
        http.state.csrf = self._access.csrf(known[1])
        return known

    async def _check_csrf(self, headers: Headers, receive: Receive, session: Session) -> Receive:
        """Return a `receive` for the rest of the request. Reads the body of a form, to find the token in the field
        `csrf`.

        Raises `ProblemError`: `csrf` if neither header nor field has the session's token, `too_large`.
        """
        shown = headers.get(CSRF_HEADER)
        if shown is None and headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
            body = await body_of(receive)
            shown, receive = form_of(body).get(CSRF_FIELD), _replayed(body, receive)
        if not self._access.is_csrf_token(session, shown or ""):
            text = f"This needs the token of the session, in the header {CSRF_HEADER} or the field {CSRF_FIELD}."
            raise ProblemError("csrf", text)
        return receive

    def _check_right(self, principal: Principal, right: Right) -> None:
        """Raise `ProblemError` if the principal lacks the right (`forbidden`) or decides too often (`too_many`)."""
        if right in (ANYONE, SOMEONE):
            return
        if not is_allowed(principal, right):
            least = LEAST[right]
            scopes = f" with the scopes {', '.join(principal.scopes)}" if principal.scopes else ""
            text = f"This takes the role {least} (to {right}); {principal.name} comes as {principal.role}{scopes}."
            raise ProblemError("forbidden", text)
        if right == "decide":
            self._access.count_decision(principal)

    def _until_revoked(self, principal: Principal, send: Send) -> Send:
        """A `send` that ends the response, without an error, once the principal's key is no longer valid."""
        is_over = False

        async def sending(message: Message) -> None:
            nonlocal is_over
            if is_over:
                return
            if message["type"] == "http.response.body" and not self._access.is_valid(principal):
                is_over = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        return sending


async def body_of(receive: Receive) -> bytes:
    """Whole body of a request. Raises `ProblemError` (`too_large`) beyond 256 KiB."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_FORM:
            raise ProblemError("too_large", f"A form may have {_LARGEST_FORM:,} bytes.")
        if not message.get("more_body"):
            return body


def form_of(body: bytes) -> dict[str, str]:
    """Fields of a URL-encoded form, by name; a repeated one has its last value. Raises `ProblemError` beyond 2,000."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise ProblemError("too_large", f"A form may have {_MOST_FIELDS:,} fields.") from error


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that delivers a body that was read already, and then what `receive` delivers."""
    is_sent = False

    async def receiving() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
