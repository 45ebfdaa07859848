"""What a hold says that a report may cost is never less than what the writer then reckons with."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesizer import correction, judge
from services.synthesizer.citations import Draft, MissingQuotes
from services.synthesizer.prompt import ask
from services.synthesizer.schema import WrittenQuote
from shared.contracts.evidence import Citation, Claim, Finding, Passage, Section, Source
from shared.contracts.tasks import SynthesizeTask
from shared.contracts.tokens import estimate_tokens
from shared.domain.budget import WriterPricing, estimate
from shared.models.context_window import MOST_CONTEXT, window_of
from shared.models.endpoint import Prompt
from tests.coordinator.story import accepted, planned
from tests.coordinator.story import given as told

WRITER = WriterPricing("m-1", 6_000, lambda into, out: 0.0)
words = st.text(st.sampled_from("ab é世🧵\n"), max_size=300)
passages = st.lists(st.tuples(st.sampled_from([40, 400, 4_000, 30_000]), words), max_size=6)
sources = st.builds(
    lambda n, title, texts: Source(
        f"{n:064x}",
        title,
        title,
        "docs",
        tuple(Passage((text or "x") * (size // max(1, len(text))), at) for at, (size, text) in enumerate(texts)),
    ),
    st.integers(0, 9),
    words,
    passages,
)
findings = st.lists(st.builds(Finding, words, st.lists(sources, max_size=4).map(tuple)), max_size=5).map(tuple)


@given(findings, st.sampled_from([16_384, 128_000, MOST_CONTEXT]))
@settings(max_examples=150, deadline=None)
def test_an_estimate_covers_the_prompt_that_is_written_in_the_end(found: tuple[Finding, ...], context: int):
    run = told(accepted(), planned(planner="m-planner")).run
    about = estimate(run, found, WRITER)
    assert about
    assert run.accepted
    asked = ask(SynthesizeTask(run.accepted.fact.q, "d" * 64, found), window_of("writer", context))
    messages = [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}]
    assert estimate_tokens(Prompt(messages, asked.reply, asked.max_tokens).text) <= about.input_tokens
    assert asked.max_tokens <= about.output_tokens


def test_with_every_correction_it_covers_a_second_look_at_the_quotes_and_a_judge():
    """Priced by the token, the calls that may follow cost no more than the hold says."""
    priced = WriterPricing(
        "m-1", 6_000, lambda into, out: into + out, WriterPricing("m-2", 4_000, lambda into, out: into + out)
    )
    run = told(accepted(), planned(planner="m-planner")).run
    source = Source("a" * 64, "Cats", "l", "docs", (Passage("Cats purr. " * 3_000, 0),))
    found = (Finding("cats", (source,)),)
    about = estimate(run, found, priced)
    assert about
    assert about.cost_usd
    task = SynthesizeTask(run.accepted.fact.q, "d" * 64, found)
    lost = [
        MissingQuotes(n, "Cats bark. " * 10, (WrittenQuote(source=1, quote="Cats bark. " * 20),)) for n in range(20)
    ]
    again = correction.ask(task, lost, window_of("writer", MOST_CONTEXT))
    citation = Citation(source.sha256, "Cats purr. " * 20, 0)
    claims = tuple(Claim(f"Cats do {n}.", (citation,), "partial") for n in range(500))
    doubted = judge.claims_to_judge(Draft((Section("", claims),)), window_of("judge", MOST_CONTEXT))
    judged = judge.ask(doubted, window_of("judge", MOST_CONTEXT))
    once = 0
    for question in (ask(task, window_of("writer", MOST_CONTEXT)), again, judged):
        messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
        into = estimate_tokens(Prompt(messages, question.reply, question.max_tokens).text)
        once += 2 * (into + question.max_tokens) + question.max_tokens
    assert len(doubted) > 50
    assert about.cost_usd < once <= about.most_usd


def test_what_a_judge_of_unknown_price_takes_nobody_knows():
    unpriced = WriterPricing("m-2", 4_000, lambda into, out: None)
    run = told(accepted(), planned(planner="m-planner")).run
    about = estimate(run, (), WriterPricing("m-1", 6_000, lambda into, out: 1.0, unpriced))
    assert about
    assert (about.cost_usd, about.most_usd) == (1.0, None)
    alone = estimate(run, (), WriterPricing("m-1", 6_000, lambda into, out: 1.0))
    assert alone
    assert alone.most_usd == 4.0
