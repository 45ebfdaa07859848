"""Ten links of one press release are one origin."""

from shared.contracts.evidence import Source
from shared.domain.origins import count_origins


def source(sha: str, origin: str = "") -> Source:
    return Source(sha, "A page", f"https://{sha}", "web", (), origin=origin)


def test_sources_with_one_key_are_of_one_origin():
    assert count_origins(source(str(number), "release") for number in range(10)) == 1
    assert count_origins([source("a", "one"), source("b", "other")]) == 2


def test_sources_of_before_there_were_keys_are_of_their_own():
    assert count_origins([source("a"), source("b"), source("a")]) == 2
    assert count_origins([]) == 0


def test_one_text_in_two_sub_queries_joins_what_each_found_with_it():
    first, second = [source("a", "key of a and b"), source("b", "key of a and b")], [source("b", "key of b and c")]
    assert count_origins([*first, *second, source("c", "key of b and c")]) == 1
