"""Every page, on a phone and on a screen, by day and by night: nothing is cut off, and everybody can use it."""

import pytest
from playwright.sync_api import Page

from tests.desk.conftest import Check, Desk

LONG = "W" * 300


@pytest.fixture(scope="module")
def paths(running: Desk) -> dict[str, str]:
    """Where every kind of page is."""
    held = running.run()
    reported = running.run("What are spring tides?", approval="auto", status="reported")
    failed = running.run(f"Xyzzy {LONG}?", status="failed")
    return {
        "inbox": "/",
        "all runs": "/?show=all",
        "nothing": f"/?show=all&text={LONG[:150]}zz",
        "hold": f"/runs/{held}",
        "reported": f"/runs/{reported}",
        "failed": f"/runs/{failed}",
        "passage": f"/runs/{reported}/evidence/{first_source(running, reported)}?start=0&length=5",
        "problem": "/runs/nothing",
        "sign-in": "/sign-in",
        "sign-in link": "/sign-in?ticket=0",
    }


def first_source(desk: Desk, run_id: str) -> str:
    return desk.until(run_id, "reported")["findings"][0]["sources"][0]["sha256"]


def everything_open(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('details:not(.menu)')) each.open = true")


@pytest.mark.parametrize(
    ("scheme", "ground", "rules"),
    [("light", "rgb(247, 247, 245)", []), ("dark", "rgb(19, 20, 22)", ["color-contrast", "link-in-text-block"])],
    ids=["light", "dark"],
)
def test_everybody_can_use_every_page(
    desk: Desk, paths: dict[str, str], usable: Check, scheme: str, ground: str, rules: list[str]
):
    page = desk.open(color_scheme=scheme, bypass_csp=True)
    for name, path in paths.items():
        page.goto(path)
        everything_open(page)
        usable(page, rules)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground, name


def test_no_page_is_wider_than_a_phone(desk: Desk, paths: dict[str, str]):
    page = desk.open(viewport={"width": 390, "height": 844})
    for name, path in paths.items():
        page.goto(path)
        everything_open(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_the_menus_of_a_run_stay_on_a_phone(desk: Desk, paths: dict[str, str]):
    page = desk.open(viewport={"width": 390, "height": 844})
    page.goto(paths["reported"])
    for menu in page.locator(".menu").all():
        menu.locator("summary").click()
        box = menu.locator("> :not(summary)").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        menu.locator("summary").click()
