"""What can follow from a contract message."""

from msgspec import Struct

from services.coordinator.voting import Rules
from shared.contracts.facts import Approval, Fact
from shared.contracts.subjects import Slot


class Take(Struct, frozen=True):
    """Write `fact` to `slot`; whether it is the first there decides."""

    slot: Slot
    fact: Fact


class Refuse(Struct, frozen=True):
    """Do nothing, and say why. `code` is one of `unknown_run`, `not_held`, `decided`, `stale_digest`,
    `digest_required`, `too_late`, `unknown_source`, `nothing_left`, `unknown_query`, `last_round`, `over_budget`,
    `unidentified`, `requester_unknown`, `four_eyes`, `voted`, `not_yours`, `no_auto`, `clash`, of a fork `not_that_far`
    or `unfit_edit`, or that of an `InvalidMessage`."""

    code: str
    message: str
    field: str = ""


def no_auto(approval: Approval, rules: Rules) -> Refuse | None:
    """Why a request cannot approve itself, where it matters who approves."""
    if approval != "auto" or not rules.ask_who:
        return None
    text = "approval: auto is not taken here, where it matters who approves; say that it is required."
    return Refuse("no_auto", text, "approval")


class Said(Struct, frozen=True):
    """It is recorded already."""


Judgement = Take | Refuse | Said
