"""The one place where a person's word is taken over HTTP: read what is recorded, judge, fill the box, tell who won."""

import asyncio
from datetime import timedelta
from typing import Final

from services.coordinator.engine.fold import read
from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.observe import Observe, unobserved
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import RunCompleted
from shared.contracts.messages import Fill
from shared.contracts.requests import Extension, Ruling
from shared.contracts.subjects import Slot, live_cancelled, parse_slot
from shared.domain.approval import person, voter
from shared.domain.decisions import Judgement, Refuse, Said, Take, Verb, judge_ruling
from shared.domain.decoding import recorded
from shared.domain.encoding import SOURCE
from shared.domain.extension import judge_extension, next_box
from shared.domain.roles import Principal, may_cancel_any
from shared.domain.run import Run, evolve
from shared.errors import NoRoom, Refused, Unavailable
from shared.runtime import clock
from shared.runtime.dataref import whole
from shared.runtime.log import Filled, Log, Stored

_DEADLINE_PASSES_S: Final = 2.0
_FOLDED_S: Final = 2.0
"""How long a decision waits for the evidence that it is on to be folded here."""
_ANSWER_WITHIN_S: Final = 5.0
_TRIES: Final = 5
_EXPIRES_WITHIN_S: Final = 1.0
"""So long after its deadline the leader may still let a hold expire on an end of the log that it read before."""
_NOT_KNOWN: Final = "NATS has not answered in time; whether this is recorded is not known."


class Desk:
    """Takes decisions. Any coordinator may, leading or not: the boxes say who was first."""

    def __init__(
        self,
        log: Log,
        coordinator: Coordinator,
        *,
        digest_required: bool,
        rounds: int = 5,
        observe: Observe = unobserved,
    ) -> None:
        self._log = log
        self._coordinator = coordinator
        self._digest_required = digest_required
        self._rounds = rounds
        self._observe = observe

    async def rule(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Refuse | None, Run | None]:
        """Take the decision, or say why not. The run is as the stream's leader has it, the decision included."""
        session = await self._coordinator.session()
        run, judgement = await self._judged(verb, ruling, who)
        if isinstance(judgement, Refuse) and judgement.code == "too_late":
            await self._expiry(ruling.run_id)
            return await self._lost(verb, ruling, who)
        if isinstance(judgement, Refuse):
            return judgement, run
        assert isinstance(judgement, Take)
        return await self._fill(verb, ruling, judgement, run, who, session=session)

    async def extend(self, wish: Extension, who: Principal) -> tuple[Refuse | None, Run | None]:
        """Have a hold wait until `wish.deadline`, or say why not. The run is as the stream's leader has it.

        Said twice it is done once: the answer is read back, never taken from the write. So it is true whoever was
        first in the box, and however late the write was stored.
        """
        session = await self._coordinator.session()
        for _ in range(_TRIES):
            run, judgement = await self._judged_extension(wish, who)
            if not isinstance(judgement, Take):
                break
            await self._extended(judgement, run, session)
        else:
            raise Unavailable(_NOT_KNOWN)
        if isinstance(judgement, Refuse) and judgement.code == "too_late":
            await self._expiry(wish.run_id)
            run, judgement = await self._judged_extension(wish, who)
        return judgement if isinstance(judgement, Refuse) else None, run

    async def _judged_extension(self, wish: Extension, who: Principal) -> tuple[Run | None, Judgement]:
        run, end = await asyncio.gather(self._as_recorded(wish.run_id, who), self._log.end())
        return run, judge_extension(wish, run, at=end.time, auth=who.auth)

    async def _extended(self, take: Take, run: Run | None, session: int) -> None:
        """Write it. In the deadline's last moment, wait as well for a leader who has read the log already."""
        assert run
        assert run.current.deadline
        event = Event(take.fact, SOURCE, clock.now(), run.traceparent)
        filled = await self._written(Fill(take.slot.subject, envelope.encode(take.slot, event)), session)
        if isinstance(filled, Refused):
            raise filled
        if run.current.deadline - self._coordinator.now() < timedelta(seconds=_EXPIRES_WITHIN_S):
            await asyncio.sleep(_EXPIRES_WITHIN_S)

    async def _expiry(self, run_id: str) -> None:
        """Wait a moment for what is bound to be written, now that the deadline has passed."""
        await self._coordinator.wait_until(
            run_id, 0, lambda known: known.current.decision is not None, within_s=_DEADLINE_PASSES_S
        )

    async def _fill(
        self, verb: Verb, ruling: Ruling, take: Take, run: Run | None, who: Principal, *, session: int
    ) -> tuple[Refuse | None, Run | None]:
        trace = run.traceparent if run else None
        data = envelope.encode(take.slot, Event(take.fact, SOURCE, clock.now(), trace))
        filled = await self._written(Fill(take.slot.subject, data), session)
        if isinstance(filled, Refused):
            raise filled
        seq = filled.seq if isinstance(filled, Stored) else await self._seq_of(take.slot, data)
        if seq is None:
            return await self._lost(verb, ruling, who)
        if isinstance(take.fact, RunCompleted):
            await self._log.hint(live_cancelled(ruling.run_id), b"")
        it = recorded(take.slot, data, seq=seq, stored_at=clock.now())
        decided = evolve(run or Run(ruling.run_id), it)
        self._observe(decided, it)
        return None, decided

    async def _seq_of(self, slot: Slot, data: bytes) -> int | None:
        """Where these very bytes stand: an earlier try of the same write filled the box, and its answer was lost."""
        stored = (await self._log.last([slot.subject], leader=True)).get(slot.subject)
        return stored.seq if stored and stored.data == data else None

    async def _written(self, fill: Fill, session: int) -> Filled:
        """What becomes of it, if that turns out while somebody still waits for the answer.

        It is written in the session in which it was judged, or not at all: in another the log may be another.
        """
        if trouble := self._log.trouble:
            raise NoRoom(trouble)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                [filled] = await self._log.fill([fill], session=session)
        except TimeoutError as error:
            raise NoRoom(self._log.trouble) if self._log.trouble else Unavailable(_NOT_KNOWN) from error
        return filled

    async def _judged(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Run | None, Judgement]:
        """The run as it is recorded, and what follows for it now: by the log's clock, whatever this machine's says."""
        run, end = await asyncio.gather(self._as_recorded(ruling.run_id, who), self._log.end())
        if run and verb == "cancel" and not _may_cancel(run, who):
            return run, Refuse("not_yours", f"Run {run.id} is not yours; an approver may cancel it.")
        if run and verb != "cancel" and not run.current.hold and not run.current.decision and not run.completed:
            return run, Refuse("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
        judgement = judge_ruling(
            verb,
            ruling,
            run,
            at=end.time,
            via="api",
            digest_required=self._digest_required,
            rounds=self._rounds,
            auth=who.auth,
            rules=self._coordinator.rules,
        )
        return run, judgement

    async def _lost(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Refuse, Run | None]:
        """The refusal of a decision that came second."""
        run, judgement = await self._judged(verb, ruling, who)
        assert not isinstance(judgement, Said)
        decided = Refuse("decided", f"Run {ruling.run_id} is decided.")
        return judgement if isinstance(judgement, Refuse) else decided, run

    async def _as_recorded(self, run_id: str, who: Principal) -> Run | None:
        """The run as the projection knows it, brought up to date on what decides from the stream's leader.

        A decision refers to the evidence of its hold, so that has to be folded as well: the hold came after it.
        """
        run = await self._with_decisions(run_id, who)
        if run and run.current.hold and run.current.hold.seq > self._coordinator.fold.seq:
            await self._coordinator.folded(run.current.hold.seq, within_s=_FOLDED_S)
            run = await self._with_decisions(run_id, who)
        return run

    async def _with_decisions(self, run_id: str, who: Principal) -> Run | None:
        """The run as the projection knows it, with what it may not know of decisions, holds and their own vote."""
        run = self._coordinator.fold.peek(run_id)
        read_: list[Slot] = []
        while read_ != (read_ := _deciding(run or Run(run_id), who)):
            messages = await self._log.last([slot.subject for slot in read_], leader=True)
            run = run or (Run(run_id) if messages else None)
            for message in messages.values():
                slot = parse_slot(message.subject)
                assert slot
                assert run
                run = evolve(run, read(slot, await whole(self._log, message)))
        return run


def _deciding(run: Run, who: Principal) -> list[Slot]:
    """What decides on a run as far as it is known, and may have been filled since."""
    rounds = (run.round, run.round + 1)
    slots = [Slot(run.id, "accepted"), Slot(run.id, "completed"), next_box(run)]
    slots += [Slot(run.id, box, number) for number in rounds for box in ("hold", "decision")]
    if name := person(who.name, who.auth, trusts_nats=False):
        slots.append(Slot(run.id, "vote", run.round, voter=voter(name)))
    return slots


def _may_cancel(run: Run, who: Principal) -> bool:
    """Whether they may cancel anything, or it is vouched for that they asked."""
    if may_cancel_any(who) or run.accepted is None:
        return True
    asked = run.accepted.fact
    requester = person(asked.requested_by, asked.auth, trusts_nats=False)
    return requester is not None and requester == person(who.name, who.auth, trusts_nats=False)
