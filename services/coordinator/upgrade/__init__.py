"""Checks of a new release against recorded logs."""
