"""The review of a run on hold at the terminal: answers, and answers that are refused."""

import asyncio

import pytest

from services.cli.commands import review
from services.cli.commands.review import Decision
from services.cli.shell.terminal import Terminal
from shared.contracts.evidence import Estimate
from shared.domain.budget import over_budget
from tests.coordinator.story import accepted, found, given, hold, planned

ESTIMATE = Estimate("m-writer", 1_000, 6_000, 2.0)
OVER = given(accepted(max_cost_usd=1.0), planned("a"), found(0), hold(estimate=ESTIMATE)).run


class Scripted(Terminal):
    """A terminal at which these answers are typed, then the end of the input."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)
        self.prompts: list[str] = []

    async def ask(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        return self.answers.pop(0) if self.answers else None


def answered(terminal: Scripted) -> Decision | None:
    assert over_budget(OVER)
    return asyncio.run(review.prompt(terminal, OVER))


@pytest.mark.parametrize("amount", ["nan", "inf", "-5", "0", "two", "$", "1e999"])
def test_an_amount_that_is_not_positive_and_finite_is_refused_in_a_sentence_and_asked_for_again(
    amount: str, capsys: pytest.CaptureFixture[str]
):
    terminal = Scripted("y", amount, "$2.50")
    decision = answered(terminal)
    assert decision
    assert (decision.verdict, decision.max_cost_usd) == ("approve", 2.5)
    assert terminal.prompts[1] == terminal.prompts[2]
    assert f"{amount!r} is not an amount" in capsys.readouterr().err


def test_without_an_amount_the_decision_is_asked_for_again():
    terminal = Scripted("y", "", "n", "Too dear.")
    decision = answered(terminal)
    assert decision
    assert (decision.verdict, decision.comment) == ("reject", "Too dear.")


def test_at_the_end_of_the_input_there_is_no_decision():
    assert answered(Scripted("maybe", "y")) is None
