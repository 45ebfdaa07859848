"""Tests. The harness and the bench are imported from here: `tests.harness`, `python -m tests.bench`."""
