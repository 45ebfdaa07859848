"""The durable consumers of a notifier. It creates its own, since they follow from its file of webhooks."""

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

from shared.contracts import envelope
from shared.contracts.deliveries import (
    DELIVERIES,
    NOTICE_SUBJECTS,
    NOTICES_CONSUMER,
    DeliveryAsked,
    asked_subjects,
    endpoint_consumer,
    first_asked_subjects,
)
from shared.contracts.messages import Message
from shared.contracts.subjects import RESEARCH
from shared.errors import ContractError, Refused, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection
from shared.runtime.log import Log

logger = logging.getLogger(__name__)

ACK_WAIT_S: Final = 30.0
"""Seconds after which the deliveries of a dead notifier are handed to another; twice the most that one attempt
takes."""
_NS: Final = 1_000_000_000
_NO_STREAM: Final = 10059


async def ensure_consumers(link: Connection, deliveries: Log, endpoints: Iterable[str]) -> None:
    """Create missing consumers, and bring those of an earlier release up to date.

    Raises `Unavailable` until a coordinator has set up the streams, and if NATS does not answer: where NATS is locked
    down, a notifier may not create consumers and gets no answer, and the text names the operator's command.
    """
    try:
        if not await topology.consumer_exists(link, RESEARCH, NOTICES_CONSUMER):
            with _naming_operator(NOTICES_CONSUMER):
                await _create(link, RESEARCH, notices_config(await deliveries.newest(first_asked_subjects())))
        with _naming_operator(NOTICES_CONSUMER):
            await topology.update_filter(link, RESEARCH, NOTICES_CONSUMER, NOTICE_SUBJECTS)
        for endpoint in endpoints:
            if not await topology.consumer_exists(link, DELIVERIES, endpoint_consumer(endpoint)):
                with _naming_operator(endpoint_consumer(endpoint)):
                    await _create(link, DELIVERIES, endpoint_config(endpoint))
    except Refused as error:
        if error.code != _NO_STREAM:
            raise
        raise Unavailable("no coordinator has set up the streams yet.") from error


def notices_config(last: Message | None) -> dict[str, Any]:
    """Configuration of the consumer of run events: from the fact of the last ask on, else from now on."""
    begin: dict[str, Any] = {"deliver_policy": "new"}
    if seq := _fact_seq(last):
        begin = {"deliver_policy": "by_start_sequence", "opt_start_seq": seq}
    return _durable(NOTICES_CONSUMER) | begin | {"filter_subjects": list(NOTICE_SUBJECTS), "max_ack_pending": -1}


def endpoint_config(endpoint: str) -> dict[str, Any]:
    """Configuration of the consumer of an endpoint's asks. In flight is unlimited: waiting deliveries block
    no others.
    """
    return _durable(endpoint_consumer(endpoint)) | {"filter_subject": asked_subjects(endpoint), "max_ack_pending": -1}


def _durable(name: str) -> dict[str, Any]:
    """Common configuration of a notifier's consumers."""
    return {"durable_name": name, "ack_policy": "explicit", "ack_wait": int(ACK_WAIT_S * _NS), "max_deliver": -1}


def _fact_seq(last: Message | None) -> int:
    """Sequence of the fact that an ask reports; 0 without a message or if it is unreadable."""
    try:
        record = envelope.decode_record(last.data) if last else None
    except ContractError:
        return 0
    return record.fact_seq if isinstance(record, DeliveryAsked) else 0


@contextmanager
def _naming_operator(consumer: str) -> Generator[None]:
    """Add the operator's command to the text of an `Unavailable` raised in the block."""
    try:
        yield
    except Unavailable as error:
        text = f"{error} Where NATS is locked down, its operator has to create the consumer {consumer}:"
        raise Unavailable(f"{text} dossier nats consumers --webhooks FILE") from error


async def _create(link: Connection, stream: str, config: dict[str, Any]) -> None:
    """Create a durable consumer."""
    call = f"CONSUMER.DURABLE.CREATE.{stream}.{config['durable_name']}"
    await topology.request_api(link, call, {"stream_name": stream, "config": config})
