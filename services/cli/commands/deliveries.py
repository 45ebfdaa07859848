"""`dossier deliveries`: list deliveries to webhook endpoints, and send one again."""

from typing import Annotated, Final

import typer

from services.cli.render.deliveries import deliveries_table
from services.cli.shell.api import Api
from services.cli.shell.command import api_command, run_with_api
from services.cli.shell.filters import Filters, filters
from services.cli.shell.options import ApiUrl, Data, Json
from services.cli.shell.terminal import Terminal, user_name
from shared.runtime import clock

_UNBOUNDED: Final = 10_000

app = typer.Typer()
group = typer.Typer(name="deliveries", help="Deliveries to webhook endpoints, and their results.")
app.add_typer(group)


@group.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    endpoint: Annotated[
        str | None, typer.Option(help="Only to this endpoint, as named in the file of webhooks.")
    ] = None,
    event: Annotated[list[str] | None, typer.Option(help="Only hold.opened, deadline.near or run.ended.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only waiting, retrying, delivered, gave_up, moot or disabled.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only of this run.")] = None,
    as_json: Json = False,
    data: Data = None,
    api: ApiUrl = None,
) -> None:
    """List deliveries to webhook endpoints, newest first, with the reason of each failure."""
    if context.invoked_subcommand is None:
        wanted = filters(endpoint=endpoint, event=event, state=state, run_id=run)
        run_with_api(lambda client, terminal: show(client, terminal, wanted, as_json=as_json), data, api)


async def show(api: Api, terminal: Terminal, wanted: Filters, *, as_json: bool) -> None:
    """Print the newest deliveries that match."""
    page, raw = await api.deliveries(wanted)
    if as_json:
        terminal.write(raw)
        return
    fits = terminal.out.is_terminal
    terminal.out.print(deliveries_table(page, clock.now(), fitted=fits), width=None if fits else _UNBOUNDED)


@api_command(group.command())
async def resend(
    api: Api,
    terminal: Terminal,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
) -> None:
    """Send a delivery again, under the same webhook-id. Receivers drop it if they have seen it."""
    view = await api.resend(delivery, by=user_name())
    terminal.say(f"{view.delivery_id} is sent again, as {view.webhook_id}.")
