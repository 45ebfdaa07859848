"""The end of a log from which an operator has deleted."""

from shared.contracts.messages import Fill
from shared.contracts.subjects import RESEARCH
from shared.nats import topology
from shared.nats.jetstream import JetStreamLog
from tests.runtime.real import with_log


def test_a_deleted_message_is_no_end(url: str):
    async def use(log: JetStreamLog) -> None:
        await log.fill([Fill(f"research.run.r1.plan.{round_}", b"x") for round_ in (1, 2, 3)])
        await topology.api(log.link, f"STREAM.MSG.DELETE.{RESEARCH}", {"seq": 3})
        assert (await log.end()).seq == 2
        await topology.api(log.link, f"STREAM.MSG.DELETE.{RESEARCH}", {"seq": 1})
        assert (await log.end()).seq == 2

    with_log(url, use)


def test_a_purged_log_ends_where_it_begins(url: str):
    async def use(log: JetStreamLog) -> None:
        await log.fill([Fill("research.run.r1.plan.1", b"x")])
        await topology.api(log.link, f"STREAM.PURGE.{RESEARCH}")
        assert (await log.end()).seq == 0

    with_log(url, use)
