"""Who may do what with a run: the one place that says it."""

from services.coordinator.run import Run


def deciders(_run: Run) -> str:
    """Who may decide on this run, in words."""
    return "anyone who reaches the API, or whom NATS permits to publish research.approved or research.rejected"
