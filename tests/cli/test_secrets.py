"""No secret of the shell that starts Dossier is in anything that Dossier keeps, shows or sends: real processes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx2
import nats
import pytest
from nats.js.api import RawStreamMsg, StreamInfo
from nats.js.errors import NotFoundError
from nats.js.manager import JetStreamManager

from tests.cli.terminals import Dossier, Typed
from tests.harness.http import key
from tests.harness.ports import free_port
from tests.harness.site import Page, Request, Site, site
from tests.harness.waiting import wait_until

PASSWORD = "hunter2-example-secret"
KEY = "sk-example-of-a-key-123456"
SECRETS = (PASSWORD, KEY)
QUERIES = ["OPENAI_API_KEY MY_DB_PASSWORD", "MY_DB_PASSWORD environ", "which values does a namespace hold"]
QUESTION = "What are OPENAI_API_KEY and MY_DB_PASSWORD?"


def completion(request: Request) -> Page:
    """A model that plans to search for what must not be found, and writes nothing."""
    is_plan = b"You plan" in request.body
    reply = {"queries": QUERIES} if is_plan else {"sections": [], "conflicts": []}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(reply)}}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return Page(json.dumps(body), "application/json")


@pytest.fixture(scope="module")
def model() -> Iterator[Site]:
    """An endpoint that keeps every prompt."""
    with site() as one:
        one.pages["/v1/chat/completions"] = completion
        yield one


@pytest.fixture(scope="module")
def dossier(tmp_path_factory: pytest.TempPathFactory, model: Site) -> Dossier:
    """A Dossier that is started from a shell with secrets."""
    folder = tmp_path_factory.mktemp("dossier")
    settings = {"DOSSIER_PLANNER_MODEL": "m", "DOSSIER_WRITER_MODEL": "m", "OPENAI_BASE_URL": f"{model.url}/v1"}
    return Dossier(folder, MY_DB_PASSWORD=PASSWORD, OPENAI_API_KEY=KEY, **settings)


@pytest.fixture(scope="module")
def up(dossier: Dossier) -> Iterator[Typed]:
    """It searches Python's language reference, since no folder is named."""
    with dossier.running("up", "--port", str(free_port()), "--api-port", str(free_port())) as up:
        up.wait_for("Dossier is ready")
        yield up


@pytest.fixture(scope="module")
def shown(dossier: Dossier, up: Typed) -> dict[str, str]:
    """Output of the API, the pages and the terminal about a run that asked for the secrets, on hold and ended."""
    request = {"q": QUESTION}
    with httpx2.Client(base_url=dossier.state["api"], headers=key(dossier.folder), timeout=30) as api:
        run = api.post("/v1/runs", json=request).json()["run_id"]
        path = f"/v1/runs/{run}"
        wait_until(lambda: api.get(path).json()["status"] == "hold")
        shown = {"the hold": api.get(path).text, "dossier show": dossier("show", run).stdout}
        assert api.post(f"{path}/approvals", json={"decision": "approve", "by": "ada"}).status_code == 200
        wait_until(lambda: api.get(path).json()["status"] not in {"hold", "running", "writing"})
        for name in ("", "/report", "/events?follow=false", "/why"):
            shown[f"{path}{name}"] = api.get(f"{path}{name}").text
        shown["/metrics"] = api.get("/metrics").text
    shown["the terminal"] = up.said()
    return shown


def found_in(texts: Mapping[str, str | bytes]) -> list[str]:
    """The names of those in which a secret stands."""
    as_bytes = {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    return [name for name, text in as_bytes.items() if any(secret.encode() in text for secret in SECRETS)]


def test_no_secret_is_shown_at_the_hold_in_the_report_on_the_terminal_or_in_the_metrics(shown: dict[str, str]):
    assert "language reference" in shown["the hold"]
    assert found_in(shown) == []


@pytest.mark.usefixtures("shown")
def test_no_secret_is_in_a_prompt(model: Site):
    assert len(model.asked) >= 2
    assert found_in({f"prompt {number}": request.body for number, request in enumerate(model.asked)}) == []


@pytest.mark.usefixtures("shown")
def test_no_secret_is_in_a_message_of_any_stream(dossier: Dossier):
    there = asyncio.run(stored(dossier.state["nats"][0]))
    assert {name.split()[0] for name in there} >= {"EVIDENCE", "RESEARCH"}
    assert found_in(there) == []


@pytest.mark.usefixtures("shown")
def test_no_secret_is_in_a_file_of_the_data_folder(dossier: Dossier):
    files = {str(path.relative_to(dossier.folder)): path for path in dossier.folder.rglob("*") if path.is_file()}
    assert any(re.fullmatch(r"cache/\w+-3[\d.]+\.sqlite", name) for name in files)
    assert {"logs/fetcher.log", "logs/planner.log"} <= files.keys()
    assert found_in({name: content(path) for name, path in files.items()}) == []


def content(path: Path) -> bytes:
    """The bytes of a file; none where it has gone meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def stored(url: str) -> dict[str, bytes]:
    """Every message of every stream, headers included, by stream, sequence and subject."""
    connection = await nats.connect(url)
    try:
        return {
            f"{stream.config.name} {each.seq} {each.subject}": (each.data or b"") + repr(each.headers).encode()
            for stream in await connection.jsm().streams_info()
            async for each in messages(connection.jsm(), stream)
        }
    finally:
        await connection.close()


async def messages(manager: JetStreamManager, stream: StreamInfo) -> AsyncIterator[RawStreamMsg]:
    """The messages of one stream, in order."""
    for sequence in range(max(1, stream.state.first_seq), stream.state.last_seq + 1):
        with suppress(NotFoundError):
            yield await manager.get_msg(str(stream.config.name), sequence)
