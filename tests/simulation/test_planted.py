"""The simulation sees what it is there for: each bug here is planted in the product, and caught in a few stories."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from msgspec.structs import replace

from services.coordinator.engine import owed_writes, pending
from services.coordinator.engine.approvals import Approvals
from services.coordinator.engine.fold import Fold
from services.coordinator.engine.leader import Leader
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.pending import PendingMessages
from services.coordinator.engine.writer import RunWriter, Written
from shared.contracts.facts import FetchFound
from shared.contracts.messages import Message
from shared.contracts.subjects import Step
from shared.contracts.tasks import Task
from shared.contracts.topology import Limits
from shared.domain import inbound, owed, run
from shared.domain.decisions import Duplicate, Judgement, Reject
from shared.domain.inbound import Inbound, decide_inbound
from shared.domain.owed import NOTHING, Owed
from shared.domain.run import Entry, Recorded, Round, Run
from shared.nats.horizon import Horizon
from shared.runtime import clock
from shared.service import worker
from shared.service.intake import TaskIntake
from shared.service.worker import Job, Worker
from tests.simulation.telling import first_broken

WITHIN: Final = 100
"""Stories, at most, until a bug is seen. Most are seen in the first few."""
RARE: Final = {"tell_everybody_that_they_won": 145, "judge_a_decision_by_when_it_is_read": 30, "never_let_go": 60}
"""Where to begin with those that take a coincidence, to be quicker."""

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_writing(patch: pytest.MonkeyPatch) -> None:
    record = Worker._record

    async def hasty(self: Worker, job: Job, *fact: Any) -> None:
        await job.delivery.ack()
        await record(self, job, *fact)

    patch.setattr(Worker, "_record", hasty)


def fold_only_what_comes_in_order(patch: pytest.MonkeyPatch) -> None:
    evolve_round = run._evolve_round

    def strict(round_: Round, it: Recorded, fact: Any) -> Round:
        if isinstance(fact, FetchFound) and round_.plan is None:
            return round_
        return evolve_round(round_, it, fact)

    patch.setattr(run, "_evolve_round", strict)


def let_the_last_fact_of_a_box_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run, "_earlier_entry", lambda box, it, fact: Entry(it.seq, it.time, it.sha256, fact))


def owe_a_task_again_under_another_attempt(patch: pytest.MonkeyPatch) -> None:
    step = owed._step

    def twice(round_: Round, of: Step, task: Task, now: Any) -> Owed:
        due = step(round_, of, task, now)
        if due == NOTHING and of.task(2).path not in round_.issued:
            return Owed(((of.task(2), owed.TaskIssued(task=task)),))
        return due

    patch.setattr(owed, "_step", twice)


def judge_a_decision_by_when_it_is_read(patch: pytest.MonkeyPatch) -> None:
    judge = inbound.decide_ruling

    def late(*said: Any, at: Any, **more: Any) -> Judgement:
        return judge(*said, at=clock.now(), **more)

    patch.setattr(inbound, "decide_ruling", late)


def lose_an_early_decision(patch: pytest.MonkeyPatch) -> None:
    judge = decide_inbound

    def hasty(message: Inbound, of: Run | None, *more: Any, **named: Any) -> Judgement:
        early = of and of.current.hold is None and message.verb in ("approve", "reject")
        return Duplicate() if early else judge(message, of, *more, **named)

    patch.setattr(owed_writes, "decide_inbound", hasty)


def refuse_an_early_decision(patch: pytest.MonkeyPatch) -> None:
    judge = decide_inbound

    def strict(message: Inbound, of: Run | None, *more: Any, **named: Any) -> Judgement:
        early = of and of.accepted and of.current.hold is None and message.verb in ("approve", "reject")
        return Reject("not_held", "It is not on hold yet.") if early else judge(message, of, *more, **named)

    patch.setattr(owed_writes, "decide_inbound", strict)


def expire_before_folding_to_the_end(patch: pytest.MonkeyPatch) -> None:
    async def impatient(self: Leader) -> bool:
        self._is_set_up = True
        self._frontier.advance(self._frontier.now())
        self._fold.touch_due(self._frontier.proven, limit=owed_writes.BATCH)
        return True

    patch.setattr(Leader, "_is_current", impatient)


def forget_what_a_follower_has_read(patch: pytest.MonkeyPatch) -> None:
    write_owed = Coordinator._write_owed

    async def forgetful(self: Coordinator) -> None:
        if not self.leads:
            for waiting in self.fold.pending.oldest(pending.IN_MEMORY):
                self.fold.pending.drop(waiting.message.seq)
        await write_owed(self)

    patch.setattr(Coordinator, "_write_owed", forgetful)


def save_no_message_that_waits(patch: pytest.MonkeyPatch) -> None:
    changes = PendingMessages.changes
    patch.setattr(PendingMessages, "changes", lambda self: ((), changes(self)[1]))


def ignore_the_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Limits, "in_flight", lambda self, kind: 1_000)


def never_read_whether_it_is_done(patch: pytest.MonkeyPatch) -> None:
    async def unread(self: Worker, jobs: Sequence[Job]) -> set[str]:
        return set()

    patch.setattr(TaskIntake, "_filled_results", unread)


def take_a_young_first_delivery_for_fresh(patch: pytest.MonkeyPatch) -> None:
    def is_young(self: Horizon, message: Message, deliveries: int) -> bool:
        return deliveries == 1 and abs((clock.now() - message.time).total_seconds()) < 1.0

    patch.setattr(Horizon, "admit", is_young)


def keep_the_horizon_over_a_restart_of_the_server(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Horizon, "reset", lambda self: None)


def never_let_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker, "ACK_WAIT_S", 10_000.0)


def use_what_was_excluded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owed, "decided_findings", lambda of: of.findings())


def open_the_hold_on_other_evidence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owed, "digest", lambda of: "d" * 64)


def tell_everybody_that_they_won(patch: pytest.MonkeyPatch) -> None:
    read = RunWriter.read_winners

    async def won(self: RunWriter, lost: Any) -> list[Written]:
        return [Written(each.fact) for each in await read(self, lost)]

    patch.setattr(RunWriter, "read_winners", won)


def forget_the_deadline(patch: pytest.MonkeyPatch) -> None:
    looked = Fold.schedule
    patch.setattr(Fold, "schedule", lambda self, of, wake_at: looked(self, of, None))


def expire_at_the_first_deadline(patch: pytest.MonkeyPatch) -> None:
    hold = owed._hold

    def hasty(of: Run, request: Any, number: int, round_: Round, now: Any) -> Owed:
        return hold(of, request, number, replace(round_, extensions={}), now)

    patch.setattr(owed, "_hold", hasty)


def count_an_extension_that_came_too_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Round, "valid_extensions", lambda self: sorted(self.extensions.values(), key=lambda box: box.seq))


def answer_an_extension_without_reading_it_back(patch: pytest.MonkeyPatch) -> None:
    judged = Approvals._judged_extension
    asked: set[tuple[Approvals, str]] = set()

    async def once(self: Approvals, wish: Any, who: Any) -> tuple[Run | None, Judgement]:
        of, follows = await judged(self, wish, who)
        said = (self, wish.by) in asked
        asked.add((self, wish.by))
        return of, Duplicate() if said else follows

    patch.setattr(Approvals, "_judged_extension", once)


PLANTS: Final[tuple[Plant, ...]] = (
    acknowledge_before_writing,
    fold_only_what_comes_in_order,
    let_the_last_fact_of_a_box_stay,
    owe_a_task_again_under_another_attempt,
    judge_a_decision_by_when_it_is_read,
    lose_an_early_decision,
    refuse_an_early_decision,
    expire_before_folding_to_the_end,
    forget_what_a_follower_has_read,
    save_no_message_that_waits,
    ignore_the_limit,
    never_read_whether_it_is_done,
    take_a_young_first_delivery_for_fresh,
    keep_the_horizon_over_a_restart_of_the_server,
    never_let_go,
    use_what_was_excluded,
    open_the_hold_on_other_evidence,
    tell_everybody_that_they_won,
    forget_the_deadline,
    expire_at_the_first_deadline,
    count_an_extension_that_came_too_late,
    answer_an_extension_without_reading_it_back,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_seen(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    first = RARE.get(plant.__name__, 0)
    assert first_broken(range(first, first + WITHIN)) is not None
