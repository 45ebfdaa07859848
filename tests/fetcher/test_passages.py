"""Windows: all of a text, in order, in pieces that can be quoted."""

from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.findings.passages import MAX_CHARS, quality, split_windows

TEXTS = st.lists(
    st.text(max_size=40) | st.sampled_from(["\n\n", "\n", " ", "word " * 300, "x" * 1_500, "A heading"])
).map("".join)


@given(TEXTS)
def test_windows_leave_out_nothing_but_white_space_and_overlap_nowhere(text: str):
    at = 0
    for window in split_windows(text):
        assert text[at : window.start].strip() == ""
        assert window.start < window.end <= window.start + MAX_CHARS
        at = window.end
    assert text[at:].strip() == ""


@given(TEXTS)
def test_a_window_is_a_verbatim_passage(text: str):
    for window in split_windows(text):
        passage = window.passage(text)
        assert passage.text == passage.text.strip() == text[passage.start : passage.start + len(passage.text)]


def test_a_heading_goes_with_what_follows_it():
    paragraph = "A sentence of some length that fills the window. " * 12
    text = f"{paragraph}\n\nThe heading\n\n{paragraph}"
    assert [text[each.start :][:11] for each in split_windows(text)] == ["A sentence ", "The heading"]


def test_a_long_paragraph_is_cut_after_a_sentence():
    text = "This sentence is here to be counted. " * 100
    assert all(text[each.start : each.end].endswith("counted.") for each in split_windows(text))


def test_sentences_are_worth_more_than_drawings_and_single_lines():
    sentences = "These are plain words in a row, and they say something to whoever reads them. " * 4
    assert quality(sentences) > quality(sentences[:60]) > quality("+-----+  |  |  +----+ " * 12)
