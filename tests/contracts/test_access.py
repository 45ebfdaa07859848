"""What any release has written to `ACCESS`, every later one reads; see `test_golden.py` for the rules."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from shared.contracts import envelope
from shared.contracts.access import AccessFact, KeyCreated, KeyRevoked, SecretSet
from shared.contracts.facts import DecisionApproved
from shared.contracts.subjects import ACCESS_SECRET, ACCESS_SUBJECTS, Slot, key_created, key_revoked
from shared.errors import Unreadable
from shared.runtime.memory_tasks import matches_subject
from tests.contracts.test_golden import says

FOLDER = Path(__file__).parent / "golden" / "v1" / "access"
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
WRITTEN: dict[str, tuple[str, AccessFact]] = {
    "key.created": (
        key_created("0123456789ab"),
        KeyCreated(
            id="0123456789ab",
            name="Zoë",
            role="approver",
            sha256="a" * 64,
            expires_at=datetime(2026, 4, 2, 3, 4, 5, tzinfo=UTC),
            scopes=("read", "decide"),
            created_by="ann",
        ),
    ),
    "key.revoked": (key_revoked("0123456789ab"), KeyRevoked(by="ann")),
    "secret.set": (ACCESS_SECRET, SecretSet(secret="5" * 64)),
}


def stored(name: str) -> bytes:
    return msgspec.json.format((FOLDER / f"{name}.json").read_bytes().strip(), indent=-1)


@pytest.mark.parametrize("name", [file.stem for file in sorted(FOLDER.glob("*.json"))])
def test_what_a_release_wrote_is_still_read_and_still_said(name: str):
    subject, fact = WRITTEN[name]
    assert envelope.decode_access(stored(name)) == fact
    written = envelope.encode_message(subject, fact, source="dossier/golden", time=AT)
    assert says(msgspec.json.decode(written), msgspec.json.decode(stored(name)))


def test_every_type_has_a_file_and_every_box_is_in_the_stream():
    tags = {fact.__struct_config__.tag for fact in get_args(AccessFact)}
    assert {msgspec.json.decode(stored(name))["type"] for name in WRITTEN} == tags
    assert all(any(matches_subject(pattern, subject) for pattern in ACCESS_SUBJECTS) for subject, _ in WRITTEN.values())


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 5_000])
def test_what_is_no_fact_is_unreadable(data: bytes):
    with pytest.raises(Unreadable):
        envelope.decode_access(data)


def test_a_fact_of_a_run_is_none_of_these():
    event = envelope.Event(DecisionApproved(by="ann", via="api"), "test", AT)
    with pytest.raises(Unreadable):
        envelope.decode_access(envelope.encode(Slot("r1", "decision", 1), event))
