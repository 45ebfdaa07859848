"""The desk without a script: what its pages show, and what their forms do."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from shared.contracts.evidence import Failure, Passage, Source
from shared.contracts.facts import DecisionApproved, DecisionRevised, FetchFailed, FetchFound, SynthesisFailed
from shared.contracts.tasks import FetchTask, SynthesizeTask, Task
from shared.domain.approval import ApprovalRules
from tests.coordinator.story import OTHER, SOURCE, TEXT
from tests.pages.visitor import SITE, Page, staged

QUESTION = "What do cats do?"


async def test_a_question_that_is_asked_leads_to_its_run(tmp_path: Path):
    async with staged(tmp_path) as stage:
        ada = await stage.visitor()
        page = await ada.send(await ada.open("/"), "/ask", q=QUESTION, approval_timeout="3h", max_cost_usd="0.50")
        assert page.one("h1").text == QUESTION
        run_id = page.one("div", id="run")["data-run"]
        assert ada.path == f"/runs/{run_id}"
        held = await stage.dossier.until(run_id, "hold")
        assert held.accepted
        asked = held.accepted.fact
        assert (asked.requested_by, asked.approval_timeout_s, asked.max_cost_usd) == ("ada", 10_800.0, 0.5)
        assert asked.auth.startswith("session:")


async def test_a_form_that_is_sent_twice_asks_once_and_a_changed_one_asks_again(tmp_path: Path):
    async with staged(tmp_path) as stage:
        ada = await stage.visitor()
        page = await ada.open("/")
        places = []
        for q in (QUESTION, QUESTION, "Another?"):
            await ada.send(page, "/ask", q=q, approval="auto")
            places.append(ada.path)
        assert places[0] == places[1] != places[2]


@pytest.mark.parametrize(
    ("fields", "said"), [({"approval_timeout": "soon"}, "approval_timeout"), ({"max_cost_usd": "much"}, "max_cost_usd")]
)
async def test_a_question_that_cannot_be_taken_is_still_there_beside_the_reason(
    tmp_path: Path, fields: dict[str, str], said: str
):
    async with staged(tmp_path) as stage:
        ada = await stage.visitor()
        page = await ada.send(await ada.open("/"), "/ask", q=QUESTION, **fields)
        assert ada.status == 422
        assert said in page.notice
        assert page.one("textarea", name="q").text == QUESTION
        assert page.one("input", name=said)["value"] == fields[said]
        assert "open" in page.one("details", id="ask").attributes


async def test_the_inbox_has_what_waits_with_the_least_time_left_first(tmp_path: Path):
    async with staged(tmp_path) as stage:
        late = await stage.held("Later?", approval_timeout="3h", requested_by="bob")
        soon = await stage.held("Sooner?", approval_timeout="10m")
        ada = await stage.visitor()
        page = await ada.open("/")
        rows = page.all("li", class_="row")
        assert [row["data-run"] for row in rows] == [soon, late]
        assert "urgent" in rows[0]["class"]
        assert "urgent" not in rows[1]["class"]
        said = " ".join(rows[1].text.split())
        assert said.startswith("Later? bob")
        assert "2 of 2 sub-queries answered" in said
        assert "2 sources" in said
        assert "2 h 59 min left" in said
        assert page.one("span", data_count="waiting").text == "2"


async def test_tabs_search_and_filters_narrow_what_is_listed(tmp_path: Path):
    async with staged(tmp_path) as stage:
        held = await stage.held("About cats?")
        done = await stage.dossier.ask("About dogs?", approval="auto")
        await stage.dossier.until(done, "reported")
        stage.workers.outcome = failing
        bad = await stage.dossier.ask("About fish?", approval="auto")
        await stage.dossier.until(bad, "failed")
        ada = await stage.visitor()

        async def listed(**query: str) -> set[str]:
            return {row["data-run"] for row in (await ada.open("/", **query)).all("li", class_="row")}

        assert await listed() == {held}
        assert await listed(show="finished") == {done}
        assert await listed(show="failed") == {bad}
        assert await listed(show="all") == {held, done, bad}
        assert await listed(show="all", text="dogs") == {done}
        assert await listed(show="all", text="d_gs") == set()
        assert await listed(show="all", code="broken") == {bad}
        assert await listed(show="all", period="1h") == {held, done, bad}
        assert await listed(show="all", late="on") == set()
        await ada.open("/", show="nothing")
        assert ada.status == 422


def failing(task: Task) -> SynthesisFailed | None:
    return SynthesisFailed(error=Failure("broken", "It broke.")) if isinstance(task, SynthesizeTask) else None


async def test_older_runs_are_on_pages_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.coordinator.web.lists.OTHERS", 2)

    async with staged(tmp_path) as stage:
        runs = [await stage.dossier.ask(f"{n}?", approval="auto") for n in range(5)]
        for run in runs:
            await stage.dossier.until(run, "reported")
        ada = await stage.visitor()
        seen: list[str] = []
        path = "/?show=finished"
        while path:
            page = await ada.open(path)
            seen += [row["data-run"] for row in page.all("li", class_="row")]
            path = next((link["href"] for link in page.all("a") if link.text == "Older runs"), "")
        assert seen == runs[::-1]


async def test_the_evidence_is_shown_as_the_writer_gets_it_with_what_was_stripped_and_what_failed(tmp_path: Path):
    stripped = msgspec.structs.replace(SOURCE, stripped=("3 invisible characters",), published="2025-05-01")

    def some(task: Task) -> FetchFound | FetchFailed | None:
        match task:
            case FetchTask(query="dogs"):
                return FetchFailed(query="dogs", error=Failure("empty", "Nothing was found for dogs."))
            case FetchTask(query=query):
                return FetchFound(query=query, sources=(stripped, OTHER))
            case _:
                return None

    async with staged(tmp_path) as stage:
        stage.workers.outcome = some
        run_id = await stage.held()
        page = await (await stage.visitor()).open(f"/runs/{run_id}")
        assert TEXT in [quote.text for quote in page.all("blockquote")]
        assert "Taken out: 3 invisible characters" in page.text
        assert "2025-05-01" in page.text
        assert "Nothing was found for dogs." in page.text
        assert "2 of 2 sources go to the writer; 1 sub-query found nothing." in page.text
        assert {box["value"] for box in page.all("input", name="keep")} == {SOURCE.sha256, OTHER.sha256}


async def test_an_approval_without_a_source_keeps_it_from_the_writer_and_records_who_why_and_on_what(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}")
        digest = page.one("form", id="decide")["data-digest"]
        page = await ada.send(
            page, f"/runs/{run_id}/decide", decision="approve", keep=[SOURCE.sha256], comment="Plants are beside it."
        )
        assert page.notice.startswith("Approved.")
        run = await stage.dossier.until(run_id, "reported")
        decision = run.current.decision
        assert decision
        fact = decision.fact
        assert isinstance(fact, DecisionApproved)
        assert (fact.by, fact.comment, fact.digest, fact.exclude) == (
            "ada",
            "Plants are beside it.",
            digest,
            (OTHER.sha256,),
        )
        record = (await ada.open(f"/runs/{run_id}")).one("section", class_="record").text
        assert all(said in record for said in ("approved", "ada", "Plants are beside it.", digest, "1 source"))
        assert f"signed in with the key {fact.auth.partition(':')[2]}" in record


async def test_a_rejection_ends_the_run_whatever_is_ticked(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.send(
            await ada.open(f"/runs/{run_id}"), f"/runs/{run_id}/decide", decision="reject", keep=None, comment="Thin."
        )
        assert page.notice == "Rejected."
        run = await stage.dossier.until(run_id, "rejected")
        assert run.completed
        assert run.completed.fact.reason == "Thin."


async def test_what_is_sent_back_says_what_is_missing_what_to_add_and_what_to_drop(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.send(
            await ada.open(f"/runs/{run_id}"),
            f"/runs/{run_id}/decide",
            decision="revise",
            feedback="More on lions.",
            add="lions\n\n tigers ",
            drop=["dogs"],
        )
        assert page.notice.startswith("Sent back")
        run = await stage.dossier.until(run_id, "hold", round_=2)
        decision = run.in_round(1).decision
        assert decision
        assert isinstance(decision.fact, DecisionRevised)
        said = decision.fact
        assert (said.feedback, said.queries_add, said.queries_drop) == (
            "More on lions.",
            ("lions", "tigers"),
            ("dogs",),
        )
        page = await ada.open(f"/runs/{run_id}")
        assert "round 2" in page.text
        assert "dropped" in page.one("article", id="finding-2")["class"]
        assert {box["value"] for box in page.all("input", name="drop")} == {"cats", "wolves", "lions", "tigers"}


async def test_what_was_typed_and_ticked_stays_where_a_decision_is_refused_on_the_same_evidence(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.send(
            await ada.open(f"/runs/{run_id}"),
            f"/runs/{run_id}/decide",
            decision="revise",
            feedback="",
            comment="Hm.",
            keep=[SOURCE.sha256],
        )
        assert ada.status == 422
        assert "feedback" in page.notice
        assert page.one("textarea", name="comment").text == "Hm."
        assert {box["value"]: "checked" in box.attributes for box in page.all("input", name="keep")} == {
            SOURCE.sha256: True,
            OTHER.sha256: False,
        }
        assert "1 of 2 sources go to the writer" in page.text


async def test_a_decision_on_other_evidence_decides_nothing_and_asks_again_with_all_ticked(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        old = await ada.open(f"/runs/{run_id}")
        await stage.dossier.send_back(run_id, "More.")
        await stage.dossier.until(run_id, "hold", round_=2)
        page = await ada.send(old, f"/runs/{run_id}/decide", decision="approve", comment="Good.", keep=[SOURCE.sha256])
        assert ada.status == 412
        assert "The evidence changed while you were looking, so nothing was decided." in page.notice
        assert page.one("textarea", name="comment").text == "Good."
        assert all("checked" in box.attributes for box in page.all("input", name="keep"))
        known = await stage.dossier.until(run_id, "hold", round_=2)
        assert known.current.decision is None
        await ada.send(page, f"/runs/{run_id}/decide", decision="approve")
        await stage.dossier.until(run_id, "reported")


async def test_a_form_without_a_digest_decides_nothing(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.send(
            await ada.open(f"/runs/{run_id}"), f"/runs/{run_id}/decide", decision="approve", digest=None
        )
        assert ada.status == 428
        assert "did not say which evidence" in page.notice
        assert (await stage.dossier.until(run_id, "hold")).current.decision is None


async def test_who_comes_second_is_told_who_was_first(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada, bob = await stage.visitor("ada"), await stage.visitor("bob")
        pages = [(who, await who.open(f"/runs/{run_id}")) for who in (ada, bob)]
        decided = await asyncio.gather(
            *(who.send(page, f"/runs/{run_id}/decide", decision="reject") for who, page in pages)
        )
        statuses = {who.name: who.status for who, _ in pages}
        assert sorted(statuses.values()) == [200, 409]
        first, second = sorted(statuses, key=lambda name: statuses[name])
        lost = decided[[who.name for who, _ in pages].index(second)]
        assert f"You were not the first: this run is rejected by {first}" in lost.notice


async def test_the_deadline_that_was_first_is_named_as_well(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held(approval_timeout="1s")
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}")
        await stage.dossier.until(run_id, "expired")
        page = await ada.send(page, f"/runs/{run_id}/decide", decision="approve")
        assert ada.status == 409
        assert "expired" in page.notice


async def test_more_time_is_given_from_the_deadline_on_that_is_shown_and_once_however_often_it_is_sent(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held(approval_timeout="1h")
        before = (await stage.dossier.until(run_id, "hold")).current.deadline
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}")
        for _ in range(2):
            after = await ada.send(page, f"/runs/{run_id}/decide", decision="extend", more="1d", comment="On Monday.")
            assert after.notice == "There is more time now."
        run = await stage.dossier.until(run_id, "hold")
        assert before
        assert run.current.deadline == before + timedelta(days=1)
        record = after.one("section", class_="record").text
        assert record.count("more time") == 1
        assert "On Monday." in record
        page = await ada.send(after, f"/runs/{run_id}/decide", decision="extend", more="soon")
        assert ada.status == 422
        assert "more:" in page.notice
        assert "open" in page.one("details", id="extend").attributes


async def test_several_runs_are_decided_at_once_each_on_the_evidence_that_was_shown(tmp_path: Path):
    async with staged(tmp_path) as stage:
        runs = [await stage.held(f"{n}?") for n in range(3)]
        ada = await stage.visitor()
        page = await ada.open("/")
        picks = {box["value"].split(" ")[0]: box["value"] for box in page.all("input", name="run")}
        assert set(picks) == set(runs)
        await stage.dossier.send_back(runs[2], "More.")
        await stage.dossier.until(runs[2], "hold", round_=2)
        page = await ada.send(page, "/decide", decision="approve", run=list(picks.values()), comment="Fine.")
        assert ada.status == 409
        assert page.notice.startswith("2 of 3 decided. Not these:")
        assert runs[2] in page.notice
        for run in runs[:2]:
            await stage.dossier.until(run, "reported")
        assert (await stage.dossier.until(runs[2], "hold", round_=2)).current.decision is None
        rows = [row["data-run"] for row in page.all("li", class_="row")]
        assert rows == [runs[2]]
        picks = [box["value"] for box in page.all("input", name="run")]
        page = await ada.send(page, "/decide", decision="reject", run=picks)
        assert page.notice == "Rejected: 1 run."
        assert not page.all("li", class_="row")


async def test_a_run_is_cancelled_and_forked_from_its_page(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.send(await ada.open(f"/runs/{run_id}"), f"/runs/{run_id}/cancel", comment="Wrong question.")
        assert page.notice == "Cancelled."
        assert "Wrong question." in page.one("p", class_="reason").text
        page = await ada.send(page, f"/runs/{run_id}/fork", **{"from": "fetch"})
        assert ada.path.startswith("/runs/")
        assert ada.path != f"/runs/{run_id}"
        assert page.one("h1").text == QUESTION
        assert f"forked from {run_id}" in page.text


async def test_who_may_not_do_something_sees_no_form_for_it(tmp_path: Path):
    actions = {"viewer": set(), "requester": {"ask", "cancel"}, "approver": {"ask", "cancel", "decide"}}
    actions["operator"] = actions["approver"] | {"fork"}

    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        for role, may in actions.items():
            who = await stage.visitor(role, role)  # type: ignore[arg-type]
            pages = [await who.open(path) for path in ("/", f"/runs/{run_id}")]
            forms = {form["action"].rpartition("/")[2] for page in pages for form in page.all("form", method="post")}
            assert forms - {"sign-out"} == may, role
            assert bool(pages[0].all("input", name="run")) == ("decide" in may)
            assert bool(pages[1].all("input", name="keep")) == ("decide" in may)


async def test_whose_approval_would_not_count_is_told_before_and_a_vote_is_shown_as_one(tmp_path: Path):
    async with staged(tmp_path, rules=ApprovalRules(quorum=2, four_eyes=True)) as stage:
        ada, bob, cleo = [await stage.visitor(name) for name in ("ada", "bob", "cleo")]
        await ada.send(await ada.open("/"), "/ask", q=QUESTION)
        run_id = ada.path.rpartition("/")[2]
        await stage.dossier.until(run_id, "hold")
        assert "was asked for by ada; another person has to approve it" in (await ada.open(f"/runs/{run_id}")).notice
        page = await bob.send(await bob.open(f"/runs/{run_id}"), f"/runs/{run_id}/decide", decision="approve")
        assert "Your approval counts; others have to approve as well." in page.notice
        page = await cleo.open(f"/runs/{run_id}")
        assert "Approved so far by bob." in page.text
        assert "1 of 2 have approved" in (await cleo.open("/", at=str(len(stage.log.messages)))).text
        await cleo.send(page, f"/runs/{run_id}/decide", decision="approve")
        await stage.dossier.until(run_id, "reported")


async def test_the_last_round_is_not_sent_back(tmp_path: Path):
    async with staged(tmp_path, rounds=1) as stage:
        run_id = await stage.held()
        page = await (await stage.visitor()).open(f"/runs/{run_id}")
        assert not page.all("button", value="revise")


async def test_a_citation_opens_the_frozen_text_at_its_quote(tmp_path: Path):
    text = "Dogs bark. " * 400 + "Cats purr." + " Dogs bark." * 400
    place = text.index("Cats")

    async with staged(tmp_path) as stage:
        sha256 = await stage.log.put(text)
        source = Source(sha256, "Animals", "docs/animals.md", "docs", (Passage(text[place : place + 10], place),))
        stage.workers.found = (source,)
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}/evidence/{sha256}", start=str(place), length="10")
        assert page.one("mark").text == "Cats purr."
        assert len(page.one("div", class_="frozen").text) < 4_000
        whole = await ada.open(f"/runs/{run_id}/evidence/{sha256}")
        assert text in whole.one("div", class_="frozen").text
        await ada.open(f"/runs/{run_id}/evidence/{'0' * 64}")
        assert ada.status == 404


async def test_the_report_is_a_page_with_citations_and_a_file_in_four_forms(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.dossier.ask(QUESTION, approval="auto")
        await stage.dossier.until(run_id, "reported")
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}")
        [cite] = page.all("a", class_="cite")
        assert cite["href"] == f"/runs/{run_id}/evidence/{SOURCE.sha256}?start=0&length=10"
        links = [link["href"] for link in page.all("a") if "download" in link.attributes]
        files = {path.rpartition(".")[2]: await ada.http.get(path) for path in links}
        assert {name: file.headers["Content-Type"].split(";")[0] for name, file in files.items()} == {
            "md": "text/markdown",
            "html": "text/html",
            "pdf": "application/pdf",
            "json": "application/json",
        }
        assert all(file.headers["Content-Disposition"].startswith("attachment") for file in files.values())
        assert files["md"].text.startswith(f"# {QUESTION}\n")
        assert files["json"].json()["report"]["sections"][0]["claims"][0]["text"] == "Cats purr."
        assert "Cats purr." in Page(files["html"].text).text
        assert files["pdf"].content.startswith(b"%PDF-")


async def test_a_run_without_a_report_has_no_files(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}/report.pdf")
        assert ada.status == 409
        assert "has no report" in page.text


async def test_a_step_that_failed_shows_its_error_and_what_it_was_given(tmp_path: Path):
    async with staged(tmp_path) as stage:
        stage.workers.outcome = failing
        run_id = await stage.dossier.ask(QUESTION, approval="auto")
        await stage.dossier.until(run_id, "failed")
        page = await (await stage.visitor()).open(f"/runs/{run_id}")
        step = page.one("details", id="step-synthesis-1")
        assert "failed" in step["class"]
        assert "It broke." in step.text
        assert SOURCE.title in step.text
        assert "cats" in page.one("details", id="step-plan-1").text


async def test_problems_are_pages_for_people_and_details_for_programs(tmp_path: Path):
    async with staged(tmp_path) as stage:
        ada = await stage.visitor()
        page = await ada.open("/runs/nothing")
        assert (ada.status, page.one("h1").text) == (404, "There is nothing here")
        assert "There is no run nothing." in page.text
        answer = await ada.http.get("/runs/nothing")
        assert answer.headers["Content-Type"] == "application/problem+json"
        answer = await ada.http.get("/ask", headers=SITE)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        page = await (await stage.visitor("vic", "viewer")).open("/nowhere")
        assert page.one("h1").text == "There is nothing here"


async def test_a_form_without_the_sessions_token_or_from_another_site_does_nothing(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.held()
        ada = await stage.visitor()
        page = await ada.open(f"/runs/{run_id}")
        for path in (f"/runs/{run_id}/decide", f"/runs/{run_id}/cancel", f"/runs/{run_id}/fork", "/ask", "/decide"):
            answer = await ada.http.post(path, data={"decision": "reject", "q": "?"}, headers=SITE)
            assert (answer.status_code, "This needs the token of the session" in answer.text) == (403, True)
            fields = page.fields(f"/runs/{run_id}/decide") | {"decision": ["reject"]}
            other = SITE | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
            assert (await ada.http.post(path, data=fields, headers=other)).status_code == 403
        assert (await stage.dossier.until(run_id, "hold")).completed is None


async def test_who_is_not_signed_in_is_asked_to_and_then_gets_what_they_wanted(tmp_path: Path):
    async with staged(tmp_path) as stage:
        answer = await stage.stranger().get("/runs/r1?at=3", headers=SITE)
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/sign-in?next=%2Fruns%2Fr1%3Fat%3D3"
        answer = await stage.stranger().get(answer.headers["Location"])
        assert Page(answer.text).one("input", name="next")["value"] == "/runs/r1?at=3"
        sent = await stage.stranger().post("/ask", data={"q": "?"}, headers=SITE)
        assert sent.status_code == 401
        assert Page(sent.text).one("a", class_="button")["href"] == "/sign-in"


async def test_files_beside_the_pages_are_kept_for_ever_under_a_name_of_their_content(tmp_path: Path):
    async with staged(tmp_path) as stage:
        stranger = stage.stranger()
        page = Page((await stranger.get("/sign-in")).text)
        style = page.one("link", rel="stylesheet")["href"]
        answer = await stranger.get(style)
        assert answer.headers["Content-Type"].startswith("text/css")
        assert "immutable" in answer.headers["Cache-Control"]
        for path in ("/static/x/../render.py", "/static/app.css", "/static/x/render.py", "/static/x/%2e%2e/render.py"):
            assert (await stranger.get(path)).status_code in (404, 401)
        other = await stranger.get(f"/static/other/{style.rpartition('/')[2]}")
        assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-cache")


async def test_no_page_has_anything_inline_or_from_elsewhere(tmp_path: Path):
    async with staged(tmp_path) as stage:
        run_id = await stage.dossier.ask(QUESTION, approval="auto")
        await stage.dossier.until(run_id, "reported")
        held = await stage.held()
        ada = await stage.visitor()
        paths = ("/", "/?show=all", f"/runs/{run_id}", f"/runs/{held}", "/runs/nothing", "/sign-in")
        for path in paths:
            page = await ada.open(path)
            assert not page.all("style")
            for each in page.elements:
                assert not [name for name in each.attributes if name == "style" or name.startswith("on")], each.tag
                for name in ("src", "href", "action", "formaction"):
                    assert each.get(name)[:1] in ("", "/", "#"), each.get(name)
                if each.tag == "script":
                    assert each["src"].startswith("/static/")
                    assert not each.text.strip()
