"""The command line `dossier`, and the supervisor of the services on one machine."""

from services.cli.main import main

__all__ = ["main"]
