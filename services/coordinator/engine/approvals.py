"""Decisions over HTTP: read what is recorded, decide, fill the slot, and report the winner."""

import asyncio
from datetime import timedelta
from typing import Final

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.writer import RunWriter, Taken, Written
from shared.contracts.requests import Extension, Ruling
from shared.contracts.subjects import Slot, parse_slot
from shared.domain.approval import verified_identity, voter_token
from shared.domain.decisions import Accept, Duplicate, Judgement, Reject, Verb, decide_ruling
from shared.domain.decoding import decode_message
from shared.domain.encoding import encode_small_fact
from shared.domain.extension import decide_extension, next_extension_slot
from shared.domain.roles import Principal, can_cancel_any
from shared.domain.run import Run, evolve
from shared.errors import LogFull, Refused, Unavailable
from shared.runtime import clock
from shared.runtime.dataref import load_text
from shared.runtime.log import Log

_DEADLINE_PASSES_S: Final = 2.0
_FOLDED_S: Final = 2.0
"""Time that a decision waits until its evidence is folded here."""
_ANSWER_WITHIN_S: Final = 5.0
_TRIES: Final = 5
_EXPIRES_WITHIN_S: Final = 1.0
"""Time after a deadline in which the leader may still let the hold expire, by an end of the log read before."""
_NOT_KNOWN: Final = "NATS has not answered in time; it is not known whether this is recorded."


class Approvals:
    """Records decisions and extensions. Any coordinator may, leading or not: slots decide who was first."""

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
        self._writer = RunWriter(log)
        self._coordinator = coordinator
        self._digest_required = digest_required
        self._rounds = rounds
        self._observe = observe

    async def submit(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Reject | None, Run | None]:
        """Record a decision; why it is refused, or `None`, and the run as the stream's leader has it.

        A decision that lost its slot is refused as the run stands then; one whose bytes were stored by an earlier try
        has won. Raises `Unavailable` (also `LogFull` and `Diverged`), `Refused`, or `TooLarge`.
        """
        session = await self._coordinator.session()
        run, judgement = await self._judged(verb, ruling, who)
        if isinstance(judgement, Accept):
            result = await self._write(judgement, run, session)
            return self._recorded(result, run) if isinstance(result, Written) else await self._lost(verb, ruling, who)
        assert isinstance(judgement, Reject)
        if judgement.code == "too_late":
            await self._expiry(ruling.run_id)
            return await self._lost(verb, ruling, who)
        return judgement, run

    def _recorded(self, written: Written, run: Run | None) -> tuple[None, Run]:
        """The run with its decision; calls the observer."""
        assert written.fact
        decided = evolve(run or Run(written.fact.slot.run), written.fact)
        self._observe(decided, written.fact)
        return None, decided

    async def extend(self, wish: Extension, who: Principal) -> tuple[Reject | None, Run | None]:
        """Extend a hold to `wish.deadline`; why that is refused, or `None`, and the run as the stream's leader has it.

        The result is read back, never taken from the write. So a repeated extension has no effect, and the result is
        true whichever extension was first in the slot and however late it was stored. Raises as `submit`.
        """
        session = await self._coordinator.session()
        for _ in range(_TRIES):
            run, judgement = await self._judged_extension(wish, who)
            if not isinstance(judgement, Accept):
                break
            await self._extend(judgement, run, session)
        else:
            raise Unavailable(_NOT_KNOWN)
        if isinstance(judgement, Reject) and judgement.code == "too_late":
            await self._expiry(wish.run_id)
            run, judgement = await self._judged_extension(wish, who)
        return judgement if isinstance(judgement, Reject) else None, run

    async def _judged_extension(self, wish: Extension, who: Principal) -> tuple[Run | None, Judgement]:
        """The run as it is recorded, and the judgement of the extension at the log's time."""
        run, end = await asyncio.gather(self._as_recorded(wish.run_id, who), self._log.end())
        return run, decide_extension(wish, run, at=end.time, auth=who.auth)

    async def _extend(self, accept: Accept, run: Run | None, session: int) -> None:
        """Write an extension. Just before the deadline, also wait: the leader may have read the end of the log."""
        assert run
        assert run.current.deadline
        await self._write(accept, run, session)
        if run.current.deadline - self._coordinator.now() < timedelta(seconds=_EXPIRES_WITHIN_S):
            await asyncio.sleep(_EXPIRES_WITHIN_S)

    async def _expiry(self, run_id: str) -> None:
        """Wait up to 2 s for the decision that the leader writes after a deadline."""
        await self._coordinator.wait_until(
            run_id, 0, lambda known: known.current.decision is not None, within_s=_DEADLINE_PASSES_S
        )

    async def _write(self, accept: Accept, run: Run | None, session: int) -> Written | Taken:
        """Write an accepted fact within 5 s, in the session in which it was decided: in another the log may be another.

        Raises `LogFull` if NATS has no room, `Unavailable` without an answer in time, `Refused`, or `TooLarge`.
        """
        if trouble := self._log.trouble:
            raise LogFull(trouble)
        write = encode_small_fact(accept.slot, accept.fact, run.traceparent if run else None, time=clock.now())
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                result = await self._writer.write(write, session=session, now=clock.now())
        except TimeoutError as error:
            raise LogFull(self._log.trouble) if self._log.trouble else Unavailable(_NOT_KNOWN) from error
        if isinstance(result, Refused):
            raise result
        return result

    async def _judged(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Run | None, Judgement]:
        """The run as it is recorded, and the judgement of the decision at the log's time, not this machine's.

        Over HTTP nothing is decided before a hold, and a requester may cancel only their own run.
        """
        run, end = await asyncio.gather(self._as_recorded(ruling.run_id, who), self._log.end())
        if run and verb == "cancel" and not _may_cancel(run, who):
            return run, Reject("not_yours", f"Run {run.id} is not yours; an approver may cancel it.")
        if run and verb != "cancel" and not run.current.hold and not run.current.decision and not run.completed:
            return run, Reject("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
        judgement = decide_ruling(
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

    async def _lost(self, verb: Verb, ruling: Ruling, who: Principal) -> tuple[Reject, Run | None]:
        """Refusal of a decision that was too late or not first, as the run stands now, and the run."""
        run, judgement = await self._judged(verb, ruling, who)
        assert not isinstance(judgement, Duplicate)
        decided = Reject("decided", f"Run {ruling.run_id} is decided.")
        return judgement if isinstance(judgement, Reject) else decided, run

    async def _as_recorded(self, run_id: str, who: Principal) -> Run | None:
        """The run as folded, with deciding facts that the fold lacks read from the stream's leader; or `None`.

        If the fold has not reached the current hold, waits up to 2 s for it: a decision refers to the evidence before
        it.
        """
        run = await self._with_decisions(run_id, who)
        if run and run.current.hold and run.current.hold.seq > self._coordinator.fold.seq:
            await self._coordinator.folded(run.current.hold.seq, within_s=_FOLDED_S)
            run = await self._with_decisions(run_id, who)
        return run

    async def _with_decisions(self, run_id: str, who: Principal) -> Run | None:
        """The run as folded and then brought up to date from the stream's leader; `None` if it has no fact.

        Read are acceptance, completion, holds, decisions, the next extension and the caller's vote, until none is new.
        """
        run = self._coordinator.fold.peek(run_id)
        read_: list[Slot] = []
        while read_ != (read_ := _deciding(run or Run(run_id), who)):
            messages = await self._log.last([slot.subject for slot in read_], leader=True)
            run = run or (Run(run_id) if messages else None)
            for message in messages.values():
                slot = parse_slot(message.subject)
                assert slot
                assert run
                run = evolve(run, decode_message(slot, await load_text(self._log, message)))
        return run


def _deciding(run: Run, who: Principal) -> list[Slot]:
    """Slots that decide on a run as far as it is known, and may have been filled since."""
    rounds = (run.round, run.round + 1)
    slots = [Slot(run.id, "accepted"), Slot(run.id, "completed"), next_extension_slot(run)]
    slots += [Slot(run.id, box, number) for number in rounds for box in ("hold", "decision")]
    if name := verified_identity(who.name, who.auth, trusts_nats=False):
        slots.append(Slot(run.id, "vote", run.round, voter=voter_token(name)))
    return slots


def _may_cancel(run: Run, who: Principal) -> bool:
    """Return True if the caller may cancel any run, or is verified as its requester."""
    if can_cancel_any(who) or run.accepted is None:
        return True
    asked = run.accepted.fact
    requester = verified_identity(asked.requested_by, asked.auth, trusts_nats=False)
    return requester is not None and requester == verified_identity(who.name, who.auth, trusts_nats=False)
