"""Whoever writes, what is published stands in the evidence."""

import asyncio

import pytest

from services.synthesizer.perform import Synthesizer
from services.synthesizer.reply import WriterReply
from shared.contracts.evidence import Call, Finding, Passage, Report, Source, Usage, markdown, usage_of
from shared.contracts.facts import SynthesisWritten
from shared.contracts.tasks import SynthesizeTask
from shared.errors import Terminal
from shared.models.offline import OfflineModel
from shared.models.protocol import Answer

SENTENCE = "The tasks of a group are awaited when its block exits."
CALL = Call("writer", "m-1", "v1", 10, 5, 0.25)
SPENT = usage_of((CALL,))


def task(text: str = SENTENCE) -> SynthesizeTask:
    found = Source("a" * 64, "Task groups", "docs/a", "docs", (Passage(text, 40),))
    return SynthesizeTask("When are tasks awaited?", "digest", (Finding("task group", (found,)), Finding("nothing")))


class Writing:
    """A model that writes one sentence with one quote."""

    def __init__(self, quote: str, *, degraded: str | None = None) -> None:
        self.quote, self.degraded = quote, degraded

    async def answer(self, ask):
        claim = {"text": "They are awaited at the end.", "quotes": [{"source": 1, "quote": self.quote}]}
        reply = WriterReply.model_validate({"sections": [{"heading": "When", "claims": [claim]}]})
        return Answer(reply, "m-1", SPENT, self.degraded, (CALL,))

    async def aclose(self):
        pass


def written(model, asked: SynthesizeTask) -> SynthesisWritten:
    return asyncio.run(Synthesizer(model).perform(asked))


def texts(report: Report) -> list[str]:
    return [claim.text for section in report.sections for claim in section.claims]


def test_a_models_report_is_published_with_its_own_name_and_cost():
    made = written(Writing("awaited when its block exits"), task())
    assert texts(made.report) == ["They are awaited at the end."]
    assert (made.digest, made.report.writer, made.report.degraded, made.usage) == ("digest", "m-1", None, SPENT)
    assert made.report.citations()[0].start == 40 + SENTENCE.index("awaited")
    assert made.report.gaps == ("nothing — no sources",)


def test_a_model_that_makes_its_quotes_up_gives_way_to_the_evidence_and_the_report_says_so():
    made = written(Writing("this was never said by anyone"), task())
    assert texts(made.report) == [SENTENCE]
    assert made.report.writer == "offline"
    assert "m-1" in made.report.degraded
    assert (made.usage, made.calls) == (SPENT, (CALL,))


def test_what_the_model_gave_as_its_reason_is_kept():
    made = written(Writing("this was never said by anyone", degraded="It went wrong."), task())
    assert made.report.degraded == "It went wrong."


def test_the_offline_report_is_whole_and_not_called_degraded():
    made = written(OfflineModel(), task())
    assert (made.report.writer, made.report.degraded, made.usage) == ("offline", None, Usage())
    [citation] = made.report.citations()
    assert (citation.quote, citation.start) == (SENTENCE, 40)
    assert f"{SENTENCE} [1]" in markdown("When?", made.report)


@pytest.mark.parametrize(("model", "calls"), [(OfflineModel(), ()), (Writing("never said by anyone"), (CALL,))])
def test_evidence_without_a_sentence_is_terminal_and_was_paid_for_all_the_same(model, calls):
    with pytest.raises(Terminal) as caught:
        written(model, task(">>> 1 + 1"))
    assert (caught.value.code, caught.value.calls) == ("insufficient_evidence", calls)
