"""What is done with stories: told with less going wrong until that is all it takes, and written down for a person."""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from tests.simulation.scenario import Scenario, scenario
from tests.simulation.world import Told, tell

_DULL = ("renew lead",)


def replayed(seed: int, kept: Sequence[int] | None = None) -> Scenario:
    """The story of a seed, with only those of its faults, by their place."""
    whole = scenario(seed)
    return whole if kept is None else replace(whole, faults=tuple(whole.faults[place] for place in kept))


def shrunk(seed: int) -> tuple[list[int], Told]:
    """The places of the faults without which nothing goes wrong, and the story with only these."""
    kept, told = list(range(len(scenario(seed).faults))), tell(scenario(seed))
    for place in list(kept):
        fewer = [each for each in kept if each != place]
        attempt = tell(replayed(seed, fewer))
        if attempt.wrong:
            kept, told = fewer, attempt
    return kept, told


def account(told: Told, kept: Sequence[int]) -> Iterable[str]:
    """The story in lines: what was to go wrong, what happened, and what came of it."""
    it = told.scenario
    yield f"Seed {it.seed}: {len(it.asks)} messages that ask, {len(it.words)} words, {it.temper}, pace {it.pace_s} s"
    yield from (f"  fault {place}: {fault}" for place, fault in zip(kept, it.faults, strict=True))
    for number, (at, who, what) in enumerate(told.account, 1):
        if not what.startswith(_DULL):
            yield f"{number:5} {at:10.6f} s  {who:14} {what[:220]}"
    yield from (f"BROKEN: {text}" for text in told.wrong)
    yield f"Again: python -m tests.simulation --seed {it.seed} --faults {','.join(map(str, kept)) or 'none'}"


def explained(seed: int) -> str:
    """Why a seed fails, with as few faults as it takes."""
    kept, told = shrunk(seed)
    return "\n".join(account(told, kept))


def first_broken(seeds: Iterable[int], told_by: Callable[[Scenario], Told] = tell) -> int | None:
    """The first of these seeds whose story breaks a promise."""
    return next((seed for seed in seeds if told_by(scenario(seed)).wrong), None)
