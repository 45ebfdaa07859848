"""Metrics of the notifier."""

from collections.abc import Sequence
from typing import get_args

from prometheus_client import Counter

from shared.contracts.deliveries import DeliveryResult
from shared.telemetry.metrics import Metrics


class AttemptCounter:
    """Counter of delivery attempts by endpoint and result. `endpoints` are the names in the operator's file."""

    def __init__(self, metrics: Metrics, endpoints: Sequence[str]) -> None:
        tries = Counter(
            "dossier_deliveries",
            "AttemptCounter to tell, by result.",
            ["endpoint", "result"],
            registry=metrics.registry,
        )
        results: tuple[DeliveryResult, ...] = get_args(DeliveryResult)
        self._tries = {(name, result): tries.labels(name, result) for name in endpoints for result in results}

    def count(self, endpoint: str, result: DeliveryResult) -> None:
        """Count one attempt. Raises `KeyError` for an endpoint that is not configured."""
        self._tries[endpoint, result].inc()
