"""What a hold says that a report may cost is never less than what the writer then reckons with."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.coordinator.spending import Writer, estimate
from services.synthesizer.prompt import ask
from shared.contracts.evidence import Finding, Passage, Source
from shared.contracts.tasks import SynthesizeTask
from shared.models.endpoint import Prompt
from shared.models.room import MOST_CONTEXT, room
from shared.models.tokens import at_most
from tests.coordinator.story import accepted, planned
from tests.coordinator.story import given as told

WRITER = Writer("m-1", 6_000, lambda into, out: 0.0)
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
    asked = ask(SynthesizeTask(run.accepted.fact.q, "d" * 64, found), room("writer", context))
    messages = [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}]
    assert at_most(Prompt(messages, asked.reply, asked.max_tokens).text) <= about.input_tokens
    assert asked.max_tokens <= about.output_tokens
