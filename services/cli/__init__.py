"""The command line, and the one process that starts all the others."""

from services.cli.main import main

__all__ = ["main"]
