"""One request, bounded in every way, to nobody but those the operator means. Against a real server."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from email.utils import format_datetime
from ipaddress import ip_address, ip_network

import pytest

from services.notifier import guard
from services.notifier.http import Sender
from services.notifier.schedule import Answer
from shared.errors import Terminal
from shared.runtime import clock
from tests.harness.ports import free_port
from tests.harness.receiver import Receiver, Reply

LATE_S = 20.0
LOOPBACK = ("127.0.0.1",)


def sent(url: str, *, allow: Sequence[str] = LOOPBACK, within_s: float = 5.0) -> Answer:
    sender = Sender([ip_network(each) for each in allow], within_s=within_s)
    return asyncio.run(sender(url, {"X-Test": "yes"}, b'{"a": 1}'))


def test_what_is_sent_arrives():
    with Receiver() as receiver:
        answer = sent(receiver.url)
        [got] = receiver.got
    assert (answer.ok, answer.status, answer.error) == (True, 200, None)
    assert (got.path, got.body) == ("/hook?token=secret-in-the-url", b'{"a": 1}')
    assert (got.headers["x-test"], got.headers["host"]) == ("yes", f"127.0.0.1:{receiver.port}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_never_followed(status: int):
    with Receiver() as elsewhere, Receiver(Reply(status, {"Location": elsewhere.url})) as receiver:
        answer = sent(receiver.url)
    assert (answer.ok, answer.status) == (False, status)
    assert (len(receiver.got), elsewhere.got) == (1, [])


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_a_status_that_is_no_yes_is_a_failure(status: int):
    with Receiver(Reply(status)) as receiver:
        answer = sent(receiver.url)
    assert (answer.ok, answer.status, answer.retry_after_s) == (False, status, 0.0)


def test_an_endpoint_that_stalls_is_given_up_in_time():
    with Receiver(Reply(after_s=LATE_S)) as receiver:
        answer = sent(receiver.url, within_s=0.3)
    assert answer.error
    assert answer.error.code == "timeout"
    assert 0.3 <= answer.duration_s < LATE_S


@pytest.mark.parametrize("drip_s", [0.0, 0.2])
def test_of_a_body_without_end_nothing_is_read(drip_s: float):
    with Receiver(Reply(size=200 * 1024 * 1024, drip_s=drip_s)) as receiver:
        answer = sent(receiver.url)
    assert answer.ok
    assert receiver.sent_bytes < 20 * 1024 * 1024


def in_an_hour() -> str:
    return format_datetime(clock.now() + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("status", "told", "least", "most"),
    [
        (429, "120", 120, 120),
        (503, "120", 120, 120),
        (429, in_an_hour, 3_500, 3_600),
        (500, "120", 0, 0),
        (429, "soon", 0, 0),
        (429, "-5", 0, 0),
        (429, "9" * 400, 0, 0),
        (429, "Mon, 01 Jan 12345678901 00:00:00 GMT", 0, 0),
        (429, "Mon, 01 Jan 2020 00:00:00 +99999999999999", 0, 0),
        (429, "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_read_where_it_means_something(
    status: int, told: str | Callable[[], str], least: float, most: float
):
    with Receiver(Reply(status, {"Retry-After": told if isinstance(told, str) else told()})) as receiver:
        assert least <= sent(receiver.url).retry_after_s <= most


def test_nobody_there_is_a_failure_whose_text_has_no_url_in_it():
    answer = sent(f"http://127.0.0.1:{free_port()}/secret")
    assert answer.error
    assert answer.error.code == "not_reached"
    assert "secret" not in answer.error.message
    assert "127.0.0.1" not in answer.error.message


def test_what_is_no_http_at_all_is_a_failure():
    async def story() -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x00\xff" * 200_000)
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            answer = await Sender([ip_network("127.0.0.1")])(f"http://127.0.0.1:{port}/", {}, b"")
        assert answer.error
        assert answer.error.code == "not_reached"

    asyncio.run(story())


INSIDE = {
    "loopback": "127.0.0.1",
    "loopback, written otherwise": "127.1",
    "loopback as a number": "2130706433",
    "loopback by name": "localhost",
    "IPv6 loopback": "[::1]",
    "mapped loopback": "[::ffff:127.0.0.1]",
    "translated loopback": "[64:ff9b::7f00:1]",
    "compatible loopback": "[::127.0.0.1]",
    "6to4 loopback": "[2002:7f00:1::]",
    "anything": "0.0.0.0",
    "private": "10.0.0.1",
    "link-local, where clouds keep credentials": "169.254.169.254",
    "shared": "100.64.0.1",
    "unique local": "[fd00::1]",
    "site-local": "[fec0::1]",
    "multicast": "224.0.0.1",
}


@pytest.mark.parametrize("host", INSIDE.values(), ids=INSIDE.keys())
def test_nothing_is_sent_inside_unless_the_operator_says_so(host: str):
    answer = sent(f"https://{host}/", allow=())
    assert answer.error
    assert answer.error.code == "not_allowed", answer.error.message


def test_what_is_allowed_is_that_and_nothing_else():
    with Receiver() as receiver:
        assert sent(receiver.url, allow=["127.0.0.0/8"]).ok
        answer = sent(receiver.url, allow=["127.0.0.2", "10.0.0.0/8"])
    assert answer.error
    assert answer.error.code == "not_allowed"
    assert len(receiver.got) == 1


def test_plain_http_goes_nowhere_but_to_what_is_allowed(monkeypatch: pytest.MonkeyPatch):
    means(monkeypatch, "93.184.216.34")
    answer = sent("http://example.com/", allow=())
    assert answer.error
    assert answer.error.code == "not_encrypted"


def means(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name means these addresses."""

    async def all_of_them(_host: str, _port: int) -> list[guard.Address]:
        return [ip_address(address) for address in addresses]

    monkeypatch.setattr(guard, "_addresses", all_of_them)


def test_a_name_that_also_means_the_inside_is_refused(monkeypatch: pytest.MonkeyPatch):
    means(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(Terminal, match=r"10\.0\.0\.1 is not a public address"):
        asyncio.run(guard.resolve_allowed("example.com", 443, allow=()))


def test_the_connection_is_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch):
    with Receiver() as receiver:
        means(monkeypatch, "127.0.0.1")
        answer = sent(f"http://nowhere.invalid:{receiver.port}/")
    assert answer.ok
    assert receiver.got[0].headers["host"] == f"nowhere.invalid:{receiver.port}"


def test_a_name_without_an_address_may_have_one_later():
    answer = sent("https://nowhere.invalid/")
    assert answer.error
    assert answer.error.code == "no_address"


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch):
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sent(receiver.url).ok
    assert proxy.got == []
