"""Routes to sign in and out with a browser."""

from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from services.coordinator.access.access import Access
from services.coordinator.access.middleware import Caller, body_of, cookie_name, form_of
from services.coordinator.access.same_origin import name_of
from services.coordinator.access.sessions import LIFE
from services.coordinator.http.problems import ProblemError
from services.coordinator.http.rights import ANYONE, SOMEONE
from services.coordinator.http.routes import Routes
from services.coordinator.web import render
from shared.api.local_token import LOOPBACK_NAMES
from shared.api.schemas import Link, NewLink
from shared.domain.roles import Principal, local_principal
from shared.runtime import clock

_HOME: Final = "/"
_SENT_ALONG: Final = "lax"
"""A link in a chat opens its page; what changes anything takes the session's token, which no other site knows."""


class SignInPages:
    """Routes to sign in with a key or a link, to sign out, and to make a link."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/sign-in", self.page, ANYONE)
        routes.add("POST", "/sign-in", self.sign_in, ANYONE)
        routes.add("POST", "/sign-out", self.sign_out, SOMEONE)
        routes.add("POST", "/v1/sign-in-links", self.link, SOMEONE, status=201)

    async def page(
        self,
        ticket: Annotated[str, Query(max_length=100)] = "",
        next_: Annotated[str, Query(alias="next", max_length=4_000)] = _HOME,
    ) -> Response:
        """The sign-in form. With a ticket it has a button only, so that a preview of the link does not use it up."""
        return _page(ticket=ticket, next_=next_)

    async def sign_in(self, request: Request) -> Response:
        """Start a session for a key or ticket, and redirect to `next`. Answers the form again, with 401, 403 or 429, if
        the key is not valid, if it came over plain HTTP from another machine, or after too many failures.
        """
        form = form_of(await body_of(request.receive))
        next_ = form.get("next", _HOME)
        is_secure = request.url.scheme == "https"
        if not is_secure and name_of(request.headers.get("host", "")) not in LOOPBACK_NAMES:
            text = "Keys are typed in over https only. Behind a proxy that ends TLS, DOSSIER_TRUSTED_PROXIES names it."
            return _page(said=text, next_=next_, status=403)
        try:
            who = await self._who(request, form)
            cookie = await self._access.start_session(who)
        except ProblemError as error:
            if error.status not in (401, 429):
                raise
            text = "The key or link is not valid." if error.status == 401 else error.problem.detail
            return _page(said=text, next_=next_, status=error.status, headers=dict(error.headers))
        answer = RedirectResponse(_within(next_), 303)
        answer.set_cookie(
            cookie_name(request.url.scheme),
            cookie,
            max_age=int(LIFE.total_seconds()),
            path="/",
            secure=is_secure,
            httponly=True,
            samesite=_SENT_ALONG,
        )
        return answer

    async def _who(self, request: Request, form: dict[str, str]) -> Principal:
        """Principal of the form's ticket or key. Raises `ProblemError` (`unauthenticated`, `too_many`)."""
        address = request.client.host if request.client else ""
        if ticket := form.get("ticket"):
            return self._access.redeem_link(ticket, address)
        return await self._access.bearer(form.get("key", "").strip(), address)

    async def sign_out(self, request: Request) -> Response:
        """Delete the session's cookie and redirect to the form. The session itself stays valid until its end."""
        answer = RedirectResponse("/sign-in", 303)
        scheme = request.url.scheme
        name, is_secure = cookie_name(scheme), scheme == "https"
        answer.delete_cookie(name, path="/", secure=is_secure, httponly=True, samesite=_SENT_ALONG)
        return answer

    async def link(self, who: Caller, body: NewLink | None = None) -> Link:
        """Create a link that signs a browser in as the caller, once, within 10 minutes."""
        if who.is_local:
            who = local_principal(body.by if body and body.by else who.name)
        ticket = clock.token()
        until = self._access.sign_in_links.issue(ticket, who, clock.now())
        return Link(path=f"/sign-in?ticket={ticket}", expires_at=until)


def _page(
    *, ticket: str = "", said: str = "", next_: str = _HOME, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The sign-in form with a message (`said`) above it."""
    html = render.page("sign_in.html", now=clock.now(), said=said, ticket=ticket, next=_within(next_))
    return HTMLResponse(html, status, headers={"Referrer-Policy": "no-referrer"} | (headers or {}))


def _within(target: str) -> str:
    """The target if it is a path of this site, else `/`. Guards against open redirects."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path else _HOME
