"""The coordinator's metrics and spans."""
