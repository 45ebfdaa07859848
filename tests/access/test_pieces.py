"""Keys, the keyring, sessions, tickets, brakes, origins and the token of a folder, each by itself."""

import stat
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from starlette.datastructures import Headers

from services.coordinator.access import same_origin, sessions
from services.coordinator.access.middleware import form_of
from services.coordinator.access.rate_limit import REMEMBERED, RateLimiter, RecentNames, address_block
from services.coordinator.access.sign_in_links import LIFE, SignInLinks
from services.coordinator.http.problems import ProblemError
from shared.api import local_token
from shared.contracts import envelope
from shared.contracts.access import AccessFact, KeyCreated, KeyRevoked, SecretSet
from shared.contracts.messages import Message
from shared.contracts.subjects import ACCESS_SECRET, key_created, key_revoked
from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.domain.keyring import Keyring, apply_key_fact
from shared.domain.roles import local_principal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "5" * 64
KEY = keys.format_key("abc123", SECRET)
MADE = KeyCreated(
    id="abc123", name="ann", role="approver", sha256=keys.key_hash(KEY), expires_at=NOW + timedelta(days=90)
)

# Keys


def test_a_key_can_be_found_by_scanners_and_names_its_id():
    assert KEY.startswith("dsr_abc123_")
    assert keys.key_id(KEY) == "abc123"


@given(place=st.integers(0, len(KEY) - 1), wrong=st.characters(codec="ascii"))
def test_a_mistyped_key_is_none(place: int, wrong: str):
    mistyped = KEY[:place] + wrong + KEY[place + 1 :]
    assert keys.key_id(mistyped) == ("abc123" if mistyped == KEY else None)


@given(text=st.text(max_size=120))
def test_what_is_no_key_is_none(text: str):
    assert keys.key_id(text) is None


# The keyring


def message(subject: str, fact: AccessFact | bytes, seq: int = 1) -> Message:
    data = fact if isinstance(fact, bytes) else envelope.encode_message(subject, fact, source="test", time=NOW)
    return Message(subject, seq, NOW, data)


CREATED = message(key_created("abc123"), MADE)
REVOKED = message(key_revoked("abc123"), KeyRevoked(by="bob"))


def ring(*messages: Message) -> Keyring:
    result = Keyring()
    for one in messages:
        result = apply_key_fact(result, one)
    return result


def test_a_key_opens_until_it_expires():
    assert ring(CREATED).usable("abc123", NOW) == MADE
    assert ring(CREATED).usable("abc123", MADE.expires_at) is None
    assert ring(CREATED).any_usable(NOW)
    assert not ring(CREATED).any_usable(MADE.expires_at)


SIGNED = message(ACCESS_SECRET, SecretSet(secret="a"))


@pytest.mark.parametrize("messages", list(permutations((CREATED, REVOKED, SIGNED))))
def test_a_revoked_key_opens_nothing_in_whichever_order_that_is_read(messages: tuple[Message, ...]):
    assert ring(*messages).usable("abc123", NOW) is None
    assert ring(*messages) == ring(CREATED, REVOKED, SIGNED)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"type": "key.revoked.v9"}', b"\xff"])
def test_whatever_is_in_the_box_of_a_revocation_revokes(data: bytes):
    assert ring(CREATED, message(key_revoked("abc123"), data)).usable("abc123", NOW) is None


@pytest.mark.parametrize(
    "unfit",
    [
        message(key_created("abc123"), b"{}"),
        message(key_created("abc123"), KeyRevoked()),
        message(key_created("other"), MADE),
        message("access.key.abc123.renewed", MADE),
        message(
            key_created("abc123"),
            envelope.encode_message("x", MADE, source="t", time=NOW).replace(b'"approver"', b'"emperor"'),
        ),
    ],
)
def test_what_cannot_be_read_as_a_key_is_none(unfit: Message):
    assert ring(unfit).keys == {}


def test_the_first_that_was_written_of_a_box_is_what_holds():
    other = msgspec.structs.replace(MADE, role="operator")
    secrets = [message(ACCESS_SECRET, SecretSet(secret=name)) for name in ("first", "second")]
    whole = ring(CREATED, message(key_created("abc123"), other), *secrets)
    assert (whole.keys["abc123"].fact.role, whole.secret) == ("approver", "first")


# Sessions


def begun(**more: object) -> sessions.Session:
    how = {"now": NOW, "until": None, "id_": "s1"} | more
    return sessions.new_session("abc123", keys.key_hash(KEY), "ann", **how)  # type: ignore[arg-type]


def test_a_session_is_what_was_sealed():
    session = begun()
    assert sessions.decode_cookie(sessions.encode_cookie(session, SECRET), SECRET, NOW) == session
    assert sessions.is_of_key(session, keys.key_hash(KEY))
    assert not sessions.is_of_key(session, keys.key_hash("another"))


def test_a_session_ends_with_its_life_or_its_key():
    cookie = sessions.encode_cookie(begun(), SECRET)
    assert sessions.decode_cookie(cookie, SECRET, NOW + sessions.LIFE - timedelta(seconds=1))
    assert sessions.decode_cookie(cookie, SECRET, NOW + sessions.LIFE) is None
    short = sessions.encode_cookie(begun(until=NOW + timedelta(minutes=1)), SECRET)
    assert sessions.decode_cookie(short, SECRET, NOW + timedelta(minutes=1)) is None


@given(place=st.integers(0, 10_000), wrong=st.characters(codec="ascii"))
def test_a_session_that_was_changed_is_none(place: int, wrong: str):
    cookie = sessions.encode_cookie(begun(), SECRET)
    place %= len(cookie)
    changed = cookie[:place] + wrong + cookie[place + 1 :]
    opened = sessions.decode_cookie(changed, SECRET, NOW)
    assert opened is None or opened == begun()


@given(text=st.text(max_size=200))
def test_what_is_no_session_is_none(text: str):
    assert sessions.decode_cookie(text, SECRET, NOW) is None


@pytest.mark.parametrize("other", ["", "6" * 64])
def test_a_session_that_another_secret_sealed_is_none(other: str):
    assert sessions.decode_cookie(sessions.encode_cookie(begun(), SECRET), other, NOW) is None
    assert sessions.decode_cookie(sessions.encode_cookie(begun(), other), SECRET, NOW) is None
    assert sessions.decode_cookie(sessions.encode_cookie(begun(), other), "", NOW) is None


def test_the_token_of_a_session_is_no_other_sessions_and_no_signature():
    tokens = {
        sessions.csrf_token(begun(), SECRET),
        sessions.csrf_token(begun(id_="s2"), SECRET),
        sessions.csrf_token(begun(), "6" * 64),
    }
    assert len(tokens) == 3
    assert sessions.csrf_token(begun(), SECRET) not in sessions.encode_cookie(begun(), SECRET)


# Tickets


def test_a_ticket_is_good_once():
    tickets, ann = SignInLinks(), local_principal("ann")
    tickets.issue("t1", ann, NOW)
    assert tickets.redeem("t2", NOW) is None
    assert tickets.redeem("t1", NOW) == ann
    assert tickets.redeem("t1", NOW) is None


def test_a_ticket_is_good_for_a_few_minutes():
    tickets = SignInLinks()
    assert tickets.issue("t1", local_principal(), NOW) == NOW + LIFE <= NOW + timedelta(minutes=10)
    assert tickets.redeem("t1", NOW + LIFE) is None


def test_nobody_can_fill_the_memory_with_tickets():
    tickets = SignInLinks()
    for number in range(2_000):
        tickets.issue(str(number), local_principal(), NOW)
    assert tickets.redeem("0", NOW) is None
    assert tickets.redeem("1999", NOW)


# Brakes


def test_a_brake_lets_a_burst_pass_and_then_its_rate():
    brake = RateLimiter(3, per_s=60)
    for _ in range(3):
        assert brake.wait_s("a", 0) == 0
        brake.consume("a", 0)
    assert brake.wait_s("a", 0) == pytest.approx(20)
    assert brake.wait_s("a", 15) == pytest.approx(5)
    assert brake.wait_s("a", 20) == 0
    assert brake.wait_s("b", 0) == 0


def test_a_brake_remembers_only_so_many():
    brake, known = RateLimiter(1, per_s=60), RecentNames()
    for number in range(REMEMBERED + 5):
        brake.consume(str(number), 0)
        known.add(str(number))
    assert len(brake) == REMEMBERED
    assert "0" not in known
    assert brake.wait_s("0", 0) == 0 < brake.wait_s("5", 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("somewhere", "somewhere", True),
    ],
)
def test_an_ipv6_customer_counts_as_one_address(one: str, other: str, same: bool):
    assert (address_block(one) == address_block(other)) == same


# Origins


@pytest.mark.parametrize("host", ["localhost", "localhost:8400", "127.0.0.1:80", "[::1]:8400", "LocalHost:1"])
def test_a_name_of_ours_is_addressed_with_any_port(host: str):
    assert same_origin.is_addressed(Headers({"host": host}), local_token.LOOPBACK_NAMES)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "evil@localhost.example", "[::1", "::1"]
)
def test_a_name_that_is_not_ours_is_not_addressed(host: str):
    assert not same_origin.is_addressed(Headers({"host": host}), local_token.LOOPBACK_NAMES)


HOST = {"host": "localhost:8400"}


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"origin": "http://localhost:8400"}, True),
        ({"origin": "http://localhost:8400", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://localhost:8400", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
    ],
)
def test_what_another_site_sends_is_told_by_what_no_page_can_set(headers: dict[str, str], same: bool):
    assert same_origin.is_same(Headers(HOST | headers)) == same


# The token of a folder


def test_a_folder_gets_one_token_that_only_its_owner_reads(tmp_path: Path):
    token = local_token.ensure_token(tmp_path / "new")
    file = tmp_path / "new" / "token"
    assert keys.key_id(token) == LOCAL
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert local_token.ensure_token(tmp_path / "new") == local_token.read_token(tmp_path / "new") == token
    assert [path.name for path in file.parent.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620])
def test_a_token_that_others_could_have_read_is_replaced(tmp_path: Path, mode: int):
    token = local_token.ensure_token(tmp_path)
    (tmp_path / "token").chmod(mode)
    assert local_token.ensure_token(tmp_path) != token
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "secret", keys.format_key("abc123", SECRET)])
def test_a_token_that_is_none_is_replaced(tmp_path: Path, text: str):
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    assert keys.key_id(local_token.ensure_token(tmp_path)) == LOCAL


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("dossier", False),
    ],
)
def test_only_the_loopback_is_this_machine_alone(host: str, loopback: bool):
    assert local_token.is_loopback(host) == loopback


# Forms


def test_a_form_with_too_many_fields_is_refused():
    assert form_of(b"csrf=1&q=cats") == {"csrf": "1", "q": "cats"}
    with pytest.raises(ProblemError) as refused:
        form_of(b"&".join([b"keep=1"] * 2_001))
    assert refused.value.problem.code == "too_large"
