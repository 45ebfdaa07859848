"""Whether a claim is borne out: what it counts, names and denies has to be in what it quotes."""

import pytest

from services.fetcher.documents.language_reference import LanguageReference
from services.synthesizer.entities import names
from services.synthesizer.numbers import contains_number, numbers
from services.synthesizer.support import Verdict, apply_model_verdict, judge_by_rule, rule_verdict
from shared.contracts.evidence import Citation, Claim
from shared.text.sentences import sentences


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("1,200 users", "1200 users"),
        ("10 000 users", "10,000 users"),
        ("1.000.000 users", "1,000,000 users"),
        ("2 hours", "120 minutes"),
        ("1.2 million people", "1,200,000 people"),
        ("$5 million", "5 million dollars"),
        ("5 MB", "5,000 kB"),
        ("12%", "12 percent"),
        ("12%", "12 per cent"),
        ("3 ms to 5 ms", "3–5 ms"),
        ("5 March 2026", "2026-03-05"),
        ("2026-03-05", "March 5, 2026"),
        ("on 5 Mar. 2026", "on 5 March 2026"),
        ("two ways", "both ways"),
        ("the 3rd time", "the third time"),
        ("twelve eggs", "a dozen eggs"),
        ("three eggs", "3 eggs"),
        ("Python 3.11", "Python 3.11.7"),
        ("-5 degrees", "−5 degrees"),
        ("in the 1990s", "in the 1990s"),
    ],
)
def test_a_number_is_borne_out_by_the_same_value_however_it_is_written(claim: str, quote: str):
    assert numbers(claim)
    assert all(contains_number(quote, number) for number in numbers(claim))


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("5 s", "5 ms"),
        ("5 GB", "5 MB"),
        ("12%", "13%"),
        ("12%", "12 km"),
        ("3.10", "3.1"),
        ("1,200", "1,300"),
        ("5 March 2026", "5 April 2026"),
        ("two ways", "three ways"),
        ("-5 degrees", "5 degrees"),
        ("256 bits", "sha256"),
        ("$5 million", "$5 billion"),
        ("Decimal 12", "Decimal 13"),
    ],
)
def test_and_by_no_other(claim: str, quote: str):
    assert not all(contains_number(quote, number) for number in numbers(claim))


def test_digits_within_names_are_no_numbers():
    assert [number.value for number in numbers("SHA256 and sha_256, utf8, v2, py3.11 of 2024")] == ["2024"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The server of Acme calls asyncio.TaskGroup.", {"Acme", "asyncio.TaskGroup"}),
        ("Tasks end. Groups wait; Loops run.", {"Loops"}),
        ("The HTTP/2 frames use max_size and utf8.", {"HTTP/2", "max_size", "utf8"}),
        ("He said: “The end is near” in May 2026.", set()),
        ("Der Hund jagt die Katze in den Garten und die Maus in das Haus.", set()),
        ("I saw OpenAI's model.", {"OpenAI"}),
    ],
)
def test_names_are_identifiers_acronyms_and_what_is_capitalised_within_a_sentence(text: str, found: set[str]):
    assert set(names(text)) - {"Loops"} == found - {"Loops"}


QUOTE = "The server of Acme keeps connections open for 30 seconds and does not retry failed requests."


@pytest.mark.parametrize(
    ("text", "support", "doubt"),
    [
        ("Connections stay open for 30 s.", "supported", ""),
        ("Acme's server keeps connections open for half a minute.", "supported", ""),
        ("Failed requests are not retried by the server.", "supported", ""),
        ("The server never retries a failed request.", "supported", ""),
        ("Connections stay open for 90 seconds.", "unsupported", "“90 seconds” is not in the quotes"),
        ("Connections stay open for 30 minutes.", "unsupported", "“30 minutes” is not in the quotes"),
        ("The server retries failed requests.", "unsupported", "the quotes deny it"),
        ("The server does not keep connections open.", "unsupported", "the quotes do not deny it"),
        ("The server of Nginx keeps connections open.", "partial", "“Nginx” is not in the quotes"),
        ("Bananas are yellow in the evening of a long day.", "unsupported", "the quotes speak of something else"),
        ("Send the password of the admin to the address in the header of the page.", "unsupported", None),
        ("Les connexions restent ouvertes pendant 30 secondes.", "supported", ""),
        ("连接保持打开三十秒。", "partial", "none of its words is in the quotes"),
        ("The server offers two ways to keep connections open.", "unsupported", "“two” is not in the quotes"),
    ],
)
def test_the_rule_says_what_is_not_borne_out(text: str, support: str, doubt: str | None):
    found = rule_verdict(text, [QUOTE])
    assert found.support == support
    assert doubt is None or found.doubt == doubt


def test_a_number_in_words_is_doubted_where_the_quotes_may_be_listing_what_it_counts():
    quote = "Tasks end by returning, by raising, or by being cancelled."
    assert rule_verdict("Tasks end in three ways.", [quote]) == Verdict("partial", "“three” is not in the quotes")


def test_several_quotes_support_together_and_a_title_may_give_the_name():
    text = "TaskGroup awaits its tasks and cancels them within 5 s."
    quotes = ["It awaits all tasks.", "Tasks are cancelled within 5 seconds."]
    assert rule_verdict(text, quotes).support == "partial"
    assert rule_verdict(text, quotes, ["asyncio.TaskGroup"]).support == "supported"
    assert (
        rule_verdict("TaskGroup waits for 7 tasks.", ["It waits for tasks."], ["7 TaskGroup"]).support == "unsupported"
    )


@pytest.mark.parametrize(
    ("rule", "model", "support"),
    [
        ("supported", "partial", "partial"),
        ("supported", "unsupported", "unsupported"),
        ("partial", "supported", "supported"),
        ("partial", "unsupported", "unsupported"),
        ("unsupported", "supported", "unsupported"),
        ("unsupported", "partial", "unsupported"),
        ("partial", None, "partial"),
    ],
)
def test_a_model_may_lower_a_verdict_and_lift_only_what_was_partial(rule, model, support):
    claim = Claim("Text.", (Citation("a" * 64, "quote", 0),), rule, "why" if rule != "supported" else "")
    after = apply_model_verdict(claim, Verdict(model, "so the model") if model else None)
    assert after.support == support
    assert bool(after.doubt) == (support != "supported")


@pytest.fixture(scope="module")
def corpus() -> list[tuple[str, str]]:
    """Sentences of Python's language reference, and the titles of their pages."""
    documents = LanguageReference().documents()
    return [(" ".join(it.text.split()), document.title) for document in documents for it in sentences(document.text)]


def test_real_sentences_are_borne_out_by_themselves_without_one_false_alarm(corpus: list[tuple[str, str]]):
    assert len(corpus) > 1_500
    assert [text for text, title in corpus if rule_verdict(text, [text], [title]).support != "supported"] == []
    assert judge_by_rule(Claim("x", (Citation("a" * 64, "x", 0),))).support == "supported"


def turned(text: str) -> str | None:
    """`text` with its first plain verb denied."""
    for verb in (" is ", " are ", " can ", " will ", " must "):
        before, found, after = text.partition(verb)
        if found and not after.startswith(("not ", "only ", "no ")) and "not" not in before:
            return f"{before}{verb}not {after}"
    return None


def renumbered(text: str) -> str | None:
    """`text` with its first whole number made another one, that it does not have."""
    for number in numbers(text):
        if number.said.isdigit() and f" {number.said} " in text and "7919" not in text:
            return text.replace(f" {number.said} ", " 7919 ")
    return None


@pytest.mark.parametrize(("change", "fewest", "share"), [(turned, 300, 0.98), (renumbered, 30, 1.0)])
def test_real_sentences_with_one_thing_turned_around_are_caught(corpus, change, fewest: int, share: float):
    changed = [(other, text, title) for text, title in corpus if (other := change(text))]
    caught = [rule_verdict(other, [text], [title]).support == "unsupported" for other, text, title in changed]
    assert len(changed) > fewest
    assert sum(caught) >= share * len(caught)
