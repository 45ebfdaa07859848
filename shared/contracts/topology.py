"""Streams and consumers of JetStream, declared as data."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from shared.contracts.deliveries import DELIVERIES, DELIVERY_SUBJECTS
from shared.contracts.envelope import MAX_BYTES
from shared.contracts.subjects import (
    ACCESS,
    ACCESS_SUBJECTS,
    COMPLETED,
    COMPLETED_SLOTS,
    COMPLETIONS,
    COORDINATOR_LEAD,
    EVIDENCE,
    KINDS,
    LEAD,
    RESEARCH,
    RESEARCH_SUBJECTS,
    Kind,
    task_filter,
)

ACK_WAIT_S: Final = 30.0
"""Seconds that a task may go without a sign of life from its worker."""


LEAD_WAIT_S: Final = 3.0
"""Seconds that the leadership outlives a leader that fell silent."""


_HEADROOM: Final = 4 * 1024


_NS: Final = 1_000_000_000


Config = Mapping[str, Any]


class Limits(Struct, frozen=True):
    """The operator's settings of the topology. The limits of tasks in flight hold over all processes."""

    replicas: int = 1
    models: int = 5
    fetches: int = 20

    def in_flight(self, kind: Kind) -> int:
        """The most tasks of a kind in flight at once, over all processes."""
        return self.fetches if kind == "fetch" else self.models


def streams(limits: Limits) -> list[Config]:
    """Configuration of every stream, as JetStream's API takes it."""
    common = {"storage": "file", "retention": "limits", "discard": "new", "num_replicas": limits.replicas}
    return [
        common
        | {
            "name": RESEARCH,
            "subjects": list(RESEARCH_SUBJECTS),
            "allow_atomic": True,
            "allow_direct": True,
            "duplicate_window": _NS // 10,
            "max_msg_size": MAX_BYTES + _HEADROOM,
            "republish": {"src": COMPLETED_SLOTS, "dest": COMPLETED},
        },
        common
        | {
            "name": COMPLETIONS,
            "allow_direct": True,
            "sources": [{"name": RESEARCH, "subject_transforms": [{"src": COMPLETED_SLOTS, "dest": COMPLETED}]}],
        },
        common
        | {
            "name": EVIDENCE,
            "subjects": ["evidence.*.*"],
            "allow_direct": True,
            "compression": "s2",
            "max_msgs_per_subject": 1,
            "discard_new_per_subject": True,
            "max_msg_size": MAX_BYTES,
        },
        common
        | {
            "name": DELIVERIES,
            "subjects": list(DELIVERY_SUBJECTS),
            "allow_direct": True,
            "max_msg_size": MAX_BYTES,
        },
        common | {"name": ACCESS, "subjects": list(ACCESS_SUBJECTS), "allow_direct": True, "max_msg_size": MAX_BYTES},
    ]


def consumers(limits: Limits) -> list[Config]:
    """Configuration of every durable consumer of `RESEARCH`: one for each kind of task, and last that of the
    leadership.
    """
    tasks = [
        {
            "durable_name": kind,
            "filter_subject": task_filter(kind),
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * _NS),
            "max_deliver": -1,
            "max_ack_pending": limits.in_flight(kind),
            "max_waiting": 512,
        }
        for kind in KINDS
    ]
    lead = {
        "durable_name": COORDINATOR_LEAD,
        "filter_subject": LEAD,
        "ack_policy": "explicit",
        "ack_wait": int(LEAD_WAIT_S * _NS),
        "max_deliver": -1,
        "max_ack_pending": 1,
    }
    return [*tasks, lead]
