"""Whatever is in questions, pages, errors, comments and reports: on the desk it is text, and all of it is seen."""

import re
import unicodedata
from pathlib import Path

import pytest

from services.coordinator.web import render
from shared.contracts.evidence import (
    Call,
    Citation,
    CitedSource,
    Claim,
    Conflict,
    Failure,
    Passage,
    Report,
    Searched,
    Section,
    Skipped,
    Source,
    usage_of,
)
from shared.contracts.facts import FetchFailed, FetchFound, PlanMade, StepOutcome, SynthesisWritten
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.contracts.visible import name_invisible
from tests.pages.visitor import Page, Stage, staged

HOSTILE = (
    "</textarea></title></script><script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover=\"alert(3)' x='"
    "<a href=javascript:alert(4)>{{ 7*7 }}{% raw %}&lt;b&gt;<!--"
    "\u202eRTL\u202c\u2066iso\u2069 z\u200be\u200bro\ufeff \u2028line\x00\x1b[31m \U000e0041\U000e0042 \u3164"
)
MARK = "QQ"
UNSEEN = "\u202e\u202c\u2066\u2069\u200b\ufeff\u2028\x00\x1b\U000e0041\U000e0042\u3164"


class Workers:
    """What they bring has this text wherever there is any."""

    def __init__(self, text: str, sha256: str) -> None:
        self._text = text
        self._sha256 = sha256

    def outcome(self, task: Task) -> StepOutcome:
        text, skipped = self._text, (Skipped(self._text, Failure("refused", self._text)),)
        match task:
            case PlanTask():
                call = Call(text, text, "v1", 10, 10, 0.1)
                return PlanMade(
                    queries=(text, "other"), planner=text, degraded=text, calls=(call,), usage=usage_of((call,))
                )
            case FetchTask(query="other"):
                return FetchFailed(query="other", error=Failure(text, text), skipped=skipped)
            case FetchTask(query=query):
                return FetchFound(query=query, sources=(self._source(),), skipped=skipped)
            case SynthesizeTask(digest=digest):
                return SynthesisWritten(digest=digest, report=self._report())

    def _source(self) -> Source:
        text = self._text
        return Source(
            self._sha256,
            text,
            text,
            text,
            (Passage(text, 0),),
            url=f"https://{text}/{text}",
            published=text,
            language=text,
            also=(text,),
            stripped=(text,),
            status=404,
        )

    def _report(self) -> Report:
        text = self._text
        cited = Citation(self._sha256, text, 0)
        claim = Claim(text, (cited,), support="partial", doubt=text)
        return Report(
            sections=(Section(text, (claim,)),),
            sources=(CitedSource(1, self._sha256, text, text, url=text, published=text),),
            writer=text,
            degraded=text,
            gaps=(text,),
            unsupported=(claim,),
            conflicts=(Conflict(text, cited, cited),),
            judge=text,
            searched=(Searched(text, 1),),
            skipped=(Skipped(text, Failure(text, text)),),
        )


async def pages_with(stage: Stage, text: str) -> dict[str, Page]:
    """Every page there is, with this text in every place that anybody else can fill."""
    sha256 = await stage.log.put(text)
    stage.workers.outcome = Workers(text, sha256).outcome
    ada = await stage.visitor(f"ada {text}")
    pages = {"asked in vain": await ada.send(await ada.open("/"), "/ask", q=text, approval_timeout=text)}
    await ada.send(await ada.open("/"), "/ask", q=text)
    run_id = ada.path.rpartition("/")[2]
    await stage.dossier.until(run_id, "hold")
    pages["hold"] = hold = await ada.open(f"/runs/{run_id}")
    pages["inbox"] = await ada.open("/", at=str(len(stage.log.messages)))
    pages["search"] = await ada.open("/", show="all", text=f"{text[:150]} no such", code=text[:90])
    pages["passage"] = await ada.open(f"/runs/{run_id}/evidence/{sha256}", start="0", length=str(len(text)))
    words = {"feedback": text, "comment": text, "add": "other one"}
    pages["refused"] = await ada.send(hold, f"/runs/{run_id}/decide", decision=text, **words)
    await ada.send(hold, f"/runs/{run_id}/decide", decision="revise", **words)
    await stage.dossier.until(run_id, "hold", round_=2)
    pages["stale"] = await ada.send(hold, f"/runs/{run_id}/decide", decision="revise", **words)
    await ada.send(await ada.open(f"/runs/{run_id}"), f"/runs/{run_id}/decide", decision="approve", comment=text)
    await stage.dossier.until(run_id, "reported", round_=2)
    pages["report"] = await ada.open(f"/runs/{run_id}")
    pages["file"] = Page((await ada.http.get(f"/runs/{run_id}/report.html")).text)
    assert (await ada.http.get(f"/runs/{run_id}/report.pdf")).content.startswith(b"%PDF-")
    pages["cancelled"] = await cancelled(stage, text)
    pages["sign-in"] = Page((await stage.stranger().get("/sign-in", params={"next": text, "ticket": text[:100]})).text)
    return pages


async def cancelled(stage: Stage, text: str) -> Page:
    """The page of a run that was ended with these words."""
    run_id = await stage.held(text, run_id=f"c{len(stage.log.messages)}")
    ada = await stage.visitor()
    return await ada.send(await ada.open(f"/runs/{run_id}"), f"/runs/{run_id}/cancel", comment=text)


def shape(page: Page) -> list[tuple[str, list[str]]]:
    """What a page is made of, apart from texts."""
    return [(each.tag, sorted(each.attributes)) for each in page.elements]


async def test_hostile_text_changes_nothing_of_any_page_but_its_text(tmp_path: Path):
    made: dict[str, dict[str, Page]] = {}
    for text, folder in ((MARK, "calm"), (HOSTILE, "hostile")):
        async with staged(tmp_path / folder) as stage:
            made[text] = await pages_with(stage, text)
    for name, calm in made[MARK].items():
        hostile = made[HOSTILE][name]
        assert shape(hostile) == shape(calm), name
        assert MARK in calm.html, name
        assert "alert(1)" in hostile.text or name == "sign-in", name
        assert not set(UNSEEN) & set(hostile.html), name
        assert "7*7" in hostile.html or name == "sign-in", name
        for each in hostile.elements:
            for attribute in ("href", "src", "action"):
                assert each.get(attribute)[:1] in ("", "/", "#"), (name, each.get(attribute))


def test_what_nobody_could_see_is_named():
    assert name_invisible("a\u202eb\u200bc\x00") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩"
    assert name_invisible("\U000e0041") == "⟨U+E0041⟩"
    assert name_invisible("\ufe00x") == "⟨U+FE00⟩x"


@pytest.mark.parametrize("text", ["Grüße, café ☃", "می‌خواهم", "👩‍👩‍👧", "❤️", "line\nline\ttab", "soft­hyphen", "日本語"])
def test_what_people_write_with_stays_as_it_is(text: str):
    assert name_invisible(text) == text


def test_every_character_that_turns_or_hides_text_is_named():
    turning = [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in TURNS]
    assert turning
    assert not [character for character in turning if name_invisible(character) == character]


TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def test_no_template_turns_escaping_off():
    folder = Path(render.__file__).parent / "templates"
    templates = sorted(folder.glob("*.html"))
    assert templates
    for template in templates:
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", template.read_text()), template.name
