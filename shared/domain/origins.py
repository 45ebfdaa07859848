"""Number of independent origins behind sources. Pure."""

from collections.abc import Iterable

from shared.contracts.evidence import Source


def count_origins(sources: Iterable[Source]) -> int:
    """Number of origins: sources with the same origin key, or with the same text, share one.

    Equal texts matter across sub-queries, each of which compares only its own findings.
    """
    groups: list[set[str]] = []
    for source in sources:
        names = {f"text {source.sha256}", f"key {source.origin or source.sha256}"}
        near = [group for group in groups if group & names]
        groups = [group for group in groups if group not in near] + [names.union(*near)]
    return len(groups)
