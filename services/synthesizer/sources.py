"""The sources of a task, numbered as in the prompt. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from shared.contracts.evidence import Finding, Passage, Source


def number_sources(findings: Iterable[Finding]) -> tuple[Source, ...]:
    """Return every source of `findings` once, number n at index n - 1, with its passages of all
    findings by position.
    """
    merged: dict[str, Source] = {}
    for source in (source for finding in findings for source in finding.sources):
        known = merged.get(source.sha256, source)
        merged[source.sha256] = replace(known, passages=_merge(known.passages, source.passages))
    return tuple(merged.values())


def _merge(some: Iterable[Passage], others: Iterable[Passage]) -> tuple[Passage, ...]:
    """Return the passages of both, each once, by position."""
    distinct = {(passage.start, passage.text): passage for passage in (*some, *others)}
    return tuple(distinct[place] for place in sorted(distinct))
