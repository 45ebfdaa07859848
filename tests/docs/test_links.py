"""Every link between the documents leads somewhere."""

from pathlib import Path

import pytest

from tests.docs.markdown import DOCUMENTS, anchors, links, name
from tests.harness.environment import ROOT


def broken(path: Path) -> list[str]:
    """The links of a document to files that do not exist, or to anchors that the file does not have."""
    return [link for link in links(path) if "://" not in link and not _leads_somewhere(path, link)]


def _leads_somewhere(path: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = (path.parent / file).resolve() if file else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(path: Path):
    assert broken(path) == []


def test_a_broken_link_would_be_found(tmp_path: Path):
    document = tmp_path / "a.md"
    document.write_text("# One\n\n[a](#one) [b](#two) [c](missing.md)\n")
    assert [link for link in links(document) if not link.startswith("missing")] == ["#one", "#two"]
    assert broken(document) == ["#one", "#two", "missing.md"]  # the file is outside of the repository


def test_every_page_can_be_reached_from_the_readme():
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            targets = ((page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link)
            left += [target for target in targets if target.suffix == ".md" and target.is_file()]
    assert {name(page) for page in (ROOT / "docs").rglob("*.md") if page not in reached} == {"docs/README.md"}


def test_the_readme_is_an_entry_and_no_manual():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
