"""Page of the inbox: runs by state, a form to ask, and decisions on several runs at once."""

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
from services.coordinator.web.lists import PERIODS, ListQuery, Lists, RenderedList
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
) -> ListQuery:
    """List that the query asks for. `late` counts for running and all runs only."""
    is_late = bool(late) and show in ("running", "all")
    return ListQuery(
        show, text.strip(), period, code.strip(), is_late, int(before) if before else None, _picks(who, show)
    )


Wanted = Annotated[ListQuery, Depends(wanted)]


def _waiting(who: Principal) -> ListQuery:
    return ListQuery("waiting", picks=_picks(who, "waiting"))


def _picks(who: Principal, show: Show) -> bool:
    return show == "waiting" and is_allowed(who, "decide")


class InboxPages:
    """Routes of the inbox."""

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
        """The inbox, once the log is folded to the sequence `at`, after 2 s at most."""
        await self._coordinator.folded(at, within_s=WAIT_S)
        notice = Notice("good", f"{_DONE[done]}: {wording.count(count, 'run')}.") if done and count else None
        return self._page(request, want, at=at, notice=notice)

    async def rows(self, request: Request, want: Wanted) -> HTMLResponse:
        """The list alone, up to date, for open pages."""
        return self._shell.html(request, "list.html", **_listing(want, await self._lists.fresh(want)))

    async def live(self, seen: Seen = 0) -> EventSourceResponse:
        """Server-sent events on changes of any run after the sequence `seen`."""
        return events(self._hub, seen)

    async def ask(self, request: Request, who: Caller) -> Response:
        """Publish the form's question and redirect to its run; to the running runs if it is not folded within 2 s."""
        form = await forms.form_of(request)
        try:
            run_id, seq = await self._commands.ask(forms.new_run(form), who, key=forms.idempotency_key(form))
        except REFUSALS as error:
            return self._ask_refused(request, who, form, error)
        run = await self._coordinator.wait_until(run_id, seq, lambda _: True, within_s=WAIT_S)
        return RedirectResponse(f"/runs/{run_id}" if run else "/?show=running", 303)

    def _ask_refused(self, request: Request, who: Principal, form: Form, error: Exception) -> HTMLResponse:
        """The inbox with the form as it was filled in, and the problem, with its status."""
        problem = problem_of(error)
        notice = Notice("bad", problem.problem.detail)
        return self._page(request, _waiting(who), notice=notice, asked=form, status=problem.status)

    async def decide(self, request: Request, who: Caller) -> Response:
        """Decide on the runs that are ticked, each on the evidence that was shown. Redirects to the inbox; if some are
        refused, answers 409 with the reasons. Raises `ProblemError` (`invalid_field`) unless 1 to 100 runs are ticked.
        """
        form = await forms.form_of(request)
        picked = [value.partition(" ") for value in form.all("run")]
        if not 0 < len(picked) <= _AT_ONCE:
            text = f"Pick runs to decide on, {_AT_ONCE} at most." if picked else "No run was picked."
            raise ProblemError("invalid_field", text, field="run")
        refusals = await asyncio.gather(*(self._decide_one(run_id, digest, form, who) for run_id, _, digest in picked))
        refused = tuple(said for said in refusals if said)
        seq = self._coordinator.fold.seq
        done = len(picked) - len(refused)
        if not refused:
            query = urlencode({"show": "waiting", "done": form.text("decision"), "count": done, "at": seq})
            return RedirectResponse(f"/?{query}", 303)
        text = f"{done} of {len(picked)} decided. Not these:"
        return self._page(request, _waiting(who), at=seq, notice=Notice("warn", text, refused), status=409)

    async def _decide_one(self, run_id: str, digest: str, form: Form, who: Principal) -> str:
        """Decide on one run and wait until that is folded. Returns the reason if it is refused, else an empty text."""
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
        want: ListQuery,
        *,
        at: int = 0,
        notice: Notice | None = None,
        asked: Form | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """The inbox with this list, a notice above it, and the fields of a form that was refused (`asked`)."""
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


def _listing(want: ListQuery, listed: RenderedList) -> dict[str, Any]:
    """Template variables of a list: its tab, filter, rows, and the URLs to refresh it and of older runs."""
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
