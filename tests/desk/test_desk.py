"""The desk as people use it: asking, watching, deciding, reading, with whatever happens meanwhile."""

import asyncio
import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import nats
from playwright.sync_api import Page, expect

from tests.desk.conftest import QUESTION, Desk
from tests.harness.waiting import wait_until

HELD = re.compile("waiting for a decision")


def opened(page: Page, run_id: str) -> Page:
    page.goto(f"/runs/{run_id}")
    return page


def test_a_question_is_asked_watched_decided_without_a_source_and_its_report_read(desk: Desk, page: Page):
    page.goto("/")
    page.get_by_text("Ask a question").click()
    page.get_by_label("Question", exact=True).fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(QUESTION)
    expect(page.locator(".head .chip")).to_have_text(HELD)
    hostile = page.get_by_label("Keep: Tides <script>alert(1)</script>").first
    hostile.uncheck()
    expect(page.locator("#kept")).to_have_text("2")
    page.get_by_label("Comment, for the record").fill("The third is no source.")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".head .chip")).to_have_text("reported")
    report = page.get_by_role("article", name="Report")
    expect(report).to_contain_text("The Moon pulls the oceans toward it")
    expect(report).not_to_contain_text("said to be high")
    report.get_by_role("link", name="Source 1").first.click()
    passage = page.get_by_role("region", name="Passage")
    expect(passage.locator("mark")).to_contain_text("tide")
    expect(passage.locator("mark")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(passage).to_be_hidden()
    expect(report.get_by_role("link", name="Source 1").first).to_be_focused()
    record = page.get_by_role("region", name="Decisions")
    expect(record).to_contain_text("approved")
    expect(record).to_contain_text("by ada")
    expect(record).to_contain_text("The third is no source.")
    with page.expect_download() as download:
        page.get_by_text("Download").click()
        page.get_by_role("link", name="PDF").click()
    assert download.value.path().read_bytes().startswith(b"%PDF-")


def test_rows_come_change_and_go_while_the_inbox_is_open(desk: Desk, page: Page):
    page.goto("/")
    run_id = desk.run()
    row = page.locator(f'[data-run="{run_id}"]')
    expect(row).to_contain_text("left")
    count = page.locator("[data-count=waiting]")
    before = int(count.inner_text())
    desk.decide(run_id, decision="reject")
    expect(row).to_have_count(0)
    expect(count).to_have_text(str(before - 1))


def test_a_rejection_says_why(desk: Desk, page: Page):
    opened(page, desk.run())
    page.get_by_label("Comment, for the record").fill("Too thin.")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".head .chip")).to_have_text("rejected")
    expect(page.locator(".head .reason")).to_have_text("Too thin.")


def test_what_is_sent_back_comes_again_with_more(desk: Desk, page: Page):
    opened(page, desk.run())
    page.get_by_text("Send back for more").click()
    page.get_by_label("What is missing?").fill("More on the Moon.")
    page.get_by_label("Sub-queries to add").fill("Moon circles Earth")
    page.locator("[name=drop]").first.check()
    page.get_by_role("button", name="Send back", exact=True).click()
    expect(page.locator(".head .meta")).to_contain_text("round 2")
    expect(page.get_by_role("form", name="Decision")).to_be_visible()
    expect(page.locator("#finding-1 .chip").first).to_have_text("dropped")
    expect(page.locator(".evidence")).to_contain_text("Moon circles Earth")
    expect(page.get_by_role("region", name="Decisions")).to_contain_text("More on the Moon.")


def test_whoever_comes_second_is_told_who_was_first_before_and_after_they_click(desk: Desk, page: Page):
    run_id = desk.run()
    slow = desk.open("ada")
    slow.route("**/live*", lambda route: route.abort())
    opened(slow, run_id)
    opened(page, run_id)
    page.get_by_label("Comment, for the record").fill("What I meant to say")
    bob = opened(desk.open("bob"), run_id)
    bob.get_by_role("button", name="Reject").click()
    expect(bob.locator(".head .chip")).to_have_text("rejected")
    expect(page.get_by_role("alert")).to_contain_text("This run was decided meanwhile: rejected by bob.")
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.get_by_label("Comment, for the record")).to_have_value("What I meant to say")
    slow.get_by_role("button", name="Approve").click()
    expect(slow.locator("main")).to_contain_text("You were not the first: this run is rejected by bob")


def test_evidence_that_changes_while_somebody_decides_is_said_and_asked_about_again(desk: Desk, page: Page):
    run_id = desk.run()
    opened(page, run_id)
    desk.decide(run_id, decision="revise", feedback="More on the Moon.")
    expect(page.locator("#changed")).to_contain_text("The evidence changed while you were looking")
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    page.get_by_role("link", name="Show me what is there now").click()
    expect(page.locator(".head .meta")).to_contain_text("round 2")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".head .chip")).to_have_text("reported")


def test_a_deadline_that_passes_on_an_open_page_is_said(desk: Desk, page: Page):
    run_id = desk.run(approval_timeout="4s")
    opened(page, run_id)
    expect(page.locator(".head .left")).to_contain_text(re.compile(r"\ds left|\d s left"))
    expect(page.locator("#changed")).to_contain_text("The time to decide is over.")
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.locator(".head .chip")).to_have_text("expired")


def test_the_enter_key_in_a_field_decides_nothing(desk: Desk, page: Page):
    run_id = desk.run()
    opened(page, run_id)
    page.get_by_text("More time").click()
    page.get_by_label("Wait").press("Enter")
    page.goto("/")
    page.locator(f'[data-run="{run_id}"] [name=run]').check()
    page.get_by_label("Comment, for the record").press("Enter")
    page.reload()
    expect(page.locator(f'[data-run="{run_id}"]')).to_be_visible()
    assert desk.until(run_id, "hold")["decision"] is None


def test_more_time_is_given_while_somebody_else_decides(desk: Desk, page: Page):
    run_id = desk.run(approval_timeout="10m")
    opened(page, run_id)
    bob = opened(desk.open("bob"), run_id)
    bob.keyboard.press("t")
    bob.get_by_label("Wait").fill("2d")
    bob.get_by_role("button", name="Extend").click()
    expect(bob.locator(".notice.good")).to_have_text("There is more time now.")
    expect(page.locator(".head .left")).to_contain_text("2 d")
    expect(page.get_by_role("region", name="Decisions")).to_contain_text("more time")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".head .chip")).to_have_text("reported")


def test_several_runs_are_decided_at_once(desk: Desk, page: Page):
    runs = [desk.run() for _ in range(2)]
    page.goto("/")
    for run_id in runs:
        page.locator(f'[data-run="{run_id}"] [name=run]').check()
    bulk = page.get_by_role("form", name="Decide on those that are selected")
    expect(bulk).to_contain_text("2 selected")
    bulk.get_by_role("button", name="Approve").click()
    expect(page.locator(".notice.good")).to_have_text("Approved: 2 runs.")
    for run_id in runs:
        desk.until(run_id, "reported")
    assert page.url == f"{desk.url}/"


def test_open_pages_go_on_after_the_coordinator_was_killed(desk: Desk):
    page, run_page = desk.open(), desk.open()
    run_id = desk.run()
    opened(run_page, run_id)
    page.goto("/")
    desk.up.send_to("coordinator", signal.SIGKILL)
    expect(page.locator("#offline")).to_be_visible()
    wait_until(lambda: "coordinator" in desk.up.children())
    expect(page.locator("#offline")).to_be_hidden()
    expect(run_page.locator("#offline")).to_be_hidden()
    new = desk.run()
    expect(page.locator(f'[data-run="{new}"]')).to_be_visible()
    desk.decide(run_id, decision="reject")
    expect(run_page.locator("#changed")).to_contain_text("rejected by bob")


def test_what_is_being_written_can_be_read_before_it_is_done(desk: Desk, page: Page):
    run_id = desk.run()
    opened(page, run_id)
    desk.up.send_to("synthesizer", signal.SIGSTOP)
    try:
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".head .chip")).to_have_text("writing")
        live = page.get_by_role("region", name="Being written")

        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(asyncio.run, hinted(desk, run_id, "The Moon <b>pulls</b> the oceans")).result(10)
        live.wait_for()
        expect(live).to_contain_text("The Moon <b>pulls</b> the oceans")
    finally:
        desk.up.send_to("synthesizer", signal.SIGCONT)
    expect(page.get_by_role("article", name="Report")).to_be_visible()
    expect(live).to_be_hidden()


async def hinted(desk: Desk, run_id: str, text: str) -> None:
    """What a worker says while it writes."""
    state = desk.dossier.state
    assert state
    connection = await nats.connect(state["nats"][0])
    await connection.publish(f"live.{run_id}.writing", json.dumps({"text": text}).encode())
    await connection.close()


def test_everything_can_be_done_from_the_keyboard_alone(desk: Desk, page: Page):
    keys = page.keyboard
    page.goto("/")
    keys.press("n")
    keys.type("Which tides does the keyboard raise?")
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator(".head .chip")).to_have_text(HELD)
    keys.press("j")
    expect(page.locator("[name=keep]").first).to_be_focused()
    keys.press("j")
    keys.press("Space")
    expect(page.locator("#kept")).to_have_text("2")
    keys.press("c")
    keys.type("By hand.")
    keys.press("Escape")
    keys.press("a")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    keys.press("Enter")
    expect(page.locator(".head .chip")).to_have_text("reported")
    keys.press("j")
    keys.press("Enter")
    expect(page.locator("#passage mark")).to_be_visible()
    page.goto("/?show=finished")
    keys.press("j")
    keys.press("Enter")
    expect(page.locator(".head .chip")).to_have_text(re.compile("reported|rejected|expired"))
    page.goto("/")
    keys.press("/")
    keys.type("nothing has these words")
    keys.press("Enter")
    expect(page.locator(".rows .empty")).to_have_text("Nothing fits.")


def test_everything_works_without_a_script(desk: Desk):
    page = desk.open(java_script_enabled=False)
    page.goto("/")
    page.get_by_text("Ask a question").click()
    page.get_by_label("Question", exact=True).fill("What raises a tide without a script?")
    page.get_by_role("button", name="Ask").click()
    desk.until(page.url.rpartition("/")[2], "hold")
    page.reload()
    page.locator("[name=keep]").first.uncheck()
    page.get_by_text("Send back for more").click()
    expect(page.get_by_label("What is missing?")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".notice.good")).to_contain_text("Approved.")
    desk.until(page.url.rpartition("/")[2].partition("?")[0], "reported")
    page.reload()
    page.locator(".cite").first.click()
    expect(page.locator("mark")).to_be_visible()


def test_a_link_signs_a_browser_in_once_and_signing_out_ends_it(desk: Desk):
    context = desk.browser.new_context(base_url=desk.url)
    page = context.new_page()
    page.goto("/?show=all")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto(desk.dossier("sign-in").stdout.strip())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for a decision")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Key").fill("dsr_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The key or link is not valid.")
    context.close()
