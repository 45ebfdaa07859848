"""Checks of a deployment, with a remedy for each fault."""
