"""Parameters that several routes take, with their limits."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import Header, Path, Query, Response
from pydantic import AwareDatetime

from services.coordinator.http.problems import ProblemError
from shared.contracts.subjects import TOKEN
from shared.domain.run import STATUSES

SEQUENCE: Final = "Dossier-Sequence"
"""Header of every answer: how far the log is folded that it was made from. A request that names one waits for it."""
WAIT_S: Final = 2.0

RunId = Annotated[str, Path(pattern=f"^{TOKEN.pattern}$")]
Since = Annotated[int, Header(alias=SEQUENCE, ge=0)]
Statuses = Annotated[list[str] | None, Query(description="May be given more than once")]
Cursor = Annotated[str | None, Query(pattern="^[0-9]{1,18}$")]
Limit = Annotated[int, Query(ge=1, le=200)]
Text = Annotated[str, Query(max_length=200)]
Code = Annotated[str, Query(max_length=100)]
Moment = AwareDatetime | None
Key = Annotated[str | None, Header(min_length=1, max_length=256)]
"""`Idempotency-Key`."""


def checked_statuses(statuses: Sequence[str] | None) -> Sequence[str]:
    """The statuses, unchanged; empty for None. Raises `ProblemError` (`invalid_field`) for one that no run can have."""
    for name in statuses or ():
        if name not in STATUSES:
            known = ", ".join(STATUSES)
            raise ProblemError("invalid_field", f"status: {name} is none of {known}.", field="status")
    return statuses or ()


def locate_run(response: Response, run_id: str, seq: int) -> str:
    """Path of a run that was asked for at `seq`; sets `Location` and `Dossier-Sequence` of the response."""
    location = f"/v1/runs/{run_id}"
    response.headers["Location"] = location
    response.headers[SEQUENCE] = str(seq)
    return location
