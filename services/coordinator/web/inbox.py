"""The inbox: what waits for a decision, what is under way, what came of the rest; a form to ask."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.summary import Show
from services.coordinator.http.commands import Commands
from services.coordinator.http.feed import HEADERS
from services.coordinator.http.params import WAIT_S, Code, Cursor, Text
from services.coordinator.http.problems import REFUSALS, ProblemError, problem_of, unknown_run
from services.coordinator.http.routes import Routes
from services.coordinator.web import forms, wording
from services.coordinator.web.forms import Form
from services.coordinator.web.hub import Hub
from services.coordinator.web.lists import PERIODS, Listed, Lists, Want
from services.coordinator.web.shell import Notice, Shell
from shared.contracts.requests import MAX_QUESTION
from shared.contracts.subjects import is_token
from shared.domain.roles import Principal, is_allowed

_TITLES: Final[dict[Show, str]] = {
    "waiting": "Waiting for a decision",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "all": "All runs",
}
_TABS: Final[dict[Show, str]] = {
    "waiting": "Waiting",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "all": "All",
}
_AT_ONCE: Final = 100
"""So many runs may be decided with one click."""
_DONE: Final = {"approve": "Approved", "reject": "Rejected"}

Period = Annotated[str, Query(pattern=f"^({'|'.join(PERIODS)})$")]
Late = Annotated[str, Query(pattern="^(on)?$")]
Seen = Annotated[int, Query(ge=0)]


async def wanted(
    who: Caller,
    show: Show = "waiting",
    text: Text = "",
    period: Period = "",
    code: Code = "",
    late: Late = "",
    before: Cursor = None,
) -> Want:
    """The list that is asked for."""
    is_late = bool(late) and show in ("running", "all")
    return Want(show, text.strip(), period, code.strip(), is_late, int(before) if before else None, _picks(who, show))


Wanted = Annotated[Want, Depends(wanted)]


def _waiting(who: Principal) -> Want:
    return Want("waiting", picks=_picks(who, "waiting"))


def _picks(who: Principal, show: Show) -> bool:
    return show == "waiting" and is_allowed(who, "decide")


class InboxPages:
    """The routes."""

    def __init__(self, coordinator: Coordinator, shell: Shell, hub: Hub, lists: Lists, commands: Commands) -> None:
        self._coordinator = coordinator
        self._shell = shell
        self._hub = hub
        self._lists = lists
        self._commands = commands

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/", self.page, "read")
        routes.add("GET", "/inbox/rows", self.rows, "read")
        routes.add("GET", "/inbox/live", self.live, "read")
        routes.add("POST", "/ask", self.ask, "ask")
        routes.add("POST", "/decide", self.decide, "decide")

    async def page(
        self,
        request: Request,
        want: Wanted,
        at: Seen = 0,
        done: Annotated[str, Query(pattern="^(approve|reject)?$")] = "",
        count: Annotated[int, Query(ge=0, le=_AT_ONCE)] = 0,
    ) -> HTMLResponse:
        """The inbox. `at`: not without what the log has up to there."""
        await self._coordinator.folded(at, within_s=WAIT_S)
        notice = Notice("good", f"{_DONE[done]}: {wording.count(count, 'run')}.") if done and count else None
        return self._page(request, want, at=at, notice=notice)

    async def rows(self, request: Request, want: Wanted) -> HTMLResponse:
        """The list alone, with all that is known by now: for pages that are open."""
        return self._shell.html(request, "list.html", **_listing(want, await self._lists.fresh(want)))

    async def live(self, seen: Seen = 0) -> EventSourceResponse:
        """Tells that there is something new since `seen`."""
        return events(self._hub, seen)

    async def ask(self, request: Request, who: Caller) -> Response:
        """Take a question, and go to its run."""
        form = await forms.form_of(request)
        try:
            run_id, seq = await self._commands.ask(forms.new_run(form), who, key=forms.key_of(form))
        except REFUSALS as error:
            return self._asked_in_vain(request, who, form, error)
        run = await self._coordinator.wait_until(run_id, seq, lambda _: True, within_s=WAIT_S)
        return RedirectResponse(f"/runs/{run_id}" if run else "/?show=running", 303)

    def _asked_in_vain(self, request: Request, who: Principal, form: Form, error: Exception) -> HTMLResponse:
        """The same page again with what was typed, and why it was not taken."""
        problem = problem_of(error)
        notice = Notice("bad", problem.problem.detail)
        return self._page(request, _waiting(who), notice=notice, asked=form, status=problem.status)

    async def decide(self, request: Request, who: Caller) -> Response:
        """Decide on several runs, each on the evidence that was shown."""
        form = await forms.form_of(request)
        picked = [value.partition(" ") for value in form.all("run")]
        if not 0 < len(picked) <= _AT_ONCE:
            text = f"Pick runs to decide on, {_AT_ONCE} at most." if picked else "No run was picked."
            raise ProblemError("invalid_field", text, field="run")
        ruled = await asyncio.gather(*(self._rule(run_id, digest, form, who) for run_id, _, digest in picked))
        refused = tuple(said for said in ruled if said)
        seq = self._coordinator.fold.seq
        done = len(picked) - len(refused)
        if not refused:
            query = urlencode({"show": "waiting", "done": form.text("decision"), "count": done, "at": seq})
            return RedirectResponse(f"/?{query}", 303)
        text = f"{done} of {len(picked)} decided. Not these:"
        return self._page(request, _waiting(who), at=seq, notice=Notice("warn", text, refused), status=409)

    async def _rule(self, run_id: str, digest: str, form: Form, who: Principal) -> str:
        """Decide on one of them; why not, where not."""
        try:
            if not is_token(run_id):
                raise unknown_run(run_id)
            run = await self._commands.decide(run_id, forms.new_approval(form, digest), who)
        except REFUSALS as error:
            known = self._coordinator.fold.peek(run_id)
            asked = f"{known.accepted.fact.q}: " if known and known.accepted else ""
            return f"{asked}{problem_of(error).problem.detail}"
        await self._coordinator.folded(run.seq, within_s=WAIT_S)
        return ""

    def _page(
        self,
        request: Request,
        want: Want,
        *,
        at: int = 0,
        notice: Notice | None = None,
        asked: Form | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        return self._shell.html(
            request,
            "inbox.html",
            status=status,
            title=_TITLES[want.show],
            notice=notice,
            asked=asked,
            usual_timeout=wording.span(timedelta(seconds=self._coordinator.defaults.approval_timeout_s)),
            max_question=MAX_QUESTION,
            periods={name: said for name, (said, _) in PERIODS.items()},
            **_listing(want, self._lists.now(want, at=at)),
        )


def events(hub: Hub, seen: int, run: str | None = None) -> EventSourceResponse:
    """Response with the server-sent events of `Hub.events`."""
    return EventSourceResponse(hub.events(seen, run), headers=HEADERS)


def _listing(want: Want, listed: Listed) -> dict[str, Any]:
    query = {"show": want.show, "text": want.text, "period": want.period, "code": want.code}
    query |= {"late": "on"} if want.late else {}
    narrowed = {name: value for name, value in query.items() if value}
    here = narrowed | ({"before": want.before} if want.before else {})
    return {
        "tabs": _TABS,
        "show": want.show,
        "want": want,
        "counts": listed.counts,
        "listed": listed,
        "narrowed": urlencode({name: value for name, value in narrowed.items() if name in ("text", "period")}),
        "rows_url": f"/inbox/rows?{urlencode(here)}",
        "older_url": f"/?{urlencode(narrowed | {'before': listed.older})}" if listed.older else "",
    }
