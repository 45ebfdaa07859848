"""Which texts are one, and which are of one origin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.fetcher.findings.dedup import are_duplicates, origin_keys, shares_origin, shingles


def words(name: str, count: int) -> str:
    return " ".join(f"{name}{number}" for number in range(count))


RELEASE = words("release", 300)


def same(one: str, other: str) -> bool:
    return are_duplicates(shingles(one), shingles(other))


def keys(*texts: str) -> list[str]:
    return origin_keys([shingles(text) for text in texts])


def test_a_text_is_itself_whatever_its_case_blanks_and_punctuation():
    assert same(RELEASE, RELEASE.upper().replace(" ", ",\n"))


def test_a_few_words_more_or_less_are_the_same_text():
    assert same(RELEASE, f"Printed here. {RELEASE} All rights reserved.")


def test_a_page_that_adds_as_much_again_is_another_text():
    assert not same(RELEASE, f"{RELEASE} {words('own', 100)}")


def test_short_texts_are_the_same_or_they_are_not():
    assert same("Tides rise.", "tides rise")
    assert not same("Tides rise and fall twice a day.", "Tides rise and fall once a day.")


def test_papers_that_print_one_release_are_of_one_origin():
    prints = [f"{words(f'head{number}x', 90)} {RELEASE} {words(f'tail{number}x', 90)}" for number in range(5)]
    assert len(set(keys(RELEASE, *prints, words("other", 300)))) == 2


def test_articles_of_one_site_that_share_its_frame_are_of_their_own():
    frame = words("frame", 60)
    assert len(set(keys(*(f"{frame} {words(f'story{number}x', 200)}" for number in range(4))))) == 4


def test_origins_go_through_a_text_that_shares_with_both():
    one, other = words("one", 100), words("other", 100)
    assert len(set(keys(one, other))) == 2
    assert len(set(keys(one, other, f"{one} {other}"))) == 1


def test_the_key_of_a_text_alone_is_that_of_its_copies():
    """So what two findings found each on its own is counted once."""
    assert keys(RELEASE) == keys(RELEASE.upper())
    assert keys(RELEASE, words("other", 300))[0] == keys(RELEASE)[0]


TEXTS = st.lists(st.lists(st.sampled_from([words(name, 40) for name in "abcd"]), min_size=1).map(" ".join), max_size=6)


@settings(deadline=None)
@given(TEXTS, st.randoms())
def test_the_order_in_which_texts_come_does_not_matter(texts: list[str], random: object):
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(texts, keys(*texts), strict=True)) == dict(zip(shuffled, keys(*shuffled), strict=True))


@settings(deadline=None)
@given(st.text(), st.text())
def test_likeness_is_mutual_and_any_text_has_a_key(one: str, other: str):
    assert same(one, one)
    assert same(one, other) == same(other, one)
    assert shares_origin(shingles(one), shingles(other)) == shares_origin(shingles(other), shingles(one))
    assert all(len(key) == 16 for key in keys(one, other))
