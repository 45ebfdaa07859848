"""`dossier deliveries`: what others were told, and what they would not take."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.cli.render.pages import ago
from services.cli.shell.api import Api
from services.cli.shell.terminal import Terminal, printable, user_name
from shared.api.views import DeliveryPage, DeliveryView
from shared.runtime import clock

_UNBOUNDED: Final = 10_000
_STATE: Final[Mapping[str, str]] = {
    "delivered": "green",
    "retrying": "yellow",
    "gave_up": "red",
    "disabled": "red",
    "moot": "dim",
}


async def shown(
    api: Api, terminal: Terminal, wanted: Mapping[str, str | Sequence[str] | None], *, as_json: bool
) -> None:
    """List deliveries, newest first."""
    page, raw = await api.deliveries(wanted)
    if as_json:
        terminal.write(raw)
        return
    fitted = terminal.out.is_terminal
    terminal.out.print(table_of(page, clock.now(), fitted=fitted), width=None if fitted else _UNBOUNDED)


async def resent(api: Api, terminal: Terminal, delivery_id: str) -> None:
    """Have one sent again."""
    delivery = await api.resend(delivery_id, by=user_name())
    terminal.say(f"{delivery.delivery_id} is sent again, as {delivery.webhook_id}.")


def table_of(page: DeliveryPage, now: datetime, *, fitted: bool) -> RenderableType:
    """Deliveries with what became of each; of one that failed, why, and when it is tried again."""
    if not page.deliveries:
        return Text("Nobody was told of anything." if page.next is None else "None among the newest.", style="dim")
    table = Table(box=None, expand=fitted, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("delivery", "event", "state", "tries", "happened"):
        table.add_column(name, no_wrap=True, justify="right" if name == "tries" else "left", min_width=len(name))
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for delivery in page.deliveries:
        table.add_row(*_row(delivery, now))
    older = [Text("There are older ones; --endpoint, --state and --run narrow the list.", style="dim")]
    return Group(table, *(older if page.next else []))


def _row(delivery: DeliveryView, now: datetime) -> Iterable[Any]:
    yield printable(delivery.delivery_id)
    yield delivery.event
    yield Text(delivery.state, style=_STATE.get(delivery.state, ""))
    yield str(len(delivery.attempts) or "")
    yield Text(_when(delivery.happened_at, now), style="dim")
    yield Text(printable(_why(delivery, now)), style="" if delivery.state in ("retrying", "gave_up") else "dim")


def _why(delivery: DeliveryView, now: datetime) -> str:
    error = delivery.attempts[-1].error if delivery.attempts else None
    due = f"Next {_when(delivery.due, now)}." if delivery.due else ""
    return " ".join(filter(None, (error if delivery.state != "delivered" else None, due)))


def _when(moment: datetime, now: datetime) -> str:
    return f"{ago(now - moment)} ago" if moment <= now else f"in {ago(moment - now)}"
