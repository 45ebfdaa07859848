"""Recognition of first deliveries after the server may have forgotten some.

A nats-server that is killed has lost its latest deliveries and acknowledgements when it returns. It hands those tasks
out again as first deliveries. All of them were stored before it returned, so a first delivery is certain to be the
first if its task was stored after a write that the server has acknowledged since.
"""

from collections.abc import Iterable

from shared.contracts.messages import Message
from shared.runtime.log import Filled, Stored


class Horizon:
    """The sequence above which no task can have been handed out before, as far as this process knows.

    It is the sequence of this process's first write that began and was acknowledged since the server may last have
    forgotten deliveries. The acknowledgement comes from the stream's leader and costs no extra request or permission.
    Until there is one, no delivery counts as fresh.
    """

    def __init__(self) -> None:
        self._seq: int | None = None
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Number of resets so far. Read it before a write begins."""
        return self._epoch

    def reset(self) -> None:
        """Forget the horizon: the server was away or another one leads, so it may have forgotten deliveries."""
        self._seq = None
        self._epoch += 1

    def advance(self, filled: Iterable[Filled], *, since: int) -> None:
        """Set the horizon, if there is none, to the first stored sequence of a write that began in epoch `since`.

        A write of an earlier epoch is ignored.
        """
        if self._seq is None and since == self._epoch:
            self._seq = next((answer.seq for answer in filled if isinstance(answer, Stored)), None)

    def admit(self, message: Message, deliveries: int) -> bool:
        """Return True if this delivery is certain to be the first of its task, and raise the horizon to its sequence.

        First deliveries come in the stream's order. A delivery that is not above all before it is therefore a repeated
        one, even if no fault was noticed, as when a node restarts behind a standing connection.
        """
        if self._seq is None:
            return False
        is_fresh = deliveries == 1 and message.seq > self._seq
        self._seq = max(self._seq, message.seq)
        return is_fresh
