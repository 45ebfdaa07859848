"""Request to repeat a run from one of its steps, with changes."""

from typing import Final

from msgspec import Struct, field

from shared.contracts.facts import Approval
from shared.contracts.subjects import Kind

MAX_QUERIES: Final = 20
MAX_QUERY: Final = 120
"""Characters of a sub-query that a person writes."""


class Fork(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Start a new run with the facts that `run_id` has recorded before a step, and do the rest anew.

    Fields that are left out keep the values of the old run. Sub-queries are named by their text.
    """

    run_id: str
    """The run to repeat."""
    step: Kind | None = field(name="from", default=None)
    """The first step that is done anew; without it the earliest that failed, else `plan`."""
    all: bool = False
    """From `fetch`: also repeat the fetches that found sources."""
    q: str | None = None
    """Another question; from `plan` only."""
    replace: dict[str, str] = {}
    """Sub-queries by their text, each with its new text; from `fetch` only."""
    add: tuple[str, ...] = ()
    """Further sub-queries; from `fetch` only."""
    drop: tuple[str, ...] = ()
    """Sub-queries to leave out; from `fetch` only."""
    approval: Approval | None = None
    approval_timeout: str | None = None
    max_cost_usd: float | None = None
    tools: tuple[str, ...] | None = None
