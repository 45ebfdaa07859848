"""`dossier doctor`, against what is well and what is not."""

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock

from services.cli.doctor import nats as checks
from services.cli.doctor import work
from services.cli.doctor.doctor import examine, examine_nats, run_checks, show
from services.cli.doctor.target import Target
from services.cli.doctor.whoami import permissions, whoami
from services.cli.lockdown import config
from services.cli.shell.folder import Folder
from services.cli.shell.terminal import Terminal
from services.fetcher.check import check_page_rules, check_tool, check_tools
from services.fetcher.findings.tool import Answer, Search
from shared.contracts.topology import Limits
from shared.nats import topology
from shared.nats.connection import Connection
from shared.runtime import clock
from shared.runtime.identity import NO_IDENTITY
from shared.runtime.settings import Settings
from shared.service.check import CheckResult
from tests.harness.children import Child
from tests.harness.locked import Locked, run_dossier
from tests.harness.ports import free_port
from tests.harness.server import NatsServer
from tests.harness.waiting import PATIENCE_S, wait_until

Found = dict[str, CheckResult]


def by_check(found: list[CheckResult]) -> Found:
    """Each by what was looked at; the least well where there are several."""
    order = ("ok", "warning", "fault")
    return {one.check: one for one in sorted(found, key=lambda one: order.index(one.state))}


def examined(target: Target) -> Found:
    """Results of the checks of NATS."""
    return by_check(asyncio.run(examine_nats(target, Settings())))


def examined_whole(target: Target) -> Found:
    """Results of all checks."""
    return by_check(asyncio.run(examine(target, Settings())))


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the settings of the environment, and name a small folder of documents."""
    for name in [name for name in os.environ if name.startswith(("DOSSIER_", "OPENAI_"))]:  # noqa: TID251
        monkeypatch.delenv(name)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Test\n\nThis is a test of tests.")
    monkeypatch.setenv("DOSSIER_DOCS", str(tmp_path / "docs"))
    monkeypatch.setenv("DOSSIER_DATA", str(tmp_path / "data"))


def target(url: str, tmp_path: Path, **more: Any) -> Target:
    return Target((url,), NO_IDENTITY, Folder(tmp_path / "data"), **more)


def test_a_dossier_that_is_well_has_no_fault_and_says_what_is_not_locked(tmp_path: Path):
    data, settings = tmp_path / "data", {"DOSSIER_DOCS": str(tmp_path / "docs")}
    ports = ["--port", str(free_port()), "--api-port", str(free_port())]
    command = [sys.executable, "-m", "services.cli", "up", "--data", str(data), *ports]
    up = Child("up", command, log=tmp_path / "up.log", settings=settings)
    up.start()
    try:
        wait_until((data / "up.json").exists)
        done = run_dossier("doctor", "--json", "--data", str(data), settings=settings)
    finally:
        up.ask_to_stop()
        up.exit_code(within_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    states = {one["check"]: one["state"] for one in told["findings"]}
    assert states.pop("permissions") == "warning", "whoever reaches this NATS may do everything"
    assert set(states.values()) == {"ok"}, told
    of_nats = {"server version", "max_payload", "clock", "sync mode", "streams", "replicas", "store"}
    assert of_nats | {"data folder", "disk", "model", "tool docs", "pages' guard", "webhooks"} <= states.keys()
    assert told["ok"]
    assert all(one["do"] for one in told["findings"] if one["state"] != "ok")


def test_an_embedded_nats_syncs_always_as_its_configuration_says(nats: NatsServer, tmp_path: Path):
    assert examined(target(nats.url, tmp_path, embedded="sync_interval: always"))["sync mode"].state == "ok"
    assert examined(target(nats.url, tmp_path, embedded="sync_interval: 2m"))["sync mode"].state == "warning"


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


def test_a_nats_without_streams_is_told_to_await_its_coordinator(nats: NatsServer, tmp_path: Path):
    found = examined(target(nats.url, tmp_path))["streams"]
    assert (found.state, "RESEARCH" in found.found) == ("warning", True)
    assert "coordinator" in found.do


def test_where_no_nats_answers_that_is_the_fault_and_the_rest_is_still_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.cli.shell.connecting.CONNECT_S", 0.5)
    found = examined_whole(target("nats://127.0.0.1:9", tmp_path))
    assert found["NATS"].state == "fault"
    assert "Connect call failed" in found["NATS"].found
    assert found["data folder"].state == "ok"


@contextmanager
def speaking(info: dict[str, Any]) -> Iterator[str]:
    """A server that greets with this and answers every ping, and nothing else: its URL."""

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=greet, args=(link,), daemon=True).start()

    def greet(link: socket.socket) -> None:
        with link:
            link.sendall(b"INFO " + json.dumps(info).encode() + b"\r\n")
            while data := link.recv(65_536):
                link.sendall(b"PONG\r\n" * data.count(b"PING\r\n"))

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"nats://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def test_a_server_that_is_too_old_or_takes_too_small_messages_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shared.nats.connection.REPLY_TIMEOUT_S", 0.2)
    with speaking({"version": "2.10.29", "max_payload": 65_536, "headers": True, "server_id": "S"}) as url:
        found = examined(target(url, tmp_path))
    assert found["server version"].state == "fault"
    assert "2.10.29" in found["server version"].found
    assert found["max_payload"].state == "fault"
    assert "max_payload: 1MB" in found["max_payload"].do
    assert found["store"].state == "fault", "it has no JetStream"


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (10, "warning"), (-3_600, "fault")])
def test_a_clock_that_differs_is_told_of(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, state: str
):
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=seconds))
    assert examined(target(nats.url, tmp_path))["clock"].state == state


# Locked down


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """One locked-down node, set up by a coordinator."""
    with Locked(tmp_path_factory.mktemp("locked"), 1) as locked:
        asyncio.run(set_up(locked))
        yield locked


async def set_up(locked: Locked) -> None:
    link = await Connection.open(locked.urls, name="test", identity=locked.identity("coordinator"))
    await topology.ensure_topology(link, Limits())
    await link.close()


@pytest.mark.parametrize("user", ["coordinator", "planner", "requester", "operator"])
def test_each_user_of_a_locked_nats_is_found_to_do_its_own_work_and_no_more(locked: Locked, tmp_path: Path, user: str):
    found = examined_whole(Target(locked.urls, locked.identity(user), Folder(tmp_path / "data")))
    assert (found["permissions"].state, user in found["permissions"].found) == ("ok", True), found["permissions"]
    assert found["sync mode"].state == "ok"
    assert found["nkey"].state == "ok"
    assert {one.state for one in found.values()} == {"ok"}, found


def test_a_list_that_lets_a_user_do_too_much_or_too_little_is_a_fault(tmp_path: Path):
    locked = Locked(tmp_path, 1)
    accounts = locked.folder / "nats" / config.ACCOUNTS
    decisions = '"research.run.*.decision.*"'
    head, planner = accounts.read_text().split("  PLANNER {")
    head = head.replace("    exports: [", f"    exports: [\n      {{service: {decisions}}}", 1)
    planner = planner.replace("publish: [", f"publish: [\n{decisions}", 1)
    planner = planner.replace("imports: [", f"imports: [\n{{service: {{account: DOSSIER, subject: {decisions}}}}}", 1)
    planner = planner.replace('"research.run.*.attempt.plan.*.*.*"', "", 1)
    accounts.write_text(f"{head}  PLANNER {{{planner}")
    with locked:
        asyncio.run(set_up(locked))
        found = asyncio.run(tried(locked, "planner"))
    assert [(one.state, one.found) for one in found] == [
        (
            "fault",
            "planner may use research.run.*.decision.*, which is not its work. "
            "planner may not use research.run.*.attempt.plan.*.*.*, which its work needs.",
        )
    ]
    assert "dossier nats init" in found[0].do


async def tried(locked: Locked, user: str) -> Sequence[CheckResult]:
    link = await Connection.open(locked.urls, name="test", identity=locked.identity(user))
    found = await permissions(await whoami(link))
    await link.close()
    return found


def test_a_key_that_others_can_read_is_told_of(locked: Locked, tmp_path: Path):
    seed = tmp_path / "planner.nk"
    seed.write_text(locked.seed("planner").read_text())
    seed.chmod(0o644)
    [found] = work.seed(seed)
    assert (found.state, found.do) == ("warning", f"chmod 600 {seed}")
    assert seed.read_text().strip() not in found.found


@pytest.mark.parametrize(("used", "state"), [(10, "ok"), (85, "warning"), (97, "fault")])
def test_an_account_that_fills_up_is_told_of(used: int, state: str):
    assert checks.fullness("store", used, 100).state == state


# What the services work with


def modelled(llmock: LLMock, **more: str) -> Settings:
    return Settings(OPENAI_BASE_URL=llmock.base_url(), OPENAI_API_KEY="a-key", **more)  # type: ignore[call-arg]


def test_a_model_that_is_there_is_well_and_one_that_is_not_is_told_of(llmock: LLMock):
    there = asyncio.run(work.model(modelled(llmock, planner_model="gpt-4o", writer_model="gpt-4o")))
    assert [one.state for one in there] == ["ok"]
    gone = asyncio.run(work.model(modelled(llmock, planner_model="gpt-4o", writer_model="gone-1")))
    assert [(one.state, "gone-1" in one.found) for one in gone] == [("warning", True)]


def test_an_endpoint_that_refuses_the_key_is_a_fault_that_does_not_show_it(llmock: LLMock):
    llmock.fail(401)
    [found] = asyncio.run(work.model(modelled(llmock)))
    assert (found.state, "OPENAI_API_KEY" in found.do) == ("fault", True)
    assert "a-key" not in found.found


def test_an_endpoint_that_is_not_there_is_a_fault():
    settings = Settings(OPENAI_BASE_URL="http://127.0.0.1:9/v1")  # type: ignore[call-arg]
    [found] = asyncio.run(work.model(settings))
    assert (found.state, "OPENAI_BASE_URL" in found.do) == ("fault", True)


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    [found] = work.folder(tmp_path / "file" / "data")
    assert (found.state, str(tmp_path / "file" / "data") in found.found) == ("fault", True)


def test_tools_that_are_not_there_or_do_not_answer_are_faults(tmp_path: Path):
    found = asyncio.run(check_tools(Settings(tools=("nosuch",))))
    assert [(one.state, "nosuch" in one.found) for one in found] == [("fault", True)]
    settings = Settings(tools=("docs", "searxng"), searxng_url="http://127.0.0.1:9")
    assert [(one.check, one.state) for one in asyncio.run(check_tools(settings))] == [
        ("tool docs", "ok"),
        ("tool searxng", "fault"),
    ]


@pytest.mark.parametrize(
    ("allowed", "state"),
    [((), "ok"), (("wiki.lan:8080",), "ok"), (("10.0.0.0/8",), "warning"), (("[fd00::/999]",), "fault")],
)
def test_a_guard_that_lets_pages_be_read_from_inside_is_told_of(allowed: tuple[str, ...], state: str):
    settings = Settings(tools=("docs", "searxng"), searxng_url="http://127.0.0.1:9", allow_private=allowed)
    found = check_page_rules(settings)
    assert found.state == state


class Broken:
    """A tool of another distribution that has a defect."""

    name = "broken"
    arguments = Search

    async def search(self, asked: Search) -> Answer:
        raise RuntimeError("defect")


def test_a_tool_with_a_defect_is_a_fault_of_its_own():
    found = asyncio.run(check_tool(Broken()))
    assert (found.check, found.state, "RuntimeError: defect" in found.found) == ("tool broken", "fault", True)


def test_a_fetcher_that_cannot_start_is_a_fault_and_one_that_can_reports_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOSSIER_TOOLS", "nosuch")
    assert [(one.check, one.state) for one in asyncio.run(work.fetcher())] == [
        ("tools", "fault"),
        ("pages' guard", "ok"),
    ]
    monkeypatch.setenv("DOSSIER_SOURCES", "many")
    [found] = asyncio.run(work.fetcher())
    assert (found.check, found.state) == ("fetcher", "fault")
    assert "services.fetcher --check" in found.do


def test_a_file_of_webhooks_that_cannot_be_used_is_a_fault(tmp_path: Path):
    file = tmp_path / "webhooks.toml"
    file.write_text('[endpoints.ops]\nurl = "https://example.com"\nsecret_env = "NOT_SET"\n')
    [found] = work.webhooks(Settings(webhooks=file))
    assert (found.state, "NOT_SET" in found.found) == ("fault", True)


def test_a_check_that_breaks_is_a_fault_and_keeps_no_other_from_being_made():
    async def broken() -> list[CheckResult]:
        raise RuntimeError("broken")

    async def well() -> list[CheckResult]:
        return [CheckResult("well", "ok", "well")]

    found = asyncio.run(run_checks({"broken": broken, "well": well}))
    assert [(one.check, one.state) for one in found] == [("broken", "fault"), ("well", "ok")]


def test_a_fault_ends_the_command_with_1_and_no_control_character_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str],
):
    assert not show([CheckResult("NATS", "fault", "\x1b[31mred", "do")], Terminal(), as_json=False)
    assert "\x1b[31mred" not in capsys.readouterr().out
    assert show([CheckResult("NATS", "warning", "so-so", "do")], Terminal(), as_json=False)
