"""Reads a log and says whether every promise was kept: `python -m tests.chaos.checker --nats URL`.

Shares no code with what it checks: nothing but nats-py and the published contract, read anew. One JSON line:

- `acknowledged`: requests whose publisher was told that they are stored (or all that are, where no list is given);
  `completed`: runs with a `research.completed`; `lost`: acknowledged, valid and not completed.
- `completed_twice`, `outcomes_twice`, `decisions_twice`: boxes that were filled more than once, or stored so in
  `COMPLETIONS`. `heard_twice`: completions that a core subscriber heard again, which only a cluster may do: a server
  that takes over repeats what the one before it announced in its last instant.
- `performed_again`: tasks begun beyond one for each attempt of a step, by the workers' journal: what was in hand when
  a worker or the server died. `performed_after_all`: those begun more than 0.2 s after the outcome was stored.
- `longest_stall_s`: the longest time from one completion to the next, requests coming in all the while.
- `wrong`: everything else that may not be, in words.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from tests.chaos import deadlines, forks
from tests.chaos.performances import performances
from tests.chaos.stored import Json, Run, Stored, frozen, runs_of

_PAGE: Final = 500
_CONTRACT: Final = ("research.requested", "research.approved", "research.rejected", "research.cancelled")
_NAMES: Final = ("lost", "completed_twice", "outcomes_twice", "decisions_twice", "wrong")
_OUTCOME_OF: Final = {"decision.rejected.v1": "rejected", "decision.expired.v1": "expired"}


class Findings:
    """What was found; `wrong` is empty where all is well."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.completed_twice: list[str] = []
        self.outcomes_twice: list[str] = []
        self.decisions_twice: list[str] = []
        self.wrong: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.completed_twice or self.outcomes_twice or self.decisions_twice or self.wrong)


def check(
    log: list[Stored],
    completions: list[Stored],
    *,
    acknowledged: Iterable[str] | None = None,
    heard: Mapping[str, int] | None = None,
    journal: Iterable[Json] = (),
    texts: Mapping[str, str] | None = None,
    named: Mapping[int, str] | None = None,
) -> tuple[Json, Findings]:
    """The line, and what is wrong by name. Without the frozen `texts`, by SHA-256, what cites them is not checked.

    `named` are the runs of requests, by sequence, that do not name theirs themselves.
    """
    log = [message.whole(texts or {}) for message in log]
    runs = runs_of(log)
    announced = Counter(message.fact["run_id"] for message in completions)
    taken = {run.name for run in runs.values() if run.first("accepted")}
    asked = taken if acknowledged is None else set(acknowledged)
    found = _found(runs, asked, announced)
    for run in runs.values():
        _check_boxes(run, found)
        _check_course(run, found)
        if texts is not None:
            _check_texts(run, texts, found)
            _check_words(run, texts, found)
    found.wrong += forks.strange_copies(runs)
    _check_answers(log, runs, named or {}, found)
    again, after_all = performances(runs, journal)
    ended = [run.first("completed") for run in runs.values()]
    line = {
        "acknowledged": len(asked),
        "completed": len(announced),
        **{name: len(getattr(found, name)) for name in _NAMES},
        "heard_twice": sum(times > 1 for times in (heard or {}).values()),
        "performed_again": again,
        "performed_after_all": after_all,
        "longest_stall_s": _longest_stall(log),
        "outcomes": dict(Counter(message.fact.get("outcome") for message in ended if message)),
        "refused": sum(message.subject.startswith("research.invalid.") for message in log),
    }
    return line, found


def _found(runs: Mapping[str, Run], asked: Iterable[str], announced: Mapping[str, int]) -> Findings:
    """Runs that were asked for and are lost, or that ended twice."""
    found = Findings()
    ended = {run.name for run in runs.values() if run.first("completed")}
    found.lost = sorted(run for run in asked if run not in ended or not announced.get(run))
    found.completed_twice = [
        *(f"{run}, in COMPLETIONS" for run, times in announced.items() if times > 1),
        *(f"{run}, in its log" for run in runs if len(runs[run].slots["completed"]) > 1),
    ]
    return found


def _check_boxes(run: Run, found: Findings) -> None:
    for slot, messages in run.slots.items():
        if len(messages) > 1 and slot != "completed":
            where = found.decisions_twice if slot.startswith("decision.") else found.outcomes_twice
            where.append(f"{run.name}.{slot}")


def _check_course(run: Run, found: Findings) -> None:
    """What happened in this run fits together, step by step."""
    accepted, completed = run.first("accepted"), run.first("completed")
    if accepted is None:
        found.wrong.append(f"{run.name} has facts and was never accepted")
        return
    for slot, hold in run.under("hold"):
        if hold.fact["digest"] != _digest(run, before=hold.seq):
            found.wrong.append(f"{run.name}.{slot} names another digest than what is stored")
    for slot, outcome in run.under("plan", "fetch", "synthesis"):
        if not (_was_asked_for(run, slot, outcome.seq) or forks.takes(accepted, slot, outcome)):
            found.wrong.append(f"{run.name}.{slot} was never asked for")
    for slot, synthesis in run.under("synthesis"):
        decision = run.first(slot.replace("synthesis", "decision"))
        if decision is None or decision.seq > synthesis.seq or decision.event["type"] != "decision.approved.v1":
            found.wrong.append(f"{run.name}.{slot} was written without an approval")
    found.wrong += deadlines.expired_early(run)
    if completed:
        _check_end(run, completed, found)


def _check_end(run: Run, completed: Stored, found: Findings) -> None:
    outcome, decisions = completed.fact["outcome"], [message.event["type"] for _, message in run.under("decision")]
    if completed.fact["run_id"] != run.name or completed.fact["ok"] != (outcome == "reported"):
        found.wrong.append(f"{run.name} completed as something else")
    last = decisions[-1] if decisions and set(decisions[:-1]) <= {"decision.revised.v1"} else None
    if outcome == "reported" and not (last == "decision.approved.v1" and completed.fact.get("report")):
        found.wrong.append(f"{run.name} was reported after {decisions}")
    if outcome in _OUTCOME_OF.values() and (last is None or _OUTCOME_OF.get(last) != outcome):
        found.wrong.append(f"{run.name} ended {outcome} after {decisions}")
    if outcome == "failed" and not _had_reason_to_fail(run):
        found.wrong.append(f"{run.name} failed without a step that did: {completed.fact['reason']}")


def _had_reason_to_fail(run: Run) -> bool:
    """Whether a step failed, nothing was found, or a report was written that cites what it may not."""
    steps = [message.fact for _, message in run.under("plan", "fetch", "synthesis")]
    decided = [message.fact for _, message in run.under("decision")]
    found = {source["sha256"] for fact in steps for source in fact.get("sources", [])}
    allowed = found - {sha256 for fact in decided for sha256 in fact.get("exclude", [])}
    reports = [fact["report"] for fact in steps if "report" in fact]
    stray = any(citation["sha256"] not in allowed for report in reports for citation in _citations(report))
    bare = any(not claim["citations"] for report in reports for part in report["sections"] for claim in part["claims"])
    return not found or stray or bare or any("error" in fact for fact in steps)


def _check_texts(run: Run, texts: Mapping[str, str], found: Findings) -> None:
    """Everything that was found is frozen, and every quote of a report stands in it where it says."""
    for slot, message in run.under("task", "plan", "fetch", "synthesis"):
        if message.reference and message.text is None:
            found.wrong.append(f"{run.name}.{slot} refers to {message.reference}, which is not frozen")
    for slot, fetch in run.under("fetch"):
        for source in fetch.fact.get("sources", []):
            if source["sha256"] not in texts:
                found.wrong.append(f"{run.name}.{slot} found {source['sha256']}, which is not frozen")
    for slot, synthesis in run.under("synthesis"):
        for citation in _citations(synthesis.fact.get("report")):
            text, start, quote = texts.get(citation["sha256"], ""), citation["start"], citation["quote"]
            if text[start : start + len(quote)] != quote:
                found.wrong.append(f"{run.name}.{slot} quotes {quote!r}, which does not stand there")


def _check_words(run: Run, texts: Mapping[str, str], found: Findings) -> None:
    """Everything that was said in a model call is frozen."""
    for slot, paid in run.under("attempt", "plan", "synthesis"):
        named = {call.get(name) for call in paid.fact.get("calls", []) for name in ("prompt_sha256", "reply_sha256")}
        for sha256 in sorted(named - {None, "", *texts}):
            found.wrong.append(f"{run.name}.{slot} names {sha256} as said in a model call, which is not frozen")


def _citations(report: Json | None) -> Iterable[Json]:
    for section in report["sections"] if report else []:
        for claim in section["claims"]:
            yield from claim["citations"]


def _digest(run: Run, *, before: int) -> str:
    seen = [message for _, message in run.under("accepted", "plan", "fetch") if message.seq < before]
    lines = "".join(sorted(f"{message.subject} {hashlib.sha256(message.data).hexdigest()}\n" for message in seen))
    return hashlib.sha256(lines.encode()).hexdigest()


def _was_asked_for(run: Run, slot: str, seq: int) -> bool:
    box, number, *index = slot.split(".")
    kind = "synthesize" if box == "synthesis" else box
    task = run.first(f"task.{kind}.{number}.{index[0] if index else 0}.1")
    return task is not None and task.seq < seq


def _check_answers(log: list[Stored], runs: Mapping[str, Run], named: Mapping[int, str], found: Findings) -> None:
    """Every contract message led to one box or one refusal, or said again what was recorded."""
    boxes = [message for run in runs.values() for _, message in run.under("decision", "completed")]
    answered = Counter(message.fact.get("message_seq") for message in boxes)
    answered.update(message.fact["request_seq"] for run in runs.values() for _, message in run.under("accepted"))
    answered.update(message.fact["seq"] for message in log if message.subject.startswith("research.invalid."))
    for message in log:
        if message.subject not in _CONTRACT or answered[message.seq] == 1:
            continue
        if answered[message.seq] or not _says_again(message, runs, named):
            found.wrong.append(f"{message.subject} at {message.seq} was answered {answered[message.seq]} times")


def _says_again(message: Stored, runs: Mapping[str, Run], named: Mapping[int, str]) -> bool:
    """Whether this is a request that was made before, under the same name."""
    try:
        name = named.get(message.seq) or message.event.get("run_id")
    except (ValueError, AttributeError):
        return False
    return message.subject == _CONTRACT[0] and name in runs


def _longest_stall(log: list[Stored]) -> float:
    asked = [message.at for message in log if message.subject == "research.requested"]
    if not asked:
        return 0.0
    ended = [message.at for message in log if message.subject.endswith(".completed") and message.at <= asked[-1]]
    marks = [asked[0], *ended, asked[-1]]
    return round(max((after - before).total_seconds() for before, after in pairwise(marks)), 2)


async def read(connection: Client, stream: str) -> list[Stored]:
    """Everything that a stream holds, in order."""
    js = connection.jetstream(timeout=30)
    last = (await js.stream_info(stream)).state.last_seq
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True)
    order = await js.pull_subscribe(">", stream=stream, config=config)
    messages: list[Stored] = []
    while last and (not messages or messages[-1].seq < last):
        for message in await order.fetch(_PAGE, timeout=10):
            where = message.metadata
            messages.append(Stored(message.subject, where.sequence.stream, where.timestamp, message.data))
    await order.unsubscribe()
    return messages


async def check_server(
    urls: list[str],
    *,
    acknowledged: Iterable[str] | None = None,
    heard: Mapping[str, int] | None = None,
    journal: Iterable[Json] = (),
) -> tuple[Json, Findings]:
    """`check` what is stored on these servers. Raises `NotFoundError` where there is no log."""
    connection = await nats.connect(urls)
    try:
        log = await read(connection, "RESEARCH")
        completions = await read(connection, "COMPLETIONS")
        texts = frozen(await read(connection, "EVIDENCE"))
    finally:
        await connection.close()
    return check(log, completions, acknowledged=acknowledged, heard=heard, journal=journal, texts=texts)


def say(found: Findings) -> None:
    """Name everything that is wrong, for a person."""
    for name in _NAMES:
        for what in getattr(found, name):
            print(f"{name}: {what}", file=sys.stderr)


def main() -> None:
    """Check the log of a server, and end with 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.checker", description="Check what a log holds.")
    parser.add_argument("--nats", metavar="URL", required=True, help="servers, separated by commas")
    parser.add_argument("--acknowledged", type=Path, metavar="FILE", help="run ids, one a line")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="tasks as workers began them, one JSON a line")
    asked = parser.parse_args()
    try:
        line, found = asyncio.run(
            check_server(
                asked.nats.split(","),
                acknowledged=asked.acknowledged.read_text().split() if asked.acknowledged else None,
                journal=map(json.loads, asked.journal.read_text().splitlines()) if asked.journal else (),
            )
        )
    except NotFoundError:
        sys.exit(f"There is no log on {asked.nats}.")
    print(json.dumps(line))
    say(found)
    sys.exit(not found.ok)


if __name__ == "__main__":
    main()
