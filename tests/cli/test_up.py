"""`dossier up` and what a person does with it: real processes, real signals, a real terminal."""

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import msgspec
import nats
import pytest

from services.cli.shell.folder import Lock
from tests.audit import audit, frozen_text
from tests.cli.terminals import Dossier, Typed, alive
from tests.harness.http import ask, key
from tests.harness.ports import free_port
from tests.harness.receiver import Receiver, Reply
from tests.harness.waiting import PATIENCE_S, wait_until

SERVICES = {"coordinator", "planner", "fetcher", "synthesizer"}
PAGES = {
    "tides.md": "# Tides\n\nThe Moon pulls the oceans toward it and so raises a tide. "
    "Spring tides happen when Sun and Moon pull in one line. A neap tide is the weakest tide.",
    "moon.md": "# The Moon\n\nThe Moon circles the Earth once in about 27 days. The tides slow the Earth down.",
}
QUESTION = "What raises a tide, and when are spring tides?"


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def dossier(tmp_path_factory: pytest.TempPathFactory) -> Dossier:
    return Dossier(tmp_path_factory.mktemp("dossier"))


@pytest.fixture(scope="module")
def up(dossier: Dossier, docs: Path) -> Iterator[Typed]:
    """A Dossier for all tests that leave it running."""
    with dossier.running("up", "--docs", str(docs), "--port", str(free_port()), "--api-port", str(free_port())) as up:
        up.wait_for("Dossier is ready")
        yield up


def held(dossier: Dossier) -> str:
    """The run that waits for a decision."""
    [run] = wait_until(lambda: dossier.json("runs", "--status", "hold")["runs"])
    return run["run_id"]


def test_it_says_where_it_is_to_people_and_to_programs(dossier, up, docs):
    assert dossier.state["pid"] == up.pid
    assert dossier.state["api"] in up.said()
    assert dossier.state["nats"][0] in up.said()
    assert str(docs) in up.said()
    assert set(up.children()) >= SERVICES | {"nats"}


def test_a_link_signs_the_browser_in_and_is_in_no_log(dossier, up):
    [link] = wait_until(lambda: re.findall(r"http://\S+/sign-in\?ticket=[0-9a-f]{32}", up.said()))
    assert dossier("sign-in").stdout.strip().startswith(f"{dossier.state['api']}/sign-in?ticket=")
    with httpx2.Client(base_url=dossier.state["api"]) as browser:
        assert browser.get("/v1/runs").status_code == 401
        assert browser.get(link).status_code == 200
        ticket = link.partition("ticket=")[2]
        assert browser.post("/sign-in", data={"ticket": ticket}).status_code == 303
        assert browser.get("/v1/runs").status_code == 200
        assert browser.post("/sign-in", data={"ticket": ticket}).status_code == 401
    token = (dossier.folder / "token").read_text().strip()
    logs = "".join(path.read_text() for path in (dossier.folder / "logs").iterdir())
    assert ticket not in logs
    assert token not in logs


def test_keys_are_made_listed_and_ended_with_the_one_that_runs(dossier, up):
    made = dossier("keys", "create", "ann", "--role", "viewer", "--scope", "read", "--expires", "1h")
    key = made.stdout.strip()
    with httpx2.Client(base_url=dossier.state["api"], headers={"Authorization": f"Bearer {key}"}) as ann:
        assert ann.get("/v1/runs").status_code == 200
        [row] = dossier.json("keys", "list")
        assert (row["name"], row["role"], row["scopes"], row["state"]) == ("ann", "viewer", ["read"], "usable")
        assert row["created_by"]
        assert row["id"] in made.stderr
        assert key not in made.stderr
        assert dossier("keys", "revoke", row["id"]).returncode == 0
        wait_until(lambda: ann.get("/v1/runs").status_code == 401)
    assert "revoked before" in dossier("keys", "revoke", row["id"]).stderr
    assert dossier("keys", "revoke", "nothing").returncode == 2


def test_a_second_one_on_the_same_folder_is_refused(dossier, up):
    second = dossier("up")
    assert second.returncode == 2
    assert f"Dossier runs in {dossier.folder} already: process {up.pid}, {dossier.state['api']}." in second.stderr


@pytest.mark.usefixtures("up")
def test_the_answer_for_programs_is_one_json_document(dossier):
    done = dossier("ask", QUESTION, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    event = msgspec.json.decode(done.stdout)
    assert event["type"] == "run.completed.v1"
    assert event["data"]["ok"]
    assert "tide" in event["data"]["report"]
    assert event["subject"] in done.stderr


@pytest.mark.usefixtures("up")
def test_whoever_has_the_report_and_reads_the_frozen_texts_can_check_every_quote(dossier):
    run = dossier.json("ask", QUESTION, "--yes")["subject"]
    port = int(dossier.state["api"].rpartition(":")[2])
    report = ask(
        port, "GET", f"/v1/runs/{run}/report", headers=key(dossier.folder) | {"Accept": "application/json"}
    ).body["report"]

    async def frozen() -> dict[str, str]:
        connection = await nats.connect(dossier.state["nats"][0])
        texts = {
            each["sha256"]: await frozen_text(connection.jetstream(), each["sha256"]) for each in report["sources"]
        }
        await connection.close()
        return texts

    assert report["sections"]
    assert list(audit(report, asyncio.run(frozen()))) == []


@pytest.mark.usefixtures("up")
def test_the_answer_for_files_is_markdown(dossier):
    done = dossier("ask", QUESTION, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"# {QUESTION}\n")


@pytest.mark.usefixtures("up")
def test_documents_are_a_matter_of_the_one_that_runs(dossier, docs):
    done = dossier("ask", QUESTION, "--docs", str(docs))
    assert done.returncode == 2
    assert "searches its own documents" in done.stderr


@pytest.mark.usefixtures("up")
def test_a_person_sees_the_evidence_and_approves_it(dossier):
    with dossier.running("ask", QUESTION) as ask:
        ask.wait_for("[y/n/r]")
        assert "The Moon pulls the oceans" in ask.said()
        ask.type("what?\n")
        wait_until(lambda: ask.said().count("[y/n/r]") == 2)
        ask.type("y\n")
        assert ask.exit_code() == 0
        assert "Sources" in ask.said()
        assert "elsewhere" not in ask.said()


@pytest.mark.usefixtures("up")
def test_a_person_rejects_the_evidence_and_says_why(dossier):
    with dossier.running("ask", QUESTION) as ask:
        ask.wait_for("[y/n/r]")
        ask.type("n\n")
        ask.wait_for("Why not?")
        ask.type("too thin\n")
        assert ask.exit_code() == 1
        assert "too thin" in ask.said().rpartition("Why not?")[2]


@pytest.mark.usefixtures("up")
def test_a_person_sends_the_evidence_back_and_approves_the_next_round(dossier):
    with dossier.running("ask", QUESTION) as ask:
        ask.wait_for("[y/n/r]")
        ask.type("r\n")
        ask.wait_for("What is missing")
        ask.type("No, not enough on the Moon.\n")
        wait_until(lambda: ask.said().count("[y/n/r]") == 2)
        ask.type("y\n")
        assert ask.exit_code() == 0
        assert "sent back for more" in ask.said()
        assert "Sources" in ask.said()


def test_a_decision_from_elsewhere_ends_the_question_also_across_a_crash_of_the_coordinator(dossier, up):
    with dossier.running("ask", QUESTION) as ask:
        ask.wait_for("[y/n/r]")
        run = held(dossier)
        up.send_to("coordinator", signal.SIGKILL)
        approved = wait_until(lambda: (done := dossier("approve", run)).returncode == 0 and done)
        assert "Approved" in approved.stderr
        assert ask.exit_code() == 0
        assert "The run was decided elsewhere." in ask.said()
    assert dossier("approve", run).returncode == 1
    assert "reported" in dossier("runs", "--text", run).stdout
    assert f"# {QUESTION}" in dossier("show", run).stdout


@pytest.mark.usefixtures("up")
@pytest.mark.usefixtures("up")
def test_evidence_is_sent_back_by_a_command_and_the_next_round_shows_both(dossier):
    with dossier.running("ask", QUESTION) as ask:
        ask.wait_for("[y/n/r]")
        run = held(dossier)
        sent = dossier("revise", run, "Not enough on the Moon.", "--add", "Moon oceans", "--drop", "1")
        assert sent.returncode == 0, sent.stderr
        assert "Sent back" in sent.stderr
        wait_until(lambda: ask.said().count("[y/n/r]") == 2)
        shown = dossier.json("show", run)
        assert "Moon oceans" in shown["plan"]
        assert [finding["dropped"] for finding in shown["findings"]].count(True) == 1
        ask.type("y\n")
        assert ask.exit_code() == 0


def test_without_a_terminal_it_says_how_to_approve_and_waits(dossier):
    with subprocess.Popen(
        **dossier.command("ask", QUESTION), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ask:
        run = held(dossier)
        before = datetime.fromisoformat(dossier.json("show", run)["deadline"])
        extended = dossier("extend", run, "2h", "--comment", "At lunch.")
        assert extended.returncode == 0, extended.stderr
        shown = dossier.json("show", run)
        assert datetime.fromisoformat(shown["deadline"]) == before + timedelta(hours=2)
        assert "as extended by" in " ".join(dossier("why", run).stdout.split())
        assert "At lunch." in dossier("show", run).stdout
        assert dossier("reject", run, "--comment", "No.").returncode == 0
        assert dossier("extend", run, "2h").returncode == 1
        _, said = ask.communicate(timeout=PATIENCE_S)
    assert ask.returncode == 1
    assert f"To approve: dossier approve {run}" in said
    assert "No." in said


def test_whatever_is_killed_comes_back(dossier, up):
    before = up.children()
    for name in (*SERVICES, "nats"):
        up.send_to(name, signal.SIGKILL)
    wait_until(lambda: set(after := up.children()) >= before.keys() and not set(after.values()) & killed(before))
    assert dossier("ask", QUESTION, "--yes").returncode == 0
    assert "was killed by SIGKILL; starting it again" in up.said()


def killed(before: dict[str, int]) -> set[int]:
    return {pid for name, pid in before.items() if name in SERVICES | {"nats"}}


def test_a_signal_stops_everything_in_good_order(dossier, up):
    children = up.children()
    up.send(signal.SIGTERM)
    assert up.exit_code() == 0
    assert not alive(children)
    assert dossier.state is None
    done = dossier("runs")
    assert done.returncode == 1
    assert f"No Dossier runs in {dossier.folder}. To start it: dossier up" in done.stderr


def test_nothing_outlives_a_supervisor_that_is_killed_and_the_folder_is_free_when_all_is_gone(tmp_path):
    dossier = Dossier(tmp_path)
    with dossier.running("up") as up:
        up.wait_for("Dossier is ready")
        first = up.children()["guard.py"]
        up.send_to("guard.py", signal.SIGKILL)
        wait_until(lambda: up.children().get("guard.py", first) != first)
        children = up.children()
        assert children.keys() >= SERVICES | {"nats"}
        up.send(signal.SIGKILL)
        lock = wait_until(lambda: Lock.take(tmp_path / "up.lock"))
        assert not alive(children)
        lock.release()
        assert "No Dossier runs" in dossier("runs").stderr


def test_a_question_where_nothing_runs_leaves_nothing_running_and_its_run_can_be_taken_up_later(tmp_path, docs):
    dossier = Dossier(tmp_path)
    with dossier.running("ask", QUESTION, "--docs", str(docs)) as ask:
        ask.wait_for("[y/n/r]")
        children = ask.children()
        ask.send(signal.SIGINT)
        assert ask.exit_code() == 130
        assert f"is safe on hold in {tmp_path}" in ask.said()
        assert not alive(children)
    with dossier.running("up") as up:
        up.wait_for("Dossier is ready")
        run = held(dossier)
        assert f"dossier approve {run}" in ask.said()
        assert dossier("approve", run).returncode == 0
        assert dossier("watch", run).returncode == 0


def test_a_program_that_cannot_start_is_named_with_its_last_words(tmp_path):
    (tmp_path / "nats").write_text("no folder")
    done = Dossier(tmp_path)("up")
    assert done.returncode == 1
    assert "nats does not start: " in done.stderr
    assert str(tmp_path / "logs" / "nats.log") in done.stderr


def test_a_file_of_webhooks_starts_the_notifier_and_says_how_telling_goes(tmp_path, docs):
    with Receiver(usual=Reply(404)) as receiver:
        file = tmp_path / "webhooks.toml"
        file.write_text(f'allow = ["127.0.0.1"]\n[endpoints.team]\nkind = "slack"\nurl = "{receiver.url}"\n')
        dossier = Dossier(tmp_path / "data", DOSSIER_WEBHOOKS=str(file))
        places = ("--port", str(free_port()), "--api-port", str(free_port()))
        with dossier.running("up", "--docs", str(docs), *places) as up:
            up.wait_for("Dossier is ready")
            assert set(up.children()) >= SERVICES | {"notifier", "nats"}
            assert dossier("ask", QUESTION, "--yes").returncode == 0
            receiver.wait_for(2)
            told = wait_until(lambda: dossier.json("deliveries", "--state", "retrying")["deliveries"])
            assert dossier("deliveries", "resend", told[0]["delivery_id"]).returncode == 0
            listed = dossier("deliveries", "--endpoint", "team").stdout
            assert "The endpoint answered 404." in listed
            assert "secret" not in up.said() + listed


def test_a_file_of_webhooks_that_cannot_be_used_is_named_and_nothing_starts(tmp_path):
    file = tmp_path / "webhooks.toml"
    file.write_text("[endpoints.ops]\n")
    done = Dossier(tmp_path / "data", DOSSIER_WEBHOOKS=str(file))("up", "--port", str(free_port()))
    assert done.returncode == 2
    assert f"{file}: endpoints.ops: name a secret" in done.stderr
    assert not (tmp_path / "data").exists()
