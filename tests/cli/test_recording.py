"""`dossier eval record`: a run becomes a folder with all of its data and no secret."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from pydantic import SecretStr

from services.cli.commands import case
from services.cli.commands.evals import recorded, secrets, write
from services.cli.shell.folder import Folder
from services.cli.shell.refusal import Refusal
from services.cli.shell.settings import CliSettings
from shared.api import local_token
from shared.runtime.memory import MemoryLog
from shared.runtime.settings import Settings
from tests.cli.terminals import Dossier as Commands
from tests.dossier import Dossier, coordinating, performers, working
from tests.evals.replay import replayed
from tests.evals.scripted import DOCUMENTS, SCRIPTS
from tests.harness.deployment import REAL_WORKERS, Deployment

QUESTION = "What happens in a restore drill?"
SETTINGS = Settings(nats_url=("nats://127.0.0.1:4222",))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, llmock_server: LLMockServer) -> Iterator[Deployment]:
    """Real processes, with models that are scripted."""
    settings = {"DOSSIER_DOCS": str(DOCUMENTS), "OPENAI_BASE_URL": llmock_server.base_url()}
    with Deployment(tmp_path_factory.mktemp("dossier"), workers=REAL_WORKERS, settings=settings) as deployment:
        deployment.start()
        yield deployment


def test_a_real_run_becomes_a_case_that_says_the_same_when_it_is_replayed(
    deployment: Deployment, llmock: LLMock, tmp_path: Path
):
    script = SCRIPTS["repaired"]
    for reply in script.replies:
        llmock.reply(reply)
    client = deployment.client()
    client.request(script.q, run_id="drill", approval="auto")
    assert client.completed("drill")["ok"]

    commands = Commands(tmp_path / "elsewhere", DOSSIER_NATS_URL=deployment.server.url)
    done = commands("eval", "record", "drill", "--out", str(tmp_path), "--name", "of-a-drill")
    assert done.returncode == 0, done.stderr
    recording = case.read(tmp_path / "of-a-drill")

    assert (recording.case.run, recording.case.question) == ("drill", script.q)
    assert (recording.case.outcome, recording.case.degraded) == ("reported", False)
    for message in recording.messages:
        assert message.data == client.raw(message.subject)
    assert recording.messages[-1].subject == "research.run.drill.completed"
    assert all(sha256(text.encode()).hexdigest() == name for name, text in recording.texts.items())
    sent = [case.readable_prompt(msgspec.json.encode(request.body["messages"]).decode()) for request in llmock.requests]
    assert [said.prompt for said in recording.calls] == sent
    assert [said.call.reading for said in recording.calls] == ["repaired", "repaired", "ok", "ok"]

    figures = asyncio.run(replayed(recording, tmp_path))
    assert (figures.outcome, figures.degraded, figures.plan) == ("reported", False, "")
    assert (figures.changed, figures.unrecorded) == ((), ())
    assert (figures.located, figures.supported, figures.calls) == (3, 3, 4)

    again = commands("eval", "record", "drill", "--out", str(tmp_path), "--name", "of-a-drill")
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nobody"], 1, "There is no run nobody."),
        (["*", "--name", "all"], 2, "is not the id of a run"),
        (["nobody", "--name", "../up"], 2, "cannot name a case"),
    ],
)
def test_what_makes_no_case_is_refused_by_name(
    deployment: Deployment, tmp_path: Path, arguments: list[str], code: int, says: str
):
    commands = Commands(tmp_path, DOSSIER_NATS_URL=deployment.server.url)
    done = commands("eval", "record", *arguments, "--out", str(tmp_path / "cases"))
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert not (tmp_path / "cases").exists()


async def reported(dossier: Dossier) -> str:
    run_id = await dossier.ask(QUESTION, approval="auto")
    await dossier.until(run_id, "reported")
    return run_id


@asynccontextmanager
async def in_memory(tmp_path: Path) -> AsyncGenerator[Dossier]:
    """Everything in one process, without a model."""
    log = MemoryLog()
    workers = performers(log, DOCUMENTS, tmp_path / "cache")
    async with coordinating(log, tmp_path) as dossier, working(log, workers):
        yield dossier


async def test_a_run_without_a_model_has_facts_and_texts_alone_and_is_replayed_by_rule(tmp_path: Path):
    async with in_memory(tmp_path) as dossier:
        recording = await recorded(dossier.log, await reported(dossier), SETTINGS)
        assert (recording.case.outcome, recording.case.degraded, recording.case.context) == ("reported", False, {})
        assert recording.calls == ()
        assert recording.texts
        figures = await replayed(recording, tmp_path)
        assert (figures.outcome, figures.degraded, figures.calls) == ("reported", False, 0)
        assert figures.located == figures.quotes > 0
        assert figures.unrecorded == ()


async def test_a_fork_is_replayed_with_the_plan_that_it_took_over(tmp_path: Path):
    async with in_memory(tmp_path) as dossier:
        first = await reported(dossier)
        fork = {"run_id": first, "from": "synthesize", "approval": "auto"}
        seq = await dossier.log.publish("research.requested", msgspec.json.encode({"fork": fork}))
        await dossier.until(f"r{seq}", "reported")
        recording = await recorded(dossier.log, f"r{seq}", SETTINGS)
        figures = await replayed(recording, tmp_path)
        assert (figures.outcome, figures.unrecorded) == ("reported", ())


async def test_a_run_that_has_not_ended_or_was_cancelled_makes_no_case(tmp_path: Path):
    async with in_memory(tmp_path) as dossier:
        held = await dossier.ask(QUESTION)
        await dossier.until(held, "hold")
        with pytest.raises(Refusal, match="has not ended yet; it is hold"):
            await recorded(dossier.log, held, SETTINGS)
        await dossier.say("cancel", held)
        await dossier.until(held, "cancelled")
        with pytest.raises(Refusal, match="was cancelled"):
            await recorded(dossier.log, held, SETTINGS)


async def test_a_text_that_is_gone_is_named(tmp_path: Path):
    async with in_memory(tmp_path) as dossier:
        run_id = await reported(dossier)
        gone = next(iter(dossier.log.texts))
        del dossier.log._texts[gone]
        with pytest.raises(Refusal, match=gone):
            await recorded(dossier.log, run_id, SETTINGS)


async def test_nothing_is_written_where_a_secret_would_be_in_it(tmp_path: Path):
    async with in_memory(tmp_path) as dossier:
        run_id = await dossier.ask(f"{QUESTION} I have sk-live-0123456789.", approval="auto")
        await dossier.until(run_id, "reported")
        recording = await recorded(dossier.log, run_id, SETTINGS)
        with pytest.raises(Refusal, match=r"case\.json would have a secret in it, openai_api_key"):
            write(recording, tmp_path / "case", {"openai_api_key": "sk-live-0123456789"})
        assert not (tmp_path / "case").exists()


def test_every_secret_that_is_set_is_looked_for_and_no_placeholder(tmp_path: Path):
    token = local_token.ensure_token(tmp_path)
    known = CliSettings(
        api_key=SecretStr("dossier_0123456789"),
        tavily_key=SecretStr("ollama"),
        nats_url=("nats://user:correct-horse-battery@nats.test:4222", "nats://nats.test"),
    )
    found = secrets(known, Folder(tmp_path))
    assert set(found.values()) == {"dossier_0123456789", "correct-horse-battery", token}


def test_a_prompt_is_kept_as_a_person_reads_it():
    said = msgspec.json.encode([{"role": "system", "content": "Plan.\nWell."}, {"role": "user", "content": "“Q”?"}])
    assert case.readable_prompt(said.decode()) == "=== system\nPlan.\nWell.\n\n=== user\n“Q”?\n"
