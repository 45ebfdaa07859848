"""What the notifier measures."""

from collections.abc import Sequence
from typing import get_args

from prometheus_client import Counter

from shared.contracts.deliveries import DeliveryResult
from shared.telemetry.metrics import Metrics


class Tries:
    """Tries to tell the endpoints, which the operator names."""

    def __init__(self, metrics: Metrics, endpoints: Sequence[str]) -> None:
        tries = Counter(
            "dossier_deliveries", "Tries to tell, by result.", ["endpoint", "result"], registry=metrics.registry
        )
        results: tuple[DeliveryResult, ...] = get_args(DeliveryResult)
        self._tries = {(name, result): tries.labels(name, result) for name in endpoints for result in results}

    def count(self, endpoint: str, result: DeliveryResult) -> None:
        """One more."""
        self._tries[endpoint, result].inc()
