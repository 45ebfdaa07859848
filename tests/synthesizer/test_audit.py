"""Ten lines, that anybody can write, check a report against the frozen texts alone."""

import inspect
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from shared.contracts.evidence import Report
from shared.runtime.memory import MemoryLog
from tests import audit as auditing
from tests.audit import audit
from tests.dossier import coordinating, performers, working

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "reports.md"
QUESTIONS = (
    "What happens when an exception is raised, and how do try, except and finally handle it?",
    "What is a context manager and when should I write one?",
    "How does Python's garbage collector deal with reference cycles?",
)
TEXT = "Tasks are awaited when the block exits."
SHA = sha256(TEXT.encode()).hexdigest()


def claiming(**citation: object) -> dict:
    quote = {"sha256": SHA, "start": 10, "quote": "awaited when"} | citation
    return {"sections": [{"heading": "", "claims": [{"text": "They are awaited.", "citations": [quote]}]}]}


def test_what_is_there_is_found():
    assert list(audit(claiming(), {SHA: TEXT})) == []


@pytest.mark.parametrize("citation", [{"start": 9}, {"quote": "awaited in"}, {"sha256": "b" * 64}, {"start": 500}])
def test_what_is_not_there_is_named(citation: dict[str, object]):
    [wrong] = audit(claiming(**citation), {SHA: TEXT})
    assert wrong.startswith("They are awaited.")


def test_nor_is_a_text_that_is_not_what_was_frozen_nor_a_sentence_without_a_quote():
    assert list(audit(claiming(), {SHA: TEXT + " "}))
    uncited = {"sections": [{"heading": "", "claims": [{"text": "So.", "citations": []}]}]}
    assert list(audit(uncited, {SHA: TEXT}))


def test_the_guide_on_reports_has_these_lines():
    guide = GUIDE.read_text()
    assert inspect.getsource(auditing) in guide


async def test_real_reports_stand_the_audit(python_docs: Path, tmp_path: Path):
    log = MemoryLog()
    async with coordinating(log, tmp_path) as it, working(log, performers(log, None, python_docs)):
        for question in QUESTIONS:
            asked = await it.ask(question, approval="auto")
            await it.until(asked, "reported")
            report: Report = it.facts(asked)["synthesis.1"].report
            frozen = {source.sha256: await log.get(source.sha256) for source in report.sources}
            assert list(audit(msgspec.to_builtins(report), frozen)) == []
            assert len(report.claims()) >= 4
            assert {claim.support for claim in report.claims()} == {"supported"}
            assert (report.dropped, report.unsupported, report.conflicts) == (0, (), ())
