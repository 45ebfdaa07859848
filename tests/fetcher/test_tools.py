"""The tools that ask services elsewhere, over real HTTP: what they find, and how they fail."""

import asyncio
import json
import logging
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from services.fetcher.findings.tool import Answer, Hit, Link, Search, Tool
from services.fetcher.tools.arxiv import Arxiv
from services.fetcher.tools.catalogue import Closable
from services.fetcher.tools.searxng import Searxng
from services.fetcher.tools.tavily import Tavily
from services.fetcher.tools.wikipedia import Wikipedia
from shared.contracts.evidence import Failure, Skipped
from shared.errors import StepError, Terminal, Throttled, Transient
from tests.harness.ports import free_port
from tests.harness.site import Page, Request, Site

KEY = "tvly-very-secret-key"
MAKE: dict[str, Callable[[str], Tool]] = {
    "searxng": lambda url: Searxng(url, agent="Dossier/test"),
    "wikipedia": lambda url: Wikipedia(f"{url}/w/api.php", agent="Dossier/test"),
    "arxiv": lambda url: Arxiv(f"{url}/api/query", agent="Dossier/test", pause_s=0.001),
    "tavily": lambda url: Tavily(url, KEY, agent="Dossier/test"),
}
PATHS = {"searxng": "/search", "wikipedia": "/w/api.php", "arxiv": "/api/query", "tavily": "/search"}
JSON = "application/json"


def search(name: str, url: str, query: str = "spring tides", limit: int = 3) -> Answer:
    """What the tool finds there; everything is closed afterwards."""

    async def story() -> Answer:
        tool = MAKE[name](url)
        assert isinstance(tool, Closable)
        try:
            return await tool.search(tool.arguments(query=query, limit=limit))
        finally:
            await tool.close()

    return asyncio.run(story())


def answers(site: Site, name: str, answer: object, **how: object) -> None:
    body = answer if isinstance(answer, str) else json.dumps(answer)
    site.pages[PATHS[name]] = Page(body, JSON)._replace(**how)


def parameters(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def test_searxng_finds_links_in_its_order_and_says_which_engines_did_not_answer(site: Site):
    found = [{"url": f"https://example.org/{n}", "title": f"Tides {n}", "content": "…", "score": 1.0} for n in range(5)]
    answers(site, "searxng", {"results": found, "unresponsive_engines": [["brave", "too many requests"]]})
    assert search("searxng", site.url) == [
        Link("https://example.org/0", "Tides 0"),
        Link("https://example.org/1", "Tides 1"),
        Link("https://example.org/2", "Tides 2"),
        Skipped("searxng: brave", Failure("searxng_engine", "brave did not answer SearXNG: too many requests.")),
    ]
    assert parameters(site.asked[0]) == {"q": "spring tides", "format": "json"}
    assert site.asked[0].headers["User-Agent"] == "Dossier/test"


def test_searxng_whose_engines_all_fail_is_asked_again_later(site: Site):
    answers(site, "searxng", {"results": [], "unresponsive_engines": [["brave", "timeout"], ["bing", "CAPTCHA"]]})
    with pytest.raises(Transient, match=r"brave \(timeout\), bing \(CAPTCHA\)"):
        search("searxng", site.url)


def test_searxng_that_does_not_speak_json_says_what_to_set(site: Site):
    answers(site, "searxng", "Forbidden", status=403)
    with pytest.raises(Terminal, match=r"add json to search\.formats in its settings\.yml"):
        search("searxng", site.url)


def test_wikipedia_finds_articles_best_first(site: Site):
    pages = [
        {"pageid": 1, "title": "Neap tide", "index": 2, "fullurl": "https://en.example/wiki/Neap_tide"},
        {"pageid": 2, "title": "Tide", "index": 1, "fullurl": "https://en.example/wiki/Tide"},
    ]
    answers(site, "wikipedia", {"batchcomplete": True, "query": {"pages": pages}})
    assert search("wikipedia", site.url) == [
        Link("https://en.example/wiki/Tide", "Tide"),
        Link("https://en.example/wiki/Neap_tide", "Neap tide"),
    ]
    asked = parameters(site.asked[0])
    assert (asked["gsrsearch"], asked["gsrlimit"], asked["formatversion"]) == ("spring tides", "3", "2")


def test_wikipedia_that_finds_nothing_finds_nothing(site: Site):
    answers(site, "wikipedia", {"batchcomplete": True})
    assert search("wikipedia", site.url) == []


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("maxlag", Throttled),
        ("ratelimited", Throttled),
        ("internal_api_error_DBQueryError", Transient),
        ("badvalue", Terminal),
    ],
)
def test_an_error_of_wikipedia_that_comes_with_status_200_is_an_error(site: Site, code: str, fault: type[StepError]):
    answers(site, "wikipedia", {"error": {"code": code, "info": "…"}})
    with pytest.raises(fault, match=code):
        search("wikipedia", site.url)


FEED = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <entry>
    <id>http://arxiv.example/abs/2401.00001v1</id>
    <published>2024-01-02T03:04:05Z</published>
    <title>Of spring
      tides</title>
    <summary>  We show that the Moon
      raises the tide.  </summary>
    <author><name>A. Author</name></author><author><name>B. Writer</name></author>
  </entry>
  <entry><id>http://arxiv.example/api/errors#1</id><title>Error</title><summary>incorrect id</summary></entry>
</feed>"""


def test_arxiv_finds_abstracts_which_are_documents_of_their_own(site: Site):
    answers(site, "arxiv", FEED)
    (hit,) = search("arxiv", site.url)
    assert isinstance(hit, Hit)
    assert hit.text == "Of spring tides\n\nA. Author, B. Writer\n\nWe show that the Moon raises the tide."
    assert (hit.title, hit.location) == ("Of spring tides", "http://arxiv.example/abs/2401.00001v1")
    assert (hit.published, hit.url) == ("2024-01-02", hit.location)
    assert parameters(site.asked[0])["search_query"] == 'all:"spring" AND all:"tides"'


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "feed",
    [
        "not XML",
        f'<!DOCTYPE feed [<!ENTITY l0 "ha">{LAUGHS}]><feed xmlns="http://www.w3.org/2005/Atom"><id>&l9;</id></feed>',
        '<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feed xmlns="http://www.w3.org/2005/Atom">&x;</feed>',
    ],
)
def test_a_feed_that_is_made_to_hurt_is_no_feed(site: Site, feed: str):
    answers(site, "arxiv", feed)
    with pytest.raises(Transient, match="not an Atom feed"):
        search("arxiv", site.url)


def test_tavily_finds_links_with_its_key_in_a_header(site: Site):
    answers(site, "tavily", {"results": [{"url": "https://example.org/a", "title": "A", "content": "…", "score": 0.9}]})
    assert search("tavily", site.url) == [Link("https://example.org/a", "A")]
    (request,) = site.asked
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(request.body) == {"query": "spring tides", "max_results": 3}


@pytest.mark.parametrize(("status", "code"), [(401, "tavily_refused"), (432, "tavily_quota"), (433, "tavily_quota")])
def test_tavily_says_what_is_wrong_with_the_key_and_not_the_key(site: Site, status: int, code: str):
    answers(site, "tavily", {"detail": {"error": f"bad key {KEY}"}}, status=status)
    with pytest.raises(Terminal) as caught:
        search("tavily", site.url)
    assert caught.value.code == code
    assert KEY not in str(caught.value)


def test_a_password_in_the_operators_url_is_sent_and_not_said(site: Site):
    secret = site.url.replace("http://", "http://ada:open-sesame@")
    site.pages["/search"] = Page("Oh.", status=500)
    with pytest.raises(Transient) as caught:
        search("searxng", secret)
    assert site.asked[0].headers["Authorization"].startswith("Basic ")
    assert "sesame" not in f"{caught.value!r} {caught.value.__cause__!r}"


YEAR_OF_11_DIGITS = "Mon, 01 Jan 12345678901 00:00:00 GMT"
FAULTS = [
    (Page("Slow down.", status=429, headers={"Retry-After": "7"}), Throttled, "throttled"),
    (Page("Later.", status=503, headers={"Retry-After": "7"}), Throttled, "throttled"),
    (Page("Later.", status=503, headers={"Retry-After": YEAR_OF_11_DIGITS}), Throttled, "throttled"),
    (Page("Oh.", status=500), Transient, "server"),
    (Page("Oh.", status=503), Transient, "server"),
    (Page("No.", status=401), Terminal, "refused"),
    (Page("What?", status=400), Terminal, "400"),
    (Page(status=302, headers={"Location": "http://127.0.0.1:1/"}), Terminal, "302"),
    (Page("<html>", JSON), Transient, "answer"),
    (Page('{"results": 7, "query": 7}', JSON), Transient, "answer"),
    (Page("[" * 100_000, JSON), Transient, "answer"),
    (Page(" " * 6_000_000, JSON), Terminal, "too_large"),
]


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(("page", "fault", "code"), FAULTS)
def test_what_goes_wrong_is_a_fault_of_the_tool_by_name(
    site: Site, name: str, page: Page, fault: type[StepError], code: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "services")
    site.pages[PATHS[name]] = page
    with pytest.raises(fault) as caught:
        search(name, site.url)
    assert caught.value.code == f"{name}_{code}"
    assert site.url not in str(caught.value)
    assert KEY not in caplog.text + str(caught.value)


@pytest.mark.parametrize("name", MAKE)
def test_a_service_that_is_not_there_is_asked_again_later(name: str):
    with pytest.raises(Transient) as caught:
        search(name, f"http://127.0.0.1:{free_port()}")
    assert caught.value.code == f"{name}_unreachable"


@pytest.mark.parametrize(("name", "longest"), [("wikipedia", 300), ("tavily", 400), ("arxiv", 500), ("searxng", 2_000)])
def test_what_a_service_would_refuse_is_not_even_asked(site: Site, name: str, longest: int):
    schema = MAKE[name](site.url).arguments.model_json_schema()
    assert schema["properties"]["query"]["maxLength"] == longest
    assert set(schema["required"]) == {"query", "limit"}
    with pytest.raises(ValidationError):
        search(name, site.url, "x" * (longest + 1))
    assert not site.asked


def test_a_search_is_a_value():
    assert Search(query="tides", limit=1) == Search(query="tides", limit=1)
    with pytest.raises(ValidationError):
        Search(query="tides", limit=1, more=True)  # type: ignore[call-arg]
