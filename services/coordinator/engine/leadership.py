"""Leader election among coordinators: the leader holds the one message on `research.lead`.

Only economy depends on it. Two leaders would write the same facts, and slots take each of them once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from shared.contracts.messages import Fill
from shared.contracts.subjects import COORDINATOR_LEAD, LEAD
from shared.contracts.topology import LEAD_WAIT_S
from shared.errors import Unavailable
from shared.runtime.log import Log, TaskDelivery

logger = logging.getLogger(__name__)

_RENEW_S: Final = LEAD_WAIT_S / 3
_HAND_OVER_S: Final = 1.0
_LOST_S: Final = LEAD_WAIT_S * 2 / 3


async def run_election(log: Log, changed: Callable[[bool], None]) -> None:
    """Run leader election until cancelled. Calls `changed(is_leader)` on every transition.

    Releases the leadership on cancellation.
    """
    await log.fill([Fill(LEAD, b"{}")])
    async with log.tasks(COORDINATOR_LEAD, at_most=1) as terms:
        async for deliveries in terms:
            for delivery in deliveries:
                await _serve(delivery, changed)
                await terms.release()


async def _serve(term: TaskDelivery, changed: Callable[[bool], None]) -> None:
    """Lead until renewing fails; gives the message back on cancellation, for up to 1 s."""
    logger.info("This coordinator leads.", extra={"event": "leadership.won"})
    changed(True)
    try:
        await _keep(term)
    except asyncio.CancelledError:
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_HAND_OVER_S):
                await term.nak()
        raise
    finally:
        logger.info("This coordinator no longer leads.", extra={"event": "leadership.lost"})
        changed(False)


async def _keep(term: TaskDelivery) -> None:
    """Renew the lease until renewing fails for two thirds of its time, or this process was suspended that long."""
    now = asyncio.get_running_loop().time
    confirmed = now()
    while now() - confirmed < _LOST_S:
        try:
            async with asyncio.timeout(_RENEW_S):
                await term.renew()
            confirmed = now()
        except (Unavailable, TimeoutError):
            pass
        await asyncio.sleep(_RENEW_S / 2)
