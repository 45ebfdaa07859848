"""The file of webhooks: what it says is taken, and what is wrong with it is said before anything starts."""

import base64
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from shared.runtime.webhooks import InvalidWebhooks, load_webhooks
from tests.harness import programs
from tests.harness.environment import inherited

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
OLD = f"whsec_{base64.b64encode(KEY[::-1]).decode()}"
URL = "https://hooks.example.com/T000/B000/this-is-secret"
GOOD = f'[endpoints.ops]\nurl = "{URL}"\nsecret_env = "OPS_SECRET"\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPS_SECRET", SECRET)
    monkeypatch.setenv("OLD_SECRET", OLD)
    monkeypatch.setenv("SLACK_URL", URL)
    return tmp_path / "webhooks.toml"


def test_an_endpoint_needs_a_url_and_a_secret_and_is_told_everything(file: Path):
    file.write_text(GOOD)
    webhooks = load_webhooks(file)
    [ops] = webhooks.endpoints
    assert (ops.name, ops.kind, ops.url.get_secret_value(), ops.secrets()) == ("ops", "standard", URL, [KEY])
    assert ops.events == {"hold.opened", "deadline.near", "run.ended"}
    assert (webhooks.allow, webhooks.near) == ((), timedelta(minutes=30))


def test_everything_can_be_said(file: Path):
    (file.parent / "key").write_text(f"{OLD}\n")
    file.write_text(
        'allow = ["10.1.0.0/16", "::1"]\ndeadline_near = "2h"\n'
        f'[endpoints.ops]\nurl = "{URL}"\nsecret_env = ["OPS_SECRET", "OLD_SECRET"]\n'
        f'secret_file = "{file.parent / "key"}"\nevents = ["run.ended"]\n'
        '[endpoints.team]\nkind = "slack"\nurl_env = "SLACK_URL"\n'
    )
    webhooks = load_webhooks(file)
    ops, team = webhooks.endpoints
    assert ops.secrets() == [KEY, KEY[::-1], KEY[::-1]]
    assert ops.events == {"run.ended"}
    assert (team.kind, team.url.get_secret_value(), team.secrets()) == ("slack", URL, [])
    assert webhooks.allow == (ip_network("10.1.0.0/16"), ip_network("::1"))
    assert webhooks.near == timedelta(hours=2)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


WRONG = {
    "no TOML": ("[endpoints", "not TOML"),
    "nobody": ("", "endpoints: Field required"),
    "nobody named": ("[endpoints]", "endpoints: .*at least 1"),
    "a misspelt field": (GOOD + 'event = ["run.ended"]', r"endpoints.ops.event: Extra inputs"),
    "an unknown event": (GOOD + 'events = ["run.started"]', r"endpoints.ops.events.0: .*'hold.opened'"),
    "no events": (GOOD + "events = []", r"endpoints.ops.events: "),
    "an unknown kind": (GOOD + 'kind = "teams"', r"endpoints.ops.kind: .*'slack'"),
    "a name that is none": (changed("ops]", '"no spaces"]'), "endpoints.no spaces: a name has"),
    "no secret": (changed('secret_env = "OPS_SECRET"', ""), "endpoints.ops: name a secret"),
    "a secret that is not set": (changed("OPS_SECRET", "NOT_SET"), "the variable NOT_SET is not set"),
    "a secret that is none": (changed("OPS_SECRET", "SLACK_URL"), "a secret is whsec_ and 24 to 64 bytes"),
    "no such file": (GOOD + 'secret_file = "/nowhere/key"', "/nowhere/key cannot be read"),
    "a secret for Slack": (GOOD + 'kind = "slack"', "Slack checks no signature"),
    "no URL": (changed(f'url = "{URL}"', ""), "exactly one of url, url_env and url_file"),
    "two URLs": (GOOD + 'url_env = "SLACK_URL"', "exactly one of url"),
    "a URL of another kind": (changed("https:", "ftp:"), "must be https"),
    "a URL without a host": (changed("hooks.example.com", ""), "must be https"),
    "a URL with a user": (changed("hooks.", "ann:pw@hooks."), "without a user"),
    "a URL with a bad port": (changed(".com/", ".com:99999/"), "must be https"),
    "an address that is none": ('allow = ["intranet"]\n' + GOOD, "allow: 'intranet' is no address"),
    "a network with host bits": ('allow = ["10.1.2.3/8"]\n' + GOOD, "is no address or network"),
    "no duration": ('deadline_near = "soon"\n' + GOOD, "deadline_near: 'soon' is no duration"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_place_and_without_a_secret(file: Path, text: str, sentence: str):
    file.write_text(text)
    with pytest.raises(InvalidWebhooks, match=sentence) as refused:
        load_webhooks(file)
    said = str(refused.value)
    assert said.startswith(str(file))
    assert not any(secret in said for secret in ("this-is-secret", SECRET, OLD, KEY.hex()))


def test_a_file_that_is_not_there_is_named(file: Path):
    with pytest.raises(InvalidWebhooks, match=r"webhooks\.toml: it cannot be read: No such file"):
        load_webhooks(file)


def test_nothing_of_an_endpoint_shows_its_secrets(file: Path):
    file.write_text(GOOD)
    shown = repr(load_webhooks(file))
    assert "ops" in shown
    assert "this-is-secret" not in shown
    assert "whsec_" not in shown


@pytest.mark.parametrize("webhooks", ["", "[endpoints"])
def test_the_service_does_not_start_with_a_file_that_it_cannot_use(file: Path, webhooks: str):
    file.write_text(webhooks)
    settings = {"DOSSIER_WEBHOOKS": str(file)} if webhooks else {}
    command = [sys.executable, "-m", "services.notifier"]
    done = programs.run(command, env=inherited(settings), timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert ("it is not TOML" if webhooks else "DOSSIER_WEBHOOKS is not set") in done.stderr
