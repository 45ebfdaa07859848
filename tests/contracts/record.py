"""Record golden logs: `python -m tests.contracts.record tests/contracts/golden_logs/v2`.

Each story is told to the code as it is now: contract messages judged, facts owed, outcomes written, over the log in
memory and on a clock of its own, so that the same code records the same bytes. A file that exists is never written
again: what a release has written every later one must fold.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from shared.contracts import envelope
from shared.contracts.envelope import HEADERS, Event
from shared.contracts.evidence import Citation, CitedSource, Claim, Failure, Passage, Report, Section, Source, Usage
from shared.contracts.facts import (
    AttemptFailed,
    DecisionRevised,
    Fact,
    FetchFailed,
    FetchFound,
    HoldExtended,
    PlanFailed,
    PlanMade,
    RequestRefused,
    SynthesisFailed,
    SynthesisWritten,
    VoteCast,
)
from shared.contracts.messages import Fill, Message
from shared.contracts.requests import Extension
from shared.contracts.subjects import APPROVED, CANCELLED, INBOUND, REJECTED, REQUESTED, Slot, Step, parse_slot
from shared.domain.approval import ANY_APPROVAL, ApprovalRules, verified_identity, voter_token
from shared.domain.decisions import Accept, Reject
from shared.domain.encoding import PendingWrite, encode_fact, encode_refusal
from shared.domain.extension import decide_extension
from shared.domain.fork import copy_fact
from shared.domain.inbound import Defaults, Inbound, decide_inbound, refusal_fact
from shared.domain.inbound import parse_inbound as read_message
from shared.domain.owed import owed
from shared.domain.run import Run
from shared.runtime.log import Stored
from shared.runtime.memory import MemoryLog
from tests.contracts.golden_log import GoldenLog, States, told

START = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
NAME = "run-1"
PLAN, SYNTHESIZE = Step(NAME, "plan", 1), Step(NAME, "synthesize", 1)
CATS, DOGS = Step(NAME, "fetch", 1, 0), Step(NAME, "fetch", 1, 1)
ERROR = Failure("reset", "The connection was reset.")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USAGE = Usage(calls=1, input_tokens=120, output_tokens=34, cost_usd=0.0005)


def source(about: str) -> Source:
    text = f"{about} are animals. Many people like {about.lower()}."
    return Source(sha256(text.encode()).hexdigest(), about, f"docs/{about.lower()}.md", "docs", (Passage(text, 0),))


class Story:
    """One log on its way. Everything that is said takes a second."""

    def __init__(self) -> None:
        self.at = START
        self.log = MemoryLog(now=self._tick)
        self.texts: dict[str, str] = {}
        self.rules = ANY_APPROVAL
        self._judged = 0

    def _tick(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    async def ask(self, q: str = "What are cats, and what are dogs?", **more: object) -> None:
        await self.publish(REQUESTED, {"q": q, "run_id": NAME, **more}, {"traceparent": TRACE})

    async def say(self, subject: str, **more: object) -> None:
        await self.publish(subject, {"run_id": NAME, "by": "ada", **more})

    async def publish(self, subject: str, body: object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await self.log.publish(subject, data, headers or {})

    async def settle(self) -> None:
        """Do all that a coordinator would do now."""
        while writes := [*self._answers(), *self._debts()]:
            for each in writes:
                await self.log.fill([each.fill])

    async def work(self, *facts: tuple[Slot, Fact], refers: bool = False) -> None:
        """What workers wrote, each followed by what a coordinator does about it."""
        for slot, fact in facts:
            event = Event(fact, f"dossier/{slot.kind or slot.name}", self.at, TRACE)
            data = envelope.encode(slot, event)
            if refers:
                reference = envelope.encode_reference(slot, event)
                self.texts[await self.log.put(reference.text)] = reference.text
                data = reference.message
            await self.write(slot.subject, data)
            await self.settle()

    async def write(self, subject: str, data: bytes) -> None:
        assert isinstance((await self.log.fill([Fill(subject, data)]))[0], Stored), subject

    async def wait(self, **how_long: float) -> None:
        """Time passes, and a coordinator looks once more."""
        self.at += timedelta(**how_long)
        await self.settle()

    def run(self) -> Run:
        return told(self.whole())[NAME]

    def whole(self) -> list[Message]:
        """The log, with what it refers to."""
        return [self._whole(message) for message in self.log.messages]

    def _whole(self, message: Message) -> Message:
        text = self.texts.get(envelope.referenced_sha256(message.data) or "")
        return msgspec.structs.replace(message, text=text.encode()) if text else message

    def _answers(self) -> list[PendingWrite]:
        """To the oldest contract message that nothing has followed yet."""
        for message in self.log.messages[self._judged :]:
            self._judged = message.seq
            if parse_slot(message.subject) or message.subject.startswith("research.invalid"):
                continue
            inbound = read_message(message)
            if isinstance(inbound, RequestRefused):
                return [encode_refusal(inbound, time=self.at)]
            if found := self._answer(message, inbound):
                return [found]
        return []

    def _answer(self, message: Message, inbound: Inbound) -> PendingWrite | None:
        runs = told(self.whole())
        source = runs.get(inbound.forks) if inbound.forks else None
        match decide_inbound(inbound, runs.get(inbound.run), Defaults(), source=source):
            case Accept(slot=slot, fact=fact):
                return encode_fact(slot, fact, inbound.traceparent or TRACE, time=self.at, answers=message.seq)
            case Reject() as why:
                return encode_refusal(refusal_fact(message.subject, message.seq, inbound.run, why), time=self.at)
            case _:
                return None

    def _debts(self) -> list[PendingWrite]:
        runs = told(self.whole())
        return [each for run in runs.values() for each in self._debts_of(run, runs)]

    def _debts_of(self, run: Run, runs: dict[str, Run]) -> list[PendingWrite]:
        due = owed(run, self.at, rules=self.rules)
        copies = [(copy.slot, copy_fact(copy, runs.get(copy.origin.run))) for copy in due.copies]
        return [encode_fact(slot, fact, run.traceparent, time=self.at) for slot, fact in (*due.facts, *copies)]


Told = Callable[[Story], Awaitable[None]]


def planned(step: Step = PLAN, *queries: str) -> tuple[Slot, Fact]:
    return step.outcome, PlanMade(queries=queries or ("cats", "dogs"), planner="gpt-4o-mini", usage=USAGE)


def found(step: Step, about: str) -> tuple[Slot, Fact]:
    return step.outcome, FetchFound(query=about.lower(), sources=(source(about),))


def failed(step: Step, attempt: int, code: str = "reset") -> tuple[Slot, Fact]:
    return step.attempt(attempt), AttemptFailed(error=Failure(code, ERROR.message), duration_s=1.5)


def report(digest: str, *abouts: str, step: Step = SYNTHESIZE) -> tuple[Slot, Fact]:
    sources = [source(about) for about in abouts]
    quotes = [(one, one.passages[0].text.split(". ")[0] + ".") for one in sources]
    claims = tuple(Claim(quote, (Citation(one.sha256, quote, 0),)) for one, quote in quotes)
    cited = tuple(CitedSource(n, one.sha256, one.title, one.location) for n, one in enumerate(sources, 1))
    written = Report((Section("", claims),), cited, "gpt-4o", gaps=() if len(abouts) > 1 else ("dogs",))
    return step.outcome, SynthesisWritten(digest=digest, report=written, usage=USAGE)


async def held(story: Story, **request: object) -> str:
    """A run up to its hold; the digest."""
    await story.ask(**request)
    await story.settle()
    await story.work(planned(), found(CATS, "Cats"), found(DOGS, "Dogs"))
    return digest_of(story)


def digest_of(story: Story, number: int = 1) -> str:
    box = story.run().in_round(number).hold
    assert box
    return box.fact.digest


async def said(story: Story, subject: str, **more: object) -> None:
    await story.say(subject, **more)
    await story.settle()


async def reported(story: Story) -> None:
    digest = await held(story)
    await said(story, APPROVED, comment="Good.", digest=digest)
    await story.work(report(digest, "Cats", "Dogs"))


async def automatic(story: Story) -> None:
    await held(story, approval="auto", requested_by="ann", max_cost_usd=0.5, tools=["docs"])
    await story.work(report(digest_of(story), "Cats", "Dogs"))


async def rejected(story: Story) -> None:
    await held(story)
    await said(story, REJECTED, comment="Off the point.")


async def expired(story: Story) -> None:
    await held(story, approval_timeout="90s")
    await story.wait(seconds=91)


async def on_hold(story: Story) -> None:
    await held(story, approval_timeout="14d")


async def cancelled(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(planned())
    await said(story, CANCELLED, comment="Not now.")


async def plan_failed(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work((PLAN.outcome, PlanFailed(error=ERROR)))


async def fetch_failed(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(planned(), found(CATS, "Cats"), (DOGS.outcome, FetchFailed(query="dogs", error=ERROR)))
    await said(story, APPROVED)
    await story.work(report(digest_of(story), "Cats"))


async def nothing_found(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(planned(PLAN, "cats"), (CATS.outcome, FetchFailed(query="cats", error=ERROR)))


async def synthesis_failed(story: Story) -> None:
    await held(story)
    await said(story, APPROVED)
    await story.work((SYNTHESIZE.outcome, SynthesisFailed(error=ERROR)))


async def beyond_the_evidence(story: Story) -> None:
    await held(story)
    await said(story, APPROVED)
    await story.work(report(digest_of(story), "Cats", "Birds"))


async def retried(story: Story) -> None:
    await story.ask()
    await story.settle()
    for attempt, pause in ((1, 1.5), (2, 3), (3, 6)):
        await story.work(failed(PLAN, attempt))
        await story.wait(seconds=pause)
    await story.work(planned(), found(CATS, "Cats"), failed(DOGS, 1))


async def interrupted(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(failed(PLAN, 1, "interrupted"), planned(), found(CATS, "Cats"))


async def revised(story: Story) -> None:
    digest = await held(story)
    again = DecisionRevised(
        by="ada", via="api", digest=digest, feedback="More on birds.", exclude=(source("Dogs").sha256,)
    )
    await story.work((Slot(NAME, "decision", 1), again))
    await story.work(planned(Step(NAME, "plan", 2), "birds"), found(Step(NAME, "fetch", 2), "Birds"))
    await said(story, APPROVED)
    await story.work(report(digest_of(story, 2), "Cats", "Birds", step=Step(NAME, "synthesize", 2)))


async def excluded(story: Story) -> None:
    digest = await held(story)
    await said(story, APPROVED, digest=digest, exclude=[source("Dogs").sha256])
    await story.work(report(digest, "Cats"))


async def decided_early(story: Story) -> None:
    await story.ask()
    await story.say(APPROVED)
    await story.settle()
    await story.work(planned(), found(CATS, "Cats"), found(DOGS, "Dogs"))


async def decided_twice(story: Story) -> None:
    await held(story)
    await said(story, REJECTED, comment="No.")
    await said(story, APPROVED)
    await said(story, APPROVED, digest="0" * 64)


async def refused(story: Story) -> None:
    await story.publish(REQUESTED, {"q": "", "run_id": NAME})
    await story.publish(REQUESTED, b"\xff")
    await story.publish(APPROVED, {"run_id": "nobody", "by": "ada"})
    await story.settle()


async def unreadable(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(planned(), found(CATS, "Cats"))
    await story.write(DOGS.outcome.subject, b"\x00 no fact \xff")
    await story.settle()


async def unknown_type(story: Story) -> None:
    await held(story)
    newer = envelope.encode(*report("", "Cats")[:1], Event(report("", "Cats")[1], "newer", story.at))
    await story.write(SYNTHESIZE.outcome.subject, newer.replace(b"synthesis.written.v1", b"synthesis.written.v9"))
    await story.settle()


async def referring(story: Story) -> None:
    await story.ask()
    await story.settle()
    await story.work(planned())
    await story.work(found(CATS, "Cats"), found(DOGS, "Dogs"), refers=True)


async def text_missing(story: Story) -> None:
    await referring(story)
    del story.texts[envelope.referenced_sha256(story.log.messages[-2].data) or ""]


async def forked(story: Story) -> None:
    await fetch_failed(story)
    await story.publish(REQUESTED, {"run_id": "run-2", "fork": {"run_id": NAME, "from": "fetch"}})
    await story.settle()
    await story.work(found(Step("run-2", "fetch", 1, 1), "Dogs"))


def vote(story: Story, name: str, **more: object) -> tuple[Slot, Fact]:
    """An approval of two that a hold needs, as the API writes it."""
    who = verified_identity(name, f"key:{name}", trusts_nats=False)
    assert who
    cast = VoteCast(by=name, via="api", auth=f"key:{name}", digest=digest_of(story), **more)  # type: ignore[arg-type]
    return Slot(NAME, "vote", 1, voter=voter_token(who)), cast


async def voted(story: Story) -> None:
    """Two of two, and a third too late."""
    story.rules = ApprovalRules(quorum=2, four_eyes=True)
    digest = await held(story)
    await story.work(vote(story, "bob", comment="Good."), vote(story, "cleo", exclude=(source("Dogs").sha256,)))
    await story.work(vote(story, "dan"), report(digest, "Cats"))


async def voted_apart(story: Story) -> None:
    """Each of two leaves out what the other keeps."""
    story.rules = ApprovalRules(quorum=2)
    await held(story)
    votes = (vote(story, name, exclude=(source(about).sha256,)) for name, about in (("bob", "Cats"), ("cleo", "Dogs")))
    await story.work(*votes)


async def extend(story: Story, until: datetime, **more: object) -> None:
    """More time for the hold, as the API writes it."""
    wish = Extension(run_id=NAME, by="ada", deadline=until, **more)  # type: ignore[arg-type]
    taken = decide_extension(wish, story.run(), at=story.at, auth="session:local")
    assert isinstance(taken, Accept)
    await story.work((taken.slot, taken.fact))


async def extended(story: Story) -> None:
    """Twice, and past both of the deadlines before."""
    await held(story, approval_timeout="90s")
    await extend(story, START + timedelta(minutes=5), comment="Ann is at lunch.")
    await story.wait(minutes=3)
    await extend(story, START + timedelta(minutes=10), digest=digest_of(story))
    await story.wait(minutes=3)
    await story.wait(minutes=6)


async def extended_late(story: Story) -> None:
    """Stored when the deadline had passed, and before anybody looked."""
    await held(story, approval_timeout="90s")
    story.at += timedelta(minutes=3)
    late = HoldExtended(by="ada", via="api", deadline=story.at + timedelta(hours=1))
    await story.work((Slot(NAME, "extension", 1, 1), late))


STORIES: tuple[Told, ...] = (
    *(reported, automatic, rejected, expired, on_hold, cancelled, plan_failed, fetch_failed, nothing_found),
    *(synthesis_failed, beyond_the_evidence, retried, interrupted, revised, excluded, decided_early, decided_twice),
    *(refused, unreadable, unknown_type, referring, text_missing, forked),
    *(voted, voted_apart, extended, extended_late),
)


def record(tell: Told) -> GoldenLog:
    """The log of a story."""

    async def telling() -> GoldenLog:
        story = Story()
        await tell(story)
        messages = [
            message if message.subject in INBOUND else msgspec.structs.replace(message, headers=HEADERS)
            for message in story.log.messages
        ]
        return GoldenLog(messages, story.texts)

    return asyncio.run(telling())


def main(folder: Path) -> None:
    """Write the logs that are not there yet, and beside each what this code makes of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for tell in STORIES:
        log, states = folder / f"{tell.__name__}.jsonl", folder / f"{tell.__name__}.json"
        if log.exists():
            print(f"{log} is there already, and stays as it is.")
            continue
        golden = record(tell)
        log.write_bytes(golden.encoded())
        states.write_bytes(States.of(golden).encoded())
        print(f"{log}: {len(golden.messages)} messages")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
