"""A coordinator with its pages, and somebody who reads them without a script."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from services.coordinator.app import application
from shared.contracts.access import Role
from shared.contracts.evidence import Citation, Source
from shared.contracts.facts import FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain.approval import ANY_APPROVAL, ApprovalRules
from shared.domain.inbound import Defaults
from shared.runtime.memory import MemoryLog
from tests.access.entry import URL, created, entered
from tests.coordinator.story import OTHER, SOURCE, report
from tests.dossier import Dossier, coordinating, working

SITE = {"Sec-Fetch-Site": "same-origin", "Origin": URL, "Accept": "text/html"}
VOID = {"meta", "link", "input", "img", "br", "rect", "path"}


class Element:
    """One element: its tag, attributes, and the text in it."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.text = ""

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")


class Page(HTMLParser):
    """A page taken apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Every element of this kind with these attributes; `class_` is one of several."""
        return [each for each in self.elements if each.tag == tag and _fits(each, attributes)]

    def one(self, tag: str, **attributes: str) -> Element:
        found = self.all(tag, **attributes)
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    @property
    def text(self) -> str:
        """What is to be read."""
        return " ".join(self.one("body").text.split())

    @property
    def notice(self) -> str:
        """What it says first."""
        return " ".join(
            " ".join(each.text.split())
            for each in self.elements
            if each.get("class").startswith("notice ") and "hidden" not in each.attributes
        )

    def fields(self, action: str) -> dict[str, list[str]]:
        """What the form that goes to `action` sends as it stands, less its buttons."""
        form = self.one("form", action=action)
        start, id_ = self.elements.index(form), form.get("id")
        inside = self._until_end(start)
        sent: dict[str, list[str]] = {}
        for each in self.elements:
            if (each in inside and not each.get("form")) or (id_ and each.get("form") == id_):
                self._add(each, sent)
        return sent

    def _until_end(self, start: int) -> list[Element]:
        """The fields of a form: the elements up to the next form."""
        following = self.elements[start + 1 :]
        end = next((n for n, each in enumerate(following) if each.tag in ("form", "aside")), len(following))
        return following[:end]

    @staticmethod
    def _add(each: Element, sent: dict[str, list[str]]) -> None:
        name, kind = each.get("name"), each.get("type")
        if not name or each.tag not in ("input", "textarea"):
            return
        if kind != "checkbox":
            sent.setdefault(name, []).append(each.text if each.tag == "textarea" else each.get("value"))
        elif "checked" in each.attributes:
            sent.setdefault(name, []).append(each.get("value"))


def _fits(each: Element, attributes: Mapping[str, str]) -> bool:
    classes = attributes.get("class_")
    rest = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if name != "class_"}
    return (classes is None or classes in each.get("class").split()) and all(
        each.attributes.get(name) == value for name, value in rest.items()
    )


class Workers:
    """Perform at once and well; what they find is up to the test."""

    def __init__(self) -> None:
        self.found: Sequence[Source] = (SOURCE, OTHER)
        self.outcome: Callable[[Task], StepOutcome | None] = lambda _: None

    async def perform(self, task: Task) -> StepOutcome:
        if outcome := self.outcome(task):
            return outcome
        match task:
            case PlanTask(asked=()):
                return PlanMade(queries=("cats", "dogs"), planner="test")
            case PlanTask():
                return PlanMade(queries=("wolves",), planner="test")
            case FetchTask(query=query):
                return FetchFound(query=query, sources=tuple(self.found))
            case SynthesizeTask(digest=digest):
                return SynthesisWritten(digest=digest, report=report(Citation(SOURCE.sha256, "Cats purr.", 0)))


class Visitor:
    """Somebody who is signed in."""

    def __init__(self, http: httpx2.AsyncClient, name: str) -> None:
        self.http = http
        self.name = name
        self.status = 0
        self.path = ""

    async def open(self, path: str, **query: str) -> Page:
        """The page; redirects are followed."""
        return await self._page(await self.http.get(path, params=query or None, headers=SITE, follow_redirects=True))

    async def send(self, page: Page, action: str, **fields: Any) -> Page:
        """Send a form of this page with these fields changed, and follow where that leads."""
        data = page.fields(action) | {name: value for name, value in fields.items() if value is not None}
        data = {name: value for name, value in data.items() if fields.get(name, "") is not None}
        return await self._page(await self.http.post(action, data=data, headers=SITE, follow_redirects=True))

    async def _page(self, answer: httpx2.Response) -> Page:
        self.status, self.path = answer.status_code, answer.url.raw_path.decode()
        assert answer.headers["Content-Type"].startswith("text/html"), answer.text
        return Page(answer.text)


class Stage:
    """A Dossier with pages, and who comes to see them."""

    def __init__(self, dossier: Dossier, app: FastAPI, keys: MemoryLog, log: MemoryLog, workers: Workers) -> None:
        self.dossier = dossier
        self.app = app
        self.log = log
        self.workers = workers
        self._keys = keys
        self._clients: list[httpx2.AsyncClient] = []

    def stranger(self) -> httpx2.AsyncClient:
        """A browser in which nobody is signed in."""
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False), base_url=URL)
        self._clients.append(client)
        return client

    async def visitor(self, name: str = "ada", role: Role = "operator") -> Visitor:
        """Somebody who has signed in with a key."""
        http = self.stranger()
        key = await created(self._keys, name, role)
        answer = await http.post("/sign-in", data={"key": key}, headers=SITE)
        assert answer.status_code == 303, answer.text
        return Visitor(http, name)

    async def held(self, q: str = "What do cats do?", **more: object) -> str:
        """A run that waits for a decision."""
        run_id = await self.dossier.ask(q, **more)
        await self.dossier.until(run_id, "hold")
        return run_id

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def staged(
    data: Path,
    *,
    rules: ApprovalRules = ANY_APPROVAL,
    defaults: Defaults | None = None,
    rounds: int = 5,
    log: MemoryLog | None = None,
) -> AsyncGenerator[Stage]:
    """A coordinator with its pages and its workers, over logs in memory."""
    log, keys, workers = log or MemoryLog(), MemoryLog(), Workers()
    performs = dict.fromkeys(("plan", "fetch", "synthesize"), workers.perform)
    async with (
        coordinating(log, data, defaults=defaults or Defaults(rules=rules, rounds=rounds)) as dossier,
        working(log, performs),
        entered(keys) as access,
    ):
        app = application(log, dossier.coordinator, access, unready=lambda: None)
        stage = Stage(dossier, app, keys, log, workers)
        try:
            yield stage
        finally:
            await stage.close()
