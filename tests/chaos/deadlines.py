"""The part of the checker that is about deadlines: until when a hold waits, read anew from what is stored."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from tests.chaos.stored import Run


def waits_until(hold: Any, extensions: Iterable[tuple[int, datetime, Any]]) -> datetime:
    """Until when the hold that says `hold` waits, given what its extensions say, by their place and stream time."""
    deadline = datetime.fromisoformat(hold["deadline"])
    for _, at, said in sorted(extensions, key=lambda each: each[0]):
        if at < deadline:
            deadline = max(deadline, datetime.fromisoformat(said["deadline"]))
    return deadline


def expired_early(run: Run) -> Iterator[str]:
    """Holds that expired although there was time left to decide."""
    for slot, decision in run.under("decision"):
        hold = run.first(slot.replace("decision", "hold"))
        if hold and decision.event["type"] == "decision.expired.v1":
            number = slot.split(".")[1]
            given = [each for path, each in run.under("extension") if path.split(".")[1] == number]
            deadline = waits_until(hold.fact, ((each.seq, each.at, each.fact) for each in given))
            if decision.at < deadline:
                yield f"{run.name}.{slot} expired before {deadline.isoformat()}"
