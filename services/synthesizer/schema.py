"""The form of a report's text before its citations are checked. Pure."""

from typing import Final

from pydantic import BaseModel, Field

MAX_SENTENCE: Final = 600
"""Characters of one claim, and of one quote."""
MAX_HEADING: Final = 120
MAX_SECTIONS: Final = 25
MAX_CONFLICTS: Final = 5


class WrittenQuote(BaseModel):
    """Words copied from one source."""

    source: int = Field(description="The number of the source.")
    quote: str = Field(max_length=MAX_SENTENCE, description="Copied from that source, character by character.")


class WrittenClaim(BaseModel):
    """One sentence and what supports it."""

    text: str = Field(max_length=MAX_SENTENCE, description="One sentence, without source numbers.")
    quotes: list[WrittenQuote] = Field(max_length=3, description="One to three quotes that support it.")


class WrittenSection(BaseModel):
    """A heading and its sentences, in order."""

    heading: str = Field(max_length=MAX_HEADING)
    claims: list[WrittenClaim] = Field(max_length=10)


class WrittenConflict(BaseModel):
    """Two quotes of different sources that cannot both be right."""

    about: str = Field(max_length=MAX_HEADING, description="What they differ about, in a few words.")
    one: WrittenQuote
    other: WrittenQuote


class WriterReply(BaseModel):
    """A one-page report. No sections: the sources do not answer the question."""

    sections: list[WrittenSection] = Field(max_length=MAX_SECTIONS)
    # An endpoint that ignores the schema may leave it out, which says nothing against the rest.
    conflicts: list[WrittenConflict] = Field(default=[], max_length=MAX_CONFLICTS)


class CorrectedClaim(BaseModel):
    """The quotes that one claim shall have."""

    claim: int = Field(description="The number of the claim.")
    quotes: list[WrittenQuote] = Field(max_length=3)


class CorrectionReply(BaseModel):
    """Quotes in place of those that were not found. A claim that is not in the list is given up."""

    claims: list[CorrectedClaim] = Field(max_length=100)
