"""Record the cases whose model was scripted by hand: `python -m tests.evals.scripted tests/evals/cases`.

`dossier up` runs with a server in place of a model's endpoint, which says in each call what stands here. The rest is as
in production: real processes over HTTP and NATS, decisions over the API, and `dossier eval record`. A case that exists
is left as it is; remove its folder to record it anew.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from msgspec import Struct

from services.cli.commands import case
from tests.cli.terminals import Dossier
from tests.harness.client import Client
from tests.harness.ports import free_port

DOCUMENTS: Final = Path(__file__).parent / "documents"
CASES: Final = Path(__file__).parent / "cases"
NONSENSE: Final = "I would rather talk about the weather."
_MODELS: Final = {
    "DOSSIER_PLANNER_MODEL": "scripted-small",
    "DOSSIER_WRITER_MODEL": "scripted-large",
    "DOSSIER_PLANNER_PRICE": "0.15/0.6",
    "DOSSIER_WRITER_PRICE": "2.5/10",
}
BACKUPS, HANDBOOK, KEYS, RESTORES = "backups.md", "handbook.md", "keys.md", "restores.md"


class Script(Struct, frozen=True):
    """A run: what is asked, what the models say in turn, what is decided, and what its report should state."""

    about: str
    q: str
    replies: Sequence[str]
    decisions: Sequence[Mapping[str, Any]] = ({"decision": "approve"},)
    facts: tuple[str, ...] = ()
    max_cost_usd: float | None = None


def plan(*queries: str) -> str:
    """A planner's reply."""
    return _json({"queries": queries})


def report(*claims: tuple[str, int, str], conflicts: Sequence[Mapping[str, Any]] = ()) -> str:
    """A writer's reply of one section: each claim with the number of its source and its quote."""
    told = [{"text": text, "quotes": [{"source": n, "quote": quote}]} for text, n, quote in claims]
    return _json({"sections": [{"heading": "Answer", "claims": told}], "conflicts": conflicts})


def correction(claim: int, source: int, quote: str) -> str:
    """What is quoted in place of a quote that was not found."""
    return _json({"claims": [{"claim": claim, "quotes": [{"source": source, "quote": quote}]}]})


def verdicts(*supports: str) -> str:
    """A judge's reply, one verdict for each claim."""
    doubts = {"supported": "", "partial": "not all of it"}
    return _json({"verdicts": [{"n": n, "support": it, "doubt": doubts[it]} for n, it in enumerate(supports, 1)]})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


SCRIPTS: Final[Mapping[str, Script]] = {
    "kept-and-protected": Script(
        "Every reply is as it should be: plan, report and verdicts.",
        "How long are backups kept, and how are they protected?",
        [
            plan("backup kept days deleted", "backups encrypted AES-256", "backup copied second region"),
            report(
                ("Backups are deleted after 35 days.", 2, "A backup is kept for 35 days and then deleted."),
                ("They are encrypted with AES-256.", 2, "Backups are encrypted with AES-256 before they leave"),
                (
                    "Each backup is in a second region within 4 hours.",
                    2,
                    "Within 4 hours each of them is copied to a second region",
                ),
                (
                    "A backup is useless without its key.",
                    3,
                    "A backup cannot be read without the key that it was made with",
                ),
            ),
            verdicts("supported", "supported", "partial", "supported"),
        ],
        facts=("35 days", "AES-256", "second region", "without (its|the) key", "approval of two people"),
    ),
    "repaired": Script(
        "A plan behind reasoning and with its JSON broken, a report with a comma too few, a quote that was made up and"
        " is corrected.",
        "What happens in a restore drill, and when is it passed?",
        [
            "<think>A drill, then.</think>```json\n{queries: ['restore drill random backup', 'drill passed checksums',"
            " 'tables key destroyed',]}\n```",
            report(
                ("One backup is restored each quarter.", 1, "Each quarter the operations team restores one backup"),
                ("A drill is passed when all tables can be read.", 1, "It passes if all the tables are readable"),
                ("In March two tables could not be read.", 1, "In the drill of March two tables could not be read"),
            ).replace(']},{"text"', ']} {"text"'),
            correction(2, 1, "The drill is passed when every table can be read and all checksums agree."),
            verdicts("supported", "supported", "supported"),
        ],
        facts=("each quarter", "every table can be read and all checksums agree", "March two tables"),
    ),
    "nonsense": Script(
        "Neither planner nor writer ever says anything of use, so both go by rule.",
        "How often are the keys of backups rotated, and when is an old key destroyed?",
        [NONSENSE] * 4,
        facts=("rotated every 90 days", "destroyed 60 days after"),
    ),
    "second-round": Script(
        "Sent back with words once. Of the report one claim has a number that its quote has not, and two sources"
        " contradict each other.",
        "How long is a backup kept?",
        [
            plan("backup kept days", "database backed up each night"),
            plan("approval to delete a backup by hand", "deletion recorded with names"),
            report(
                ("A backup is kept for 35 days.", 2, "A backup is kept for 35 days and then deleted."),
                (
                    "It takes two people to delete one by hand.",
                    3,
                    "Whoever deletes a backup by hand needs the approval of two people",
                ),
                ("The newest backup is kept for 90 days.", 3, "Nobody may delete the newest backup of a database."),
                conflicts=[
                    {
                        "about": "35 or 30 days",
                        "one": {"source": 2, "quote": "kept for 35 days"},
                        "other": {"source": 3, "quote": "kept for 30 days"},
                    }
                ],
            ),
            verdicts("supported", "supported"),
        ],
        decisions=(
            {"decision": "revise", "feedback": "Who may delete a backup before that?", "queries_add": ["mail server"]},
            {"decision": "approve"},
        ),
        facts=("kept for 35 days", "two people"),
        max_cost_usd=1.0,
    ),
}


def told(client: Client, name: str, script: Script) -> None:
    """Have the run from its question to its end."""
    limit = {} if script.max_cost_usd is None else {"max_cost_usd": script.max_cost_usd}
    client.request(script.q, run_id=name, **limit)
    for number, decision in enumerate(script.decisions, 1):
        held = client.until(name, "hold")
        answer = client.decide(name, headers={"If-Match": held["digest"]}, **decision)
        assert (answer.status, held["round"]) == (200, number), answer
    client.completed(name)


def record(folder: Path, names: Sequence[str]) -> None:
    """Record these cases into `folder`."""
    with tempfile.TemporaryDirectory() as data, LLMockServer() as server:
        llmock = LLMock(server)
        dossier = Dossier(Path(data), OPENAI_BASE_URL=llmock.base_url(), **_MODELS)
        ports = ("--port", str(free_port()), "--api-port", str(free_port()))
        with dossier.running("up", "--docs", str(DOCUMENTS), *ports) as up:
            up.wait_for("Dossier is ready")
            state = dossier.state
            assert state
            client = Client(state["nats"][0], urlsplit(state["api"]).port or 0, data=dossier.folder)
            for name in names:
                for reply in SCRIPTS[name].replies:
                    llmock.reply(reply)
                told(client, name, SCRIPTS[name])
                done = dossier("eval", "record", name, "--out", str(folder))
                assert done.returncode == 0, done.stderr
                print(done.stderr.strip())
                _annotate(folder / name, SCRIPTS[name])
            client.close()


def _annotate(folder: Path, script: Script) -> None:
    """Say what a person would say in `case.json`."""
    known = msgspec.json.decode((folder / case.CASE).read_bytes(), type=case.Case)
    about = f"{script.about} The replies were written by hand, not by a model."
    (folder / case.CASE).write_text(case.pretty(msgspec.structs.replace(known, about=about, facts=script.facts)))


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else CASES
    record(where, [name for name in SCRIPTS if not (where / name).exists()])
