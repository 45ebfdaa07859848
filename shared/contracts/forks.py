"""The wish to do a run over: from which of its steps on, and what is to be otherwise."""

from typing import Final

from msgspec import Struct, field

from shared.contracts.facts import Approval
from shared.contracts.subjects import Kind

MAX_QUERIES: Final = 20
MAX_QUERY: Final = 120
"""Characters of a sub-query that a person writes."""


class Fork(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Start a new run with what `run_id` has recorded before a step, and do the rest anew.

    What is not named is as it was there. Sub-queries are named by their text; `replace` gives each
    its new one.
    """

    run_id: str
    step: Kind | None = field(name="from", default=None)
    """The first step that is done anew; without it the earliest that failed, else `plan`."""
    all: bool = False
    """From `fetch`: repeat also the fetches that brought something."""
    q: str | None = None
    replace: dict[str, str] = {}
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    approval: Approval | None = None
    approval_timeout: str | None = None
    max_cost_usd: float | None = None
    tools: tuple[str, ...] | None = None
