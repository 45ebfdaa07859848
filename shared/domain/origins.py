"""How many have said something, however many links lead to it. Pure."""

from collections.abc import Iterable

from shared.contracts.evidence import Source


def origins(sources: Iterable[Source]) -> int:
    """How many origins these sources have: those with one key share one, and so do those with one text.

    The second matters across sub-queries, each of which compares only what it found itself.
    """
    groups: list[set[str]] = []
    for source in sources:
        names = {f"text {source.sha256}", f"key {source.origin or source.sha256}"}
        near = [group for group in groups if group & names]
        groups = [group for group in groups if group not in near] + [names.union(*near)]
    return len(groups)
