"""Breaks a question into sub-queries."""
