"""Whoever writes, what is published stands in the evidence."""

import asyncio

import pytest
from msgspec.structs import replace
from pydantic import BaseModel

from services.synthesizer import judge
from services.synthesizer.perform import Synthesizer
from services.synthesizer.schema import CorrectionReply
from shared.contracts.evidence import (
    Call,
    Citation,
    Claim,
    Failure,
    Finding,
    Passage,
    Report,
    Section,
    Skipped,
    Source,
    Usage,
    usage_of,
)
from shared.contracts.facts import SynthesisWritten
from shared.contracts.markdown import markdown
from shared.contracts.tasks import SynthesizeTask
from shared.errors import Terminal, Throttled, Transient
from shared.models.offline import OfflineModel
from shared.models.protocol import Answer, Ask

SENTENCE = "The tasks of a group are awaited when its block exits."
CALL = Call("writer", "m-1", "v1", 10, 5, 0.25)
SPENT = usage_of((CALL,))
QUOTE = "awaited when its block exits"
MADE_UP = "this was never said by anyone"


def task(text: str = SENTENCE) -> SynthesizeTask:
    found = Source("a" * 64, "Task groups", "docs/a", "docs", (Passage(text, 40),))
    return SynthesizeTask("When are tasks awaited?", "digest", (Finding("task group", (found,)), Finding("nothing")))


def claim(text: str, *quotes: str) -> dict[str, object]:
    return {"text": text, "quotes": [{"source": 1, "quote": quote} for quote in quotes]}


def writing(*claims: dict[str, object]) -> dict[str, object]:
    return {"sections": [{"heading": "When", "claims": list(claims)}]}


def correcting(**quotes: str) -> dict[str, object]:
    return {"claims": [{"claim": int(n[1:]), "quotes": [{"source": 1, "quote": it}]} for n, it in quotes.items()]}


class Scripted:
    """A model that replies what it is told to, in turn, and remembers what it was asked."""

    def __init__(self, *replies: dict[str, object] | Exception, degraded: str | None = None) -> None:
        self.replies, self.degraded, self.asked = list(replies), degraded, list[Ask[BaseModel]]()

    async def answer(self, ask):
        self.asked.append(ask)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Answer(ask.reply.model_validate(reply), "m-1", SPENT, self.degraded, (CALL,))

    async def aclose(self):
        pass


def written(model, asked: SynthesizeTask | None = None, *, judged_by=None) -> SynthesisWritten:
    return asyncio.run(Synthesizer(model, judge=judged_by or OfflineModel()).perform(asked or task()))


def texts(report: Report) -> list[str]:
    return [claim.text for claim in report.claims()]


def test_a_models_report_is_published_with_its_own_name_and_cost():
    made = written(Scripted(writing(claim("They are awaited when the block exits.", QUOTE))))
    assert texts(made.report) == ["They are awaited when the block exits."]
    assert (made.digest, made.report.writer, made.report.degraded, made.usage) == ("digest", "m-1", None, SPENT)
    assert made.report.citations()[0].start == 40 + SENTENCE.index("awaited")
    assert made.report.gaps == ("nothing — no sources",)


class TestQuotesThatAreNotFound:
    """They are asked for once more, then dropped and counted."""

    def test_are_sent_back_once_with_their_claims_and_found_then(self):
        model = Scripted(writing(claim("Tasks are awaited.", MADE_UP)), correcting(n1=QUOTE))
        made = written(model)
        [_, again] = model.asked
        assert (again.reply, again.system.startswith("You correct the quotes")) == (CorrectionReply, True)
        assert MADE_UP in again.user
        assert "Tasks are awaited." in again.user
        assert SENTENCE in again.user
        assert (made.report.citations()[0].quote, made.report.dropped) == (QUOTE, 0)
        assert made.usage == SPENT.plus(SPENT)

    def test_only_what_was_not_found_is_replaced(self):
        model = Scripted(
            writing(claim("Tasks are awaited.", QUOTE), claim("Tasks have a group.", QUOTE, MADE_UP)),
            correcting(n1="The tasks of a group", n2="The tasks of a group"),
        )
        first, second = written(model).report.claims()
        assert [citation.quote for citation in first.citations] == [QUOTE]
        assert [citation.quote for citation in second.citations] == [QUOTE, "The tasks of a group"]

    @pytest.mark.parametrize(
        "reply",
        [
            {"claims": []},
            correcting(n1="still made up by the model"),
            correcting(n7=QUOTE),
            {"claims": [{"claim": 1, "quotes": []}]},
            Throttled("rate_limited", "Slow down.", retry_after=60),
            Transient("connection", "It went away."),
            Terminal("budget", "The money is spent."),
        ],
    )
    def test_are_dropped_and_counted_where_that_does_not_help(self, reply):
        made = written(Scripted(writing(claim("Awaited.", MADE_UP), claim("Tasks are awaited.", QUOTE)), reply))
        assert (texts(made.report), made.report.dropped) == (["Tasks are awaited."], 1)
        assert "· 1 quote dropped ·" in markdown("When?", made.report)

    def test_and_claims_without_any_are_no_different(self):
        made = written(Scripted(writing(claim("Awaited."), claim("Tasks are awaited.", QUOTE)), correcting()))
        assert made.report.dropped == 1
        assert texts(written(Scripted(writing(claim("Tasks awaited.")), correcting(n1=QUOTE))).report) == [
            "Tasks awaited."
        ]

    def test_give_way_to_the_evidence_where_nothing_else_is_left_and_the_report_says_so(self):
        made = written(Scripted(writing(claim("Awaited.", MADE_UP)), {"claims": []}))
        assert (texts(made.report), made.report.writer, made.report.dropped) == ([SENTENCE], "offline", 1)
        assert "m-1" in made.report.degraded
        assert made.usage == SPENT.plus(SPENT)

    def test_are_not_asked_for_where_a_model_was_not_used(self):
        made = written(Scripted(writing(claim(SENTENCE, SENTENCE)), degraded="It went wrong."))
        assert made.report.degraded == "It went wrong."


class TestTheJudge:
    """It may lower what the rule found, and never raise what the rule found unsupported."""

    WRITTEN = writing(claim("Tasks are awaited.", QUOTE), claim("Blocks exit when awaited.", QUOTE))

    @staticmethod
    def judging(*verdicts: tuple[int, str, str]) -> Scripted:
        return Scripted({"verdicts": [{"n": n, "support": support, "doubt": doubt} for n, support, doubt in verdicts]})

    def test_lowers_and_says_why(self):
        judge_model = self.judging((1, "supported", ""), (2, "partial", "the order is the other way round"))
        made = written(Scripted(self.WRITTEN), judged_by=judge_model)
        assert [each.support for each in made.report.claims()] == ["supported", "partial"]
        assert made.report.judge == "m-1"
        assert made.usage == SPENT.plus(SPENT)
        page = markdown("When?", made.report)
        assert "2 claims: 1 supported, 1 in part (checked by rule and by m-1)" in page
        assert "*(in part: the order is the other way round)*" in page

    def test_sets_apart_what_is_unsupported(self):
        made = written(Scripted(self.WRITTEN), judged_by=self.judging((2, "unsupported", "it is not said")))
        assert texts(made.report) == ["Tasks are awaited."]
        assert [each.text for each in made.report.unsupported] == ["Blocks exit when awaited."]
        page = markdown("When?", made.report)
        assert "## Not borne out\n\n- Blocks exit when awaited. [1] *(it is not said)*" in page
        assert page.index("Tasks are awaited.") < page.index("## Not borne out")

    @pytest.mark.parametrize("text", ["Tasks are awaited in 5 s.", "Tasks are not awaited when the block exits."])
    def test_cannot_raise_a_wrong_number_or_denial_nor_is_it_asked(self, text):
        judge_model = self.judging((2, "supported", ""))
        made = written(Scripted(writing(claim("Tasks are awaited.", QUOTE), claim(text, QUOTE))), judged_by=judge_model)
        assert [each.text for each in made.report.unsupported] == [text]
        assert text not in judge_model.asked[0].user

    def test_lifts_what_only_a_name_kept_down(self):
        made = written(
            Scripted(writing(claim("In TaskGroup tasks are awaited.", QUOTE))),
            judged_by=self.judging((1, "supported", "")),
        )
        assert [(each.support, each.doubt) for each in made.report.claims()] == [("supported", "")]

    @pytest.mark.parametrize(
        "reply",
        [
            {"verdicts": []},
            Transient("down", "It went away."),
            {"verdicts": [{"n": 99, "support": "partial", "doubt": ""}]},
        ],
    )
    def test_that_fails_or_says_nothing_leaves_the_rules_verdict(self, reply):
        made = written(Scripted(self.WRITTEN), judged_by=Scripted(reply))
        assert [each.support for each in made.report.claims()] == ["supported", "supported"]

    def test_that_contradicts_itself_is_taken_at_its_lowest(self):
        verdicts = self.judging((1, "supported", ""), (1, "partial", "not all of it"), (1, "supported", ""))
        made = written(Scripted(self.WRITTEN), judged_by=verdicts)
        assert [each.support for each in made.report.claims()] == ["partial", "supported"]

    def test_is_not_named_where_its_reply_was_made_by_rule(self):
        made = written(
            Scripted(self.WRITTEN),
            judged_by=Scripted({"verdicts": [{"n": 1, "support": "partial", "doubt": ""}]}, degraded="Garbage."),
        )
        assert (made.report.judge, [each.support for each in made.report.claims()]) == (None, ["supported"] * 2)

    def test_is_asked_once_and_not_about_verbatim_claims(self):
        judge_model = Scripted()
        made = written(OfflineModel(), judged_by=judge_model)
        assert (judge_model.asked, made.report.judge) == ([], None)

    def test_gives_way_to_the_evidence_where_nothing_is_borne_out(self):
        verdicts = self.judging((1, "unsupported", "no"), (2, "unsupported", "no"))
        made = written(Scripted(self.WRITTEN), judged_by=verdicts)
        assert (texts(made.report), made.report.writer, len(made.report.unsupported)) == ([SENTENCE], "offline", 2)
        assert "m-1" in made.report.degraded

    def test_keeps_within_its_budget(self):
        quoting = (Citation("a" * 64, "q" * 500, 0),)
        claims = tuple(Claim(f"{'word ' * 100}{n}", quoting, "supported") for n in range(100))
        asked = judge.claims_to_judge(judge.Draft((Section("", claims),)))
        assert 20 < len(asked) < 100
        assert sum(len(each.text) + 500 for each in asked.values()) <= judge.BUDGET


def test_all_calls_share_one_budget_and_each_is_recorded():
    failed = Terminal("budget", "The money is spent.")
    failed.calls = (CALL,)
    model, doubting = (
        Scripted(writing(claim("Tasks are awaited.", QUOTE), claim("No.", MADE_UP)), failed),
        Scripted({"verdicts": []}),
    )
    made = written(model, replace(task(), budget_usd=1.0), judged_by=doubting)
    assert [ask.budget_usd for ask in (*model.asked, *doubting.asked)] == [1.0, 0.75, 0.5]
    assert [ask.agent for ask in (*model.asked, *doubting.asked)] == ["writer", "writer", "judge"]
    assert (made.calls, made.usage) == ((CALL,) * 3, usage_of((CALL,) * 3))


def test_the_offline_report_is_whole_and_not_called_degraded():
    made = written(OfflineModel())
    assert (made.report.writer, made.report.degraded, made.usage) == ("offline", None, Usage())
    [citation] = made.report.citations()
    assert (citation.quote, citation.start) == (SENTENCE, 40)
    assert f"{SENTENCE} [1]" in markdown("When?", made.report)
    assert "1 claim: 1 supported (checked by rule)" in markdown("When?", made.report)


class TestTooLittleEvidence:
    """It gives a report that says so, and not a failed run."""

    @pytest.mark.parametrize(
        "model",
        [
            OfflineModel(),
            Scripted({"sections": []}),
            Scripted(writing(claim("Awaited.", MADE_UP)), {"claims": []}),
        ],
    )
    def test_is_said_with_what_was_searched_found_and_skipped(self, model):
        found = Source("a" * 64, "Arithmetic", "docs/a", "docs", (Passage(">>> 1 + 1", 40),))
        skipped = Skipped("https://b.test/", Failure("robots", "Its robots.txt asks not to."))
        asked = SynthesizeTask(
            "When?",
            "digest",
            (
                Finding("sums", (found,), skipped=(skipped,)),
                Finding("rest", failure=Failure("timeout", "The search timed out.")),
            ),
        )
        made = written(model, asked)
        assert (made.report.insufficient, made.report.sections) == (True, ())
        page = markdown("When?", made.report)
        assert "The evidence does not answer the question." in page
        assert "- sums: 1 source\n- rest: 0 sources" in page
        assert "- rest — The search timed out." in page
        assert r"- https\://b.test/: Its robots.txt asks not to." in page
        assert "## Sources read\n\n1. Arithmetic" in page

    def test_is_the_models_to_say_although_sentences_could_be_extracted(self):
        made = written(Scripted({"sections": []}))
        assert (made.report.insufficient, made.report.writer) == (True, "m-1")
