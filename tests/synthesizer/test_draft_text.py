"""What a person can read of a reply that is still being written."""

import json

import pytest

from services.synthesizer.partial import readable_text

REPLY = {
    "sections": [
        {
            "heading": "Tides",
            "claims": [
                {"text": "The Moon raises tides.", "quotes": [{"source": 1, "quote": "raises a tide"}]},
                {"text": "Spring tides are strong.", "quotes": []},
            ],
        },
        {"heading": "", "claims": [{"text": "That is all.", "quotes": []}]},
    ],
    "conflicts": [],
}
WHOLE = "Tides\nThe Moon raises tides. Spring tides are strong.\n\nThat is all."


def test_headings_and_sentences_are_read_and_quotes_are_not():
    assert readable_text(json.dumps(REPLY)) == WHOLE


def test_at_any_moment_it_is_the_beginning_of_what_it_becomes():
    text = json.dumps(REPLY)
    seen = [readable_text(text[:end]) for end in range(len(text) + 1)]
    assert all(WHOLE.startswith(each.rstrip()) for each in seen)
    assert [len(each) for each in seen] == sorted(len(each) for each in seen)
    assert len(set(seen)) > len("The Moon raises tides.")


@pytest.mark.parametrize(
    "text", ["", "<think>Let me {think", "no json", '{"sections": 3}', '{"sections": [7, {"claims": [null]}]}', "{]"]
)
def test_what_is_no_report_yet_is_nothing(text: str):
    assert readable_text(text) == ""


def test_reasoning_in_front_of_it_is_left_out():
    assert readable_text(f"<think>{{hm}}</think>{json.dumps(REPLY)}") == WHOLE
