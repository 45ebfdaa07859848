"""What was measured, as one table: each figure, and beside it what was kept where that differs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from tests.evals.comparison import cost, is_dearer
from tests.evals.figures import Figures

_COLUMNS: Final[Mapping[str, Callable[[Figures], str]]] = {
    "outcome": lambda it: f"{it.outcome}, degraded" if it.degraded else it.outcome,
    "plan": lambda it: it.plan or "valid",
    "located": lambda it: f"{it.located}/{it.quotes}",
    "dropped": lambda it: str(it.dropped),
    "supported": lambda it: f"{it.supported}/{it.claims}",
    "facts": lambda it: f"{it.facts - len(it.missing)}/{it.facts}",
    "cost": cost,
}
_IS_WORSE: Final[Mapping[str, Callable[[Figures, Figures], bool]]] = {
    "outcome": lambda now, kept: (now.outcome, now.degraded) != (kept.outcome, kept.degraded),
    "plan": lambda now, kept: bool(now.plan),
    "located": lambda now, kept: now.located < now.quotes,
    "dropped": lambda now, kept: now.dropped > kept.dropped,
    "supported": lambda now, kept: now.support < kept.support,
    "facts": lambda now, kept: now.coverage < kept.coverage,
    "cost": is_dearer,
}


def table(measured: Mapping[str, Figures], kept: Mapping[str, Figures]) -> Table:
    """A row for each case, and one for them all."""
    made = Table("case", *_COLUMNS, "asked otherwise than recorded", box=None, pad_edge=False)
    for name, now in measured.items():
        made.add_row(name, *_cells(now, kept.get(name)), _deviations(now))
    made.add_section()
    both = kept.keys() & measured.keys()
    before = total(kept[name] for name in both) if len(both) == len(measured) else None
    made.add_row("all", *_cells(total(measured.values()), before), style="bold")
    return made


def _cells(now: Figures, kept: Figures | None) -> Iterable[Text]:
    for column, said in _COLUMNS.items():
        if kept is None or said(now) == said(kept):
            yield Text(said(now), style="red" if kept is None and _IS_WORSE[column](now, now) else "")
        else:
            style = "red" if _IS_WORSE[column](now, kept) else "green"
            yield Text.assemble((said(now), style), (f" (was {said(kept)})", "dim"))


def _deviations(now: Figures) -> Text:
    parts = [f"prompt changed: {', '.join(now.changed)}"] if now.changed else []
    parts += [f"not recorded: {', '.join(now.unrecorded)}"] if now.unrecorded else []
    return Text("; ".join(parts), style="yellow")


def total(figures: Iterable[Figures]) -> Figures:
    """All of them as one."""
    each = list(figures)
    costs = [one.cost_usd for one in each if one.cost_usd is not None]
    return Figures(
        outcome=f"{sum(one.outcome == 'reported' for one in each)} reported",
        degraded=False,
        plan=next((one.plan for one in each if one.plan), ""),
        quotes=sum(one.quotes for one in each),
        located=sum(one.located for one in each),
        dropped=sum(one.dropped for one in each),
        claims=sum(one.claims for one in each),
        supported=sum(one.supported for one in each),
        facts=sum(one.facts for one in each),
        missing=tuple(fact for one in each for fact in one.missing),
        calls=sum(one.calls for one in each),
        cost_usd=sum(costs) if costs else None,
    )
