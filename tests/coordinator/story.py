"""A run told in facts: given these, then owed those."""

from datetime import UTC, datetime, timedelta
from functools import reduce

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import (
    Call,
    Citation,
    CitedSource,
    Claim,
    Estimate,
    Failure,
    Passage,
    Report,
    Section,
    Source,
    usage_of,
)
from shared.contracts.facts import (
    AttemptFailed,
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
    FetchFailed,
    FetchFound,
    HoldOpened,
    PlanFailed,
    PlanMade,
    RunAccepted,
    RunCompleted,
    SynthesisFailed,
    SynthesisWritten,
    TaskIssued,
)
from shared.contracts.subjects import Slot, Step
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask
from shared.domain.budget import Writer
from shared.domain.decoding import recorded
from shared.domain.owed import Owed, owed
from shared.domain.run import Recorded, Run, evolve

RUN = "run-1"
START = datetime(2026, 1, 1, tzinfo=UTC)
DEADLINE = START + timedelta(hours=2)
PLAN = Step(RUN, "plan", 1)
SYNTHESIZE = Step(RUN, "synthesize", 1)
FETCH_0, FETCH_1 = Step(RUN, "fetch", 1, 0), Step(RUN, "fetch", 1, 1)
TEXT = "Cats purr. Dogs bark."
SOURCE = Source("a" * 64, "Animals", "docs/animals.md", "docs", (Passage(TEXT, 0),))
OTHER = Source("b" * 64, "Plants", "docs/plants.md", "docs", (Passage("Trees grow slowly.", 100),))
ERROR = Failure("boom", "It went boom.")

Told = tuple[Slot, Fact]


def box(name: str, round_: int = 0) -> Slot:
    return Slot(RUN, name, round_)  # type: ignore[arg-type]


def accepted(*, approval: str = "required", timeout_s: float = 7_200.0, max_cost_usd: float | None = None) -> Told:
    fact = RunAccepted(
        q="What do cats do?",
        request_seq=1,
        request_sha256="0" * 64,
        approval=approval,
        approval_timeout_s=timeout_s,
        max_cost_usd=max_cost_usd,
    )  # type: ignore[arg-type]
    return box("accepted"), fact


def call(agent: str = "planner", cost_usd: float | None = 0.25) -> Call:
    """A model call that cost so much."""
    return Call(agent, f"m-{agent}", f"{agent}.v1", 100, 10, cost_usd)


def planned(*queries: str, round_: int = 1, planner: str = "offline", calls: tuple[Call, ...] = ()) -> Told:
    made = PlanMade(queries=queries or ("cats", "dogs"), planner=planner, calls=calls, usage=usage_of(calls))
    return Step(RUN, "plan", round_).outcome, made


PLAN_FAILED: Told = (PLAN.outcome, PlanFailed(error=ERROR))
PLAN_ISSUED: Told = (PLAN.task(1), TaskIssued(task=PlanTask("What do cats do?")))


def found(index: int, *sources: Source, round_: int = 1) -> Told:
    return Step(RUN, "fetch", round_, index).outcome, FetchFound(query=f"q{index}", sources=sources or (SOURCE,))


def not_found(index: int, *, round_: int = 1) -> Told:
    return Step(RUN, "fetch", round_, index).outcome, FetchFailed(query=f"q{index}", error=ERROR)


def attempt_failed(step: Step, number: int, *, code: str = "boom", calls: tuple[Call, ...] = ()) -> Told:
    return step.attempt(number), AttemptFailed(error=Failure(code, "It went boom."), duration_s=1.0, calls=calls)


def issued(step: Step, number: int) -> Told:
    task = {
        "plan": PlanTask("What do cats do?"),
        "fetch": FetchTask("cats"),
        "synthesize": SynthesizeTask("What do cats do?", "", ()),
    }[step.kind]
    return step.task(number), TaskIssued(task=task)


def hold(
    round_: int = 1,
    *,
    deadline: datetime = DEADLINE,
    of: str = "d" * 64,
    estimate: Estimate | None = None,
    spent_usd: float = 0.0,
) -> Told:
    opened = HoldOpened(digest=of, deadline=deadline, estimate=estimate, spent_usd=spent_usd)
    return box("hold", round_), opened


def approved(round_: int = 1, *, exclude: tuple[str, ...] = (), max_cost_usd: float | None = None) -> Told:
    fact = DecisionApproved(by="ada", via="api", exclude=exclude, digest="d" * 64, max_cost_usd=max_cost_usd)
    return box("decision", round_), fact


def rejected(round_: int = 1) -> Told:
    return box("decision", round_), DecisionRejected(by="ada", via="api", comment="Too thin.")


def revised(
    round_: int = 1,
    *,
    exclude: tuple[str, ...] = (),
    add: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    max_cost_usd: float | None = None,
) -> Told:
    fact = DecisionRevised(
        by="ada",
        via="api",
        feedback="More on dogs.",
        exclude=exclude,
        queries_add=add,
        queries_drop=drop,
        max_cost_usd=max_cost_usd,
    )
    return box("decision", round_), fact


def expired(round_: int = 1) -> Told:
    return box("decision", round_), DecisionExpired(by="deadline", via="deadline")


def report(*citations: Citation) -> Report:
    claims = tuple(Claim(citation.quote, (citation,)) for citation in citations)
    cited = dict.fromkeys(citation.sha256 for citation in citations)
    sources = tuple(CitedSource(n, sha256, "t", "l") for n, sha256 in enumerate(cited, 1))
    return Report((Section("", claims),), sources, "offline")


def written(*citations: Citation, round_: int = 1, calls: tuple[Call, ...] = ()) -> Told:
    of = citations or (Citation(SOURCE.sha256, "Cats purr.", 0),)
    made = SynthesisWritten(digest="d" * 64, report=report(*of), calls=calls, usage=usage_of(calls))
    return Step(RUN, "synthesize", round_).outcome, made


SYNTHESIS_FAILED: Told = (SYNTHESIZE.outcome, SynthesisFailed(error=ERROR))


def completed(outcome: str = "reported") -> Told:
    return box("completed"), RunCompleted(run_id=RUN, ok=outcome == "reported", outcome=outcome)  # type: ignore[arg-type]


def stored(told: Told, seq: int, *, at: datetime = START) -> Recorded:
    """The fact as the log would hand it over."""
    slot, fact = told
    data = envelope.encode(slot, Event(fact, "test", at))
    return recorded(slot, data, seq=seq, stored_at=at)


def fold(*facts: Recorded) -> Run:
    return reduce(evolve, facts, Run(RUN))


class Story:
    """Facts so far, and a moment."""

    def __init__(self, *told: Told) -> None:
        self._told = told
        self._now = START
        self._writer: Writer | None = None

    def with_writer(self, writer: Writer) -> "Story":
        self._writer = writer
        return self

    def at(self, now: datetime) -> "Story":
        self._now = now
        return self

    @property
    def run(self) -> Run:
        return fold(*(stored(told, seq) for seq, told in enumerate(self._told, 1)))

    @property
    def owed(self) -> Owed:
        return owed(self.run, self._now, self._writer)

    def then_owed(self, *slots: Slot) -> tuple[Fact, ...]:
        """Exactly these slots are owed; the facts for them."""
        assert [slot.path for slot, _ in self.owed.facts] == [slot.path for slot in slots]
        return tuple(fact for _, fact in self.owed.facts)

    def then_nothing_before(self, wake_at: datetime | None) -> None:
        assert self.owed == Owed((), wake_at)


def given(*told: Told) -> Story:
    return Story(*told)
