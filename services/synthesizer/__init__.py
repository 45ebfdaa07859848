"""Writes the report: every claim with quotes that stand in the frozen sources."""
