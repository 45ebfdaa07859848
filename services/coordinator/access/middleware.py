"""What every request passes before anything of it is read: host, key or session, role, and where it was sent from."""

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
_PROTECTION: Final = {
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
    """Over TLS one that no other site of the domain can set; without TLS browsers refuse that prefix."""
    return f"__Host-{_COOKIE}" if scheme == "https" else _COOKIE


async def caller(request: Request) -> Principal:
    """Whoever the request is from."""
    return request.state.principal


Caller = Annotated[Principal, Depends(caller)]


async def csrf_of(request: Request) -> str:
    """What the forms of a page have to bring along in the field `csrf`; empty without a session."""
    return request.state.csrf


class Protected:
    """Puts the headers on every answer that keep browsers from what they should not do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _PROTECTION.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, protected)


class AuthMiddleware:
    """Lets through who may. What it lets through finds `request.state.principal` and `.csrf`."""

    def __init__(self, app: ASGIApp, access: Access, rights: Rights, respond: Respond) -> None:
        self._app = Protected(app)
        self._refuse = Protected(_refusing)
        self._access = access
        self._rights = rights
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            principal, receive = await self._admitted(HTTPConnection(scope), receive)
        except ProblemError as error:
            scope["refusal"] = self._told(HTTPConnection(scope), error)
            await self._refuse(scope, receive, send)
        except Unavailable as error:
            text = f"{error} Nobody is let in until it is known who may; it is safe to repeat the request."
            scope["refusal"] = self._respond(HTTPConnection(scope), ProblemError("nats_unavailable", text))
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, receive, self._while_valid(principal, send) if principal else send)

    async def _admitted(self, http: HTTPConnection, receive: Receive) -> tuple[Principal | None, Receive]:
        """Who it is, where that matters, and the rest of the request. Raises the problem of whoever stays outside."""
        method, path = http.scope["method"], http.scope["path"]
        need = self._rights.required(method, path)
        if path not in PROBES and not same_origin.is_addressed(http.headers, self._access.entry.hosts):
            text = "This is not a name that Dossier goes by here; DOSSIER_HOSTS lists those that it does."
            raise ProblemError("unknown_host", text)
        is_safe, has_key = method in _SAFE, "authorization" in http.headers
        if not is_safe and not has_key and not same_origin.is_same(http.headers):
            raise ProblemError("cross_site", "Another site sent this; open the page here and do it there.")
        http.state.principal, http.state.csrf = None, ""
        if need == ANYONE:
            return None, receive
        principal, session = await self._known(http)
        if session and not is_safe:
            receive = await self._with_csrf(http.headers, receive, session)
        http.state.principal = principal
        self._allow(principal, need)
        return principal, receive

    def _told(self, http: HTTPConnection, error: ProblemError) -> Response:
        """The problem; who wants to read a page and is not known is sent to sign in instead."""
        is_stranger = error.status == 401 and "authorization" not in http.headers
        if is_stranger and http.scope["method"] == "GET" and wants_page(http):
            query = http.scope.get("query_string", b"").decode("latin-1")
            target = f"{http.scope['path']}{'?' if query else ''}{query}"
            return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", 303)
        return self._respond(http, error)

    async def _known(self, http: HTTPConnection) -> tuple[Principal, Session | None]:
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

    async def _with_csrf(self, headers: Headers, receive: Receive, session: Session) -> Receive:
        """The request, once it has shown the session's token. A form is read for that, and can be read again."""
        shown = headers.get(CSRF_HEADER)
        if shown is None and headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
            body = await body_of(receive)
            shown, receive = form_of(body).get(CSRF_FIELD), _again(body, receive)
        if not self._access.is_csrf(session, shown or ""):
            text = f"This needs the token of the session, in the header {CSRF_HEADER} or the field {CSRF_FIELD}."
            raise ProblemError("csrf", text)
        return receive

    def _allow(self, principal: Principal, need: Right) -> None:
        if need in (ANYONE, SOMEONE):
            return
        if not is_allowed(principal, need):
            least = LEAST[need]
            scopes = f" with the scopes {', '.join(principal.scopes)}" if principal.scopes else ""
            text = f"This takes the role {least} (to {need}); {principal.name} comes as {principal.role}{scopes}."
            raise ProblemError("forbidden", text)
        if need == "decide":
            self._access.decides(principal)

    def _while_valid(self, principal: Principal, send: Send) -> Send:
        """Ends an answer that is still under way when its key stops to open anything."""
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


async def _refusing(scope: Scope, receive: Receive, send: Send) -> None:
    refusal: Response = scope["refusal"]
    await refusal(scope, receive, send)


async def body_of(receive: Receive) -> bytes:
    """The body of a form. Raises the problem of one that is too large."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_FORM:
            raise ProblemError("too_large", f"A form may have {_LARGEST_FORM:,} bytes.")
        if not message.get("more_body"):
            return body


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form; of one that is there twice the last."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=2_000))


def _again(body: bytes, receive: Receive) -> Receive:
    """A request whose body was read, as if it was not."""
    is_given = False

    async def receiving() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
