"""Writes the report, every sentence cited."""
