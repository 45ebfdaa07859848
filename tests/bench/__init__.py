"""What a run costs on the message path: `python -m tests.bench`."""
