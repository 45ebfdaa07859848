"""The command `dossier`, composed of its subcommands."""

import typer

from services.cli.commands import ask, decide, deliveries, doctor, evals, fork, keys, nats, runs, up, upgrade

app = typer.Typer(
    name="dossier",
    help="Durable research: ask, review the evidence, get a report in which every sentence is cited.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (up, ask, runs, decide, fork, deliveries, keys, doctor, nats, upgrade, evals):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line of this process. Exits with the code of the command."""
    app(prog_name="dossier")
