"""Which first deliveries are the first.

A nats-server that is killed has forgotten its latest deliveries when it comes back, and the acknowledgements with
them. It hands those tasks out again, each as a first delivery. All of them were stored before the server came back, so
that a first delivery is certain to be the first where its task was stored after a write that the server took since.
"""

from collections.abc import Iterable

from shared.contracts.messages import Message
from shared.runtime.log import Filled, Stored


class Horizon:
    """The place in the stream above which no task can have been handed out before, as one process knows it.

    It is the place of the first write of this process that was begun and acknowledged since the server may last have
    forgotten anything. An acknowledgement costs no extra request, needs no permission beyond the write, and comes
    from the stream's leader. Until there is one, nothing is fresh.
    """

    def __init__(self) -> None:
        self._seq: int | None = None
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """How often the server may have forgotten deliveries so far; to be read before a write begins."""
        return self._epoch

    def reset(self) -> None:
        """The server may have forgotten deliveries: it was away, or another one leads now."""
        self._seq = None
        self._epoch += 1

    def advance(self, filled: Iterable[Filled], *, since: int) -> None:
        """Take the place of a write that began in the epoch `since`. A write of an earlier epoch proves nothing."""
        if self._seq is None and since == self._epoch:
            self._seq = next((answer.seq for answer in filled if isinstance(answer, Stored)), None)

    def admit(self, message: Message, deliveries: int) -> bool:
        """Return whether this delivery is fresh, and raise the horizon to it.

        First deliveries come in the order of the stream. One that is not above all before it came again, though nothing
        was seen of a fault: a node restarted behind a connection that stands, or the consumer was made anew.
        """
        if self._seq is None:
            return False
        is_fresh = deliveries == 1 and message.seq > self._seq
        self._seq = max(self._seq, message.seq)
        return is_fresh
