"""Pages over real sockets: what is read of them, and what is said of those that cannot be."""

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from hashlib import sha256
from threading import Event

import pytest

from services.fetcher.findings.tool import Hit
from services.fetcher.web.hosts import Hosts
from services.fetcher.web.pages import Pages, Politeness
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime import clock
from tests.fetcher.reading import QUICK, SENTENCE, article, fault, one, outcome, read, reading
from tests.harness.site import Page, Raw, Request, Send, Site
from tests.harness.site import site as a_site
from tests.waiting import wait_until

TEXT = Page(SENTENCE, "text/plain")


def test_a_page_says_what_it_is_and_where_it_was_read(site: Site):
    head = '<meta property="article:published_time" content="2024-03-05T10:00:00Z">'
    there = article(head=head)
    site.pages["/tides"] = tides = there._replace(body=str(there.body).replace("<html>", '<html lang="en-GB">'))
    site.pages["/old"] = Page(status=301, headers={"Location": "/tides#here"})
    hit = one(site, "/old")
    assert (hit.title, hit.url, hit.status, hit.media_type) == ("Tides", f"{site.url}/tides", 200, "text/html")
    assert (hit.published, hit.language, hit.stripped) == ("2024-03-05", "en-gb", ())
    assert hit.text.count("\n\n") == 7
    assert hit.text.startswith(SENTENCE.format(0))
    assert hit.bytes_sha256 == sha256(str(tides.body).encode()).hexdigest()
    assert hit.fetched_at
    assert clock.now() - hit.fetched_at < timedelta(seconds=20)


def test_we_say_who_we_are_and_carry_nothing_from_one_page_to_the_next(site: Site):
    site.pages["/a"] = TEXT._replace(headers={"Set-Cookie": "id=1"})
    site.pages["/b"] = TEXT
    read(f"{site.url}/a", f"{site.url}/b", allowed=[site.allowed])
    for request in site.asked:
        assert request.headers["User-Agent"] == "Dossier/test"
        assert not {"Cookie", "Authorization", "Referer"} & request.headers.keys()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_packed_pages_are_unpacked(site: Site, encoding: str, pack: Callable[[bytes], bytes]):
    site.pages["/"] = TEXT._replace(body=pack(SENTENCE.encode()), headers={"Content-Encoding": encoding})
    assert one(site, "/").text == SENTENCE
    assert site.asked[-1].headers["Accept-Encoding"] == "gzip, deflate"


CHARSETS = [
    ("text/html; charset=iso-8859-1", "latin-1", ""),
    ("text/html", "latin-1", '<meta charset="iso-8859-1">'),
    ("text/html", "latin-1", ""),
    ("text/html", "utf-8", ""),
    ("text/html; charset=nonsense", "utf-8", ""),
    ("text/html; charset=shift_jis", "shift_jis", ""),
    ("text/html", "utf-16", ""),
]


def test_a_page_is_read_in_the_charset_that_it_is_in(site: Site):
    words = ["潮汐" if encoding == "shift_jis" else "Gezeitenströme" for _, encoding, _ in CHARSETS]
    for number, (word, (content_type, encoding, meta)) in enumerate(zip(words, CHARSETS, strict=True)):
        page = article(f"<p>{word} are what German calls tidal streams, which run in and out.</p>", head=meta)
        site.pages[f"/{number}"] = Page(str(page.body).encode(encoding), content_type)
    hits = read(*(f"{site.url}/{number}" for number in range(len(CHARSETS))), allowed=[site.allowed])
    for word, hit, charset in zip(words, hits, CHARSETS, strict=True):
        assert isinstance(hit, Hit), charset
        assert word in hit.text, charset


def test_plain_text_is_taken_as_it_is(site: Site):
    site.pages["/a.txt"] = Page("One line.\nAnother line.\n", "text/plain")
    hit = one(site, "/a.txt")
    assert (hit.text, hit.title, hit.media_type) == ("One line.\nAnother line.\n", f"{site.url}/a.txt", "text/plain")


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "text/plain"])
def test_a_server_that_does_not_know_what_it_serves_is_helped(site: Site, content_type: str):
    site.pages["/"] = article()._replace(content_type=content_type)
    assert one(site, "/").media_type == "text/html"


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [
        (Page(b"\x89PNG\r\n", "image/png"), "not_text", "It is image/png"),
        (Page(b"{}", "application/json"), "not_text", "It is application/json"),
        (Page(b"\0\1\2\3", "application/octet-stream"), "not_text", "only HTML, PDF and plain text are read"),
        (Page(b"\0\1\2\3", "text/plain"), "not_text", "only HTML, PDF and plain text are read"),
        (Page("No PDF.", "application/pdf"), "damaged", "is none"),
        (Page("", "text/html"), "empty", "no text"),
        (Page("<html><body><div id=app></div><script>render()</script></body></html>"), "empty", "scripts"),
        (Page("", "text/plain"), "empty", "no text"),
        (Page("Not for you.", status=403), "blocked", "403 Forbidden"),
        (Page("Who are you?", status=401), "blocked", "401 Unauthorized"),
        (Page("Not here.", status=451), "blocked", "451"),
        (Page("Pay.", status=402), "paywalled", "402"),
        (Page("Gone.", status=410), "gone", "410 Gone"),
        (Page("Tea.", status=418), "refused", "418"),
        (Page("Oh.", status=599), "server", "599"),
        (Page("Wait.", status=503), "server", "503 Service Unavailable"),
        (Page("x", headers={"Content-Encoding": "br"}), "encoding", "'br'"),
        (Page(status=302, headers={"Location": "/"}), "redirects", "more than 5 redirects"),
        (Page(status=302, headers={"Location": "ftp://example.org/"}), "url_refused", "only http and https"),
    ],
)
def test_what_is_no_page_is_said_by_a_code_and_a_sentence_with_its_place(site: Site, page: Page, code: str, said: str):
    site.pages["/"] = page
    error = fault(site, "/")
    assert (error.code, isinstance(error, Transient)) == (code, code == "server")
    assert said in error.message
    assert "/ " in error.message or "/:" in error.message


GATE = "<p>This story is for subscribers. Log in to continue reading, or subscribe to get full access.</p>"
FREE = '<script type="application/ld+json">{"@type": "NewsArticle", "isAccessibleForFree": false}</script>'


GATED = [
    (article(GATE, sentences=2), True),
    (article(sentences=2, head=FREE), True),
    (article(GATE, sentences=40), False),
    (article(sentences=40, head=FREE), False),
    (article(sentences=2), False),
]


def test_a_page_that_shows_little_and_asks_for_a_subscription_is_paywalled(site: Site):
    site.pages.update({f"/{number}": page for number, (page, _) in enumerate(GATED)})
    told = read(*(f"{site.url}/{number}" for number in range(len(GATED))), allowed=[site.allowed])
    assert [isinstance(there, StepError) and there.code == "paywalled" for there in told] == [
        paywalled for _, paywalled in GATED
    ]


def test_robots_txt_is_asked_once_and_heeded(site: Site):
    site.pages["/robots.txt"] = Page(
        "User-agent: dossier\nDisallow: /private\n\nUser-agent: *\nDisallow: /", "text/plain"
    )
    site.pages["/a"] = site.pages["/private/b"] = article()
    hit, error = read(f"{site.url}/a", f"{site.url}/private/b", allowed=[site.allowed])
    assert isinstance(hit, Hit)
    assert isinstance(error, Terminal)
    assert error.code == "robots"
    assert [request.path for request in site.asked] == ["/robots.txt", "/a"]


def test_robots_txt_of_the_site_that_a_redirect_leads_to_is_heeded_too(site: Site):
    with a_site("127.0.0.2") as other:
        other.pages["/robots.txt"] = Page("User-agent: *\nDisallow: /", "text/plain")
        other.pages["/"] = TEXT
        site.pages["/"] = Page(status=302, headers={"Location": f"{other.url}/"})
        (error,) = read(f"{site.url}/", allowed=[site.allowed, other.allowed])
        assert isinstance(error, Terminal)
        assert error.code == "robots"
        assert other.paths() == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_site_whose_robots_txt_cannot_be_had_is_left_alone_for_now(site: Site, status: int):
    site.pages["/robots.txt"] = Page("", status=status)
    site.pages["/"] = TEXT
    errors = read(f"{site.url}/", f"{site.url}/", allowed=[site.allowed])
    assert [isinstance(error, Transient) and error.code for error in errors] == ["robots_unknown"] * 2
    assert [request.path for request in site.asked] == ["/robots.txt"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_site_without_robots_txt_may_be_read(site: Site, status: int):
    site.pages["/robots.txt"] = Page("", status=status)
    site.pages["/"] = TEXT
    assert one(site, "/").text


def in_ten_seconds() -> str:
    return format_datetime(clock.now() + timedelta(seconds=10), usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, {"Retry-After": "10"}, 10, 10),
        (503, {"Retry-After": "10"}, 10, 10),
        (429, {"Retry-After": in_ten_seconds()}, 1, 10),
        (429, {"Retry-After": "soon"}, 60, 60),
        (429, {"Retry-After": "-5"}, 1, 1),
        (429, {"Retry-After": "nan"}, 60, 60),
        (429, {"Retry-After": "1e300"}, 3600, 3600),
        (429, {"Retry-After": "inf"}, 60, 60),
        (429, {"Retry-After": "Mon, 01 Jan 12345678901 00:00:00 GMT"}, 60, 60),
        (503, {"Retry-After": "Mon, 01 Jan 12345678901 00:00:00 GMT"}, 60, 60),
        (429, {"Retry-After": "Mon, 01 Jan 2020 00:00:00 +99999999999999"}, 60, 60),
        (429, {"Retry-After": "9" * 5_000}, 60, 60),
        (429, {}, 60, 60),
    ],
)
def test_a_host_that_asks_us_to_wait_is_left_alone_so_long(
    site: Site, status: int, headers: dict[str, str], least: float, most: float
):
    site.pages["/a"] = Page("Later.", status=status, headers=headers)
    site.pages["/b"] = TEXT
    first, second = read(f"{site.url}/a", f"{site.url}/b", allowed=[site.allowed])
    assert isinstance(first, Throttled)
    assert least <= first.retry_after <= most
    assert isinstance(second, Throttled)
    assert second.retry_after <= first.retry_after
    assert site.paths() == ["/a"]


def test_pages_of_one_host_are_asked_for_with_pauses_and_those_of_others_meanwhile(site: Site):
    asked: list[tuple[str, float]] = []

    def noted(host: str) -> Callable[[Request], Page]:
        return lambda _: asked.append((host, time.monotonic())) or TEXT

    with a_site("127.0.0.2") as other:
        for there in (site, other):
            there.pages.update({f"/{number}": noted(there.host) for number in range(3)})

        async def story(pages: Pages) -> None:
            urls = [f"{there.url}/{number}" for there in (site, other) for number in range(3)]
            assert all(isinstance(hit, Hit) for hit in await asyncio.gather(*(outcome(pages, url) for url in urls)))

        reading(story, allowed=[site.allowed, other.allowed], manners=Politeness(pause_s=0.1))
    times = {host: [at for name, at in asked if name == host] for host in (site.host, other.host)}
    assert all(at[2] - at[0] >= 0.15 for at in times.values())
    assert times[other.host][0] < times[site.host][2]


def test_at_most_so_many_requests_are_under_way_to_one_host():
    async def story() -> int:
        hosts, under_way, most = Hosts(pause_s=0.0001, at_once=2), 0, 0

        async def ask() -> None:
            nonlocal under_way, most
            async with hosts.turn("example.org"):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.005)
                under_way -= 1

        await asyncio.gather(*(ask() for _ in range(8)))
        return most

    assert asyncio.run(story()) == 2


def test_the_pauses_that_a_robots_txt_asks_for_are_made(site: Site):
    site.pages["/robots.txt"] = Page("User-agent: *\nCrawl-delay: 0.2", "text/plain")
    site.pages.update({f"/{number}": Page(SENTENCE, "text/plain") for number in range(3)})

    async def story(pages: Pages) -> float:
        began = asyncio.get_running_loop().time()
        for number in range(3):
            await pages.read(f"{site.url}/{number}")
        return asyncio.get_running_loop().time() - began

    assert reading(story, allowed=[site.allowed], manners=QUICK) >= 0.39


def test_a_page_that_is_given_up_leaves_no_process_and_no_connection_behind(site: Site):
    over = Event()

    def never_ends(send: Send) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        over.wait(10)

    site.pages["/"] = Raw(never_ends)

    async def story(pages: Pages) -> None:
        task = asyncio.create_task(pages.read(f"{site.url}/"))
        await wait_until(lambda: "/" in site.paths())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        reading(story, allowed=[site.allowed])
    finally:
        over.set()
