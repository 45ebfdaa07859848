"""Processes, ports, settings and logs of a start, and the panel that shows them."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from services.cli.commands.up import docs, model, panel
from services.cli.shell import settings
from services.cli.shell.folder import Folder, Running
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.settings import CliSettings
from services.cli.shell.setup import Setup
from services.cli.supervisor import nats_server, ports
from services.cli.supervisor.children import LONGEST_PAUSE_S, pause_s
from services.cli.supervisor.logs import LogFile, Notice, parse_notice
from shared.api import local_token
from shared.nats.connection import mask_passwords
from tests.harness.ports import free_port


@contextmanager
def listening() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server.getsockname()[1]


RUNNING = Running(1, ("nats://127.0.0.1:4222",), "http://127.0.0.1:8400")


def config(tmp_path: Path) -> str:
    return nats_server.configuration(port=4222, store=tmp_path / 'a "quoted" földer')


def test_nats_listens_on_the_loopback_only_and_acknowledges_what_is_on_the_disk(tmp_path):
    lines = [line.strip() for line in config(tmp_path).splitlines()]
    assert "host: 127.0.0.1" in lines
    assert "sync_interval: always" in lines


def test_the_configuration_has_one_setting_a_line(tmp_path):
    assert all(len(re.findall(r"\w+: ", line.partition('"')[0])) <= 1 for line in config(tmp_path).splitlines())


def test_nats_takes_the_configuration(tmp_path):
    file = tmp_path / "nats.conf"
    file.write_text(config(tmp_path), encoding="utf-8")
    checked = subprocess.run([nats_server.program(), "-t", "--config", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_usual_port_is_taken_when_it_is_free():
    port = free_port()
    assert ports.choose(None, usual=port, user="NATS") == port


def test_another_port_is_found_when_the_usual_one_is_not_free():
    with listening() as taken:
        chosen = ports.choose(None, usual=taken, user="NATS")
    assert chosen != taken
    assert chosen < 32_768


def test_two_things_that_are_to_be_started_do_not_get_the_same_port():
    with listening() as one, listening() as other:
        assert ports.choose(None, usual=one, user="NATS") != ports.choose(None, usual=other, user="the API")


def test_a_port_that_is_asked_for_is_given_or_refused():
    port = free_port()
    assert ports.choose(port, usual=1, user="NATS") == port
    with listening() as taken, pytest.raises(Refusal, match=f"{taken}, wanted for the API, is not free") as refused:
        ports.choose(taken, usual=port, user="the API")
    assert refused.value.code == MISUSED


def test_a_program_that_falls_again_and_again_is_started_ever_more_slowly():
    pauses = [pause_s(falls) for falls in range(1, 10)]
    assert pauses[0] == 0.2
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_whoever_is_told_gets_links_to_where_this_runs_unless_another_place_is_named(tmp_path):
    def links(**more):
        return Setup(Folder(tmp_path), **more).environment(RUNNING).get("DOSSIER_PUBLIC_URL")

    assert links() is None
    assert links(webhooks=tmp_path / "w.toml") == RUNNING.api
    assert links(webhooks=tmp_path / "w.toml", public_url="https://d.example") == "https://d.example"


def test_services_get_to_know_what_was_chosen_and_nothing_of_the_loopback_leaves_it(tmp_path):
    told = Setup(Folder(tmp_path), docs=tmp_path).environment(RUNNING)
    assert told == {
        "DOSSIER_NATS_URL": "nats://127.0.0.1:4222",
        "DOSSIER_NATS_CA": "",
        "DOSSIER_NATS_SEED": "",
        "DOSSIER_DATA": str(tmp_path),
        "DOSSIER_API_HOST": "127.0.0.1",
        "DOSSIER_API_PORT": "8400",
        "DOSSIER_HEALTH_PORT": "0",
        "DOSSIER_API_KEY": "",
        "DOSSIER_LOG_FORMAT": "text",
        "DOSSIER_DOCS": str(tmp_path),
    }


def test_documents_that_only_the_environment_names_are_left_to_it(tmp_path):
    assert "DOSSIER_DOCS" not in Setup(Folder(tmp_path)).environment(RUNNING)


def test_services_write_for_people_into_their_files_unless_machines_are_to_read_them(tmp_path):
    assert Setup(Folder(tmp_path)).environment(RUNNING)["DOSSIER_LOG_FORMAT"] == "text"
    assert Setup(Folder(tmp_path), log_format="json").environment(RUNNING)["DOSSIER_LOG_FORMAT"] == "json"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-01-01 10:00:00,123 WARNING shared.nats.connection: It is down.", ("warning", "It is down.")),
        ("2026-01-01 10:00:00,123 ERROR   services.x: It broke.", ("error", "It broke.")),
        ("2026-01-01 10:00:00,123 INFO    services.x: It works.", None),
        ("[7] 2026/01/01 10:00:00.123456 [WRN] Slow.", ("warning", "Slow.")),
        ("[7] 2026/01/01 10:00:00.123456 [FTL] No room.", ("error", "No room.")),
        ("[7] 2026/01/01 10:00:00.123456 [INF] Server is ready", None),
        ('{"level": "warning", "service": "planner", "message": "It is down."}', ("warning", "It is down.")),
        ('{"level": "error", "message": "It broke."}', ("error", "It broke.")),
        ('{"level": "info", "message": "It works."}', None),
        ('{"queries": []}', None),
        ("{no JSON", None),
        ("Traceback (most recent call last):", None),
        ("", None),
    ],
)
def test_a_person_sees_warnings_and_errors_and_nothing_else(line, expected):
    assert parse_notice("x", line) == (Notice("x", *expected) if expected else None)


def test_a_log_begins_anew_with_each_start_and_when_it_is_full_and_the_one_before_is_kept(tmp_path):
    path = tmp_path / "planner.log"
    path.write_text("before\n")
    log = LogFile(path, max_bytes=20)
    log.write("one")
    assert (path.read_text(), path.with_suffix(".log.1").read_text()) == ("one\n", "before\n")
    log.write("a line that is long")
    assert (path.read_text(), path.with_suffix(".log.1").read_text()) == ("", "one\na line that is long\n")
    log.close()


def test_the_last_words_of_a_process_are_known(tmp_path):
    log = LogFile(tmp_path / "planner.log")
    for line in ("Traceback", "OSError: no", ""):
        log.write(line)
    log.close()
    assert log.last == "OSError: no"


def shown(setup: Setup, known: CliSettings, running: Running) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(panel(setup, known, running, options=" --data x"))
    return capture.get()


@pytest.fixture
def offline():
    return CliSettings(openai_api_key=None, openai_base_url=None)


def test_the_panel_says_where_everything_is_and_what_comes_next(offline):
    text = shown(Setup(Folder(Path("x")), docs=Path("my/docs")), offline, RUNNING)
    for word in ("http://127.0.0.1:8400", "nats://127.0.0.1:4222", "x/logs", "offline", "my/docs"):
        assert word in text
    assert 'dossier ask --data x "' in text
    assert "elsewhere" not in text


def test_the_panel_shows_no_password(offline):
    servers = ("nats://ada:secret@nats.example:4222", "nats://token@other.example")
    text = shown(Setup(Folder(Path("x")), nats=servers), offline, Running(1, servers, RUNNING.api))
    assert "secret" not in text
    assert "token@" not in text
    assert "runs elsewhere" in text
    assert mask_passwords(servers) == "nats://•••@nats.example:4222, nats://•••@other.example"


def test_the_panel_names_the_models_that_answer(offline):
    assert model(offline).startswith("offline")
    assert model(CliSettings(openai_api_key="k")) == "gpt-4o-mini plans, gpt-4o writes"
    local_token = CliSettings(openai_base_url="http://127.0.0.1:9/v1", planner_model="a", writer_model="b")
    assert model(local_token) == "a plans, b writes at http://127.0.0.1:9/v1"


def test_the_panel_names_the_documents_that_are_searched():
    assert docs(Path("a/b")) == "a/b"
    assert "Python" in docs(None)


def test_what_is_typed_goes_before_the_environment_and_that_before_the_defaults(monkeypatch, tmp_path):
    assert settings.setup(CliSettings()) == Setup(Folder(Path(".dossier")))
    monkeypatch.setenv("DOSSIER_NATS_URL", "nats://a, nats://b")
    monkeypatch.setenv("DOSSIER_DATA", "env")
    monkeypatch.setenv("DOSSIER_API_PORT", "9000")
    known = settings.read()
    assert settings.setup(known) == Setup(Folder(Path("env")), nats=("nats://a", "nats://b"), usual_api_port=9000)
    typed = settings.setup(known, data=tmp_path, nats="nats://c")
    assert (typed.folder.path, typed.nats) == (tmp_path, ("nats://c",))


def test_a_dossier_elsewhere_is_one_that_was_named(monkeypatch):
    assert settings.elsewhere(settings.read(), data=None, nats=None, api=None) is None
    monkeypatch.setenv("DOSSIER_API_URL", "http://env")
    known = settings.read()
    assert settings.elsewhere(known, data=None, nats=None, api=None) == Running(0, known.nats_url, "http://env")
    assert settings.elsewhere(known, data=None, nats="nats://a", api="http://b") == Running(
        0, ("nats://a",), "http://b"
    )
    assert settings.elsewhere(known, data=Path("x"), nats=None, api=None) is None


def test_the_token_of_a_folder_is_shown_to_the_dossier_that_runs_there_and_to_no_other(tmp_path):
    token = local_token.ensure_token(tmp_path)
    known, folder = CliSettings(), Folder(tmp_path)
    assert known.key(Running(1, (), "http://127.0.0.1:1"), folder) == token
    assert known.key(Running(0, (), "http://127.0.0.1:1"), folder) is None
    assert known.key(Running(1, (), "http://127.0.0.1:1"), Folder(tmp_path / "other")) is None
    assert CliSettings(api_key="dsr_x").key(Running(0, (), "http://a"), folder) == "dsr_x"


def test_a_variable_that_makes_no_sense_is_named(monkeypatch):
    monkeypatch.setenv("DOSSIER_API_PORT", "http")
    with pytest.raises(Refusal, match="DOSSIER_API_PORT: ") as refused:
        settings.read()
    assert refused.value.code == MISUSED


def test_the_next_command_means_the_same_dossier():
    assert settings.options() == ""
    assert settings.options(data=Path("my data"), api="http://a") == " --data 'my data' --api http://a"


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """No test depends on how it is run."""
    for name in (
        "NATS_URL",
        "DATA",
        "API_URL",
        "API_KEY",
        "API_PORT",
        "DOCS",
        "PLANNER_MODEL",
        "WRITER_MODEL",
        "GRACE_S",
    ):
        monkeypatch.delenv(f"DOSSIER_{name}", raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_no_command_waits_for_what_it_does_not_use():
    code = "import sys, services.cli; print(*({'fastapi', 'openai', 'trafilatura'} & sys.modules.keys()))"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_command_line_and_its_doctor_import_no_service():
    code = "import sys, services.cli, services.cli.doctor.doctor; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if re.match(r"services\.(?!cli\b)", name)] == []
