"""Reference of the command line, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from services.cli.main import app
from tests.docs.reference.page import code, page, table
from tests.docs.reference.source import paragraphs

Command = Any
"""A command or group of typer, whose types are not public."""


def document() -> str:
    """The page."""
    root: Command = get_command(app)
    commands = sorted(_commands(root, "dossier"), key=lambda each: each[0])
    return page(
        "Commands",
        paragraphs(root.help),
        "A command that needs the API connects to the Dossier that runs in the data folder, or to the one that `--api`"
        " or `DOSSIER_API_URL` names. Exit codes: 0 for success, 1 for a result that is not a success (as described"
        " below), 2 for wrong usage. Every command takes `--help`.",
        "\n".join(f"- [`{name}`](#{name.replace(' ', '-')}): {_first_line(command)}" for name, command in commands),
        *(_section(name, command) for name, command in commands),
    )


def _commands(group: Command, prefix: str) -> Iterator[tuple[str, Command]]:
    """Every command with its full name; a group counts where it does something by itself."""
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield full, command
            yield from _commands(command, full)
        else:
            yield full, command


def _first_line(command: Command) -> str:
    return paragraphs(command.help).partition("\n")[0]


def _section(name: str, command: Command) -> str:
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    return "\n\n".join(
        part
        for part in (
            f"## {name}",
            f"```text\n{usage}\n```",
            paragraphs(command.help),
            table(("Argument", "Description"), ((code(_argument(each)), each.help or "") for each in arguments)),
            table(
                ("Option", "Default", "Description"),
                ((_names(each), code(_default(each)), _described(each)) for each in options),
            ),
        )
        if part
    )


def _argument(parameter: Command) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    return name if parameter.required else f"[{name}]"


def _names(option: Command) -> str:
    value = "" if option.is_flag else f" {(option.metavar or option.name.upper())}"
    return ", ".join(f"`{name}{value}`" for name in option.opts)


def _default(option: Command) -> str:
    return "" if option.default in (None, False, "") else str(option.default)


def _described(option: Command) -> str:
    more = "May be repeated." if option.multiple and "more than once" not in (option.help or "") else ""
    return " ".join(part for part in (option.help or "", more) if part)
