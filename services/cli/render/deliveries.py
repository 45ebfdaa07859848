"""Table of deliveries to webhook endpoints."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.cli.render.pages import ago
from services.cli.shell.terminal import printable
from shared.api.views import DeliveryPage, DeliveryView

_STATE: Final[Mapping[str, str]] = {
    "delivered": "green",
    "retrying": "yellow",
    "gave_up": "red",
    "disabled": "red",
    "moot": "dim",
}


def deliveries_table(page: DeliveryPage, now: datetime, *, fitted: bool) -> RenderableType:
    """A row for each delivery: state, number of attempts, age, and the last error with the time of the next attempt.

    A `fitted` table takes the width of the terminal. If there are older ones, a last line names the filters.
    """
    if not page.deliveries:
        return Text("No deliveries." if page.next is None else "None of the newest deliveries match.", style="dim")
    table = Table(box=None, expand=fitted, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("delivery", "event", "state", "tries", "happened"):
        table.add_column(name, no_wrap=True, justify="right" if name == "tries" else "left", min_width=len(name))
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for delivery in page.deliveries:
        table.add_row(*_cells(delivery, now))
    older = [Text("Older deliveries are left out; --endpoint, --state and --run narrow the list.", style="dim")]
    return Group(table, *(older if page.next else []))


def _cells(delivery: DeliveryView, now: datetime) -> Iterable[str | Text]:
    """The cells of a row."""
    yield printable(delivery.delivery_id)
    yield delivery.event
    yield Text(delivery.state, style=_STATE.get(delivery.state, ""))
    yield str(len(delivery.attempts) or "")
    yield Text(_when(delivery.happened_at, now), style="dim")
    yield Text(printable(_reason(delivery, now)), style="" if delivery.state in ("retrying", "gave_up") else "dim")


def _reason(delivery: DeliveryView, now: datetime) -> str:
    """The error of the last attempt, unless it was delivered, and the time of the next one, if there is one."""
    error = delivery.attempts[-1].error if delivery.attempts else None
    due = f"Next {_when(delivery.due, now)}." if delivery.due else ""
    return " ".join(filter(None, (error if delivery.state != "delivered" else None, due)))


def _when(moment: datetime, now: datetime) -> str:
    """`5m ago`, or `in 5m` for a moment to come."""
    return f"{ago(now - moment)} ago" if moment <= now else f"in {ago(moment - now)}"
