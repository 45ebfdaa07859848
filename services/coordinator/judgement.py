"""What can follow from a contract message."""

from msgspec import Struct

from shared.contracts.facts import Fact
from shared.contracts.subjects import Slot


class Take(Struct, frozen=True):
    """Write `fact` to `slot`; whether it is the first there decides."""

    slot: Slot
    fact: Fact


class Refuse(Struct, frozen=True):
    """Do nothing, and say why. `code` is one of `unknown_run`, `not_held`, `decided`, `stale_digest`,
    `digest_required`, `too_late`, `unknown_source`, `nothing_left`, `unknown_query`, `last_round`, `over_budget`,
    `clash`, of a fork `not_that_far` or `unfit_edit`, or that of an `InvalidMessage`."""

    code: str
    message: str
    field: str = ""


class Said(Struct, frozen=True):
    """It is recorded already."""


Judgement = Take | Refuse | Said
