"""`python -m tests.docs.reference` writes every generated file."""

from tests.docs.reference import PAGES

for path, generate in PAGES.items():
    path.write_text(generate(), encoding="utf-8")
