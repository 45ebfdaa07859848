"""Dossier under faults, for real: `make chaos`. Processes and servers die at random moments."""
