"""The alert rules, by Prometheus' own tool; and each is in the runbook."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
ALERTS = [rule for group in yaml.safe_load((RULES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((RULES / "alerts.test.yaml").read_text())["tests"]
RUNBOOK = (ROOT / "docs" / "operate" / "runbook.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dossier.json").read_text())


def promtool(*arguments: str) -> None:
    """Run it. Without it the rules are not tested, so then this fails."""
    beside = shutil.which("promtool", path=str(Path(sys.executable).parent))
    tool = beside or shutil.which("promtool")
    assert tool, (
        "There is no promtool: it is in the package prometheus of Debian and Homebrew; `make test` looks for it."
    )
    done = subprocess.run([tool, *arguments], cwd=RULES, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_rules():
    promtool("check", "rules", "alerts.yaml")


def test_each_alert_fires_when_it_should_and_not_before():
    promtool("test", "rules", "alerts.test.yaml")


def test_each_alert_is_tested_firing_and_silent():
    tried = [(each["alertname"], bool(each["exp_alerts"])) for test in TESTS for each in test["alert_rule_test"]]
    assert set(tried) == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


def test_each_alert_has_its_paragraph_in_the_runbook_and_leads_there():
    paragraphs = re.findall(r"^## (Dossier\w+)\n\n(.*?)(?=\n\n|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in paragraphs] == [rule["alert"] for rule in ALERTS]
    for rule, (name, text) in zip(ALERTS, paragraphs, strict=True):
        assert rule["annotations"]["runbook_url"] == f"docs/operate/runbook.md#{name.lower()}"
        assert all(word in text for word in ("**Means**", "**Look**", "**Do"))


def test_the_events_that_the_runbook_names_are_ones_that_are_logged():
    named = set(re.findall(r"[Ee]vents? `([a-z_.]+)`|\(event `([a-z_.]+)`\)|with `([a-z]+\.[a-z_]+)`", RUNBOOK))
    sources = "\n".join(path.read_text() for top in ("shared", "services") for path in (ROOT / top).rglob("*.py"))
    assert len(named) > 5
    for event in {name for names in named for name in names if name}:
        assert f'"event": "{event}"' in sources, event


def test_every_panel_asks_the_source_that_is_chosen_and_says_what_it_shows():
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert all(panel["title"] and panel["targets"] for panel in panels)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
