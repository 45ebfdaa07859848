"""`dossier keys`: what is refused before anything is written, and what is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from services.cli.commands.keys import KeyRequest, KeyStore, create, revoke
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.terminal import Terminal
from shared.domain import keys
from shared.runtime.memory import MemoryLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = keys.format_key("abc123", "0" * 64)


def wanted(name: str = "ann", role: str = "approver", scopes: tuple[str, ...] = (), expires: str = "90d") -> KeyRequest:
    return KeyRequest(name, role, scopes, expires)


def test_a_key_has_an_end_and_is_kept_as_its_hash_alone():
    fact = wanted(scopes=("read", "decide")).fact("abc123", KEY, NOW)
    assert fact.expires_at == NOW + timedelta(days=90)
    assert fact.sha256 == keys.key_hash(KEY)
    assert (fact.name, fact.role, fact.scopes) == ("ann", "approver", ("read", "decide"))
    assert fact.created_by
    assert KEY[12:] not in str(fact)


@pytest.mark.parametrize("name", ["ann", "Ann O'Neil", "ann@example.org", "ci-bot_7", "Zoë", "李"])
def test_people_and_machines_can_be_named(name: str):
    assert wanted(name).fact("abc123", KEY, NOW).name == name


@pytest.mark.parametrize(
    ("unfit", "says"),
    [
        (wanted(""), "cannot name a key"),
        (wanted("local"), "cannot name a key"),
        (wanted("LOCAL"), "cannot name a key"),
        (wanted("ann\n"), "cannot name a key"),
        (wanted(" ann"), "cannot name a key"),
        (wanted("ann, bob"), "cannot name a key"),
        (wanted("x" * 101), "cannot name a key"),
        (wanted(role="emperor"), "--role emperor"),
        (wanted(scopes=("fly",)), "--scope fly"),
        (wanted(scopes=("operate",)), "needs the role operator"),
        (wanted(expires="0s"), "--expires"),
        (wanted(expires="367d"), "--expires"),
        (wanted(expires="never"), "--expires"),
    ],
)
def test_what_makes_no_key_is_refused_by_name(unfit: KeyRequest, says: str):
    with pytest.raises(Refusal, match=says) as refused:
        unfit.fact("abc123", KEY, NOW)
    assert refused.value.code == MISUSED


async def test_a_key_is_given_once_and_written_once(capsys: pytest.CaptureFixture[str]):
    log = MemoryLog()
    store = KeyStore(log)
    await create(store, Terminal(), wanted())
    key = capsys.readouterr().out.strip()
    id_ = keys.key_id(key)
    assert id_
    assert key.encode() not in b"".join(message.data for message in log.messages)
    await revoke(store, Terminal(), id_)
    await revoke(store, Terminal(), id_)
    assert [message.subject for message in log.messages] == [
        f"access.key.{id_}.created",
        f"access.key.{id_}.revoked",
    ]
    with pytest.raises(Refusal, match="no key"):
        await revoke(store, Terminal(), "unknown")
