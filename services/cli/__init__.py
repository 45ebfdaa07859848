"""The command line, and the one process that starts all the others."""

from services.cli.commands import main

__all__ = ["main"]
