"""The guard over real sockets: whatever way a private address is written or arrived at, nobody there hears of us."""

import asyncio
from collections.abc import Sequence

import pytest

from services.fetcher.findings.tool import Hit
from services.fetcher.web.addresses import parse_rules
from services.fetcher.web.guard import Guard
from shared.errors import StepError, Terminal
from tests.fetcher.reading import SENTENCE, read
from tests.harness.site import Page, Site, site

TEXT = Page(SENTENCE, "text/plain")
FORMS = ["127.0.0.1", "localhost", "LocalHost", "2130706433", "0x7f000001", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"]
REFUSED = [
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://0.0.0.0/",
    "http://0/",
    "https://127.0.0.1/",
    "http://１２７.０.０.１/",
    "http://①②⑦.0.0.1/",
    "ftp://example.org/a",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "//example.org/",
    "http://",
    "http://user:secret@example.org/",
    "http://example.org\n/",
    f"http://example.org/{'a' * 3_000}",
]


def code(outcome: Hit | StepError) -> str:
    assert isinstance(outcome, Terminal), outcome
    return outcome.code


@pytest.mark.parametrize("form", FORMS)
def test_loopback_is_refused_however_it_is_written(site: Site, form: str):
    site.pages["/"] = TEXT
    assert code(*read(f"http://{form}:{site.port}/", allowed=[])) == "address_refused"
    assert not site.asked


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_public_page_is_refused(url: str):
    (error,) = read(url, allowed=[])
    assert code(error) in {"address_refused", "url_refused"}
    assert "secret" not in str(error)


def test_the_operator_may_allow_a_site_and_its_neighbour_stays_refused(site: Site):
    site.pages["/"] = TEXT
    with another("127.0.0.2", site.port) as secret:
        ours, other = read(f"{site.url}/", f"http://127.0.0.2:{site.port}/", allowed=[site.allowed])
        assert isinstance(ours, Hit)
        assert code(other) == "address_refused"
        assert not secret.asked


another = site


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_into_the_house_is_refused(site: Site, status: int):
    with another("127.0.0.2") as secret:
        site.pages["/"] = Page(status=status, headers={"Location": f"http://127.0.0.2:{secret.port}/admin"})
        assert code(*read(f"{site.url}/", allowed=[site.allowed])) == "address_refused"
        assert not secret.asked


def test_a_robots_txt_that_redirects_into_the_house_is_refused(site: Site):
    with another("127.0.0.2") as secret:
        site.pages["/"] = TEXT
        site.pages["/robots.txt"] = Page(status=302, headers={"Location": f"http://127.0.0.2:{secret.port}/admin"})
        assert code(*read(f"{site.url}/", allowed=[site.allowed])) == "address_refused"
        assert not secret.asked


class Fickle:
    """A name server that answers differently each time, as one does that is out to rebind."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(site: Site):
    site.pages["/"] = TEXT
    with another("127.0.0.2", site.port) as secret:
        fickle = Fickle(["127.0.0.1"], ["127.0.0.2"])
        hit, *_ = read(f"http://rebound.example:{site.port}/", allowed=[site.allowed], resolve=fickle)
        assert isinstance(hit, Hit)
        assert fickle.asked == 1
        assert not secret.asked


def test_a_name_that_later_means_another_address_is_judged_anew(site: Site):
    site.pages["/robots.txt"] = Page("", headers={"Connection": "close"})
    site.pages["/"] = TEXT
    with another("127.0.0.2", site.port) as secret:
        fickle = Fickle(["127.0.0.1"], ["127.0.0.2"])
        assert (
            code(*read(f"http://rebound.example:{site.port}/", allowed=[site.allowed], resolve=fickle))
            == "address_refused"
        )
        assert fickle.asked == 2
        assert not secret.asked


def test_one_private_address_among_public_ones_spoils_them_all(site: Site):
    site.pages["/"] = TEXT
    mixed = Fickle(["127.0.0.1", "10.0.0.1"])
    assert code(*read(f"http://mixed.example:{site.port}/", allowed=[site.allowed], resolve=mixed)) == "address_refused"
    assert not site.asked


def test_the_refusal_does_not_tell_what_a_name_means_in_our_network():
    (error,) = read("http://wiki.lan/", allowed=[], resolve=Fickle(["10.1.2.3"]))
    assert "10.1.2.3" not in str(error)


def test_no_socket_of_this_machine_is_a_page():
    with pytest.raises(Terminal):
        asyncio.run(Guard(parse_rules([])).connect_unix_socket("/run/docker.sock"))


def test_the_environments_proxy_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.pages["/"] = TEXT
    with another("127.0.0.2") as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        (hit,) = read(f"{site.url}/", allowed=[site.allowed])
        assert isinstance(hit, Hit)
        assert not proxy.asked
