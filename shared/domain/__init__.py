"""The rules of a run: pure functions over frozen values."""
