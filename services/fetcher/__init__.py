"""Finds sources for one sub-query at a time and freezes their text."""
