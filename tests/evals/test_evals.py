"""The evals notice what they are there for: a worse prompt or worse code makes the table worse, and the exit code 1."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.cli.commands import case
from services.planner import prompt as plan_prompt
from services.synthesizer import extract
from services.synthesizer import prompt as write_prompt
from services.synthesizer.locate import locate
from shared.contracts.evidence import Citation, Source
from shared.models import completion
from tests.evals.__main__ import CASES, Kept, main
from tests.evals.comparison import worse, wrong
from tests.evals.figures import Expected, Figures

DOCUMENTS = CASES.parent / "documents"
QUESTION = """
[drill]
q = "When is a restore drill passed, and how often is one done?"
facts = ['every table can be read', 'each quarter']
"""
GOOD = Figures(
    outcome="reported", degraded=False, quotes=4, located=4, claims=4, supported=4, facts=2, calls=3, cost_usd=0.01
)


class Evals:
    """The evals as they are, but for the corpus, which is small, and for what is kept, which is today's."""

    def __init__(self, folder: Path, cases: Path = CASES) -> None:
        self.cases, self.kept, self.questions = cases, folder / "kept.json", folder / "questions.toml"
        self.questions.write_text(QUESTION)

    def __call__(self, *arguments: str) -> int:
        """The exit code."""
        where = ("--cases", self.cases, "--questions", self.questions, "--kept", self.kept, "--docs", DOCUMENTS)
        return main([*arguments, *map(str, where)])


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Today's figures."""
    evals = Evals(tmp_path_factory.mktemp("evals"))
    assert evals("--keep") == 0
    return evals.kept


@pytest.fixture
def evals(tmp_path: Path, today: Path) -> Evals:
    return Evals(Path(shutil.copy(today, tmp_path)).parent)


Said = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def test_what_was_recorded_is_as_good_today_as_what_was_kept(evals: Evals, capsys: Said):
    assert evals() == 0
    table, complaints = capsys.readouterr()
    assert complaints == ""
    assert not any(word in table for word in ("was", "prompt changed", "not recorded"))
    rows = {line.split()[0] for line in table.splitlines() if line}
    assert rows == {"case", "all", "drill"} | {folder.name for folder in CASES.iterdir()}


def test_every_case_has_what_was_said_in_each_of_its_calls():
    for folder in CASES.iterdir():
        recording = case.read(folder)
        assert recording.calls
        assert all(said.prompt and said.reply for said in recording.calls), folder.name


def test_a_changed_prompt_is_named_and_replayed_all_the_same(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr(plan_prompt, "_SYSTEM", "Plan.")
    assert evals("repaired") == 0
    table = capsys.readouterr().out
    assert "prompt changed: planner plan" in table
    assert "3/3" in table


def test_a_prompt_that_has_grown_by_much_costs_more_and_that_is_worse(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr(write_prompt, "_SYSTEM", write_prompt._SYSTEM + " Mind the passages." * 200)
    assert evals("kept-and-protected") == 1
    assert "kept-and-protected: cost" in capsys.readouterr().err


def test_a_quote_with_a_place_that_is_not_its_own_is_wrong(evals: Evals, capsys: Said, monkeypatch: Patch):
    def beside(quote: str, source: Source) -> Citation | None:
        found = locate(quote, source)
        return found and msgspec.structs.replace(found, start=found.start + 1)

    monkeypatch.setattr("services.synthesizer.citations.locate", beside)
    assert evals("repaired") == 1
    complaints = capsys.readouterr().err
    assert "repaired: outcome failed, expected reported" in complaints
    assert "repaired: located 0 of 3 quotes" in complaints


def test_quotes_that_are_found_no_more_are_worse(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr("services.synthesizer.citations.locate", lambda quote, source: None)
    assert evals("kept-and-protected") == 1
    table, complaints = capsys.readouterr()
    assert "kept-and-protected: degraded, expected not degraded" in complaints
    assert "kept-and-protected: facts 0 of 5, kept were 4 of 5; lost: 35 days;" in complaints
    assert "0/5 (was 4/5)" in table


def test_a_broken_reply_that_is_repaired_no_more_is_wrong(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr(completion, "_repair", lambda text, form: None)
    assert evals("repaired") == 1
    table, complaints = capsys.readouterr()
    assert "repaired: degraded, expected not degraded" in complaints
    assert "not recorded: planner plan" in table


def test_a_rule_that_finds_less_in_the_corpus_is_worse(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr(extract, "PAGE", 1)
    monkeypatch.setattr(extract, "_WORTH", 1.0)
    assert evals("drill") == 1
    assert "drill: facts 1 of 2, kept were 2 of 2; lost:" in capsys.readouterr().err


def test_searches_that_were_not_made_then_are_named(evals: Evals, capsys: Said, monkeypatch: Patch):
    monkeypatch.setattr(plan_prompt, "plan_queries", lambda task: ("something else",))
    assert evals("nonsense") == 1
    table, complaints = capsys.readouterr()
    assert "not recorded: search 'something else'" in table
    assert "nonsense: outcome failed, expected reported" in complaints


def test_a_case_that_is_gone_is_missed_until_the_figures_are_kept_without_it(
    evals: Evals, tmp_path: Path, capsys: Said
):
    evals.cases = tmp_path / "cases"
    shutil.copytree(CASES / "nonsense", evals.cases / "nonsense")
    kept = Kept.read(evals.kept)
    evals.kept.write_bytes(msgspec.json.encode(Kept({name: kept.cases[name] for name in ("nonsense", "repaired")})))
    assert evals() == 1
    assert capsys.readouterr().err == "repaired: is kept, and not there any more\n"
    assert evals("--keep") == 0
    assert set(Kept.read(evals.kept).cases) == {"nonsense"}


def test_keeping_some_leaves_the_others_as_they_were_kept(evals: Evals):
    before = Kept.read(evals.kept)
    assert evals("--keep", "repaired") == 0
    assert Kept.read(evals.kept) == before


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"missing": ("a",)}, "facts 1 of 2, kept were 2 of 2; lost: a"),
        ({"supported": 3}, "supported 3 of 4, kept were 4 of 4"),
        ({"dropped": 1}, "dropped 1 quotes, kept were 0"),
        ({"claims": 1, "supported": 1}, "claims 1, kept were 4"),
        ({"cost_usd": 0.0111}, "cost $0.01110, kept was $0.01000"),
        ({"cost_usd": None, "calls": 4}, "cost 4 unpriced calls, kept was $0.01000"),
    ],
)
def test_each_figure_can_become_worse(now: dict[str, Any], says: str):
    assert list(worse(msgspec.structs.replace(GOOD, **now), GOOD)) == [says]


@pytest.mark.parametrize(
    "now", [{}, {"cost_usd": 0.0109}, {"claims": 2, "supported": 2}, {"claims": 9, "supported": 9}, {"cost_usd": 0.001}]
)
def test_what_is_as_good_or_better_is_not_worse(now: dict[str, Any]):
    assert list(worse(msgspec.structs.replace(GOOD, **now), GOOD)) == []


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"outcome": "failed"}, "outcome failed, expected reported"),
        ({"degraded": True}, "degraded, expected not degraded"),
        ({"plan": "a query twice"}, "plan: a query twice"),
        ({"located": 3}, "located 3 of 4 quotes"),
    ],
)
def test_some_things_are_wrong_whatever_was_kept(now: dict[str, Any], says: str):
    assert list(wrong(msgspec.structs.replace(GOOD, **now), Expected())) == [says]
