"""The commands and programs in the README and in the guides, run as they are printed, but for the ports.

Blocks marked `sh` run in the order of their page. A line that names `RUN` gets a run of its own that is on hold.
"""

import json
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import pytest

from shared.contracts.requests import parse_request
from shared.runtime.webhooks import load_webhooks
from tests.docs.conftest import Running
from tests.docs.markdown import DOCUMENTS, blocks, name
from tests.harness import node
from tests.harness.environment import ROOT

README: Final = ROOT / "README.md"
GUIDES: Final = ROOT / "docs" / "guides"
PAGES: Final = [
    path
    for path in DOCUMENTS
    if path.parent.name in ("guides", "operate") and blocks(path, "sh") and path != GUIDES / "http.md"
]
_ASKED: Final = "What did we promise about backups?"
_ENDS: Final = {"approve": "reported", "reject": "rejected", "cancel": "cancelled"}


def lines(path: Path) -> list[str]:
    """The lines of the commands in a document."""
    return "".join(blocks(path, "sh")).splitlines()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_run_as_printed(dossier: Running, page: Path):
    given = [(line, dossier.ask() if re.search(r"\bRUN\b", line) else "") for line in lines(page)]
    for run in filter(None, (run for _, run in given)):
        dossier.until(run, "hold")
    dossier.shell("\n".join(re.sub(r"\bRUN\b", run, line) for line, run in given))
    for line, run in given:
        if line.startswith("dossier ") and (end := _ENDS.get(line.split()[1])):
            dossier.until(run, end)


def test_the_api_guide_ends_with_the_report(dossier: Running):
    said = dossier.shell("\n".join(lines(GUIDES / "http.md")))
    assert f"# {_ASKED}\n" in said
    assert "35 days" in said


def test_the_readme_asks_shows_the_evidence_and_prints_the_report(dossier: Running):
    [command] = [line for line in lines(README) if line.startswith("dossier ask")]
    typed = dossier.typing(command)
    try:
        typed.wait_for("[y/n")
        evidence = typed.said()
        typed.type("y\n")
        assert typed.exit_code(within_s=60) == 0, typed.said()
        assert "35 days" in evidence
        assert re.search(r"✓ report +\d+ citations", typed.said().removeprefix(evidence))
    finally:
        typed.end()


def test_every_other_command_of_the_readme_is_known():
    [run] = [line for line in lines(README) if line.startswith("python ")]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines(README):
        made = re.match(r"make (\w+)", line)
        assert made[1] in targets if made else line.startswith((". .venv/", "dossier up ", "dossier ask ", run)), line


def place_program(dossier: Running, page: Path) -> None:
    """Save the page's program in Python as `ask.py`, as its reader does."""
    [program] = blocks(page, "python")
    (dossier.home / "ask.py").write_text(dossier.placed(program))


@pytest.mark.parametrize("page", [README, GUIDES / "nats.md"], ids=name)
def test_the_program_in_python_asks_approves_and_prints_the_report(dossier: Running, page: Path):
    place_program(dossier, page)
    [command] = [line for line in lines(README) if line.startswith("python ")]
    said = dossier.shell(command, typed="\n")
    assert f"reported # {_ASKED}\n" in said
    assert "35 days" in said


def test_the_program_in_python_ends_where_the_documents_do_not_answer(dossier: Running):
    place_program(dossier, README)
    said = dossier.shell('python ask.py "Which zebras sing quartets underwater?"', typed="\n")
    assert re.search(r"(^|approve\. )(failed|reported) ", said, re.MULTILINE)


def test_the_program_in_javascript_asks_approves_and_prints_the_report(dossier: Running):
    [program] = blocks(GUIDES / "nats.md", "js")
    done = node.run(dossier.placed(program), _ASKED, folder=node.packages())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"reported # {_ASKED}\n")


def test_the_file_of_webhooks_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    [text] = blocks(GUIDES / "webhooks.md", "toml")
    monkeypatch.setenv("OPS_SECRET", f"whsec_{'QUJD' * 8}")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example.com/services/T/B/x")
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    kinds = [(each.name, each.kind) for each in load_webhooks(file).endpoints]
    assert kinds == [("ops", "standard"), ("team", "slack")]


def test_the_protocol_of_a_tool_is_where_the_guide_says():
    [path] = set(re.findall(r"`(services\.[a-z.]+\.[A-Z]\w+)`", (GUIDES / "documents-and-tools.md").read_text()))
    assert resolve_name(path).__name__ == "Tool"


def test_the_requests_are_valid():
    for path in DOCUMENTS:
        for text in blocks(path, "json"):
            assert parse_request(json.dumps(json.loads(text)).encode())
